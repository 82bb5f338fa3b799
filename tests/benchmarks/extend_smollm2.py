"""The recipe `extend-category` with SmolLM2-135M as base, small enough for one core: ``make extend-smollm2`` prints what it came to and writes it into
docs/extend-category.md.

A guard starts from SmolLM2-135M on some bundled seeds with the template's reasoning; then the recipe extends it, without its steps of DPO, by a few
seeds of the worked example's category. The template writes the seeds. What is finished in the folder is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from bench import CHECKOUT, conditions, table

import toolkit

PAGE = CHECKOUT / "docs" / "extend-category.md"
MARK = "<!-- made by tests/benchmarks/extend_smollm2.py -->"
BASE = "smollm2-135m"
DPO = ("samples", "verdicts", "hard", "pairs", "dpo-rows", "dpo-shards", "guard")
TRAINER = {"learning_rate": 2.0e-4, "weight_decay": 0.01, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
"""As `guardkit quickstart --base` has it for a pretrained model, with updates of four rows, for there are few."""


def guard_recipe(seeds: int, base: str | Mapping[str, Any]) -> dict[str, Any]:
    """The guard before: an SFT on bundled seeds, some of which are held out."""
    sft = {"model": base, "trainer": {**TRAINER, "num_train_epochs": 1}}
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": seeds}},
        {"id": "unique", "use": "deduplicate"},
        {"id": "parts", "use": "split", "with": {"parts": {"train": 0.8, "test": 0.2}}},
        {"id": "test-rows", "use": "select", "with": {"where": {"split": "test"}}},
        {"id": "train-rows", "use": "select", "from": "parts", "with": {"where": {"split": "train"}}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "valid", "use": "validate"},
        {"id": "sft-rows", "use": "render_sft"},
        {"id": "sft-shards", "use": "shards", "with": {"title": "Quickstart reasoning"}},
        {"id": "guard-main", "use": "train_sft", "with": sft},
    ]
    return {"recipe": "smollm2", "seed": 11, "steps": steps}


def extension(to: Path, before: Path, count: int, tokens: int) -> Path:
    """A copy of the shipped recipe, smaller and without DPO."""
    shutil.copytree(CHECKOUT / "recipes" / "extend-category", to, dirs_exist_ok=True)
    shipped: dict[str, Any] = yaml.safe_load((to / "recipe.yaml").read_text(encoding="utf-8"))
    shipped["parameters"] |= {
        "dataset": str(before / "sft-shards"),
        "base": str(before / "guard-main"),
        "known": str(before / "test-rows" / "rows" / "rows.parquet"),
    }
    shipped["steps"] = [step for step in shipped["steps"] if step["id"] not in DPO]
    step = {one["id"]: one for one in shipped["steps"]}
    step["seeds"]["with"]["count"] = {"harmful": count, "benign": count * 2 // 3, "borderline": 1}
    step["guard-sft"]["with"]["trainer"] = {**TRAINER, "learning_rate": 1.0e-4, "num_train_epochs": 2}
    step["answers"]["from"]["after"] = "guard-sft"
    for backend in (step["answers"]["with"]["backend"], step["answers"]["with"]["models"]["before"]):
        backend["max_tokens"] = tokens
    (to / "recipe.yaml").write_text(yaml.safe_dump(shipped, sort_keys=False), encoding="utf-8")
    return to / "recipe.yaml"


def words(certificate: Mapping[str, Any], seconds: float, updates: int) -> str:
    """What the page says."""
    found = [line for line in certificate["lines"] if line["area"] in ("benchmark", "refusal")]
    head = ["rows, task, figure", "rows", "before", "after", "difference", "90 % interval", "verdict"]
    rows = [
        [f"{line['name']}, {line['task']}, {'F1' if line['figure'] == 'f1' else 'false-positive rate'}", f"{line['n']:,}", f"{line['before']:.1f}",
         f"{line['after']:.1f}", f"{line['difference']:+.1f}", f"{line['low']:+.1f} to {line['high']:+.1f}", line["verdict"]]
        for line in found
    ]  # fmt: skip
    took = f"The extension took {seconds / 60:.0f} minutes and {updates} updates with {os.environ.get('OMP_NUM_THREADS', os.cpu_count())} thread(s). {conditions()}"
    return "\n\n".join([table(head, rows), f"The certificate: {certificate['words']}.", took])


def main(argv: Sequence[str] | None = None) -> int:
    """Train, extend, print, write the page."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--folder", type=Path, default=CHECKOUT / "outputs" / ".extend-smollm2")
    ap.add_argument("--seeds", type=int, default=8, help="bundled seeds of the guard before, of each of the four files")
    ap.add_argument("--count", type=int, default=6, help="harmful seeds of each form; two thirds as many benign ones")
    ap.add_argument("--tokens", type=int, default=160, help="most tokens of an answer")
    ap.add_argument("--no-page", action="store_true", help="print only")
    a = ap.parse_args(argv)
    before, after = (a.folder.absolute() / name for name in ("before", "after"))
    toolkit.run(guard_recipe(a.seeds, BASE), output=before)
    begun = time.monotonic()
    toolkit.run(extension(a.folder / "recipe", before, a.count, a.tokens), output=after)
    seconds = time.monotonic() - begun
    found = json.loads((after / "certificate" / "certificate" / "certificate.json").read_text(encoding="utf-8"))
    updates = len([p for p in (after / "guard-sft").rglob("metrics.jsonl") for _ in p.read_text(encoding="utf-8").splitlines()])
    text = words(found, seconds, updates)
    print(text)
    if not a.no_page:
        first, _, last = PAGE.read_text(encoding="utf-8").split(MARK)
        PAGE.write_text(f"{first}{MARK}\n{text}\n{MARK}{last}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
