"""How verdicts hold under changes of the input: of the rows that a guard was asked about as they are and changed, on how many its verdict flips.

A flip is a pair of verdicts that were both read and differ; the rate is that of the pairs of which both were read, with Wilson's interval. A
verdict that is read of the row and not of the changed one is no flip; it is counted beside them, and in F1 it is wrong once, as everywhere. Several
draws of a row are one verdict, that of most of them (`_policies`); at a temperature above 0 some of the flips are the
temperature's all the same. Tasks that a guard does not judge are left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.evaluation.scoring._policies import NOT_JUDGED, verdict
from toolkit.evaluation.scoring._results import Readings
from toolkit.evaluation.scoring._score import Counts, tally, wilson

if TYPE_CHECKING:
    import polars as pl

KEYS = ("benchmark", "model", "task")
CELL = ("benchmark", "model", "task", "change")


def flips(
    rows: pl.DataFrame | pl.LazyFrame, base: pl.DataFrame | pl.LazyFrame, positives: Mapping[str, str], *, readings: Readings | None = None
) -> list[dict[str, Any]]:
    """Flips of each model on each benchmark, task and change; where there are several benchmarks, also of them together (`benchmark` None).

    Args:
        rows: verdicts on changed rows: columns of `ROWS`, `parent` (id of the row that it is made of) and `change`.
        base: verdicts on the rows as they are: columns of `ROWS`.
        positives: by task, the label that F1 is of.
        readings: by model and task, labels that stand for others: {model: {task: {label: label}}}, in verdicts and gold.

    Returns:
        One dict each, in percent to two decimals, None for a figure that does not exist: benchmark, model, task, change, n (pairs), read (of which
        both were read), flips, flip_rate with flip_low and flip_high (95 %), to_positive and to_negative (flips towards the positive label, and away
        from it), newly_unread and newly_read, labelled (pairs with a gold label), f1_before and f1_after of these.

    Raises:
        InputError: a column that is not there, a changed row whose own row has no verdict of that model and task; a task without a positive label.
    """
    cells: dict[tuple[str | None, str, str, str], Counter[tuple[str | None, str | None, str | None]]] = {}
    names: dict[str, None] = {}
    for benchmark, model, task, change, gold, before, after, n in _pairs(rows, base, positives, readings or {}).iter_rows():
        if task not in positives:
            raise InputError(f"no positive label of the task {task!r} is given", hint=did_you_mean(task, positives))
        names[benchmark] = None
        for of in (benchmark, None):
            cells.setdefault((of, model, task, change), Counter())[gold, before, after] += n
    if len(names) < 2:
        cells = {cell: counts for cell, counts in cells.items() if cell[0] is not None}
    return [_figures(cell, counts, positives[cell[2]]) for cell, counts in cells.items()]


def _check(table: pl.LazyFrame, what: str, names: Sequence[str]) -> None:
    there = table.collect_schema().names()
    if lacking := next((n for n in names if n not in there), None):
        raise InputError(f"the {what} have no column {lacking!r}", hint=did_you_mean(lacking, there))


def _pairs(rows: pl.DataFrame | pl.LazyFrame, base: pl.DataFrame | pl.LazyFrame, positives: Mapping[str, str], readings: Readings) -> pl.DataFrame:
    """Number of pairs by `CELL`, gold, verdict before and after, in the order in which the cells come up."""
    import polars as pl

    columns = [*KEYS, "id", "draw", "gold", "verdict", "unread"]
    _check(base.lazy(), "verdicts on the rows as they are", columns)
    _check(rows.lazy(), "verdicts on changed rows", [*columns, "parent", "change"])
    before = _one_each(_read(base.lazy(), readings), [*KEYS, "id"], positives)
    before = before.select(*KEYS, "id", pl.col("verdict").alias("before"), pl.lit(True).alias("_there"))
    after = _one_each(_read(rows.lazy(), readings), [*KEYS, "id", "parent", "change"], positives).rename({"verdict": "after"})
    pairs = after.join(before, left_on=[*KEYS, "parent"], right_on=[*KEYS, "id"], how="left", nulls_equal=True, maintain_order="left")
    found = pairs.group_by(*CELL, "gold", "before", "after", "_there", maintain_order=True).agg(pl.len(), pl.col("parent").first()).collect()
    lost = found.filter(pl.col("_there").is_null())
    if lost.height:
        first = lost.row(0, named=True)
        message = f"{lost['len'].sum():,} changed rows have no verdict on the row as it is: {first['parent']!r}, {first['model']}, {first['task']}"
        raise InputError(message, hint="give the verdicts on the same rows")
    return found.select(*CELL, "gold", "before", "after", "len")


def _read(rows: pl.LazyFrame, readings: Readings) -> pl.LazyFrame:
    """The lines of tasks that are judged, with verdict and gold as the readings take them."""
    import polars as pl

    rows = rows.filter(pl.col("unread").ne_missing(NOT_JUDGED))
    for model, tasks in readings.items():
        for task, stands_for in tasks.items():
            mine = (pl.col("model") == model) & (pl.col("task") == task)
            rows = rows.with_columns(
                pl.when(mine).then(pl.col(c).replace(dict(stands_for))).otherwise(pl.col(c)).alias(c) for c in ("verdict", "gold")
            )
    return rows


def _one_each(rows: pl.LazyFrame, keys: Sequence[str], positives: Mapping[str, str]) -> pl.LazyFrame:
    """One line for each row: keys, gold and verdict, of several draws that of most."""
    import polars as pl

    lines = rows.select(*keys, "draw", "gold", "verdict").collect()
    if lines["draw"].n_unique() < 2:
        return lines.lazy()

    def most(line: Mapping[str, Any]) -> str | None:
        votes = Counter(line["verdict"])
        return verdict({label: n for label, n in votes.items() if label is not None}, votes[None], positives.get(line["task"], ""), "clean")[0]

    votes = lines.group_by(keys, maintain_order=True).agg(pl.col("gold").first(), pl.col("verdict"))
    majority = pl.struct("task", "verdict").map_elements(most, return_dtype=pl.String, skip_nulls=False)
    return votes.with_columns(majority.alias("verdict")).lazy()


def _figures(cell: Sequence[str | None], counts: Counter[tuple[str | None, str | None, str | None]], positive: str) -> dict[str, Any]:
    both = {pair: n for pair, n in counts.items() if pair[1] is not None and pair[2] is not None}
    turned = {(before, after): 0 for _, before, after in both if before != after}
    for (_, before, after), n in both.items():
        if before != after:
            turned[before, after] += n
    read, flipped = sum(both.values()), sum(turned.values())
    low, high = wilson(flipped, read)
    was, now = (_score(counts, which, positive) for which in (1, 2))
    return {
        **dict(zip(CELL, cell, strict=True)),
        "n": counts.total(),
        "read": read,
        "flips": flipped,
        "flip_rate": _percent(flipped / read if read else math.nan),
        "flip_low": _percent(low),
        "flip_high": _percent(high),
        "to_positive": sum(n for (_, new), n in turned.items() if new == positive),
        "to_negative": sum(n for (old, _), n in turned.items() if old == positive),
        "newly_unread": sum(n for (_, old, new), n in counts.items() if old is not None and new is None),
        "newly_read": sum(n for (_, old, new), n in counts.items() if old is None and new is not None),
        "labelled": was.n,
        "f1_before": _percent(was.f1 / 100),
        "f1_after": _percent(now.f1 / 100),
    }


def _score(counts: Counter[tuple[str | None, str | None, str | None]], which: int, positive: str) -> Counts:
    def cells() -> Iterator[tuple[str, str | None, int]]:
        for key, n in counts.items():
            if key[0] is not None:
                yield key[0], key[which], n

    return tally(cells(), positive)


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else round(100 * share, 2)
