"""Row steps: a block of rows goes through one operator after the other, without a file in between.

`row_block` is a pure function: what becomes of the rows of a block depends on these rows, the operators and what they may know, and it changes
nothing. So it may run anywhere, on blocks of any size: an engine (`toolkit.pipeline._row_engine`) says where. Each operator is one lazy query over
the block. Rows that it marks leave there: the next operator does not see them, and the rejects hold them as they came into the step that they left.
So a step's bytes depend neither on the size of the blocks nor on which of its neighbours run together with it.

Where a query raises, the block is halved until the rows that it fails on stand alone; they are rejected as `operator_error` and the others go on, in
order. That costs about three times the block for one bad row and two queries a row when all are bad. An operator that fails without any row, or that
loses, doubles or reorders rows, is a bug: `ConservationError`, or what it raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import polars as pl

from toolkit.common.errors import BrokenContract, GuardkitError
from toolkit.operators import Columns, Context, Operator, RowOperator
from toolkit.operators.base import DETAIL, OUTCOME, REASON
from toolkit.pipeline._counts import ConservationError, Counts
from toolkit.pipeline._step_output import MARKS, Lines, conform, reject_lines
from toolkit.records import to_polars

AT = "_row_at"
"""Column with a row's place in its block: through it a lost, doubled or moved row is found."""

O_co = TypeVar("O_co", bound=Operator, covariant=True)


@dataclass(frozen=True)
class Work(Generic[O_co]):
    """A step that is to be built.

    Attributes:
        operator: that builds it.
        ctx: what it may know.
        columns: of the rows that it hands on.
        counts: what becomes of its rows; filled as it is built.
        came: of one that asks a model: the columns of the rows that come.
        after: likewise: the row steps after it as far as one that validates, for `stop_if`.
        typed: whether its rows get the types of its columns, and must be without nulls where these are; not for rows of a caller's own.
    """

    operator: O_co
    ctx: Context
    columns: Columns
    counts: Counts
    came: Columns | None = None
    after: Sequence[Work[RowOperator]] = ()
    typed: bool = True


RowWork = Work[RowOperator]


@dataclass(frozen=True)
class Block:
    """What became of a block of rows.

    Attributes:
        came: rows that came.
        kept: rows that the last step keeps.
        left: lines for those that left on the way, in the order of the rows; None without any.
        counts: under each step.
    """

    came: int
    kept: pl.DataFrame
    left: pl.DataFrame | None
    counts: Sequence[Counts]

    def check(self) -> None:
        """Whether every row is accounted for, from the first step to the last (`ConservationError`)."""
        lines = 0 if self.left is None else self.left.height
        came = [c.came for c in self.counts]
        handed_on = [self.came, *(c.kept for c in self.counts)]
        for counts in self.counts:
            counts.check()
        if handed_on != [*came, self.kept.height] or self.came - self.kept.height != lines:
            steps = ", ".join(c.step for c in self.counts)
            raise ConservationError(f"a block of {steps}: of {self.came} rows {self.kept.height} were kept and {lines} rejected: {handed_on}")


def row_block(group: Sequence[RowWork], block: pl.DataFrame, lines: Lines = reject_lines) -> Block:
    """A block of rows through a group of row steps.

    Raises:
        ConservationError: an operator does not keep its contract.
    """
    rows = block.with_row_index(AT)
    left: list[pl.DataFrame] = []
    found = []
    for work in group:
        counts = work.counts.fresh()
        counts.came = rows.height
        rows = _apply(work, counts, rows, lines, left)
        counts.kept = rows.height
        found.append(counts)
    return Block(block.height, rows.drop(AT), pl.concat(left, how="diagonal").sort(AT).drop(AT) if left else None, found)


def joined(blocks: Sequence[Block]) -> Block:
    """What became of a block that was cut into these."""
    first, *rest = blocks
    if not rest:
        return first
    counts = [c.fresh() for c in first.counts]
    for block in blocks:
        for whole, part in zip(counts, block.counts, strict=True):
            whole.add(part)
    left = [b.left for b in blocks if b.left is not None]
    return Block(sum(b.came for b in blocks), pl.concat([b.kept for b in blocks]), pl.concat(left, how="diagonal") if left else None, counts)


def _apply(work: RowWork, counts: Counts, rows: pl.DataFrame, lines: Lines, left: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows that a step keeps, with its columns; lines for those that leave are added to `left`."""
    kept = [pl.DataFrame(schema={AT: rows.schema[AT], **to_polars(tuple(work.columns.values()))})] if work.typed else []
    for came, result in _pieces(work.operator, work.ctx, rows):
        marked = result[REASON].is_not_null()
        if not marked.all() or (not kept and set(work.columns) <= set(result.columns)):  # without any row, too, they have their columns
            stay = result.filter(~marked)
            handed = conform(stay, work.columns) if work.typed else stay.select(list(work.columns))
            kept.append(handed.select(stay[AT], pl.all()))
        if marked.any():
            gone = came.filter(marked)
            marks = result.filter(marked).select(MARKS)
            made = lines(counts, gone.drop(AT).hstack(marks), pl.col(OUTCOME), pl.col(REASON), pl.col(DETAIL), None)
            left.append(made.with_columns(gone[AT]))
    return pl.concat(kept) if kept else rows.clear()


def _pieces(operator: RowOperator, ctx: Context, rows: pl.DataFrame, *, part: bool = False) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Rows in order as they came, each time with what the operator made of them; `part` when they are part of a block that failed."""
    if not rows.height:
        return
    try:
        yield rows, _query(operator, ctx, rows)
        return
    except (GuardkitError, BrokenContract, MemoryError):
        raise
    except (Exception, pl.exceptions.PanicException) as e:  # noqa: BLE001  an operator, possibly another's, failed on some row: find it
        error = f"{type(e).__name__}: {e}"
    if not part:
        _query(operator, ctx, rows.clear())  # raises where the fault is in no row
    if rows.height == 1:
        marks = {OUTCOME: "rejected", REASON: "operator_error", DETAIL: error[:500]}
        yield rows, rows.with_columns(pl.lit(v).alias(n) for n, v in marks.items())
        return
    half = rows.height // 2
    yield from _pieces(operator, ctx, rows[:half], part=True)
    yield from _pieces(operator, ctx, rows[half:], part=True)


def _query(operator: RowOperator, ctx: Context, rows: pl.DataFrame) -> pl.DataFrame:
    """The operator's query over some rows; every row comes out at its place."""
    out = operator.apply(rows.lazy().with_columns(pl.lit(None, pl.String).alias(m) for m in MARKS), ctx).collect()
    if lost := [n for n in (AT, *MARKS) if n not in out.columns]:
        raise ConservationError(
            f"the row operator {operator.name!r} dropped the pipeline's column {lost[0]!r}: it may only add columns and mark rows"
        )
    if not out[AT].equals(rows[AT]):
        raise ConservationError(
            f"the row operator {operator.name!r} lost, doubled or moved rows ({rows.height} in, {out.height} out): it may only mark them"
        )
    return out
