"""The journal's benchmark runs and says what it should. Nothing here looks at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_journals_benchmark_measures_and_clears_up(tmp_path: Path) -> None:
    bench = Path(__file__).with_name("journal_bench.py")
    command = [sys.executable, str(bench), "--records", "700", "--lookups", "300", "--care", "--folder", str(tmp_path / "f")]
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert [part["to"] for part in found["inserts"]] == [140, 280, 420, 560, 700]
    assert 1_900 < found["body_bytes"] < 2_100
    assert found["bytes"] > 700 * 2_000 > found["bytes_packed"]
    assert "look up misses" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert list(tmp_path.iterdir()) == []
