"""A file that finds no room, written by a library: the command stops and leaves nothing half-written."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import environment

from toolkit import api


def small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_an_output_without_room_is_a_stop(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, n in (("a", 60), ("b", 0)):
        lines = [json.dumps({"id": f"{name}-{i}", "prompt": f"How do I bake bread number {i * 7919}?"}) for i in range(n)] or [
            '{"id": "z", "prompt": "Hi"}'
        ]
        Path(f"{name}.jsonl").write_text("\n".join(lines))
        Path(f"{name}.yaml").write_text(
            f"recipe: {name}\nsteps:\n  - {{id: rows, use: read, with: {{files: [{name}.jsonl], columns: {{id: id, prompt: prompt}}}}}}\n"
        )
        api.run(f"{name}.yaml", output=f"out/{name}")
    run = subprocess.run(
        [sys.executable, "-m", "toolkit", "diff", "out/a", "out/b", "--output", f"rows.{ending}"],
        env=environment(), capture_output=True, text=True, check=False, preexec_fn=small_files,
    )  # fmt: skip
    assert run.returncode == 3, run.stderr
    assert "Traceback" not in run.stderr and not list(tmp_path.glob("*rows*"))


@pytest.mark.parametrize("number", ["EIO", "EROFS"])
def test_a_disk_that_fails_is_no_bug_wherever_it_does(number: str) -> None:
    script = (
        "import errno\nfrom toolkit import cli\ndef failing():\n"
        f"    raise OSError(errno.{number}, 'the disk fails')\n"  # as reading an open file does: without the file's name
        "cli._run = failing\ncli.main()\n"
    )
    run = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 3 and "the disk fails" in run.stderr, run.stderr
    assert "Traceback" not in run.stderr and "bug" not in run.stderr
