"""Comparing the rows of two runs, or of two folders of shards: which are added, gone, changed, and why.

Rows are compared by id, over the columns that both sides have; a row is changed when a value of one differs. Ids and 64-bit hashes are held for all
rows (about 60 bytes each), for those that differ also the differences; texts only for the rows that are shown. Rows of one id are paired in
their order. Equal folders give equal output, whatever machine compared them.

Why a row is missing on a side is looked up there, in this order: it left a step that the compared one depends on (its line in the rejects: step,
outcome, reason, detail, survivor); it is in an earlier step and nothing of its id came after (`not_made`: a step that draws, samples or pairs made
other children); the row that it is a child of is missing (`parent`: with the parent's own why); no step has seen it (`not_in_sources`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from toolkit.pipeline._diff_side import Side

AT_ONCE = 200_000
"""Changed rows that are looked at in one pass over the columns."""
WHY = {"step": pl.String, "outcome": pl.String, "reason": pl.String, "detail": pl.String, "survivor": pl.String}
VALUES = ("categories", "source", "split", "licence")
"""Columns by whose values rows that came or went are counted, beside labels."""
MOST_VALUES = 1000
"""Values of such a column: one with more holds no names."""
Filter = Callable[[pl.DataFrame], pl.DataFrame]


def row_hashes(blocks: Iterable[pl.DataFrame], columns: Sequence[str], *, each: bool = False) -> pl.DataFrame:
    """``id``, ``nth`` (which row of that id), ``place``, and a hash over `columns` (`each`: one for each column, under its name).

    Hashes are polars's own: equal in one process, and never stored.
    """
    parts = [pl.DataFrame(schema={"id": pl.String, **(dict.fromkeys(columns, pl.UInt64) if each else {"hash": pl.UInt64})})]
    for block in blocks:
        one = [(pl.struct(c).struct.json_encode() if block.schema[c].is_nested() else pl.col(c)).hash().alias(c) for c in columns]
        hashed = block.select(pl.col("id").alias("_id"), *one)
        parts.append(hashed.select(pl.col("_id").alias("id"), *(columns if each else [pl.struct(columns).hash().alias("hash")])))
    rows = pl.concat(parts).with_row_index("place")
    return rows.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).over("id").alias("nth"))


@dataclass(frozen=True)
class Compared:
    """`same`: number of rows; `gone`, `added`, `changed`: `id` and `nth`, in the order of the side that has them (changed: of the first)."""

    same: int
    gone: pl.DataFrame
    added: pl.DataFrame
    changed: pl.DataFrame


def compare(a: Side, b: Side, step: str) -> Compared:
    """The rows of a step on both sides."""
    columns = shared(a, b, step)
    left, right = (row_hashes(side.blocks(step, _with_id(columns)), columns) for side in (a, b))
    on = ["id", "nth"]
    gone = left.join(right, on=on, how="anti", maintain_order="left").select(on)
    added = right.join(left, on=on, how="anti", maintain_order="left").select(on)
    both = left.join(right, on=on, how="inner", maintain_order="left")
    changed = both.filter(pl.col("hash") != pl.col("hash_right")).select(on)
    return Compared(both.height - changed.height, gone, added, changed)


def shared(a: Side, b: Side, step: str) -> list[str]:
    """Columns of the step on both sides, in the order of `a`."""
    other = set(b.columns(step))
    return [c for c in a.columns(step) if c in other]


def _with_id(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(["id", *columns]))


def changed_columns(a: Side, b: Side, step: str, changed: pl.DataFrame) -> pl.DataFrame:
    """The changed rows with ``columns``: names of those whose values differ, with commas between."""
    columns = [c for c in shared(a, b, step) if c != "id"]
    parts = [changed.clear().with_columns(pl.lit(None, pl.String).alias("columns"))]
    for some in changed.iter_slices(AT_ONCE):
        keep = _only(some["id"])
        left, right = (row_hashes(map(keep, side.blocks(step, _with_id(columns))), columns, each=True) for side in (a, b))
        both = some.join(left, on=["id", "nth"], maintain_order="left").join(right, on=["id", "nth"], maintain_order="left", suffix="_b")
        names = [pl.when(pl.col(c) != pl.col(f"{c}_b")).then(pl.lit(c)) for c in columns]
        parts.append(both.select("id", "nth", pl.concat_str(names, separator=", ", ignore_nulls=True).alias("columns")))
    return pl.concat(parts)


def _only(ids: pl.Series) -> Filter:
    """Keeps the rows of a block that have one of these ids. By hash; one that is kept in error joins with nothing."""
    import numpy as np

    wanted = np.sort(ids.unique().hash().to_numpy())

    def keep(block: pl.DataFrame) -> pl.DataFrame:
        if not len(wanted):
            return block.clear()
        found = block["id"].hash().to_numpy()
        at = np.minimum(np.searchsorted(wanted, found), len(wanted) - 1)
        return block.filter(pl.Series(wanted[at] == found) & block["id"].is_not_null())

    return keep


def first_step(a: Side, b: Side, step: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The changed rows with ``since``: the first step, of those whose rows are on both sides, at which they differ.

    A row that no earlier step has under its id counts from the one that made it.
    """
    found = rows.with_columns(pl.lit(None, pl.String).alias("since"))
    for at in a.upstream(step):
        if at == step or at not in b.upstream(step) or "id" not in a.columns(at) or "id" not in b.columns(at) or same_rows(a, b, at):
            continue
        columns = shared(a, b, at)
        for some in found.filter(pl.col("since").is_null()).iter_slices(AT_ONCE):
            keep = _only(some["id"])
            left, right = (row_hashes(map(keep, side.blocks(at, _with_id(columns))), columns) for side in (a, b))
            differ = left.join(right, on=["id", "nth"]).filter(pl.col("hash") != pl.col("hash_right")).select("id", pl.lit(at).alias("_at"))
            found = found.join(differ.unique("id"), on="id", how="left", maintain_order="left")
            found = found.with_columns(pl.coalesce("since", "_at").alias("since")).drop("_at")
    return found.with_columns(pl.col("since").fill_null(step))


