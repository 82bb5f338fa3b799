"""The media bench runs on a few images, and all sides write the same number of rows (the bench asserts that)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PIL")


def test_all_sides_write_the_same_rows() -> None:
    bench = Path(__file__).with_name("media_bench.py")
    run = subprocess.run([sys.executable, bench, "--rows", "60", "--json"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set(json.loads(run.stdout)) == {"plain", "checked", "guardkit"}
