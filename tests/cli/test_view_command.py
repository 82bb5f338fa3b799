"""``guardkit view`` on the command line, and the commands of docs/view.md."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import CHECKOUT, Result

import toolkit

Cli = Callable[..., Result]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Viewers that end as soon as they are waited for; the signals that were taken."""
    taken: list[int] = []
    wait = toolkit.Viewer.wait

    def stopped(viewer: toolkit.Viewer) -> None:
        viewer.stop()
        wait(viewer)

    monkeypatch.setattr(toolkit.Viewer, "wait", stopped)
    monkeypatch.setattr(signal, "signal", lambda number, handler: taken.append(number))
    monkeypatch.setattr("webbrowser.open", lambda address: pytest.fail("a browser was opened where stdout is no terminal"))
    return taken


def test_the_commands_of_the_page_run_as_they_stand(cli: Cli, at_once: list[int]) -> None:
    Path("outputs").mkdir()
    shutil.copytree(CHECKOUT / "recipes" / "quickstart" / "seeds", "outputs/quickstart")
    page = (CHECKOUT / "docs" / "view.md").read_text(encoding="utf-8")
    commands = [
        line for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S) for line in block.splitlines() if line.startswith("guardkit view")
    ]
    assert len(commands) == 2
    plain, document = (cli(*shlex.split(command)[1:], "--port", 0) for command in commands)
    assert re.search(r"^outputs/quickstart \(folder\) at http://127\.0\.0\.1:\d+/\?token=[\w-]{43}$", plain.out, re.M), plain.err
    found = json.loads(document.out)
    assert found["address"] == f"{found['url']}/?token={found['token']}" and found["kind"] == "folder"
    assert {signal.SIGINT, signal.SIGTERM} <= set(at_once)


def test_what_cannot_be_shown_is_named_with_what_to_do(cli: Cli, at_once: list[int]) -> None:
    Path("notes.txt").write_text("x")
    Path("rows.jsonl").write_text('{"a": 1}\n')
    Path("empty").mkdir()
    for place, words in (("nowhere", "no such file or folder"), ("notes.txt", "this is no file of rows"), ("empty", "neither a run nor shards")):
        found = cli("view", place, "--port", 0)
        assert found.code == 2 and words in found.err and "\n  " in found.err, "and a hint"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = cli("view", "rows.jsonl", "--port", taken.getsockname()[1])
    assert found.code == 2 and "take another --port" in found.err


def test_others_can_look_only_where_that_is_asked_for(cli: Cli, at_once: list[int]) -> None:
    Path("rows.jsonl").write_text('{"a": 1}\n')
    assert "unencrypted" not in cli("view", "rows.jsonl", "--port", 0).err
    assert "unencrypted" in cli("view", "rows.jsonl", "--port", 0, "--host", "0.0.0.0").err  # noqa: S104
