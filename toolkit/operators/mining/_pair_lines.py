"""What `pair` reads of verdict tables: first numbers, of all lines that are about hard rows; then the texts of those that it takes.

A line counts as the rule of `mine` counts it, by the label of its row. Memory: about 60 bytes a line that is about a hard row, as much again for its
id where outputs are drawn, and the texts that are held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.mining import OUTCOMES, WHOLE, Lines, Rule, judged_expressions, outcome, rule_outcomes
from toolkit.operators._words import check_words
from toolkit.operators.base import Context, StepInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

CHUNK = 262_144
"""Lines that are joined to the rows at once: a join hashes all ids, so that small ones would take quadratic time."""
TEXTS = 8_192
"""Texts that are handed on at once."""
_OUTCOME = pl.Enum(OUTCOMES)


@dataclass(frozen=True)
class Counting:
    """By what outputs count: the rule of `mine` and the tasks that it looked at (None: all)."""

    rule: Rule
    tasks: Sequence[str] | None = None

    @property
    def plain(self) -> bool:
        """Whether an output counts as what it is: right, wrong or unread on each task by itself, whoever wrote it."""
        return self.rule.unread == "left_out" and not self.rule.complete and self.rule.right_on == "task" and self.rule.guards.only is None

    @property
    def asks_why(self) -> bool:
        """Whether it depends on why an output could not be read."""
        return self.rule.unread != "left_out" or self.rule.complete


def line_columns(there: Collection[str], guard: Guard, counting: Counting | None, *, named: bool) -> list[str]:
    """Columns that `read_lines` needs of a verdict table with these columns."""
    words = [f"{kind}_{t}" for t in guard.task_names for kind in ("verdict", *(("unread",) if counting and counting.asks_why else ()))]
    return [*(["id"] if named else []), "parent", "guard_model", "length" if "length" in there else "output", *words]


@dataclass(frozen=True)
class Found:
    """Lines with where they stand: number of their table, and of their line in it; and how many lines there are in all."""

    lines: Lines
    table: Ints
    line: Ints
    read: int


def read_lines(
    tables: Mapping[str, StepInput], there: Mapping[str, Collection[str]], rows: pl.DataFrame, counting: Counting | None, ctx: Context, *, named: bool
) -> Found:
    """The lines of verdict tables that are about some rows.

    Args:
        tables: in columns of ``judged`` or ``verdict``, by the names of the inputs.
        there: their columns.
        rows: `id`, and ``label_<task>`` of each task.
        counting: by what outputs count.
        ctx: of the step.
        named: whether the lines' ids are needed.

    Raises:
        InputError: a verdict that is not known.
    """
    guard = ctx.guard
    labels = {f"label_{t}": f"_own_{t}" for t in guard.task_names}
    own = rows.select(
        pl.col("id").alias("parent"), pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), *(pl.col(a).alias(b) for a, b in labels.items())
    )
    parts: list[pl.DataFrame] = []
    total, read = sum(t.rows or 0 for t in tables.values()), 0
    for number, (name, source) in enumerate(tables.items()):
        columns = line_columns(there[name], guard, counting, named=named) + [c for c in ("draw",) if c in there[name]]
        made = judged_expressions(there[name], guard)
        keep = ["parent", "guard_model", "draw", "length", *(n for n in columns if n.startswith(("verdict_", "unread_"))), *(["id"] if named else [])]
        done = 0
        for chunk in _chunks(source, columns):
            check_words(chunk, guard, f"step {ctx.step}")
            about = chunk.select(made[n].alias(n) for n in keep).with_columns(pl.int_range(done, done + chunk.height, dtype=pl.Int64).alias("line"))
            about = about.join(own, on="parent", how="inner", maintain_order="left")
            parts.append(_narrow(about, guard, counting, named=named).with_columns(pl.lit(number, pl.Int64).alias("table")))
            done += chunk.height
            read += chunk.height
            ctx.progress(read, total or None, "verdicts")
    return _found(parts, guard, counting, read, named=named)


def _narrow(about: pl.DataFrame, guard: Guard, counting: Counting | None, *, named: bool) -> pl.DataFrame:
    """Lines in numbers: what each output is on each task, and what it counts as."""
    are = {t: outcome(pl.col(f"_own_{t}"), pl.col(f"verdict_{t}"), _OUTCOME) for t in guard.task_names}
    outcomes = [found.to_physical().cast(pl.UInt8).alias(f"is {t}") for t, found in are.items()]
    kept = about.select("line", "row", "guard_model", "draw", "length", *outcomes, *(["id"] if named else []))
    if counting is None or counting.plain:
        return kept
    codes = {t: kept[f"is {t}"].to_numpy() for t in guard.task_names}
    counted = rule_outcomes(about, counting.rule, guard, tasks=counting.tasks, codes=codes)
    columns = [*guard.task_names, *([WHOLE] if WHOLE in counted else [])]
    kept = kept.with_columns(pl.Series(f"as {t}", counted.get(t, codes.get(t)), dtype=pl.UInt8) for t in columns)
    only = counting.rule.guards.only
    return kept if only is None else kept.with_columns(pl.when(pl.col("guard_model").is_in(only)).then("guard_model").alias("guard_model"))


def _found(parts: Sequence[pl.DataFrame], guard: Guard, counting: Counting | None, read: int, *, named: bool) -> Found:
    import numpy as np

    found = pl.concat(parts) if parts else pl.DataFrame()
    if not found.height:
        none, words = np.zeros(0, np.int64), np.zeros((0, len(guard.task_names)), np.uint8)
        return Found(Lines(none, none, [], none, none, words, None, pl.Series([], dtype=pl.String)), none, none, read)
    guards = found["guard_model"].unique(maintain_order=True).drop_nulls().to_list()
    number = {g: i for i, g in enumerate(guards)}
    of_guard = (
        pl.when(pl.col("guard_model").is_null()).then(-1).otherwise(pl.col("guard_model").replace_strict(number, default=-1, return_dtype=pl.Int64))
    )
    numbers = found.select("line", "row", of_guard.alias("guard"), "draw", "length", "table").fill_null(0)
    line, row, of, draw, length, table = (np.asarray(numbers[n].to_numpy(), np.int64) for n in numbers.columns)
    outcomes = found.select(pl.col(f"is {t}") for t in guard.task_names).to_numpy()
    columns = [n for n in found.columns if n.startswith("as ")]
    counted = found.select(columns).to_numpy() if columns else None
    return Found(Lines(row, of, guards, draw, length, outcomes, counted, found["id"] if named else None), table, line, read)


def _chunks(source: StepInput, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    waiting: list[pl.DataFrame] = []
    height = 0
    for block in source.blocks(columns):
        waiting.append(block)
        height += block.height
        if height >= CHUNK:
            yield pl.concat(waiting)
            waiting, height = [], 0
    if waiting:
        yield pl.concat(waiting)


def places_in(outputs: StepInput, lines: Lines, ids: pl.Series) -> Ints:
    """Of each line the number of the generation's row in a step that has the outputs; -1 where it has none (the first, where it has several)."""
    import numpy as np

    rows = pl.DataFrame({"parent": ids, "row": pl.int_range(ids.len(), eager=True)})
    number = {g: i for i, g in enumerate(lines.guards)}
    parts = [pl.DataFrame(schema=dict.fromkeys(("row", "guard", "draw", "at"), pl.Int64))]
    done = 0
    for chunk in _chunks(outputs, ["parent", "guard_model", "draw"]) if number else ():
        about = chunk.with_columns(pl.int_range(done, done + chunk.height, dtype=pl.Int64).alias("at")).join(rows, on="parent", how="inner")
        of_guard = pl.col("guard_model").replace_strict(number, default=None, return_dtype=pl.Int64)
        parts.append(about.select("row", of_guard.alias("guard"), "draw", "at").drop_nulls("guard"))
        done += chunk.height
    found = pl.concat(parts).group_by("row", "guard", "draw").agg(pl.col("at").min())
    mine = pl.DataFrame({"row": lines.row, "guard": lines.guard, "draw": lines.draw})
    at = mine.join(found, on=["row", "guard", "draw"], how="left", maintain_order="left")["at"]
    return np.asarray(at.fill_null(-1).to_numpy(), np.int64)


