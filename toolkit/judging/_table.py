"""The table that all comparison reads: a line for each row, guard, draw and task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.evaluation import baselines, score_counts, tally
from toolkit.guards import Guard, check_reading, unknown_label
from toolkit.judging._verdict import Verdict

TABLE = {
    "id": pl.String(),
    "guard": pl.String(),
    "draw": pl.Int64(),
    "task": pl.String(),
    "gold": pl.String(),
    "verdict": pl.String(),
    "unread": pl.String(),
}
"""Its columns: `gold` is the row's label, null where it has none; of `verdict` and `unread`, why none was read, exactly one is null."""
NOT_THERE, UNREAD = "not_there", "unread"
"""Why a verdict is missing: the guard has no generation for the row; the records do not say."""


def row_table(verdicts: Iterable[Verdict], guard: Guard) -> pl.DataFrame:
    """The table of verdicts."""
    lines = [(v.id, v.guard, v.draw, t, v.gold.get(t), v.labels[t], v.unread[t]) for v in verdicts for t in guard.task_names]
    return pl.DataFrame(lines, schema=TABLE, orient="row")


def records_table(rows: pl.DataFrame, guard: Guard, asked: pl.DataFrame | None = None) -> pl.DataFrame:
    """The table of one draw of each guard, from records of the kind ``verdict``; see `records_parts`."""
    return pl.concat([pl.DataFrame(schema=TABLE), *records_parts(rows, guard, asked)])


def records_parts(rows: pl.DataFrame, guard: Guard, asked: pl.DataFrame | None = None) -> Iterator[pl.DataFrame]:
    """The parts of that table one after the other, one for each guard and task: of many rows the whole is large.

    Args:
        rows: `parent`, `guard_model`, ``verdict_<task>`` and, without `asked`, ``label_<task>``; `draw` and ``unread_<task>`` where there are any.
        guard: the definition.
        asked: the rows that every guard was asked about, `id` and ``label_<task>``: one that a guard has no record of is in the table, unread.
            By default all that any guard has a record of.
    """
    labels = [f"label_{t}" for t in guard.task_names]
    if asked is None:
        asked = rows.unique("parent", keep="first", maintain_order=True).select(pl.col("parent").alias("id"), *labels)
    for name in rows["guard_model"].unique(maintain_order=True):
        own = rows.filter(pl.col("guard_model") == name).with_columns(_there=True).drop(*labels, "id", strict=False)
        mine = asked.select("id", *labels).join(own, left_on="id", right_on="parent", how="left", maintain_order="left")
        for task in guard.task_names:
            verdict = pl.col(f"verdict_{task}")
            why = pl.col(f"unread_{task}") if f"unread_{task}" in mine.columns else pl.lit(None, pl.String)
            unread = pl.when(pl.col("_there").is_null()).then(pl.lit(NOT_THERE)).when(verdict.is_null()).then(pl.coalesce(why, pl.lit(UNREAD)))
            yield mine.select(
                "id",
                guard=pl.lit(name, pl.String),
                draw=pl.col("draw").fill_null(0) if "draw" in mine.columns else pl.lit(0, pl.Int64),
                task=pl.lit(task),
                gold=pl.col(f"label_{task}"),
                verdict=verdict,
                unread=unread.otherwise(pl.lit(None, pl.String)),
            )


def with_reading(table: pl.DataFrame, guard: Guard, reading: str) -> pl.DataFrame:
    """The table with gold and verdict as one of the guard's readings takes them.

    Raises:
        InputError: the guard has no such reading.
    """
    check_reading(guard, reading)
    for task in guard.tasks:
        if stands_for := task.readings.get(reading):
            table = table.with_columns(
                pl.when(pl.col("task") == task.name).then(pl.col(c).replace(stands_for)).otherwise(pl.col(c)).alias(c) for c in ("gold", "verdict")
            )
    return table


def score_table(table: pl.DataFrame | Iterable[pl.DataFrame], guard: Guard, names: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Accuracy and F1 of each guard on each task that has gold labels, beside a constant answer.

    What was not read counts once, as wrong; a line without gold does not count.

    Args:
        table: with the draws that are to count, whole or in parts.
        guard: the definition.
        names: what to call a guard.

    Raises:
        InputError: a gold label that is none of its task's, which would count as the other side.
    """
    cells: dict[str, dict[str, Counter[tuple[str, str | None]]]] = {t: {} for t in guard.task_names}
    guards: dict[str, None] = {}
    for part in [table] if isinstance(table, pl.DataFrame) else table:
        guards |= dict.fromkeys(part["guard"].unique(maintain_order=True))
        known = part.filter(pl.col("gold").is_not_null())
        for task, name, gold, verdict, n in known.group_by("task", "guard", "gold", "verdict", maintain_order=True).len().iter_rows():
            if gold not in (words := guard.task(task).labels):
                raise InputError(unknown_label(gold, words), where=f"gold of the task {task!r}", hint="write the guard's own labels")
            cells[task].setdefault(name, Counter())[gold, verdict] += n
    out: list[dict[str, Any]] = []
    for task in guard.tasks:
        if not (mine := cells[task.name]):
            continue
        for name in guards:
            scored = score_counts(tally(((*cell, n) for cell, n in mine.get(name, {}).items()), task.positive))
            out.append({"task": task.name, "guard": (names or {}).get(name, name), **scored.as_dict()})
        labels: Counter[str] = Counter()
        for (gold, _), n in next(iter(mine.values())).items():
            labels[gold] += n
        negative = next((label for label, _ in labels.most_common() if label != task.positive), task.labels[0])
        out += [{"task": task.name, "guard": title, **s.as_dict()} for title, s in baselines(labels.elements(), task.positive, negative).items()]
    return out
