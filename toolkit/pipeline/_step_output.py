"""Where a step's results go: what all outputs share, which is that they count.

There are two: a step's folder (`toolkit.pipeline._store.StepWriter`) and a caller's memory (`toolkit.pipeline._in_memory.FrameOutput`). What becomes
of a row is counted here, under its step, and given to the one that writes. A row that is not kept becomes a *line*, in the form that the output has
for it (`Lines`): a record of the rejects, or the row with its marks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.operators import Columns
from toolkit.operators.base import DETAIL, OUTCOME, REASON
from toolkit.pipeline._counts import ConservationError, Counts
from toolkit.records import load_record, to_polars

if TYPE_CHECKING:
    from toolkit.operators.base import Mark

MARKS = (OUTCOME, REASON, DETAIL)
"""Columns that carry a row's mark through an operator."""

Lines = Callable[[Counts, pl.DataFrame, "Mark", "Mark", "Mark", "Mark"], pl.DataFrame]
"""A line for each of some rows (at least one) as they came into a step, counted under that step; outcome, reason, detail and survivor as in `Output`.
A function of a module: another process finds it by its name."""


def conform(rows: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """`rows` with exactly these columns in these types.

    Raises:
        ConservationError: a column is missing, or has nulls where none may be.
    """
    if missing := [n for n in columns if n not in rows.columns]:
        raise ConservationError(f"an operator declares the column {missing[0]!r} and did not write it")
    out = rows.select(list(columns)).cast(to_polars(tuple(columns.values())))  # type: ignore[arg-type]
    for c in columns.values():
        if not c.nullable and out[c.name].null_count():
            raise ConservationError(f"the column {c.name!r} may not be null, but an operator wrote nulls")
    return out


def reject_lines(counts: Counts, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None) -> pl.DataFrame:
    """`Lines` of a step's folder: records of the rejects. The row goes in as JSON, without its marks."""
    data = [c for c in rows.columns if c not in MARKS]
    out = rows.select(
        (pl.col("id") if "id" in data else pl.lit(None, pl.String)).alias("id"),
        *_given({"outcome": outcome, "reason": reason, "detail": detail, "survivor": survivor}),
        # A row that never became a record is its text as far as that can be shown.
        (pl.col("raw") if data == ["raw"] else pl.struct(data).struct.json_encode()).alias("row"),
        pl.lit(counts.step).alias("step"),
    )
    _count(counts, out, "outcome", "reason")
    types = _reject_types()
    return out.select(list(types)).cast(types)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _reject_types() -> dict[str, Any]:
    return to_polars(load_record("reject").columns)


SURVIVOR = "_survivor"


def marked_rows(counts: Counts, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None) -> pl.DataFrame:
    """`Lines` of a caller's memory: the rows, with their marks (and ``_survivor`` where rows are merged)."""
    marks = {OUTCOME: outcome, REASON: reason, DETAIL: detail} | ({} if survivor is None else {SURVIVOR: survivor})
    out = rows.with_columns(_given(marks))
    _count(counts, out, OUTCOME, REASON)
    return out


def _given(marks: dict[str, Mark]) -> list[pl.Expr]:
    return [pl.lit(v, pl.String).alias(n) if v is None or isinstance(v, str) else v.alias(n) for n, v in marks.items()]  # type: ignore[misc]


def _count(counts: Counts, lines: pl.DataFrame, outcome: str, reason: str) -> None:
    for kind, why, n in lines.group_by(outcome, reason).len().iter_rows():
        if why is None or kind not in ("rejected", "set_aside", "merged"):
            raise ConservationError(f"the operator {counts.use!r} gave a row the outcome {kind!r} with the reason {why!r}")
        if kind == "merged":
            counts.merged += n
        else:
            getattr(counts, kind)[why] += n


class StepOutput(ABC):
    """A step's output: an `Output` for dataset operators, and what the pipeline needs beside.

    Args:
        counts: one for each step that is written here, the last being the one whose rows are kept.

    Attributes:
        lines: the form of a row that is not kept.
        asked, failed, retry: of a step that asks a model: its requests, those that failed, and those of them that the next run asks again.
        goes_on: where the next attempt goes on, in words; empty at its beginning.
        stats: figures for the manifest, `notes` those for the run's log.
    """

    lines: Lines = staticmethod(reject_lines)

    def __init__(self, counts: Sequence[Counts]) -> None:
        self._counts, self._last = counts, counts[-1]
        self._parents: set[str] = set()
        self.stats: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self.asked = self.failed = self.retry = 0
        self.goes_on: Callable[[], str] = str

    # The Output of a dataset operator -------------------------------------------------------------------------------

    def keep(self, rows: pl.DataFrame) -> None:
        self._last.kept += rows.height
        if self._last.shape == "pick":
            self._parents.update(rows["parent"])
            self._last.parents = len(self._parents)
        self.write(rows)

    def leave(self, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None) -> None:
        if rows.height:
            self.write_lines(self.lines(self._last, rows, outcome, reason, detail, survivor))

    def reject(self, rows: pl.DataFrame, reason: Mark, detail: Mark = None) -> None:
        self.leave(rows, "rejected", reason, detail)

    def set_aside(self, rows: pl.DataFrame, reason: Mark, detail: Mark = None) -> None:
        self.leave(rows, "set_aside", reason, detail)

    def merge(self, rows: pl.DataFrame, survivor: Mark) -> None:
        self.leave(rows, "merged", "merged", None, survivor)

    def merge_count(self, n: int) -> None:
        self._last.merged += n

    def use(self, n: int) -> None:
        self._last.kept += n

    def count_in(self, n: int) -> None:
        self._last.came += n

    @abstractmethod
    def folder(self, name: str) -> Path:
        """A fresh folder for an artefact."""

    def kept_folder(self) -> Path | None:
        return None

    def if_stopped(self, words: Callable[[], str]) -> None:
        self.goes_on = words

    def stat(self, name: str, value: Any) -> None:
        self.stats[name] = value

    def note(self, name: str, value: Any) -> None:
        self.notes[name] = value

    # The pipeline's side --------------------------------------------------------------------------------------------

    @abstractmethod
    def write(self, rows: pl.DataFrame) -> None:
        """Take rows that go on, and are counted."""

    @abstractmethod
    def write_lines(self, lines: pl.DataFrame) -> None:
        """Take lines of rows that do not, in their order; they are counted."""

    @abstractmethod
    def later(self, kind: str, lines: pl.DataFrame) -> None:
        """Lines of what left a stream on its way here. They come after the step's own, those of one kind together, so that their order does not
        depend on the blocks.
        """

    def check(self) -> None:
        """Whether every row is accounted for (`ConservationError`)."""
        for counts in self._counts:
            counts.check()
