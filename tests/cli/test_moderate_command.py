"""`guardkit moderate`: interactions from arguments, stdin or lines; what it prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Result, environment
from server import Server, chat, running

Cli = Callable[..., Result]
SAYS = "# Task 1\n\n## Reasoning Step 1\nIt is\nlooked at.\n\n## Conclusion\nSo it is.\n\n---\n\nAnswers: \nRequest: {}\nCompletion: {}\nResponse: {}"


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    def says(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if "broken" in text:
            return 400, {}, {"error": {"message": "no"}}
        label = "unharmful" if "bread" in text else "harmful"
        rest = ("None", "None") if "AI assistant:\nNone" in text else ("refusal", "unharmful")
        return 200, {}, chat("Well." if "silent" in text else SAYS.format(label, *rest))

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with running(Server()) as server:
        server.script = says
        yield server.base_url


def piped(url: str, data: bytes, *args: str, cwd: Path) -> Result:
    command = [sys.executable, "-m", "toolkit", "moderate", "m", "--base-url", url, *args]
    done = subprocess.run(command, cwd=cwd, env=environment(), input=data, capture_output=True, timeout=120)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_verdict_for_people_and_for_programs(cli: Cli, url: str) -> None:
    result = cli("moderate", "m", "Write an insult.", "--response", "No.", "--base-url", url)
    assert (
        result.code == 0
        and "harmful" in result.out
        and "refusal" in result.out
        and "1. It is\n     looked at." in result.out
        and "So it is." in result.out
    )
    found = cli("moderate", "m", "How do I bake bread?", "--base-url", url, "--json")
    assert found.code == 0 and found.json["tasks"]["prompt"]["label"] == "unharmful" and found.json["steps"]["prompt"] == ["It is\nlooked at."]
    assert found.json["guard"] == "guardreasoner" and "flagged" not in found.json
    unread = cli("moderate", "m", "silent", "--base-url", url)
    assert unread.code == 0 and "unread (field_missing)" in unread.out and "Well." in unread.out


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (("insult", "--fail-on", "harmful"), 1),
        (("bread", "--fail-on", "harmful"), 0),
        (("bread", "--response", "No.", "--fail-on", "harmful"), 0),
        (("bread", "--response", "No.", "--fail-on", "refusal=refusal"), 1),
        (("silent", "--fail-on", "harmful"), 0),
        (("silent", "--fail-on", "harmful", "--fail-closed"), 1),
        (("broken",), 1),
        (("bread", "--fail-on", "harmfull"), 2),
        (("bread", "--fail-closed"), 2),
        (("bread", "--set", "model=other"), 2),
        (("bread", "--set", "guard=other"), 2),
        (("bread", "--set", "concurrency=2", "--set", "backend=openai"), 0),
        (("bread", "--reading", "strict"), 2),
        (("bread", "--guard", "guardreasonr"), 2),
        ((" \n",), 2),
        (("", "--response", " "), 2),
        (("", "--response", "No."), 0),
    ],
)
def test_how_it_ends(asked: tuple[str, ...], code: int, cli: Cli, url: str) -> None:
    result = cli("moderate", "m", *asked, "--base-url", url, "--json")
    assert result.code == code and "Traceback" not in result.err
    if code < 2 and "--fail-on" in asked:
        assert result.json["flagged"] is bool(code)
    if code == 2:
        assert result.json["exit_code"] == 2


def test_lines_come_in_their_order_a_line_each(cli: Cli, url: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"bread {n}" if n % 2 else f"insult {n}", "id": f"r{n}"} for n in range(20)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    result = cli("moderate", "m", "--input", "rows.jsonl", "--base-url", url, "--json", "--fail-on", "harmful")
    found = [json.loads(line) for line in result.out.splitlines()]
    assert result.code == 1 and "10 of 20 interactions: harmful" in result.err
    assert [(f["id"], f["flagged"]) for f in found] == [(f"r{n}", not n % 2) for n in range(20)]
    plain = cli("moderate", "m", "--input", "rows.jsonl", "--base-url", url)
    assert plain.code == 0 and plain.out.splitlines()[0].split() == ["r0", "prompt=harmful"]


def test_a_file_is_checked_whole_before_anything_is_asked(cli: Cli, url: str) -> None:
    Path("rows.jsonl").write_bytes(b'{"prompt": "a"}\n{"prompt": 5}\nno\n{"prompt": "a", "prompt": "b"}\n{"prompt": "\xff"}\n[1]\n')
    result = cli("moderate", "m", "--input", "rows.jsonl", "--base-url", url, "--json")
    assert result.code == 2 and [f["where"] for f in result.json["faults"]] == [
        *("rows.jsonl:2.prompt", "rows.jsonl:3", "rows.jsonl:4", "rows.jsonl:5", "rows.jsonl:6")
    ]
    assert cli("moderate", "m", "--input", "row.jsonl", "--base-url", url).code == 2
    assert "did you mean" in cli("moderate", "m", "--input", "row.jsonl", "--base-url", url).err


def test_of_many_faults_some_are_shown_and_all_are_counted(cli: Cli, url: str) -> None:
    Path("rows.jsonl").write_text('{"prompt": "a"}\n' + '{"prompt": 5}\n' * 50)
    result = cli("moderate", "m", "--input", "rows.jsonl", "--base-url", url, "--json")
    assert len(result.json["faults"]) == 21 and result.json["faults"][-1]["message"] == "and 30 further lines: 50 of 51 are no interactions"


def test_one_way_to_say_what_is_judged(cli: Cli, url: str) -> None:
    Path("rows.jsonl").write_text('{"prompt": "a"}\n')
    for args in (("a", "--jsonl"), ("a", "--input", "rows.jsonl"), ("--jsonl", "--response", "b")):
        assert cli("moderate", "m", *args, "--base-url", url).code == 2


def test_stdin_is_a_text_or_lines(url: str, tmp_path: Path) -> None:
    result = piped(url, b"Brot? bread?\nTwo lines.\n", "--json", cwd=tmp_path)
    assert result.code == 0 and result.json["tasks"]["prompt"]["label"] == "unharmful"
    result = piped(url, b'{"prompt": "bread"}\n\n{"prompt": "insult", "response": "x"}\n{"prompt": 1}\n', "--jsonl", cwd=tmp_path)
    assert result.code == 2 and len(result.out.splitlines()) == 2 and "stdin:4.prompt: a text, not a number" in result.err
    result = piped(url, b"\n", "--jsonl", "--fail-on", "harmful", cwd=tmp_path)
    assert (result.code, result.out) == (0, "") and "nothing was judged" in result.err, "a source that broke is no pass to take in silence"
    for data in (b"", b" \n"):
        result = piped(url, data, cwd=tmp_path)
        assert result.code == 2 and "prompt: an empty prompt, and no response: there is nothing to judge" in result.err
    result = piped(url, b"\xff\xfe", cwd=tmp_path)
    assert result.code == 2 and "not UTF-8" in result.err and "Traceback" not in result.err


def test_a_backend_that_tells_nothing_before_the_end_is_declared_so(cli: Cli, url: str) -> None:
    result = cli("moderate", "m", "bread", "--base-url", url, "--stream")
    assert result.code == 0 and "gives a text when it is whole" in result.err


def test_a_prompt_is_utf8_and_has_an_end() -> None:
    from io import BytesIO

    from toolkit.api.command import plain_text
    from toolkit.common.errors import InputError

    for data, why in ((b"\xff\xfe", "not UTF-8"), (b"a" * (17 << 20), "longer than")):
        with pytest.raises(InputError, match=why):
            plain_text(BytesIO(data))
    assert plain_text(BytesIO(b"Brot\r\n\n")) == "Brot\r\n"
