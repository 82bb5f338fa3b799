"""``guardkit review``: key by key from stdin, figures, export."""

from __future__ import annotations

import io
import os
import pty
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from commands import Result

Cli = Callable[..., Result]


@pytest.fixture
def review(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """``review(*options, answers=["1", "q"])`` of five rows with harmful labels."""
    table = pl.DataFrame(
        {"id": [f"r{n}" for n in range(5)], "prompt": "How do I\x1b[31m?", "label_prompt": "harmful", "label_prompt_source": "human"}
    )
    table.write_parquet(tmp_path / "rows.parquet")

    def run(*args: object, answers: list[str] | None = None) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{a}\n" for a in answers or [])))
        return cli("review", "rows.parquet", *args)

    return run


def test_answers_by_keys_and_words_become_decisions(review: Cli, tmp_path: Path) -> None:
    answers = ["?", "v", "1 a question", "z", "2", "s", "n needs care", "u", "Unharmful", "maybe", "x", "d", "q"]
    shown = review("--reviewer", "anna", answers=answers)
    assert shown.code == 0 and "\x1b" not in shown.out and "\\x1b[31m" in shown.out
    assert (
        "is on the disk at once" in shown.out
        and "unknown decision 'maybe'" in shown.out
        and "no key 'x'" in shown.out
        and "taken back: r0" in shown.out
    )
    before, _, _ = shown.out.partition("\\x1b[31m")
    assert "letters hidden" in before, "text is hidden until `v`"
    assert review("--export", "d.csv").code == 0
    found = {line["id"]: (line["decision"], line["note"]) for line in pl.read_csv(tmp_path / "d.csv").iter_rows(named=True)}
    assert found == {"r0": ("keep", ""), "r2": ("unsure", "needs care"), "r3": ("unharmful", ""), "r4": ("drop", "")}
    figures = review("--json").json
    assert (figures["decided"], figures["left"], figures["reviewers"]) == (4, 1, [{"reviewer": "anna", "decisions": 4, "left": 1}])
    assert "Nothing is left" in review("--reviewer", "anna", "--most", "1").out


def test_several_reviewers_and_their_agreement(review: Cli) -> None:
    review("--reviewer", "anna", "--double", "1", answers=["1", "2", "2", "1", "2"])
    review("--reviewer", "berta", answers=["1", "2", "1", "1", "2"])
    shown = review("--reviewer", "carla", "--adjudicate", answers=["q"])
    assert "Krippendorff" in shown.out and "Disagreed on: 1;" in shown.out and "anna: harmful" in shown.out
    assert review("--json").json["agreement"][0]["pairs"][0]["kappa"] == pytest.approx(8 / 13, abs=1e-6)
    assert "was begun with double 1.0" in review("--double", "0.5", "--json").err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--show", "some"], "known: all, hidden, start"),
        (["--reviewer", "a/b"], "cannot name a reviewer"),
        (["--kind", "noise"], "of a run's step"),
        (["--export", "d.txt"], "must end in"),
        (["--export", "rows.parquet"], "rows.parquet"),
    ],
)
def test_what_is_wrong_is_named(options: list[str], message: str, review: Cli) -> None:
    ended = review(*options)
    assert ended.code == 2 and message in ended.err


def test_on_a_terminal_a_key_decides_and_what_is_no_key_does_not(review: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Home key sends a `1` among others, and a paste many keys at once."""
    from toolkit.cli import _review

    ours, theirs = pty.openpty()

    def type_once_it_is_awaited(typed: bytes) -> None:
        while termios.tcgetattr(ours)[3] & termios.ICANON:
            time.sleep(0.01)
        os.write(ours, typed)

    with os.fdopen(theirs, "r+b", buffering=0) as terminal, open(os.ttyname(terminal.fileno()), encoding="utf-8") as keyboard:  # noqa: PTH123
        monkeypatch.setattr("sys.stdin", keyboard)
        for typed, answer in ((b"1", "1"), (b"\x1b[1~", ""), (b"1212", ""), ("ü".encode(), "ü"), (b"\x04", None)):
            threading.Thread(target=type_once_it_is_awaited, args=(typed,)).start()
            assert _review._answer("? ") == answer
    os.close(ours)
