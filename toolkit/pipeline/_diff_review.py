"""What a round of review changed between two runs: labels, by task and reviewer, and what became of the pairs that are made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from toolkit.pipeline._diff import same_rows
from toolkit.pipeline._diff_side import Side

_KEY = ("id", "task")
_TEXTS = (*_KEY, "label", "new_label", "reviewer")


def relabelled(a: Side, b: Side) -> list[dict[str, Any]]:
    """For each step `review` or `relabel` of `b` the labels that are others than in `a`, or were confirmed since: ``step``, ``task``, ``reviewer``
    (None: a consensus), ``label``, ``new_label`` and ``rows``, most rows first. Memory: the lines of both steps' artefacts `changes`.
    """
    out = []
    for step in b.order:
        if b.counts.get(step, {}).get("use") not in ("review", "relabel"):
            continue
        before, after = _decided(a, step), _decided(b, step)
        both = after.join(before, on=_KEY, how="full", coalesce=True, suffix="_a").with_columns(
            pl.when("decided_a").then("new_label_a").otherwise(pl.coalesce("label", "label_a")).alias("old"),  # without a decision: as it came
            pl.when("decided").then("new_label").otherwise("label_a").alias("new"),
        )
        fresh = both.filter(pl.col("old").ne_missing(pl.col("new")) | pl.col("decided_a").is_null())
        counted = (
            fresh.group_by("task", "reviewer", "old", "new")
            .len("rows")
            .sort("rows", "task", "reviewer", "old", descending=[True, False, False, False])
        )
        out += [{"step": step, **line} for line in counted.rename({"old": "label", "new": "new_label"}).to_dicts()]
    return out


def _decided(side: Side, step: str) -> pl.DataFrame:
    """By row and task the label that it came with, the one that it has after the step, and who decided last."""
    parts = [pl.DataFrame(schema=dict.fromkeys(_TEXTS, pl.String))]
    done = side.folders.get(step)
    if done is not None and "changes/changes.parquet" in done.manifest["files"]:
        for block in done.read("changes/changes.parquet"):
            applied = block.filter(pl.col("applied")) if "applied" in block.columns else block
            reviewer = pl.col("reviewer") if "reviewer" in block.columns else pl.lit(None, pl.String).alias("reviewer")
            parts.append(applied.select(*_TEXTS[:-1], reviewer))
    lines = pl.concat(parts)
    return lines.group_by(_KEY, maintain_order=True).agg(
        pl.col("label").first(), pl.col("new_label").last(), pl.col("reviewer").last(), decided=pl.lit(True)
    )


def repaired(a: Side, b: Side) -> Iterator[dict[str, Any]]:
    """For each step `pair` of both runs whose rows differ: ``step``, ``before`` and ``after`` (pairs), ``gained``, ``lost``, ``reweighted`` (pairs of
    both with another weight), and the mean weight of those that are in both, ``weight_before`` and ``weight_after`` (None: there are none).
    Memory: a hash and two numbers for each pair.
    """
    for step in b.order:
        two = [side.counts.get(step, {}).get("use") == "pair" and {"id", "weight"} <= set(side.columns(step)) for side in (a, b)]
        if not all(two) or same_rows(a, b, step):
            continue
        left, right = (_weights(side, step) for side in (a, b))
        both = left.join(right, on="id", suffix="_b")
        moved = (pl.col("weight") - pl.col("weight_b")).abs() > 1e-12
        line = {"step": step, "before": left.height, "after": right.height, "gained": right.height - both.height, "lost": left.height - both.height}
        means = [None if (mean := both[c].mean()) is None else round(float(mean), 6) for c in ("weight", "weight_b")]  # type: ignore[arg-type]
        yield line | {"reweighted": both.filter(moved).height, "weight_before": means[0], "weight_after": means[1]}


def _weights(side: Side, step: str) -> pl.DataFrame:
    blocks = [block.select(pl.col("id").hash(), "weight") for block in side.blocks(step, ["id", "weight"])]
    return pl.concat([pl.DataFrame(schema={"id": pl.UInt64, "weight": pl.Float64}), *blocks])
