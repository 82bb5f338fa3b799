"""Rows that go from a source's files into the step that reads them, without a file in between.

A stream is one `SourceOperator` and the row steps after it; it stands for the step before the one that reads it. It may be read more than
once (`DatasetOperator.passes`) and gives the same blocks each time: their size is the source's own, so that nothing depends on the run's. What
leaves on the way is counted and written at the first whole reading. Reading and parsing go on in a thread of their own while a block is worked on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from toolkit.common.ahead import ahead
from toolkit.common.errors import InputError
from toolkit.operators import SourceOperator
from toolkit.pipeline._in_memory import picked
from toolkit.pipeline._row_engine import Engine, through
from toolkit.pipeline._row_steps import RowWork, Work
from toolkit.pipeline._step_output import StepOutput


@dataclass
class Stream:
    """A `StepInput` over a source and the row steps after it.

    Attributes:
        step: id of the last of them.
        engine: that carries the row steps.
        source: what reads.
        after: row steps in order.
        out: gets what leaves on the way.
        kept: rows of one whole reading; None before it.
    """

    step: str
    engine: Engine
    source: Work[SourceOperator]
    after: Sequence[RowWork]
    out: StepOutput
    kept: int | None = field(default=None, init=False)

    @property
    def rows(self) -> int | None:
        """Number of kept rows, once they have been read."""
        return self.kept

    @property
    def columns(self) -> Sequence[str] | None:
        """Not known before the first block."""
        return None

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The kept rows, a block of the source at a time, in order.

        Raises:
            InputError: a second reading gives other rows than the first: a file has changed.
        """
        first, n = self.kept is None, 0
        for rows in self._read(first):
            n += rows.height
            yield rows if columns is None else rows.select(list(columns))
        if first:
            self.kept = n
        elif n != self.kept:
            raise InputError(f"the files of the step {self.step!r} have changed while they were read", hint="run it again")

    def take(self, rows: pl.Series, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Some of the kept rows; all are read (InputError: as `blocks`)."""
        yield from picked(self.blocks(columns), rows)

    def _read(self, first: bool) -> Iterator[pl.DataFrame]:
        if not self.after:
            yield from self._source(first)
            return
        for block in through(self.engine, self.after, self._source(first), self.out.lines, count=first):
            if first and block.left is not None:
                self.out.later("steps", block.left)
            yield block.kept

    def _source(self, first: bool) -> Iterator[pl.DataFrame]:
        counts = self.source.counts
        for rows, gone in ahead(self.source.operator.stream(self.source.ctx)):
            if first:
                counts.came += rows.height + gone.height
                counts.kept += rows.height
                if gone.height:
                    lines = self.out.lines(counts, gone.select("raw"), gone["outcome"], gone["reason"], gone["detail"], None)
                    self.out.later("source", lines)
            yield rows

    def artefact(self, name: str) -> Path:
        """A stream makes no files."""
        raise InputError(f"the step {self.step!r} made no {name!r}")

    def digest(self) -> str:
        """Its fingerprint stands for it."""
        return "stream"
