"""The four tasks find what was planted, on a small corpus. Nothing here looks at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

HERE = Path(__file__).parent
TASKS = ("parse", "dedup", "decontam", "export")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bench = Path(os.environ.get("GUARDKIT_BENCH", HERE.parent.parent.parent / "shared" / "bench"))
    if not (bench / "gen.py").is_file():
        pytest.skip("needs the shared bench folder: set GUARDKIT_BENCH")
    folder = tmp_path_factory.mktemp("corpus")
    subprocess.run([sys.executable, bench / "gen.py", "--out", folder, "--only", "corpus", "--rows", "3000"], check=True)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_what_was_planted_is_found_and_nothing_else(task: str, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, HERE / "data_tasks.py", task, corpus / "corpus.jsonl", corpus / "benchmark.jsonl", out, "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    truth = json.loads((corpus / "truth.json").read_text())
    planted = {"parse": truth["invalid"], "decontam": truth["contaminated"], "dedup": truth["exact"] + truth["near"], "export": []}[task]
    kept = {int(i) for path in out.glob("*.parquet") for i in pl.read_parquet(path)["id"]}
    gone = set(range(truth["rows"])) - kept
    assert gone <= set(planted)
    missed = set(planted) - gone
    assert not missed & set(truth["exact"]) or task != "dedup"
    assert len(missed) <= (len(truth["near"]) // 20 if task == "dedup" else 0)
    manifest = json.loads((tmp_path / "out.run" / task / "kept" / "manifest.json").read_text())
    assert manifest["counts"][0]["in"] == truth["rows"]
    rejects = pl.read_parquet(tmp_path / "out.run" / task / "kept" / "rejects.parquet")
    assert {int(i) for i in rejects["id"]} == gone and rejects["reason"].null_count() == 0
