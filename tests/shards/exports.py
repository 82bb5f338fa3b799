"""Shard folders with mild rows, as the shards step writes them, to be exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.guards import Reasoning, input_fingerprint, load_guard, render_input, render_output
from toolkit.records import Column, to_polars
from toolkit.shards import ShardWriter

MESSAGES = {"list": {"struct": {"role": "string", "content": "string"}}}
GUARD = load_guard("guardreasoner")
SOURCES = ("wildguard_train", "aegis_train", "beavertails_30k_train", "toxicchat_train")
LICENCES = ("ODC-By-1.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-4.0")
ODD = 'a "quoted" word, \\n, tab\t, line\u2028 and\u2029 and\u0085, é 😀, </s> <image>, \r\n end '
PLAIN = (Column("id", "string"), Column("source", "string"), Column("licence", "string"))
LABELS = tuple(Column(n, "string", nullable=True) for t in GUARD.tasks for n in (f"label_{t.name}", f"label_{t.name}_source"))
WEIGHTS = (0.8, 1.0, 1.2, 0.93)


def interaction(i: int) -> dict[str, Any]:
    """Prompt and response number i; every third has no response."""
    return {"prompt": f"How long do eggs keep, {i}? {ODD if i % 5 == 0 else ''}", "response": None if i % 3 == 0 else f"A while, {i}.\n\nYes."}


def reasoning(i: int) -> str:
    """What a guard writes on it."""
    steps = [f"The question {i} is about eggs. {ODD if i % 7 == 0 else ''}", "Nobody minds."]
    named = {t.name: labels(i)[f"label_{t.name}"] for t in GUARD.tasks}
    return render_output(GUARD, {"prompt": Reasoning(steps, "That is that.")}, named)


def labels(i: int) -> dict[str, str | None]:
    """Of the row; some are not known."""
    there = i % 3 != 0
    return {
        "label_prompt": "harmful" if i % 2 else "unharmful",
        "label_prompt_source": "human",
        "label_refusal": "compliance" if there else None,
        "label_refusal_source": "inferred" if there else None,
        "label_response": "unharmful" if there else None,
        "label_response_source": "vote" if there else None,
    }


def turn(role: str, text: str, form: str) -> Any:
    return text if form == "text" else [{"role": role, "content": text}]


def sft(folder: Path, n: int = 25, form: str = "messages", *, labelled: bool = True, more: tuple[Column, ...] = (), **change: Any) -> Path:
    """A folder of supervised rows: train, and a fifth of them test."""
    kind = MESSAGES if form == "messages" else "string"
    columns = (
        Column("prompt", kind),
        Column("completion", kind),
        *PLAIN,
        Column("teacher", "string", nullable=True),
        *(LABELS if labelled else ()),
        *more,
    )
    rows = []
    for i in range(n):
        row = {"id": f"{i:024x}", "source": SOURCES[i % 4], "licence": LICENCES[i % 4], "teacher": "gpt-4o" if i % 2 else None}
        row |= {"prompt": turn("user", render_input(GUARD, interaction(i)), form), "completion": turn("assistant", reasoning(i), form), **labels(i)}
        rows.append(row | change)
    return write(folder, columns, rows)


def dpo(folder: Path, n: int = 25, form: str = "messages", weights: tuple[float, ...] = WEIGHTS, **change: Any) -> Path:
    """A folder of preference pairs."""
    kind = MESSAGES if form == "messages" else "string"
    columns = (
        *(Column(c, kind) for c in ("prompt", "chosen", "rejected")),
        Column("weight", "float64", nullable=True),
        *PLAIN,
        Column("task", "string"),
    )
    rows = []
    for i in range(n):
        row = {"id": f"{i:024x}", "source": SOURCES[i % 4], "licence": LICENCES[i % 4], "weight": weights[i % len(weights)], "task": "prompt"}
        row |= {"prompt": turn("user", render_input(GUARD, interaction(i)), form)}
        row |= {"chosen": turn("assistant", reasoning(i), form), "rejected": turn("assistant", reasoning(i) + "Or not.", form)}
        rows.append(row | change)
    return write(folder, columns, rows)


def write(folder: Path, columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> Path:
    frame = pl.DataFrame(rows, schema=to_polars(columns))
    writer = ShardWriter(folder, columns, 10_000 if len(rows) > 100 else 8)
    writer.write(frame.filter(pl.int_range(pl.len()) % 5 != 4), "train")
    writer.write(frame.filter(pl.int_range(pl.len()) % 5 == 4), "test")
    writer.finish({"guard": f"{GUARD.name} {GUARD.version}", "guard_fingerprint": GUARD.fingerprint, "guard_input": input_fingerprint(GUARD)})
    return folder


def lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file, split as a reader does that takes every line break of Unicode for one."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    """The rows of a split as the shards have them."""
    return pl.concat([pl.read_parquet(f) for f in sorted((folder / "data").glob(f"{split}-*"))]).to_dicts()
