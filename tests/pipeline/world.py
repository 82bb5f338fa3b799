"""A small world for the pipeline: a folder with a recipe, a source of mild seeds and the stub operators of ``plugin/``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from toolkit.common.files import tree_digests
from toolkit.pipeline import Plan, Progress, Run, load_recipe, make_plan, run_plan

PLUGIN = Path(__file__).parent / "plugin"

SOURCE = """
name: tiny
version: 1
description: Seeds made by a test.
licence: CC0-1.0
obtain: a test writes them
columns: {prompt: prompt, response: response}
labels:
  prompt: {column: label_prompt, map: {harmful: harmful, unharmful: unharmful}, source: written, missing: absent}
  refusal: {column: label_refusal, map: {refusal: refusal, compliance: compliance}, source: written, missing: absent}
  response: {column: label_response, map: {harmful: harmful, unharmful: unharmful}, source: written, missing: absent}
"""

LOAD = {"id": "seeds", "use": "load", "with": {"source": "tiny.yaml", "files": ["seeds.jsonl"], "max_rejected": 1}}


def seed(i: int, prompt: str | None = None) -> dict[str, Any]:
    return {
        "prompt": prompt or f"Question number {i} about gardens, please",
        "response": f"Here is what I know about garden {i}.",
        "label_prompt": "unharmful",
        "label_refusal": "compliance",
        "label_response": "unharmful",
    }


class World:
    """The folder of a recipe, and runs of it."""

    def __init__(self, folder: Path, rows: int = 24) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tiny.yaml").write_text(SOURCE)
        self.seeds([seed(i) for i in range(rows)])

    def seeds(self, rows: Sequence[dict[str, Any]]) -> None:
        (self.folder / "seeds.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    def recipe(self, *steps: dict[str, Any], load: bool = True, **top: Any) -> Path:
        whole = {"recipe": "tiny", "seed": 5, **top, "steps": [*([LOAD] if load else []), *steps]}
        return self.text(yaml.safe_dump(whole, sort_keys=False))

    def text(self, text: str) -> Path:
        path = self.folder / "recipe.yaml"
        path.write_text(text)
        return path

    def plan(self, *overrides: str) -> Plan:
        return make_plan(load_recipe(self.folder / "recipe.yaml", overrides))

    def run(self, *overrides: str, output: str = "out", block_rows: int = 8192, force: bool = False, progress: Progress | None = None) -> Run:
        return run_plan(self.plan(*overrides), output=self.folder / output, block_rows=block_rows, progress=progress, force=force)

    def built(self, *overrides: str, **options: Any) -> set[str]:
        """Ids of the steps that a run builds; it must reuse all others."""
        run = self.run(*overrides, **options)
        assert {*run.built, *run.reused} == set(self.plan(*overrides).steps) and not {*run.built} & {*run.reused}
        return set(run.built)

    def cli(self, *arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """The command, in a process of its own."""
        return subprocess.run(command(*arguments), env=environment(**env), cwd=cwd or self.folder, capture_output=True, text=True, timeout=120)

    def calls(self) -> Counter[str]:
        """How often each request was asked."""
        path = self.folder / "calls.log"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def script(self, name: str, value: Any) -> None:
        """Set `faults.json`, `pace` or `luck`."""
        (self.folder / name).write_text(value if isinstance(value, str) else json.dumps(value))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from toolkit.cli import main; main()", *arguments]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(PLUGIN), str(PLUGIN.parents[2])]), "PYTHONUTF8": "1", **more}


def rows(run: Run, step: str, file: str = "rows/rows.parquet") -> list[dict[str, Any]]:
    return pq.read_table(run.folder / step / file).to_pylist()  # type: ignore[no-any-return]


def rejects(run: Run, step: str) -> list[dict[str, Any]]:
    return rows(run, step, "rejects.parquet")


def counts(run: Run, step: str) -> dict[str, Any]:
    """Counts of a step, wherever they stand."""
    found = [c for s in run.steps.values() for c in s.manifest["counts"] if c["step"] == step]
    assert len(found) == 1
    return found[0]  # type: ignore[no-any-return]


def steps_of(folder: Path) -> dict[str, dict[str, str]]:
    """Every finished step's files with their digests; nothing else may be in a run's folder."""
    known = {"events.jsonl", "recipe.yaml", "run.json", "summary.json", ".guardkit.lock"}
    assert {p.name for p in folder.iterdir() if not p.is_dir()} <= known
    out = {p.name: tree_digests(p) for p in folder.iterdir() if p.is_dir()}
    assert all("manifest.json" in files for files in out.values()), "a half-written step"
    return out
