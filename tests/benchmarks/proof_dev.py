"""Hyper-parameters of the proof, chosen on the part `dev` of its data: a stated grid, tried with the guards of two seeds.

What is best on the mean over those seeds is written to a file beside the runs, is kept in the repository (`proof_kept`), and is not chosen again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from proof_runs import rows_of

SEEDS = (1, 2)
"""Those whose R-SFT guards and pairs are tried with."""
GRID: Mapping[str, Mapping[str, float]] = {
    "dpo-1": {"learning_rate": 3e-5, "beta": 0.01},
    "dpo-2": {"learning_rate": 1e-4, "beta": 0.01},
    "dpo-3": {"learning_rate": 3e-4, "beta": 0.01},
    "dpo-4": {"learning_rate": 3e-5, "beta": 0.1},
    "dpo-5": {"learning_rate": 1e-4, "beta": 0.1},
    "dpo-6": {"learning_rate": 3e-4, "beta": 0.1},
    "sft-1": {"learning_rate": 3e-5},
    "sft-2": {"learning_rate": 1e-4},
    "sft-3": {"learning_rate": 3e-4},
}
"""Trainer options of each step `try-…` of proof/arms: HS-DPO of the ensemble's pairs, and SFT continued on what they chose."""
PLAIN = {"dpo": "dpo-2", "sft": "sft-2"}
"""What the quickstart has; it stays where nothing is better."""


def overrides() -> list[str]:
    """Of a run of proof/arms that tries all of them."""
    return [f"try-{name}.trainer.{option}={value}" for name, options in GRID.items() for option, value in options.items()]


def choose(folder: Path, runs: Sequence[Path]) -> dict[str, Any]:
    """What was tried and what is best, written to ``<folder>/chosen.json``.

    Args:
        folder: of the proof.
        runs: those of `SEEDS`, finished.

    Returns:
        ``dpo``, ``sft``: the name of the best try of each; ``right``: by try, and of R-SFT as `none`, the share of right answers on each seed; ``rows``.
    """
    dev = rows_of(folder / "data", "dev").select(pl.col("id").alias("parent"), "label_prompt")
    right = {name: [_share(run, f"scored-{name}", dev) for run in runs] for name in GRID}
    best = {kind: max((n for n in GRID if n.startswith(kind)), key=lambda n: (round(sum(right[n]), 9), n == PLAIN[kind])) for kind in PLAIN}
    found = {**best, "right": {"none": [_share(run, "scored-sft", dev) for run in runs], **right}, "rows": len(dev)}
    (folder / "chosen.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def chosen(folder: Path, kept: Path | None = None) -> dict[str, Any] | None:
    """What `choose` wrote, if it did: what is kept in the repository, else what is in the workspace."""
    files = (place / "chosen.json" for place in (kept, folder) if place is not None)
    return next((json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()), None)


def _share(run: Path, step: str, dev: pl.DataFrame) -> float:
    joined = dev.join(rows_of(run, step).select("parent", "verdict_prompt"), on="parent", how="left")
    return float((joined["verdict_prompt"] == joined["label_prompt"]).fill_null(False).mean())  # type: ignore[arg-type]
