"""Ends a local model's server or engine when the process that started it is gone, even by kill -9; a script of the standard library alone.

    python _watch.py -- COMMAND …      runs COMMAND and its children in a process group of their own
    python _watch.py --engines         looks after the engines of vLLM that the parent has, or comes to have, as its children

Contract: standard input is a pipe from the parent. When it is closed, or the parent is no more, the processes are asked to end (SIGTERM)
and after `GRACE` seconds killed; then this process ends. With COMMAND it ends, with COMMAND's exit code, as soon as COMMAND does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

GRACE = 10.0
"""Seconds between asking and killing."""

_LOOK = 0.5
"""Seconds between two looks at the parent and at the command."""


def engines(pid: int | str = "self") -> set[int]:
    """Ids of a process's children that are engines of vLLM, by the title that they give themselves (Linux; elsewhere none are found)."""
    found: set[int] = set()
    with contextlib.suppress(OSError):  # a process, a thread or a child that has just ended
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            found |= {int(child) for child in file.read_text().split() if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"VLLM::")}
    return found


def _orphaned(parent: int) -> bool:
    """Wait a moment; whether the parent has closed the pipe or is gone."""
    ready, _, _ = select.select([sys.stdin], [], [], _LOOK)
    return (bool(ready) and not os.read(sys.stdin.fileno(), 1)) or os.getppid() != parent


def _end(send: Callable[[int], None], gone: Callable[[], bool]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(number)
        until = time.monotonic() + GRACE
        while not gone() and time.monotonic() < until:
            time.sleep(0.05)


def _serve(command: list[str], parent: int) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)  # noqa: S603  the command is our own

    def gone() -> bool:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    while process.poll() is None and not _orphaned(parent):
        pass
    code = process.poll()
    _end(lambda number: os.killpg(process.pid, number), gone)  # also what a dead command has left
    return 0 if code is None else code


def _look_after(parent: int) -> int:
    found: set[int] = set()
    while not _orphaned(parent):
        found = engines(parent)
    for pid in found:

        def send(number: int, pid: int = pid) -> None:
            os.kill(pid, number)

        def gone(pid: int = pid) -> bool:
            return not Path(f"/proc/{pid}").exists()

        _end(send, gone)
    return 0


if __name__ == "__main__":
    mother = os.getppid()
    if sys.argv[1] == "--engines":
        sys.exit(_look_after(mother))
    sys.exit(_serve(sys.argv[2:], mother))
