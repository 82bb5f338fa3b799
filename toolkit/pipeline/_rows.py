"""Running row steps: a block of rows goes through one operator after the other, without a file in between.

Each operator is one lazy query over the block. Rows that it marks leave there: the next operator does not see them, and the rejects hold
them as they came into the step that they left. So a step's bytes depend neither on the size of the blocks nor on which of its neighbours
run together with it.

Where a query raises, the block is halved until the rows that it fails on stand alone; they are rejected as `operator_error` and the others
go on, in order. That costs about three times the block for one bad row and two queries a row when all are bad. An operator that
fails without any row, or that loses, doubles or reorders rows, is a bug: `ConservationError`, or what it raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import polars as pl

from toolkit.common.errors import BrokenContract, GuardkitError
from toolkit.operators import Columns, Context, RowOperator
from toolkit.operators.base import DETAIL, OUTCOME, REASON, StepInput
from toolkit.pipeline._counts import ConservationError, Counts
from toolkit.pipeline._store import MARKS, StepWriter, conform
from toolkit.records import to_polars

if TYPE_CHECKING:
    from toolkit.operators.base import Mark

AT = "_row_at"
"""Column with a row's place in its block: through it a lost, doubled or moved row is found."""


@dataclass(frozen=True)
class RowStep:
    """One step of a group: its operator, what it may know, the columns that it hands on, its counts (filled by `run_rows`)."""

    operator: RowOperator
    ctx: Context
    columns: Columns
    counts: Counts


def run_rows(group: Sequence[RowStep], source: StepInput, writer: StepWriter, progress: Callable[[int, int | None, str], None]) -> None:
    """Run a group of row steps.

    Args:
        group: the steps in order.
        source: the rows that the first one reads.
        writer: where the last one's rows go, and the rejects of all.
        progress: called after each block; what it raises ends the run.

    Raises:
        ConservationError: an operator does not keep its contract.
    """
    done = 0
    for came, rows, left in row_blocks(group, source.blocks(), writer):
        group[-1].counts.kept -= rows.height  # the writer counts what the last one keeps
        writer.keep(rows)
        if left is not None:
            writer.write_lines(left)
        done += came
        progress(done, source.rows, "rows")


class Lines(Protocol):
    """Makes lines of rows that are not kept (`StepWriter.lines`)."""

    def lines(self, counts: Counts, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None) -> pl.DataFrame:
        """One for each row."""


def row_blocks(group: Sequence[RowStep], blocks: Iterable[pl.DataFrame], writer: Lines) -> Iterator[tuple[int, pl.DataFrame, pl.DataFrame | None]]:
    """Blocks of rows through a group of row steps, counted under each.

    Gives for each block the number of rows that came, the rows that the last step keeps, and the lines for the rejects of those that left on the
    way, in the order of the rows (None without any).
    """
    for block in blocks:
        rows = block.with_row_index(AT)
        left: list[pl.DataFrame] = []
        for step in group:
            step.counts.came += rows.height
            rows = _apply(step, rows, writer, left)
            step.counts.kept += rows.height
        yield block.height, rows.drop(AT), pl.concat(left).sort(AT).drop(AT) if left else None


def _apply(step: RowStep, rows: pl.DataFrame, writer: Lines, left: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows that a step keeps, with its columns; lines for those that leave are added to `left`."""
    kept = [pl.DataFrame(schema={AT: rows.schema[AT], **to_polars(tuple(step.columns.values()))})]
    for came, result in _pieces(step.operator, step.ctx, rows):
        marked = result[REASON].is_not_null()
        if not marked.all():
            stay = result.filter(~marked)
            kept.append(conform(stay, step.columns).select(stay[AT], pl.all()))
        if marked.any():
            gone = came.filter(marked)
            marks = result.filter(marked).select(MARKS)
            lines = writer.lines(step.counts, gone.drop(AT).hstack(marks), *(pl.col(m) for m in MARKS))
            left.append(lines.with_columns(gone[AT]))
    return pl.concat(kept)


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
        _query(operator, ctx, rows.clear())  # raises where the fault lies in no row
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
