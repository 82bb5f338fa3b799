"""Mild rows, and shard folders made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.common.manifests import sealed
from toolkit.records import Column, to_polars
from toolkit.shards import ShardWriter

MESSAGES = {"list": {"struct": {"role": "string", "content": "string"}}}
COLUMNS = (
    Column("id", "string"),
    Column("prompt", MESSAGES),
    Column("completion", MESSAGES),
    Column("source", "string"),
    Column("licence", "string"),
    Column("teacher", "string", nullable=True),
    Column("weight", "float64", nullable=True),
    Column("label_fresh", "string", nullable=True),
    Column("label_fresh_source", "string"),
    Column("categories", {"list": "string"}),
    Column("steps", "int64"),
    Column("step_chars", "int64"),
)


def rows(n: int, start: int = 0) -> pl.DataFrame:
    def one(i: int) -> dict[str, Any]:
        return {
            "id": f"{i:024x}",
            "prompt": [{"role": "user", "content": f"Is egg {i} fresh? " + "é" * (i % 7)}],
            "completion": [{"role": "assistant", "content": f"It floats, {i}."}],
            "source": "eggs" if i % 3 else "more_eggs",
            "licence": "CC0-1.0",
            "teacher": None if i % 2 else "template",
            "weight": [1.0, None, float("nan"), 0.8][i % 4],
            "label_fresh": ["fresh", "stale", None][i % 3],
            "label_fresh_source": ["human", "vote", "absent"][i % 3],
            "categories": [["salad"], [], ["cake", "salad"]][i % 3],
            "steps": i % 4,
            "step_chars": i % 4 * 10,
        }

    return pl.DataFrame([one(i) for i in range(start, start + n)], schema=to_polars(COLUMNS))


def make(folder: Path, splits: dict[str, pl.DataFrame], *, block: int = 100_000, per_shard: int = 50_000, about: Any = None) -> dict[str, Any]:
    writer = ShardWriter(folder, COLUMNS, per_shard)
    for split, frame in splits.items():
        for part in frame.iter_slices(block):
            writer.write(part, split)
    return writer.finish({"guard": "guardreasoner 1"} if about is None else about)


def change(folder: Path, **values: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {k: v(manifest[k]) if callable(v) else v for k, v in values.items()}
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))
