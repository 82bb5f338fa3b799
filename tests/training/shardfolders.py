"""Shard folders with a few mild rows, in the layout that the shards room writes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SFT = pa.schema([("prompt", MESSAGES), ("completion", MESSAGES), ("id", pa.string()), ("source", pa.string()), ("licence", pa.string())])
DPO = pa.schema(
    [
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("weight", pa.float64()),
        ("id", pa.string()),
        ("task", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
    ]
)
TINY = {"layers": 1, "width": 32, "heads": 2, "vocab": 400, "max_length": 128}
GARDEN = ["tulips", "roses", "beans", "peas", "herbs", "ferns", "moss", "soil", "compost", "seeds"]
KITCHEN = ["bread", "soup", "pasta", "butter", "flour", "sugar", "salt", "pepper", "onions", "garlic"]


def turn(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def sft_rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Requests about a garden or a kitchen; the completion names which, in a fixed layout."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        topic, words = rng.choice([("garden", GARDEN), ("kitchen", KITCHEN)])
        text = "Name the place.\nHuman user:\n" + " ".join(rng.choices(words, k=rng.randint(2, 6))) + "\n"
        rows.append({"prompt": turn("user", text), "completion": turn("assistant", f"Answers: \nPlace: {topic}"), "id": f"row-{i}"})
    return rows


def dpo_rows(n: int, weight: float = 1.0, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs of different lengths about the same requests."""
    rng = random.Random(seed)
    rows = []
    for i, row in enumerate(sft_rows(n, seed)):
        right = row["completion"][0]["content"]
        wrong = "Answers: \nPlace: " + rng.choice(["attic", "a boat", "the far end of a quiet street"])
        rows.append({"prompt": row["prompt"], "chosen": turn("assistant", right), "rejected": turn("assistant", wrong), "weight": weight})
        rows[-1] |= {"id": f"pair-{i}", "task": "place"}
    return rows


def write(folder: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, split: str = "train") -> Path:
    """A shard folder: parquet below ``data``, a manifest beside it."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([{"source": "test", "licence": "CC0-1.0"} | dict(r) for r in rows], schema=schema)
    pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet", compression="zstd")
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "splits": {split: {"rows": len(rows)}}}))
    return folder
