"""A command whose stdout or stderr nobody reads, or that are closed: no traceback, and the exit code that its work has earned. Real pipes, in a shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

SAY = "guardkit() { " + sys.executable + ' -m toolkit "$@"; }; '


def shell(line: str, cwd: Path) -> tuple[str, str]:
    """What a line of bash says on stdout and stderr."""
    done = subprocess.run(["bash", "-c", SAY + line], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("guardkit --help | head -1; echo ${PIPESTATUS[0]}", 0),
        ("guardkit --help | true; echo ${PIPESTATUS[0]}", 0),
        ("guardkit journal export --help | true; echo ${PIPESTATUS[0]}", 0),
        ("guardkit --version | true; echo ${PIPESTATUS[0]}", 0),
        ("guardkit schema | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}", 0),
        ("guardkit operators | true; echo ${PIPESTATUS[0]}", 0),
        ("guardkit operators --json | true; echo ${PIPESTATUS[0]}", 0),
        ("guardkit verify nothing --json | true; echo ${PIPESTATUS[0]}", 2),  # a failure stays one
        ("guardkit verify nothing 2>&1 | true; echo ${PIPESTATUS[0]}", 2),
        ("guardkit nothing --json 2>&1 | true; echo ${PIPESTATUS[0]}", 2),
        ("guardkit operators >&-; echo $?", 0),
        ("guardkit operators >&- 2>&- <&-; echo $?", 0),
        ("guardkit verify nothing 2>&-; echo $?", 2),
        ("guardkit verify nothing --json >&- <&-; echo $?", 2),
        ("guardkit verify nothing 2>/dev/full; echo $?", 2),
        ("guardkit --help >/dev/full; echo $?", 3),
        ("guardkit operators --json >/dev/full; echo $?", 3),
    ],
)
def test_nobody_reads(line: str, code: int, tmp_path: Path) -> None:
    out, err = shell(line, tmp_path)
    assert out.split()[-1] == str(code), (out, err)
    assert "Traceback" not in err and "Exception ignored" not in err


def test_a_run_goes_on_when_nobody_reads_its_progress(tmp_path: Path) -> None:
    """It was given up at the first line of progress, and reported that it was done."""
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"id": "r{i}", "prompt": "How long do eggs keep, {i}?"}}\n' for i in range(5)))
    (tmp_path / "r.yaml").write_text(RECIPE)
    out, err = shell(
        "guardkit run r.yaml --output out 2>&1 | true; echo ${PIPESTATUS[0]}; ls out/all/manifest.json out/summary.json | wc -l", tmp_path
    )
    assert out.split() == ["0", "2"], (out, err)
    out, _ = shell("guardkit run r.yaml --output closed >&- 2>&- <&-; echo $?; ls closed/all/manifest.json closed/summary.json | wc -l", tmp_path)
    assert out.split() == ["0", "2"], out


RECIPE = """recipe: r
seed: 1
steps:
  - {id: rd, use: read, with: {files: [rows.jsonl], columns: {id: id, prompt: prompt}}}
  - {id: all, use: select, with: {where: {prompt: not_null}}}
"""
