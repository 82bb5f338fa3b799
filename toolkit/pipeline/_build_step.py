"""Building a step, or several that hand rows on without a file: the same for a run, for a sample and for `toolkit.apply`.

What differs is what is read (`StepInput`), where results go (`StepOutput`) and which engine carries the row steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from toolkit.common.errors import InputError
from toolkit.generation import Journal, Meter
from toolkit.operators import DatasetOperator, GenerationOperator, RowOperator, SourceOperator
from toolkit.operators.base import StepInput
from toolkit.pipeline._counts import ConservationError
from toolkit.pipeline._generation import run_generation
from toolkit.pipeline._row_engine import Engine, through
from toolkit.pipeline._row_steps import RowWork, Work
from toolkit.pipeline._step_output import StepOutput
from toolkit.pipeline._stream import Stream


def no_journal() -> Journal:
    """Of whoever asks no model."""
    raise InputError("no model is asked here")


def build_step(
    engine: Engine,
    group: Sequence[Work[Any]],
    inputs: Mapping[str, StepInput],
    out: StepOutput,
    *,
    journal: Callable[[], Journal] = no_journal,
    meter: Meter | None = None,
) -> None:
    """Build a group of steps (`Plan.groups`); the counts of each are filled.

    Args:
        engine: that carries its row steps.
        group: the steps in order: one alone; row steps; or a source, the row steps after it, and perhaps an operator that reads what comes.
        inputs: what it reads of finished steps, by the input's name.
        out: where the last one's rows go, and what left any of them.
        journal: opens the journal, for one that asks a model.
        meter: counts what that spends.

    Raises:
        ConservationError: an operator does not keep its contract.
    """
    first, last = group[0], group[-1]
    if isinstance(last.operator, GenerationOperator):
        run_generation(last, inputs, out, journal, meter)
        return
    rows = cast("list[RowWork]", [w for w in group if isinstance(w.operator, RowOperator)])
    at_end = isinstance(last.operator, DatasetOperator)
    stream = None
    if isinstance(first.operator, SourceOperator) and len(group) > 1:
        stream = Stream(group[-2 if at_end else 0].counts.step, engine, first, rows if at_end else [], out)
    if at_end:
        last = replace(last, ctx=replace(last.ctx, journal=journal, meter=meter))
        _run_dataset(last, inputs if stream is None else {**inputs, last.operator.inputs[0]: stream}, out)
    else:
        _run_rows(engine, rows, stream or inputs[first.operator.inputs[0]], out)


def _run_rows(engine: Engine, group: Sequence[RowWork], source: StepInput, out: StepOutput) -> None:
    done = 0
    for block in through(engine, group, source.blocks(), out.lines):
        out.write(block.kept)
        if block.left is not None:
            out.write_lines(block.left)
        done += block.came
        group[-1].ctx.progress(done, source.rows, "rows")


def _run_dataset(work: Work[DatasetOperator], inputs: Mapping[str, StepInput], out: StepOutput) -> None:
    op, counts = work.operator, work.counts
    if op.shape == "expand":
        counts.factor = op.factor(list(inputs)) or 1.0
    rows = inputs.get(op.inputs[0]) if op.inputs else None
    known = rows.rows if rows is not None else 0
    counts.came = sum(i.rows or 0 for i in inputs.values()) if op.all_inputs else known or 0
    op.run(inputs, out, work.ctx)
    if rows is not None and known is None:
        if rows.rows is None:
            raise ConservationError(f"the operator {op.name!r} did not read its rows to the end")
        counts.came += rows.rows
