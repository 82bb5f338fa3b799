"""Rows of one text whose labels differ, and what becomes of them.

Two labels of a task conflict when both are there and differ; a missing one conflicts with nothing. All of this depends on the rows of a cluster and
their order alone, and the order is the caller's: the rule by which rows are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

Policy = Literal["reject", "first", "majority", "keep"]


def decide(rows: pl.DataFrame, labels: Sequence[str], policy: Policy) -> pl.DataFrame:
    """What becomes of each row.

    Args:
        rows: `cluster` and the columns `labels`; within a cluster the first row is the one to keep.
        labels: columns whose values conflict when they differ.
        policy: see `DeduplicateConfig.conflicts`.

    Returns:
        The rows, in order, with `at` (place), `torn` (bit k: the cluster's rows differ in label k), `fate` (keep, merge, reject) and `survivor`
        (place; a row that is kept is its own; null where the row is rejected).
    """
    rows = rows.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("at"), torn(labels, "cluster").alias("torn"))
    rows = _in_play(rows, labels, policy)
    rows = rows.with_columns(pl.when("_play").then("at").min().over("cluster").alias("survivor"))
    fate = (
        pl.when((pl.col("torn") > 0) & pl.lit(policy == "keep"))
        .then(pl.lit("keep"))
        .when(~pl.col("_play"))
        .then(pl.lit("reject"))
        .when(pl.col("at") == pl.col("survivor"))
        .then(pl.lit("keep"))
        .otherwise(pl.lit("merge"))
    )
    rows = rows.with_columns(fate.alias("fate"))
    own = pl.when(pl.col("fate") == "keep").then("at").when(pl.col("fate") == "merge").then("survivor")
    return rows.with_columns(own.alias("survivor")).drop("_play")


def torn(labels: Sequence[str], by: str) -> pl.Expr:
    """Bit k for each row of a cluster whose rows differ in label k."""
    bits = [pl.when(pl.col(c).drop_nulls().n_unique().over(by) > 1).then(1 << k).otherwise(0) for k, c in enumerate(labels)]
    return pl.sum_horizontal(*bits, pl.lit(0)).cast(pl.Int64)


def differ(one: pl.DataFrame, other: pl.DataFrame, labels: Sequence[str]) -> pl.Series:
    """Whether the labels of two rows conflict, for each pair of rows at the same place."""
    out = pl.zeros(one.height, dtype=pl.Boolean, eager=True)
    for c in labels:
        out = out | (one[c] != other[c]).fill_null(False)
    return out


def names(bits: pl.Series, tasks: Sequence[str]) -> pl.Series:
    """The tasks of each row's bits as a list; null where there are none."""
    names_of = {n: [t for k, t in enumerate(tasks) if n >> k & 1] or None for n in bits.unique()}
    return pl.Series(bits.name, [names_of[n] for n in bits], dtype=pl.List(pl.String))


def _in_play(rows: pl.DataFrame, labels: Sequence[str], policy: Policy) -> pl.DataFrame:
    """The rows with `_play`: whether a row may survive or be merged. The others are rejected."""
    calm = pl.col("torn") == 0
    if policy == "keep" or not labels:
        return rows.with_columns(pl.lit(True).alias("_play"))
    if policy == "reject":
        return rows.with_columns(calm.alias("_play"))
    if policy == "first":
        wanted = {c: pl.col(c).first().over("cluster") for c in labels}
        agrees = pl.all_horizontal(_agree(pl.col(c), w) for c, w in wanted.items())
        return rows.with_columns((calm | agrees).alias("_play"))
    # majority: on each task the label that most of the cluster's labels say, if only one is voted for that often
    votes = {c: pl.when(pl.col(c).is_not_null()).then(pl.len().over("cluster", c)).alias(f"_votes_{c}") for c in labels}
    rows = rows.with_columns(votes.values())
    top = {c: pl.when(pl.col(f"_votes_{c}") == pl.col(f"_votes_{c}").max().over("cluster")).then(pl.col(c)).alias(f"_top_{c}") for c in labels}
    rows = rows.with_columns(top.values())
    clear = pl.all_horizontal(pl.col(f"_top_{c}").drop_nulls().n_unique().over("cluster") <= 1 for c in labels)
    agrees = pl.all_horizontal(_agree(pl.col(c), pl.col(f"_top_{c}").drop_nulls().first().over("cluster")) for c in labels)
    return rows.with_columns((calm | (clear & agrees)).alias("_play")).drop(f"_{k}_{c}" for c in labels for k in ("votes", "top"))


def _agree(label: pl.Expr, wanted: pl.Expr) -> pl.Expr:
    return label.is_null() | wanted.is_null() | (label == wanted)