def same_rows(a: Side, b: Side, step: str) -> bool:
    """Whether the rows of a step are the same bytes on both sides, as the manifests say."""
    name = "rows/rows.parquet"
    made = [side.folders[step].manifest["files"].get(name) if step in side.folders else None for side in (a, b)]
    return made[0] is not None and made[0] == made[1]


def why_missing(side: Side, other: Side, step: str, missing: pl.DataFrame) -> pl.DataFrame:
    """Why rows that `other` has in a step are not there in `side`.

    Returns:
        `missing` with `step`, `outcome`, `reason`, `detail`, `survivor` (see the module's docstring) and ``parent``: where the why is that of the
        row that it is a child of, that row's id.
    """
    if side.manifest is not None:
        return missing.with_columns(pl.lit(None, t).alias(n) for n, t in (WHY | {"parent": pl.String}).items())
    ids = missing.select(pl.col("id").unique(maintain_order=True))
    found = _looked_up(side, step, ids["id"])
    parents = _parents(other, step, ids.join(found, on="id", how="anti")["id"])
    if parents.height:
        of_parents = _looked_up(side, step, parents["parent"].unique(maintain_order=True), here=True)
        inherited = parents.join(of_parents, left_on="parent", right_on="id", how="inner")
        found = pl.concat([found.with_columns(pl.lit(None, pl.String).alias("parent")), inherited.select("id", *WHY, "parent")])
    else:
        found = found.with_columns(pl.lit(None, pl.String).alias("parent"))
    out = missing.join(found, on="id", how="left", maintain_order="left")
    unseen = pl.col("reason").is_null()
    return out.with_columns(
        pl.when(unseen).then(pl.lit("missing")).otherwise("outcome").alias("outcome"),
        pl.when(unseen).then(pl.lit("not_in_sources")).otherwise("reason").alias("reason"),
        pl.when(unseen).then(pl.lit("no step has seen a row of this id")).otherwise("detail").alias("detail"),
    )


