"""What commands print at 80 and at 60 columns, on a terminal and in a pipe: every reason and every number is there, whole."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest
from commands import environment, guardkit
from rich.cells import cell_len

LONG = "a-step-whose-name-says-what-it-does"
RECIPE = f"""recipe: narrow
seed: 1
steps:
  - {{id: seeds, use: load, with: {{source: quickstart}}}}
  - {{id: clean, use: normalise}}
  - {{id: unique, use: deduplicate}}
  - {{id: {LONG}, use: select, with: {{where: {{label_prompt: harmful}}}}}}
  - {{id: reasoning, use: synthesise, with: {{backend: {{backend: template}}}}}}
  - {{id: valid, use: validate}}
"""
COMMANDS = [
    ("operators",),
    ("sources",),
    ("guards",),
    ("init",),
    ("plan", "r.yaml"),
    ("runs", "list"),
    ("runs", "status", "outputs/narrow"),
    ("rejects", "outputs/narrow"),
    ("diff", "outputs/narrow", "outputs/narrow"),
    ("overlaps", "--source", "quickstart", "--rows", "mine=outputs/narrow/valid"),
    ("doctor", "--offline"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("narrow")
    (place / "r.yaml").write_text(RECIPE)
    done = guardkit("run", "r.yaml", cwd=place)
    assert done.code == 0, done.err
    return place


def terminal(*args: str, width: int, cwd: Path) -> str:
    """What a command prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    env = {k: v for k, v in environment().items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    done = subprocess.Popen([sys.executable, "-m", "toolkit", *args], cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:
            break
        if not part:
            break
        found += part
    os.close(ours)
    assert done.wait(60) == 0, found.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", found.decode()).replace("\r\n", "\n")


def words(text: str) -> list[str]:
    """The words of a text without what draws a table, and without the names of its columns: a block of lines leaves out those of empty cells."""
    lines = text.splitlines()
    return [w for line, below in zip(lines, [*lines[1:], ""], strict=True) if "──" not in below for w in line.replace("─", " ").split()]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_narrow_place_holds_what_a_wide_one_does(args: tuple[str, ...], folder: Path) -> None:
    wide = guardkit(*args, cwd=folder, COLUMNS="")
    assert wide.code == 0, wide.err
    whole = [w.strip(",:") for w in words(wide.out) if args[0] != "doctor" or not re.search(r"\d", w)]  # free memory changes while we look
    for width in (80, 60):
        result = guardkit(*args, cwd=folder, COLUMNS=str(width))
        assert result.code == 0, result.err
        narrow = {w.strip(",:") for w in words(result.out)}
        joined = re.sub(r"\s+", "", result.out)
        lost = [w for w in whole if w not in narrow and w not in joined]
        assert not lost, f"{lost} of {args} at {width} columns"
        assert result.out.count("…") <= wide.out.count("…")


@pytest.mark.parametrize("width", [80, 60])
def test_on_a_terminal_reasons_and_counts_stay(width: int, folder: Path) -> None:
    out = terminal("runs", "status", "outputs/narrow", width=width, cwd=folder)
    joined = re.sub(r"\s+", " ", out)
    assert "not_selected" in joined and LONG in joined and "640" in joined and "…" not in out
    tables = out.split("Reasoning steps")[0]
    assert all(cell_len(line) <= width for line in tables.splitlines())
    plan = terminal("plan", "r.yaml", width=width, cwd=folder)
    assert LONG in re.sub(r"\s+", " ", plan) and "…" not in plan
