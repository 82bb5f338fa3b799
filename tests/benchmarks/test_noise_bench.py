"""The benchmark of flipped labels runs on the released outputs, and its ranking beats chance by far."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_flipped_labels_are_found_far_above_chance(real_data: Path) -> None:
    bench = Path(__file__).with_name("noise_bench.py")
    run = subprocess.run([sys.executable, bench, "--data", real_data, "--seeds", "2", "--json"], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["rows"] == {"prompt": 698, "refusal": 449} and found["always_wrong_as_released"] == {"prompt": 35, "refusal": 18}
    at = {(x["task"], x["score"], x["at"]): x for x in found["scores"]}
    for task, k in (("prompt", 35), ("refusal", 22), ("all", 57)):
        assert at[task, "random order", "flipped"]["k"] == k
        assert abs(at[task, "random order", "flipped"]["precision"][0] - 0.05) < 0.003
    assert at["all", "noise (combined)", "flipped"]["precision"][0] > 0.4
    for score in ("always wrong", "self-confidence", "margin, adjusted", "noise (combined)"):
        assert at["all", score, "2 x flipped"]["recall"][0] > 0.7
