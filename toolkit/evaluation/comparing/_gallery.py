"""Rows that two models judge wrong, with their texts: both, only the first, only the second.

Bounded: some rows of each kind and task, taken from the benchmarks in turn and by id within each, so that the same evaluations show the same rows;
and the beginning of long texts, with how much was left out. What is counted is counted whole.
"""

from __future__ import annotations

from typing import Any

import polars as pl

BOTH, ONLY_A, ONLY_B = KINDS = ("both", "only_a", "only_b")
"""Who is wrong."""
TEXT = 2000
"""Characters of a text that are shown."""
_KEYS = ["benchmark", "task", "id"]


def gallery(rows: pl.LazyFrame, outcomes: pl.LazyFrame, a: str, b: str, shown: int) -> list[dict[str, Any]]:
    """The errors of two models on the rows that both have.

    Args:
        rows: the per-row table.
        outcomes: `row_outcomes` of it. Rows that a policy leaves out are nobody's error.
        a, b: the models.
        shown: rows of each kind and task with their texts.

    Returns:
        For each task and kind with any: `task`, `wrong` (one of `KINDS`), `a`, `b`, `rows` (how many), `benchmarks` (how many in each) and
        `shown`: for each row its benchmark, id, gold, categories, prompt, response, and `a` and `b` with their verdict, unread and output.
    """
    sides = [
        outcomes.filter((pl.col("model") == m) & (pl.col("weight") > 0)).select(
            *_KEYS, "gold", pl.col("verdict").alias(f"{s}_verdict"), pl.col("right").alias(f"{s}_right")
        )
        for s, m in (("a", a), ("b", b))
    ]
    both = sides[0].join(sides[1].drop("gold"), on=_KEYS, how="inner").filter(~pl.col("a_right") | ~pl.col("b_right"))
    wrong = (
        pl.when(~pl.col("a_right") & ~pl.col("b_right")).then(pl.lit(BOTH)).when(~pl.col("a_right")).then(pl.lit(ONLY_A)).otherwise(pl.lit(ONLY_B))
    )
    errors = both.with_columns(wrong.alias("wrong")).sort("benchmark", "id").collect(engine="streaming")
    place = pl.int_range(pl.len()).over("task", "wrong", "benchmark")
    picked = errors.with_columns(place.alias("_place")).sort("task", "_place", "benchmark").group_by("task", "wrong", maintain_order=True).head(shown)
    texts = _texts(rows, picked, a, b)
    counts = errors.group_by("task", "wrong", "benchmark", maintain_order=True).len()
    out: list[dict[str, Any]] = []
    for task in counts["task"].unique(maintain_order=True):
        for kind in KINDS:
            some = counts.filter((pl.col("task") == task) & (pl.col("wrong") == kind))
            if some.is_empty():
                continue
            here = picked.filter((pl.col("task") == task) & (pl.col("wrong") == kind))
            lines = [_shown(line, texts, a, b) for line in here.iter_rows(named=True)]
            benchmarks = dict(some.select("benchmark", "len").iter_rows())
            out.append({"task": task, "wrong": kind, "a": a, "b": b, "rows": sum(benchmarks.values()), "benchmarks": benchmarks, "shown": lines})
    return out


def _texts(rows: pl.LazyFrame, picked: pl.DataFrame, a: str, b: str) -> dict[tuple[str, str, str, str], list[dict[str, Any]]]:
    """The lines of the picked rows, by benchmark, task, id and model."""
    mine = rows.filter(pl.col("model").is_in([a, b])).join(picked.lazy().select(_KEYS).unique(), on=_KEYS, how="semi")
    out: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    columns = ["draw", "verdict", "unread", "categories", "prompt", "response", "output"]
    for line in mine.select(*_KEYS, "model", *columns).sort("draw").collect(engine="streaming").iter_rows(named=True):
        out.setdefault((line["benchmark"], line["task"], line["id"], line["model"]), []).append(line)
    return out


def _shown(line: dict[str, Any], texts: dict[tuple[str, str, str, str], list[dict[str, Any]]], a: str, b: str) -> dict[str, Any]:
    key = (line["benchmark"], line["task"], line["id"])
    out: dict[str, Any] = {"benchmark": line["benchmark"], "id": line["id"], "gold": line["gold"]}
    first = next((of[0] for m in (a, b) if (of := texts.get((*key, m)))), {})
    out |= {"categories": first.get("categories"), "prompt": _cut(first.get("prompt")), "response": _cut(first.get("response"))}
    for side, model in (("a", a), ("b", b)):
        draws = texts.get((*key, model), [])
        # of several draws, one that says what the row counts as, if there is one
        one = next((d for d in draws if d["verdict"] == line[f"{side}_verdict"]), draws[0] if draws else {})
        unread = one.get("unread") if line[f"{side}_verdict"] is None or one.get("verdict") is None else None
        out[side] = {"verdict": line[f"{side}_verdict"], "unread": unread, "output": _cut(one.get("output"))}
    return out


def _cut(text: str | None) -> str | None:
    """A text's beginning, with what was left out."""
    if text is None or len(text) <= TEXT:
        return text
    return f"{text[:TEXT]}… ({len(text) - TEXT:,} more characters)"
