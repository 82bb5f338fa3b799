"""Rows that go from a source's files into the step that reads them, without a file in between.

A stream is one `SourceOperator` and the row steps after it; it stands for the step before the one that reads it. It may be read more than
once (`DatasetOperator.passes`) and gives the same blocks each time: their size is the source's own, so that nothing hangs on the run's. What
leaves on the way is counted and written at the first whole reading. Reading and parsing go on in a thread of their own while a block is worked on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import polars as pl

from toolkit.common.errors import InputError
from toolkit.operators import Context, SourceOperator
from toolkit.pipeline._counts import Counts
from toolkit.pipeline._rows import RowStep, row_blocks
from toolkit.pipeline._store import StepWriter

T = TypeVar("T")
AHEAD = 2
"""Blocks that are read before they are asked for."""


@dataclass
class Stream:
    """A `StepInput` over a source and the row steps after it.

    Attributes:
        step: id of the last of them.
        source: the operator that reads, with its context and its counts.
        after: row steps in order.
        writer: gets what leaves on the way.
        kept: rows of one whole reading; None before it.
    """

    step: str
    source: SourceOperator
    ctx: Context
    counts: Counts
    after: Sequence[RowStep]
    writer: StepWriter
    kept: int | None = field(default=None, init=False)

    @property
    def rows(self) -> int | None:
        """Number of kept rows, once they have been read."""
        return self.kept

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The kept rows, a block of the source at a time, in order.

        Raises:
            InputError: a second reading gives other rows than the first: a file has changed.
        """
        first, n = self.kept is None, 0
        for rows, gone in self._read(first):
            if first and gone is not None:
                self.writer.later("steps", gone)
            n += rows.height
            yield rows if columns is None else rows.select(list(columns))
        if first:
            self.kept = n
        elif n != self.kept:
            raise InputError(f"the files of the step {self.step!r} have changed while they were read", hint="run it again")

    def _read(self, first: bool) -> Iterator[tuple[pl.DataFrame, pl.DataFrame | None]]:
        source = self._source(first)
        if not self.after:
            yield from ((rows, None) for rows in source)
            return
        group = [s if first else RowStep(s.operator, s.ctx, s.columns, Counts(s.counts.step, s.counts.use, s.counts.shape)) for s in self.after]
        for _, rows, left in row_blocks(group, source, self.writer):
            yield rows, left

    def _source(self, first: bool) -> Iterator[pl.DataFrame]:
        for rows, gone in ahead(self.source.stream(self.ctx)):
            if first:
                self.counts.came += rows.height + gone.height
                self.counts.kept += rows.height
                if gone.height:
                    self.writer.later(
                        "source", self.writer.lines(self.counts, gone.select("raw"), *(gone[n] for n in ("outcome", "reason", "detail")))
                    )
            yield rows

    def artefact(self, name: str) -> Path:
        """A stream makes no files."""
        raise InputError(f"the step {self.step!r} made no {name!r}")

    def digest(self) -> str:
        """Its fingerprint stands for it."""
        return "stream"


class _End(Generic[T]):
    """The last thing in the queue: the items are out, or what was raised."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterator[T], depth: int = AHEAD) -> Iterator[T]:
    """The items of an iterator that runs in a thread of its own, `depth` items ahead at most. What it raises is raised here, in its place."""
    waiting: queue.Queue[T | _End[T]] = queue.Queue(depth)
    left = threading.Event()

    def put(item: T | _End[T]) -> None:
        while not left.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item)
                if left.is_set():
                    return
            put(_End())
        except BaseException as e:  # noqa: BLE001  it is raised again in the reader's thread
            put(_End(e))

    thread = threading.Thread(target=run, name="guardkit-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        left.set()
        thread.join()