class Outputs:
    """The texts of some lines, looked up in the steps that have them.

    Args:
        sources: the steps.
        source: of each line the number of its step.
        number: of each line its row in the step, -1 for none.
    """

    def __init__(self, sources: Sequence[StepInput], source: Ints, number: Ints) -> None:
        self._sources, self._source, self._number = sources, source, number
        self._held: list[tuple[Ints, pl.Series]] = []

    def read(self, at: Ints) -> Iterator[tuple[Ints, pl.DataFrame]]:
        """`output` and `finish` of lines, step by step in the order of its rows, some thousands at a time, each time with the places of the lines.

        Raises:
            InputError: a line has no output there, or two lines have the same.
        """
        import numpy as np

        for i, source in enumerate(self._sources):
            mine = at[self._source[at] == i]
            mine = mine[np.argsort(self._number[mine], kind="stable")]
            yield from _read(source, mine, self._number[mine])

    def hold(self, at: Ints, texts: pl.Series) -> None:
        """Keep texts that were read, for `texts`."""
        self._held.append((at, texts))

    def texts(self, at: Ints) -> pl.Series:
        """The outputs of lines; those that are not held are looked up, and held."""
        import numpy as np

        unique, back = np.unique(at, return_inverse=True)
        held = np.concatenate([np.zeros(0, np.int64), *(h[0] for h in self._held)])
        for places, block in self.read(np.setdiff1d(unique, held)):
            self.hold(places, block["output"])
        places = np.concatenate([np.zeros(0, np.int64), *(h[0] for h in self._held)])
        texts = pl.concat([pl.Series([], dtype=pl.String), *(h[1] for h in self._held)])
        by = np.argsort(places, kind="stable")
        return texts.gather(by[np.searchsorted(places[by], unique)][back])


def _read(source: StepInput, at: Ints, rows: Ints) -> Iterator[tuple[Ints, pl.DataFrame]]:
    """Texts of rows of a step, ascending, each with its place."""
    if rows.size and rows[0] < 0:
        message = f"{int((rows < 0).sum()):,} generations that would make pairs are not in the step {source.step!r}"
        raise InputError(message, hint="`outputs` is the step whose rows the verdicts were read from: same parents, guards and draws")
    if (again := rows[1:] == rows[:-1]).any():
        raise InputError(f"two verdicts are of one generation: row {int(rows[1:][again][0]):,} of the step {source.step!r}")
    waiting: list[pl.DataFrame] = []
    height = start = 0
    for block in source.take(pl.Series(rows), ["output", "finish"]) if rows.size else ():
        waiting.append(_copied(block))
        height += block.height
        if height >= TEXTS or start + height == rows.size:
            yield at[start : start + height], pl.concat(waiting)
            waiting, height, start = [], 0, start + height


def _copied(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in memory of their own: a few that are held must not keep the texts of a whole block."""
    return pl.DataFrame(pl.from_arrow(rows.to_arrow()))
