"""The per-row table of an evaluation: what every figure and comparison is made from."""

from __future__ import annotations

import polars as pl

ROWS = {
    "benchmark": pl.String(),
    "id": pl.String(),
    "model": pl.String(),
    "draw": pl.Int64(),
    "task": pl.String(),
    "gold": pl.String(),
    "verdict": pl.String(),
    "unread": pl.String(),
    "probability": pl.Float64(),
    "tokens": pl.Int64(),
    "seconds": pl.Float64(),
    "categories": pl.List(pl.String()),
    "source": pl.String(),
    "prompt": pl.String(),
    "response": pl.String(),
    "output": pl.String(),
    "key": pl.String(),
}
"""Its columns, a line for each benchmark, row, model, draw and task.

`gold`: the row's label, null where it has none (such a line is never scored). Of `verdict` (the label that was read, as the model's guard has it,
before any reading) and `unread` (why none was read) exactly one is null. `probability`: that the model gives the positive label, renormalised over
the task's labels; null where it is not known. `tokens`, `seconds`: of the generation that the verdict is read from (of several calls: together).
`key`: in the journal.
"""

CHANGED = {**ROWS, "parent": pl.String(), "change": pl.String()}
"""The columns of a table of its own about rows under changes that keep their labels (`toolkit.evaluation.CHANGES`): `id` is the changed row's,
`parent` that of the row that it is made of, `change` the change's name. No figure of a benchmark is made of it."""
