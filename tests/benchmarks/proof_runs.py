"""The proof's finished runs, read."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

import toolkit


def answers(folder: Path, base: str, leaf: str = "arms") -> dict[str, dict[int, pl.DataFrame]]:
    """By arm and seed what is finished: a line for each test row, without a verdict where the guard was not able to take it (a prompt too long for it, say).
    The base model as it is has the seed 0."""
    found: dict[str, dict[int, pl.DataFrame]] = defaultdict(dict)
    runs = [
        (run, end) for run in sorted(folder.glob(f"{base}-*/{leaf}")) if re.fullmatch(r"\d+|base", end := run.parent.name.removeprefix(f"{base}-"))
    ]
    if not runs:
        return found
    rows = asked(folder)
    for run, end in runs:
        for step in sorted(run.glob("judged-*")):
            verdicts = rows_of(run, step.name).select("parent", "verdict_prompt", "verdict_refusal")
            found[step.name.removeprefix("judged-")][0 if end == "base" else int(end)] = rows.join(
                verdicts, on="parent", how="left", maintain_order="left"
            )
    return found


def asked(folder: Path) -> pl.DataFrame:
    """The test rows: `parent` (their id), `tested_on`, ``label_<task>``."""
    columns = [pl.col("id").alias("parent"), pl.col("label_prompt"), pl.col("label_refusal")]
    parts = {"own": "own-test", "others": "other-test"}
    return pl.concat([rows_of(folder / "data", step).select(*columns, tested_on=pl.lit(name)) for name, step in parts.items()])


def rows_of(run: Path, step: str) -> pl.DataFrame:
    """The rows of a finished step."""
    return pl.concat(map(as_frame, toolkit.read_run(run)[step].blocks()))


def as_frame(block: Any) -> pl.DataFrame:
    """A block of a step's rows."""
    return block if isinstance(block, pl.DataFrame) else pl.DataFrame(pl.from_arrow(block))


def built(run: Path) -> Mapping[str, float]:
    """Seconds that each step of a run took when it was last built."""
    out = {}
    for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event.get("event") == "built":
            out[event["step"]] = float(event["seconds"])
    return out
