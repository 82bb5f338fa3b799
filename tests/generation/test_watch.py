"""The watcher of local servers: what it started ends when it is asked to, when the parent is killed, and never otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_vllm_backend import alive, descendants, gone

from toolkit.generation.backends import _watch

TWO = ["sh", "-c", "sleep 600 & sleep 600"]
DRIVER = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True); time.sleep(600)"

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc here")


def watched(*command: str) -> list[str]:
    return [sys.executable, _watch.__file__, "--", *command]


def family(pid: int, size: int) -> set[int]:
    until = time.monotonic() + 20
    while len(found := descendants(pid)) < size and time.monotonic() < until:
        time.sleep(0.05)
    assert len(found) >= size
    return found


def test_a_command_s_exit_code_is_passed_on_and_its_leavings_end() -> None:
    command = watched("sh", "-c", "sleep 600 & echo $!; exit 7")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as watcher:
        assert watcher.stdout is not None
        left = int(watcher.stdout.readline())
        assert watcher.wait(60) == 7
    assert gone({left}, 5)


def test_closing_the_pipe_ends_the_whole_family() -> None:
    with subprocess.Popen(watched(*TWO), stdin=subprocess.PIPE, start_new_session=True) as watcher:
        held = family(watcher.pid, 3)
        time.sleep(1.2)
        assert all(map(alive, held)), "a quiet parent is no dead one"
        assert watcher.stdin is not None
        watcher.stdin.close()
        assert gone(held)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_s_death_ends_the_whole_family(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER, *watched(*TWO)]) as parent:
        held = family(parent.pid, 4)
        os.kill(parent.pid, number)
    assert gone(held)
