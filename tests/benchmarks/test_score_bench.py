"""The scoring bench runs on a small table, and both sides find the same figures there (the bench asserts that)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_both_sides_find_the_same() -> None:
    bench = Path(__file__).with_name("score_bench.py")
    run = subprocess.run([sys.executable, bench, "--rows", "20000", "--turns", "1", "--json"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set(json.loads(run.stdout)) == {"plain", "checked", "guardkit"}