def _looked_up(side: Side, step: str, ids: pl.Series, *, here: bool = False) -> pl.DataFrame:
    """The why of those ids that some step of `side` has seen; `here`: be it this one, as with rows of which other copies are there."""
    keep = _only(ids)
    upstream = side.upstream(step)
    parts = [pl.DataFrame(schema={"id": pl.String, **WHY})]
    if ids.len():
        for home in side.homes(step):
            parts += [keep(block).filter(pl.col("step").is_in(upstream)).select("id", *WHY) for block in side.rejects(home)]
    left = pl.concat(parts)
    rank = pl.col("step").replace_strict(upstream, range(len(upstream)), default=len(upstream), return_dtype=pl.Int64)
    left = left.sort(rank, maintain_order=True).unique("id", keep="first", maintain_order=True)
    return pl.concat([left, _last_seen(side, step, pl.DataFrame({"id": ids}).join(left, on="id", how="anti")["id"], here=here)])


def _last_seen(side: Side, step: str, ids: pl.Series, *, here: bool) -> pl.DataFrame:
    """Those ids that an earlier step's rows have (`here`: or this one's), although no step recorded that they left."""
    seen: dict[str, pl.DataFrame] = {}
    keep = _only(ids)
    for at in side.upstream(step) if ids.len() else []:
        if (here or at != step) and "id" in side.columns(at):
            seen[at] = pl.concat([keep(block) for block in side.blocks(at, ["id"])] or [pl.DataFrame(schema={"id": pl.String})])
    parts = [pl.DataFrame(schema={"id": pl.String, "_at": pl.String})]
    parts += [rows.unique("id", maintain_order=True).with_columns(pl.lit(at).alias("_at")) for at, rows in seen.items()]
    last = pl.concat(parts).unique("id", keep="last", maintain_order=True)
    return last.select(
        "id",
        pl.lit(step).alias("step"),
        pl.lit("missing").alias("outcome"),
        pl.lit("not_made").alias("reason"),
        pl.format("a row of the step {}, of which no row of this id came here", "_at").alias("detail"),
        pl.lit(None, pl.String).alias("survivor"),
    )


def _parents(side: Side, step: str, ids: pl.Series) -> pl.DataFrame:
    """``id``, ``parent`` of those ids of a step's rows that are children of a row with another id, in the nearest step that says so."""
    parts = [pl.DataFrame(schema={"id": pl.String, "parent": pl.String})]
    keep = _only(ids)
    for at in reversed(side.upstream(step)) if ids.len() else []:
        if {"id", "parent"} <= set(side.columns(at)):
            parts += [keep(block).filter(pl.col("parent") != pl.col("id")) for block in side.blocks(at, ["id", "parent"])]
    return pl.concat(parts).unique("id", keep="first", maintain_order=True)


def rows_by_value(side: Side, step: str, rows: pl.DataFrame) -> dict[str, list[dict[str, object]]]:
    """Some rows of a step by the values of each column of `VALUES` and of its labels: ``{value, rows}``, those of most rows first.

    A row counts once in each of its categories; one without a value, or a category, as None.
    """
    there = side.columns(step)
    names = [n for n in there if n in VALUES or (n.startswith("label_") and not n.endswith("_source"))]
    if not rows.height or not names:
        return {}
    keep, wanted = _only(rows["id"]), rows.select("id", "nth")
    numbered = pl.int_range(pl.len(), dtype=pl.UInt32).over("id").alias("nth")
    found = pl.concat([keep(block) for block in side.blocks(step, _with_id(names))]).with_columns(numbered).join(wanted, on=["id", "nth"], how="semi")
    out: dict[str, list[dict[str, object]]] = {}
    for name in names:
        kind = found.schema[name]
        values = found[name].list.unique().explode(empty_as_null=True) if kind == pl.List(pl.String) else found[name]
        if values.dtype != pl.String or values.n_unique() > MOST_VALUES:
            continue
        counts = values.alias("value").value_counts(name="rows").sort("rows", "value", descending=[True, False])
        out[name] = counts.to_dicts()
    return out


def rows_by_id(side: Side, step: str, ids: pl.Series) -> dict[tuple[str, int], dict[str, object]]:
    """Whole rows of a few ids, by id and which row of that id."""
    keep = _only(ids)
    out: dict[tuple[str, int], dict[str, object]] = {}
    for block in side.blocks(step) if ids.len() else []:
        for row in keep(block).iter_rows(named=True):
            nth = sum(1 for known, _ in out if known == row["id"])
            out[row["id"], nth] = row
    return out
