"""Folders of evaluations, made by hand: what each model says of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.evaluation import ROWS, Evaluation, write_evaluation

LABELS = {"prompt": ("unharmful", "harmful"), "response": ("unharmful", "harmful"), "refusal": ("compliance", "refusal")}
LABELS["declined"] = LABELS["refusal"]
ABOUT = {"declined": "refusal"}
"""What tasks of other names are about."""
Line = Mapping[str, Any]


def line(benchmark: str, row: str, task: str, gold: str | None, verdict: str | None, **more: Any) -> Line:
    """One line of the table without its model; a verdict of None is unread."""
    unread = None if verdict is not None else more.pop("unread", "field_missing")
    texts: dict[str, Any] = {"prompt": f"prompt of {row}", "response": None, "output": f"it is {verdict}", "categories": [], "draw": 0}
    return {"benchmark": benchmark, "id": row, "task": task, "gold": gold, "verdict": verdict, "unread": unread, **texts, **more}


def verdict_lines(benchmark: str, task: str, golds: str, verdicts: str, *, first: int = 0, **more: Any) -> list[Line]:
    """Lines from two strings: + is the positive label, - the other one, ? unread."""
    words = {"+": LABELS[task][1], "-": LABELS[task][0], "?": None}
    pairs = enumerate(zip(golds, verdicts, strict=True), first)
    return [line(benchmark, f"r{i:04d}", task, words[g], words[v], **more) for i, (g, v) in pairs]


def evaluated(
    folder: Path,
    models: Mapping[str, Sequence[Line]],
    *,
    about: Mapping[str, Mapping[str, Any]] | None = None,
    paper: Mapping[str, int] | None = None,
    subset: str | None = None,
    **settings: Any,
) -> Evaluation:
    """Write a folder as `guardkit evaluate` does.

    Args:
        folder: its place.
        models: by name the lines of each.
        about: more that the document says of a model.
        paper: sizes of benchmarks as the paper states them.
        subset: of all benchmarks.
        settings: of the evaluation.
    """
    lines = [{**dict.fromkeys(ROWS), **one, "model": name} for name, some in models.items() for one in some]
    rows = pl.DataFrame([{c: one[c] for c in ROWS} for one in lines], schema=ROWS, orient="row")
    of_model = {"guard": "guardreasoner", "prompt": "p", "reading": None, "readings": None, "sampling": "greedy", "model_id": None, "draws": 1}
    entries = []
    for benchmark, task in rows.select("benchmark", "task").unique(maintain_order=True).iter_rows():
        known = rows.filter((pl.col("benchmark") == benchmark) & (pl.col("task") == task) & pl.col("gold").is_not_null())
        n = known["id"].n_unique()
        counts = dict(known.unique("id")["gold"].value_counts().iter_rows())
        entry: dict[str, Any] = {"name": benchmark, "title": benchmark.title(), "task": task, "positive": LABELS[task][1], "labels": LABELS[task]}
        entry |= {"n": n, "rows": n, "rows_digest": f"digest of {n}", "whole": n, "subset": subset, "unlabelled": 0, "label_counts": counts}
        entry |= {"about": ABOUT[task]} if task in ABOUT else {}
        entries.append(entry | {"paper": (paper or {}).get(benchmark), "way": "file", "unread": {}})
    document = {
        "settings": {"policies": ["clean"], "k": "majority", "min_parse_rate": 0.0, "bootstrap": 100, "seed": 0, **settings},
        "models": [{**of_model, "name": name, **(about or {}).get(name, {})} for name in models],
        "benchmarks": entries,
        "results": [],
        "means": [],
        "remarks": [],
    }
    return write_evaluation(folder, document, rows)
