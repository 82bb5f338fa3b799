"""What `pair` reads of verdict tables: first numbers, of all lines that are about hard rows; then the texts of those that it takes.

Memory: about 40 bytes a line that is about a hard row, as much again for its id where outputs are drawn, and the texts that are held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.mining import OUTCOMES, Lines, judged_expressions
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


def line_columns(there: Collection[str], guard: Guard, *, named: bool) -> list[str]:
    """Columns that `read_lines` needs of a verdict table with these columns."""
    tasks = guard.task_names
    judged = all(f"outcome_{t}" in there for t in tasks)
    words = [f"{kind}_{t}" for t in tasks for kind in (("outcome",) if judged else ("label", "verdict"))]
    return [*(["id"] if named else []), "parent", "guard_model", "length" if "length" in there else "output", *words]


def read_lines(source: StepInput, there: Collection[str], ids: pl.Series, ctx: Context, *, named: bool) -> tuple[Lines, int]:
    """The lines of a verdict table that are about some rows, and how many lines there are in all.

    Args:
        source: the table, in columns of ``judged`` or ``verdict``.
        there: its columns.
        ids: of the rows.
        ctx: of the step.
        named: whether the lines' ids are needed.

    Raises:
        InputError: a label or outcome that is not known.
    """
    guard = ctx.guard
    columns = line_columns(there, guard, named=named) + [c for c in ("draw",) if c in there]
    made = judged_expressions(there, guard)
    keep = ["parent", "guard_model", "draw", "length", *(f"outcome_{t}" for t in guard.task_names), *(["id"] if named else [])]
    rows = pl.DataFrame({"parent": ids, "row": pl.int_range(ids.len(), eager=True)})
    empty = pl.DataFrame(schema={n: pl.Int64 if n in ("draw", "length") else pl.String for n in keep} | {"line": pl.Int64, "row": pl.Int64})
    parts, done = [empty], 0
    for chunk in _chunks(source, columns):
        check_words(chunk, guard, f"step {ctx.step}")
        about = chunk.select(made[n].alias(n) for n in keep).with_columns(pl.int_range(done, done + chunk.height).alias("line"))
        parts.append(about.join(rows, on="parent", how="inner", maintain_order="left").select(empty.columns))
        done += chunk.height
        ctx.progress(done, source.rows, "verdicts")
    return _lines(pl.concat(parts), guard, source.step, named=named), done


def _lines(found: pl.DataFrame, guard: Guard, step: str, *, named: bool) -> Lines:
    import numpy as np

    guards = found["guard_model"].unique(maintain_order=True).drop_nulls()
    number = {g: i for i, g in enumerate(guards)}
    codes = {o: i for i, o in enumerate(OUTCOMES)}
    outcomes = np.empty((found.height, len(guard.task_names)), np.uint8)
    for j, task in enumerate(guard.task_names):
        said = found[f"outcome_{task}"]
        if (strange := said.filter(~said.is_in(OUTCOMES).fill_null(False))).len():
            raise InputError(f"outcome_{task} is {strange[0]!r}: it must be one of {', '.join(OUTCOMES)}", where=f"rows of {step!r}")
        outcomes[:, j] = said.replace_strict(codes, return_dtype=pl.UInt8).to_numpy()
    of_guard = found["guard_model"].replace_strict(number, default=-1, return_dtype=pl.Int64) if number else pl.Series([], dtype=pl.Int64)
    line, row, draw, length = (found[n].fill_null(0).to_numpy().astype(np.int64) for n in ("line", "row", "draw", "length"))
    return Lines(line, row, of_guard.to_numpy(), guards.to_list(), draw, length, outcomes, found["id"] if named else None)


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
    number = dict(zip(lines.guards, range(len(lines.guards)), strict=True))
    parts = [pl.DataFrame(schema=dict.fromkeys(("row", "guard", "draw", "at"), pl.Int64))]
    done = 0
    for chunk in _chunks(outputs, ["parent", "guard_model", "draw"]):
        about = chunk.with_columns(pl.int_range(done, done + chunk.height).alias("at")).join(rows, on="parent", how="inner", maintain_order="left")
        of_guard = pl.col("guard_model").replace_strict(number, default=None, return_dtype=pl.Int64) if number else pl.lit(None, pl.Int64)
        parts.append(about.select("row", of_guard.alias("guard"), "draw", "at").drop_nulls("guard"))
        done += chunk.height
    found = pl.concat(parts).unique(["row", "guard", "draw"], keep="first", maintain_order=True)
    mine = pl.DataFrame({"row": lines.row, "guard": lines.guard, "draw": lines.draw})
    at = mine.join(found, on=["row", "guard", "draw"], how="left", maintain_order="left")["at"]
    return np.asarray(at.fill_null(-1).to_numpy(), np.int64)


class Outputs:
    """The texts of some lines, looked up in the step that has them.

    Args:
        source: the step.
        number: of each line its row in the step, -1 for none.
    """

    def __init__(self, source: StepInput, number: Ints) -> None:
        self._source, self._number = source, number
        self._held: list[tuple[Ints, pl.Series]] = []

    def read(self, at: Ints) -> Iterator[tuple[Ints, pl.DataFrame]]:
        """`output` and `finish` of lines, in the order of the step, some thousands at a time, each time with the places of the lines.

        Raises:
            InputError: a line has no output there.
        """
        import numpy as np

        rows = self._number[at]
        if rows.size and rows.min() < 0:
            message = f"{int((rows < 0).sum()):,} generations that would make pairs are not in the step {self._source.step!r}"
            raise InputError(message, hint="`outputs` is the step whose rows the verdicts were read from: same parents, guards and draws")
        by = np.argsort(rows, kind="stable")
        at, rows = at[by], rows[by]
        if (rows[1:] == rows[:-1]).any():
            raise InputError(f"verdicts of one generation twice: row {rows[:-1][rows[1:] == rows[:-1]][0]:,} of the step {self._source.step!r}")
        wanted, waiting, height, start = pl.Series(rows), [], 0, 0
        for block in _taken(self._source, wanted, ["output", "finish"]) if at.size else ():
            waiting.append(_copied(block))
            height += block.height
            if height >= TEXTS or start + height == at.size:
                yield at[start : start + height], pl.concat(waiting)
                waiting, height, start = [], 0, start + height

    def hold(self, at: Ints, texts: pl.Series) -> None:
        """Keep texts that were read, for `texts`."""
        self._held.append((at, texts))

    def texts(self, at: Ints) -> pl.Series:
        """The outputs of lines; those that are not held are looked up. Nothing is held afterwards."""
        import numpy as np

        unique, back = np.unique(at, return_inverse=True)
        held = np.concatenate([h[0] for h in self._held]) if self._held else np.zeros(0, np.int64)
        for places, block in self.read(np.setdiff1d(unique, held)):
            self.hold(places, block["output"])
        places = np.concatenate([h[0] for h in self._held]) if self._held else held
        texts = pl.concat([h[1] for h in self._held]) if self._held else pl.Series([], dtype=pl.String)
        self._held = []
        by = np.argsort(places, kind="stable")
        return texts[by[np.searchsorted(places[by], unique)][back]]


def _taken(source: StepInput, rows: pl.Series, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some rows of a step by their numbers, ascending."""
    take: Any = getattr(source, "take", None)
    if take is not None:
        yield from take(rows, columns)
        return
    start = 0
    for block in source.blocks(columns):
        low, high = rows.search_sorted(start), rows.search_sorted(start + block.height)
        if low < high:
            yield block[rows[low:high] - start]
        start += block.height


def _copied(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in memory of their own: a few that are held must not keep the texts of a whole block."""
    return pl.DataFrame(pl.from_arrow(rows.to_arrow()))
