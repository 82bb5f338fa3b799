"""What was found, as tables: every row of a cluster of two and more, the reason when it leaves, and what is written on the rows that stay."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from toolkit.operators.clean._clusters import components
from toolkit.operators.clean._conflicts import names
from toolkit.operators.clean._fates import FATES, MERGE, REJECT, Fates


def describe(table: pl.DataFrame, fates: Fates, methods: Sequence[str], labels: Sequence[str]) -> pl.DataFrame:
    """All rows of clusters of two and more, cluster by cluster, in the order of preference.

    Args:
        table: in order of rank: id, place, the labels, and group where groups are joined.
        fates: of its rows.
        methods: names of the numbers in them.
        labels: columns whose values may conflict.

    Returns:
        cluster (its lowest id), id, method, similarity (both null where the row stays), fate, survivor (id), conflict (tasks), the labels,
        cluster_size, place, group.
    """
    import numpy as np

    size = np.bincount(fates.cluster, minlength=len(fates.cluster))[fates.cluster]
    at = np.flatnonzero(size > 1)
    at = at[np.argsort(fates.cluster[at], kind="stable")]
    merged, kept = fates.fate[at] == MERGE, fates.fate[at] != REJECT
    found = table[at].select("id", *labels, "place", *(["group"] if "group" in table.columns else []))
    survivor = table["id"].gather(np.maximum(fates.survivor[at], 0))
    found = found.with_columns(
        pl.Series("_cluster", fates.cluster[at]),
        pl.Series("cluster_size", size[at], dtype=pl.Int64),
        pl.Series("fate", fates.fate[at]).replace_strict(range(len(FATES)), list(FATES), return_dtype=pl.String),
        pl.Series("method", fates.method[at]).replace_strict(range(len(methods)), list(methods), default=None, return_dtype=pl.String),
        pl.Series("similarity", fates.similarity[at]),
        names(pl.Series("conflict", fates.torn[at]), [c.removeprefix("label_") for c in labels]),
        survivor.alias("survivor"),
    )
    found = found.with_columns(
        pl.col("id").min().over("_cluster").alias("cluster"),
        pl.when(pl.Series(kept)).then("survivor").alias("survivor"),
        *(pl.when(pl.Series(merged)).then(c).alias(c) for c in ("method", "similarity")),
    )
    more = ["cluster_size", "place", *(["group"] if "group" in found.columns else [])]
    return found.select("cluster", "id", "method", "similarity", "fate", "survivor", "conflict", *labels, *more)


def leaving(gone: pl.DataFrame) -> tuple[pl.Series, pl.Series, pl.Series, pl.Series]:
    """Outcome, reason, detail and survivor of rows that leave."""
    merged = pl.col("fate") == "merge"
    marks = gone.select(
        outcome=pl.when(merged).then(pl.lit("merged")).otherwise(pl.lit("rejected")),
        reason=pl.when(merged).then(pl.lit("merged")).otherwise(pl.lit("conflicting_labels")),
        detail=pl.when(merged)
        .then(pl.format("{}, similarity {}", "method", pl.col("similarity").round(4)))
        .otherwise(pl.format("rows of its cluster have other labels ({}): see the step's conflicts/", pl.col("conflict").list.join(", "))),
        survivor=pl.when(merged).then("survivor"),
    )
    return marks["outcome"], marks["reason"], marks["detail"], marks["survivor"]


def joined_groups(found: pl.DataFrame) -> pl.DataFrame:
    """The groups that clusters link to others (`group`), each with the lowest name among all that hang together (`joined`). A row without a group is
    of one that is called as its cluster.
    """
    links = found.select("cluster", pl.coalesce("group", "cluster").alias("group")).unique().filter(pl.len().over("cluster") > 1)
    groups, clusters = links.select(pl.col("group").unique().sort()), links.select(pl.col("cluster").unique().sort())
    links = links.join(groups.with_row_index("g"), on="group").join(clusters.with_row_index("c", offset=groups.height), on="cluster")
    ends = (links[n].cast(pl.Int64).to_numpy() for n in ("g", "c"))
    lowest = components(groups.height + clusters.height, *ends)[: groups.height]
    return groups.with_columns(groups["group"].gather(lowest).alias("joined"))


def known_labels(table: pl.DataFrame, fates: Fates, labels: Sequence[str]) -> pl.DataFrame:
    """For the kept rows (`place`) of repeated texts the first label of each task that they or the rows merged into them have, with its source."""
    rows = table.with_columns(pl.Series("_owner", fates.survivor)).filter(pl.Series(fates.fate != REJECT) & (pl.len().over("text") > 1))
    known = [pl.col(n).filter(pl.col(c).is_not_null()).first().alias(n) for c in labels for n in (c, f"{c}_source")]
    filled = rows.group_by("_owner", maintain_order=True).agg(known)
    return filled.select(table["place"].gather(filled["_owner"]), pl.all().exclude("_owner"))


def fill(rows: pl.DataFrame, found: pl.DataFrame, labels: Sequence[str]) -> list[pl.Series]:
    """The labels that rows lack out of those found for them (the same columns, row by row), each with its source."""
    out = []
    for label in labels:
        lacks = rows[label].is_null() & found[label].is_not_null()
        out += [found[n].zip_with(lacks, rows[n]).alias(n) for n in (label, f"{label}_source")]
    return out
