"""Rows of some hundred kilobytes: memory is bounded by bytes, not by a number of rows alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROWS, LONG = 600, 400_000

RUN = """
import sys
from pathlib import Path
import toolkit

toolkit.run(sys.argv[1], output=sys.argv[2])
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10)
"""


def test_a_run_over_long_rows_needs_a_few_blocks_of_memory(tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("w", encoding="utf-8") as f:
        for i in range(ROWS):
            f.write(json.dumps({"id": f"r{i}", "prompt": f"question {i}: " + f"word{i} and more. " * (LONG // 18)}) + "\n")
    (tmp_path / "long.yaml").write_text(
        f"""
recipe: long
seed: 1
steps:
  - id: rows
    use: read
    with:
      files: [{tmp_path}/rows.jsonl]
      columns: {{id: id, prompt: prompt}}
      record: seed
      constants: {{label_prompt_source: absent, label_refusal_source: absent, label_response_source: absent}}
  - {{id: clean, use: normalise}}
  - {{id: unique, use: deduplicate}}
  - {{id: all, use: select, with: {{where: {{prompt: not_null}}}}}}
"""
    )
    done = subprocess.run([sys.executable, "-c", RUN, tmp_path / "long.yaml", tmp_path / "out"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "out/all/manifest.json").read_text())
    assert kept["rows"] == ROWS
    assert int(done.stdout) < 900, "megabytes; the texts alone are 240"
