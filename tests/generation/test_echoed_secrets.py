"""A key that an endpoint echoes, in whatever place and however cut, reaches no output, journal, table, message or folder."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raw_server import Reply, answer, http, running

KEY = "sk-SECRETabcdef0123456789XYZ"
PROJECT = "proj_PROBE0123456789"
PARTS = [KEY[:n] for n in range(8, len(KEY) + 1)] + [PROJECT]
"""What must be found nowhere: the shortest is in all others."""


def _json(value: Any, status: str = "200 OK", *headers: str) -> bytes:
    return http(json.dumps(value).encode(), status, *headers)


def _twice(head: str) -> str:
    """The headers of a request, as JSON within JSON."""
    return json.dumps(dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line))


def _cut(n: int) -> Callable[[str], Reply]:
    return lambda head: _json({"error": {"message": "x" * (400 - n) + KEY}}, "400 Bad")


def _cut_by_it(n: int) -> Callable[[str], Reply]:
    return lambda head: _json(answer("key " + KEY[:n], model=KEY[:n]))


ECHOES: dict[str, Callable[[str], Reply]] = {
    "text": lambda head: _json(answer(f"your key is {KEY}, thanks; {PROJECT}", model=KEY, id=KEY)),
    "reasoning": lambda head: _json(answer("Fine.", reasoning_content=f"the key is Bearer {KEY}")),
    "finish": lambda head: _json(answer("Fine.", finish_reason=KEY)),
    "refusal": lambda head: _json(answer(None, refusal=f"no, {KEY}")),
    "long refusal": lambda head: _json(answer(None, refusal="x" * 490 + KEY)),
    "escaped": lambda head: http(json.dumps(answer(KEY)).replace("SECRET", "\\u0053ECR\\u0045T").encode()),
    "base64": lambda head: _json(answer(base64.b64encode(f"user:{KEY}".encode()).decode())),
    "error": lambda head: _json({"error": {"message": f"bad key {KEY}", "code": KEY, "type": KEY}}, "400 Bad"),
    "headers": lambda head: _json({"error": {"message": f"you sent {_twice(head)}"}}, "400 Bad"),
    "lower": lambda head: _json({"error": {"message": f"authorization: bearer {KEY}"}}, "403 No"),
    "filter": lambda head: _json({"error": {"message": f"filtered {KEY}", "code": "content_filter"}}, "400 Bad"),
    "malformed": lambda head: http(b"x" * 60 + KEY.encode()),
    "torn": lambda head: http(json.dumps(answer(KEY))[:90].encode()),
    "location": lambda head: http(b"", "307 There", "Location: http://evil.example/?k=" + "a" * 170 + KEY),
    "status line": lambda head: f"HTTP/1.1 two hundred {'x' * 60}{KEY}\r\n\r\n".encode(),
    "header": lambda head: _json(answer("Fine."), "200 OK", f"Content-Encoding: {KEY}", f"Set-Cookie: {KEY}", f"x-request-id: {KEY}"),
    "bad header": lambda head: _json(answer("Fine."), "200 OK", f"X-A: {KEY}\0"),
    "401": lambda head: _json({"error": {"message": f"bad key {KEY}"}}, "401 Unauthorized"),
    "404": lambda head: _json({"error": {"message": "x" * 380 + KEY}}, "404 Not Found"),
    **{f"cut {n}": _cut(n) for n in (8, 9, 20)},
    **{f"cut by it {n}": _cut_by_it(n) for n in (8, 15, 27)},
}


@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet"])
def test_an_echoed_key_is_found_nowhere(out: str, tmp_path: Path) -> None:
    """One program asks every echo, each as a row; those that end a run are asked by one each."""
    ends = {"401", "404"}
    many = [name for name in ECHOES if name not in ends]
    for number, names in enumerate([many, *([name] for name in sorted(ends))]):

        def reply(head: str, body: bytes, names: list[str] = names) -> Reply:
            return ECHOES[names[int(json.loads(body)["messages"][-1]["content"])]](head)

        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "prompts.jsonl").write_text("".join(json.dumps({"id": f"r{n}", "user": str(n)}) + "\n" for n in range(len(names))))
        with running(reply) as server:
            command = [sys.executable, "-m", "toolkit", "generate", "--base-url", server.base_url, "--model", "m", "--retries", "0", "--json"]
            command += ["--input", str(folder / "prompts.jsonl"), "--output", str(folder / out), "--work", str(folder / "work")]
            environment = {"PATH": "/usr/bin:/bin", "OPENAI_API_KEY": KEY, "OPENAI_PROJECT_ID": PROJECT, "PYTHONPATH": ":".join(sys.path)}
            done = subprocess.run(command, capture_output=True, env=environment, timeout=120)
            assert server.asked == len(names)
        assert done.returncode == (1 if names == many else {"401": 4, "404": 2}[names[0]]), done.stderr
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert names != many or {out, "journal.sqlite"} <= {path.name for path in files}
        for where, data in [("stdout", done.stdout), ("stderr", done.stderr), *((str(path), path.read_bytes()) for path in files)]:
            found = [part for part in PARTS if part.encode() in data]
            assert not found, (where, found[-1])
            assert base64.b64encode(b"user:" + KEY.encode())[8:20] not in data, where


def test_what_the_model_answered_besides_stays(tmp_path: Path) -> None:
    from test_hostile_answers import ask

    from toolkit.common import secrets

    secrets.protect(KEY)
    text = f'é "quoted" \\ {KEY}\n'
    with running(lambda head, body: _json(answer(text + "x"))) as server:
        for _ in range(2):
            found, rows = ask(tmp_path, server.base_url, 1)
            assert (rows[0]["content"], rows[0]["finish"]) == ('é "quoted" \\ ***\nx', "stop")
    assert (found["asked"], found["from_journal"]) == (0, 1)
