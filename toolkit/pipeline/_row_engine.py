"""The engine seam: where blocks of rows are put through row steps.

An engine is handed a group of row steps and the blocks that come, and gives what became of each, in their order. That is all that it decides:
reading, writing, counting, the journal and every operator that is not a row step are `toolkit.pipeline._build_step`'s, in the process that runs the
recipe. What it must keep is what `row_block` gives: the same rows, lines and counts, wherever it is called and into whatever pieces a block is
cut. So no engine shapes a step's bytes, and none is part of a fingerprint.

`through` checks an engine's work: each block comes back once, in order, with all of its rows accounted for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from toolkit.pipeline._counts import ConservationError
from toolkit.pipeline._row_steps import Block, RowWork, row_block
from toolkit.pipeline._step_output import Lines

if TYPE_CHECKING:
    import polars as pl


class Engine(Protocol):
    """Puts blocks of rows through row steps."""

    def rows(self, group: Sequence[RowWork], blocks: Iterable[pl.DataFrame], lines: Lines) -> Iterator[Block]:
        """What becomes of each block: ``row_block(group, block, lines)``, in the order of the blocks.

        It holds a bounded number of blocks. What an operator raises is raised here, in the place of its block; when the caller stops asking, nothing
        goes on. The counts of the group are the caller's: they stay as they are.
        """


class Local:
    """The engine of one process: a block at a time, in this one."""

    def rows(self, group: Sequence[RowWork], blocks: Iterable[pl.DataFrame], lines: Lines) -> Iterator[Block]:
        """As `Engine.rows`."""
        for block in blocks:
            yield row_block(group, block, lines)


LOCAL = Local()


def through(engine: Engine, group: Sequence[RowWork], blocks: Iterable[pl.DataFrame], lines: Lines, *, count: bool = True) -> Iterator[Block]:
    """Blocks of rows through a group of row steps, by an engine, counted under each of the steps.

    Raises:
        ConservationError: a block has not come back with all its rows, or an operator does not keep its contract.
    """
    sent: deque[int] = deque()

    def sending() -> Iterator[pl.DataFrame]:
        for block in blocks:
            sent.append(block.height)
            yield block

    for block in engine.rows(group, sending(), lines):
        if not sent or sent.popleft() != block.came:
            raise ConservationError(f"the engine {type(engine).__name__!r} gives back another block than it was handed")
        block.check()
        if count:
            for work, counts in zip(group, block.counts, strict=True):
                work.counts.add(counts)
        yield block
    if sent:
        raise ConservationError(f"the engine {type(engine).__name__!r} does not give back {len(sent)} blocks that it was handed")
