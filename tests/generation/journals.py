"""Journals for tests: requests, answers as an endpoint sends them, a journal of version 1, a process that writes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path

from toolkit.generation import Completion, Request
from toolkit.generation._answers import read_answer

WRITER = """
import sys
from pathlib import Path
from toolkit.generation import Completion, Journal, Request
folder, first, size, text = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with Journal(folder) as journal:
    n = first
    while True:
        batch = [Request("m", "e", (("user", str(n + i)),), 0, 1, 1, row=f"row-{n + i}") for i in range(size)]
        journal.put([(r, Completion(r.key, f"{text} {n + i}")) for i, r in enumerate(batch)])
        n += size
        sys.stdout.write(f"{n}\\n")
        sys.stdout.flush()
"""

VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE completions (
    key BLOB NOT NULL UNIQUE, text BLOB NOT NULL, reasoning BLOB, finish TEXT, model TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL,
    model_id TEXT NOT NULL, endpoint TEXT NOT NULL, draw INTEGER NOT NULL, row TEXT NOT NULL,
    created REAL NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE failures (
    key BLOB NOT NULL, error TEXT NOT NULL, detail TEXT, seconds REAL,
    model_id TEXT NOT NULL, endpoint TEXT NOT NULL, draw INTEGER NOT NULL, row TEXT NOT NULL, created REAL NOT NULL
);
INSERT INTO meta VALUES ('schema', '1');
PRAGMA application_id=1735745906;
PRAGMA journal_mode=WAL;
"""


def ask(n: int | str, **more: object) -> Request:
    return Request("m", "e", (("user", str(n)),), 0, 1, 1, **{"row": f"row-{n}", **more})  # type: ignore[arg-type]


def body(text: str, **message: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice], "model": "served", "usage": {"prompt_tokens": 3, "completion_tokens": 5}}).encode()


def chat(request: Request, text: str, **message: object) -> tuple[Request, Completion]:
    """What an endpoint's answer becomes."""
    return request, read_answer(request.key, body(text, **message), 0.5)


def write(folder: Path, first: int, size: int, text: str = "answer") -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(first), str(size), text], stdout=subprocess.PIPE, text=True)


def kill_at(thing: object, name: str, call: int, before: bool) -> None:
    """Have this process killed at the call number `call` of a function, before it or after it."""
    real, calls = getattr(thing, name), itertools.count()

    def killing(*args: object, **more: object) -> object:
        now = next(calls) == call
        if now and before:
            os.kill(os.getpid(), signal.SIGKILL)
        out = real(*args, **more)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return out

    setattr(thing, name, killing)


def version_1(folder: Path, texts: list[str]) -> list[tuple[Request, Completion]]:
    """A journal as the first release wrote it, with one failure; what it holds."""
    folder.mkdir(parents=True)
    db = sqlite3.connect(folder / "journal.sqlite")
    db.executescript(VERSION_1)
    out = []
    for n, text in enumerate(texts):
        request = ask(n)
        reasoning = "thought" if n % 3 == 0 else None
        c = Completion(request.key, text, "stop", model="served", prompt_tokens=n, completion_tokens=4, seconds=0.5, reasoning=reasoning)
        key, data, thought = bytes.fromhex(c.key), text.encode("utf-8", "surrogatepass"), None if reasoning is None else reasoning.encode()
        check = zlib.crc32(thought or b"", zlib.crc32(data, zlib.crc32(key)))
        values = (key, data, thought, "stop", "served", n, 4, 0.5, f"m{n % 2}", "e", 0, request.row, 1e9 + n, check)
        db.execute("INSERT INTO completions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", values)
        out.append((request, c))
    failed = ("timeout", "slow", 1.0, "m0", "e", 0, "row-f", 1e9)
    db.execute("INSERT INTO failures VALUES (?,?,?,?,?,?,?,?,?)", (bytes.fromhex(ask("f").key), *failed))
    db.commit()
    db.close()
    return out
