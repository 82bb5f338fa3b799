"""Operator `verdicts`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl

from toolkit.guards import Guard, Mode, check_reading
from toolkit.judging import TEXTS, read_frame, read_names
from toolkit.mining import judged_expressions
from toolkit.operators.base import Columns, Config, Context, RowOperator
from toolkit.records import Column, load_record


class VerdictsConfig(Config):
    """Options of `verdicts`."""

    mode: Mode = "lenient"
    """How outputs are read: the last label word of each field anywhere, or exactly one answers block at the end."""
    reading: str | None = None
    """For labels of which some stand for others (`readings` of the guard's tasks): by which reading. By default they are taken as they are."""
    texts: bool = True
    """Rows keep their texts and all else that they have. Without, they are lines of the record ``judged``: the verdict of each guard on each row, and
    whether it is right, a hundredth of the size."""


class Verdicts(RowOperator):
    """Read the labels of each generation, and why one could not be read. An unread output is no fault of the row: it stays, with its reason."""

    name = "verdicts"
    version = 2
    row_local = True
    uses = frozenset({"guard.tasks", "guard.output", "guard.input", "guard.readings"})
    carries_media = True
    config_class = VerdictsConfig
    example = {"mode": "strict"}
    config: VerdictsConfig

    def used(self) -> frozenset[str]:
        return self.uses if self.config.reading is not None else self.uses - {"guard.readings"}

    def reads(self, guard: Guard) -> list[str]:
        return ["output"] if self.config.texts else ["id", "parent", "guard_model", "draw", "output"]

    def writes(self, guard: Guard) -> list[Column]:
        return [Column(name, "string", nullable=True) for name in read_names(guard)]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        if self.config.reading is not None:
            check_reading(guard, self.config.reading)
        have = super().columns(inputs, guard)
        return have if self.config.texts else {c.name: c for c in load_record("judged", guard.task_names).columns}

    def identity(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json", exclude_none=True, exclude={"texts"} if self.config.texts else None)

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        names = read_names(ctx.guard)
        read = partial(_read, guard=ctx.guard, mode=self.config.mode, reading=self.config.reading)
        texts = [n for n in ("output", *TEXTS) if n in rows.collect_schema().names()]
        found = pl.struct(texts).map_batches(read, return_dtype=pl.Struct(dict.fromkeys(names, pl.String)), is_elementwise=True)
        rows = rows.with_columns(found.alias("_read")).with_columns(pl.col("_read").struct.field(n).alias(n) for n in names).drop("_read")
        return rows if self.config.texts else self._judged(rows, ctx.guard)

    def _judged(self, rows: pl.LazyFrame, guard: Guard) -> pl.LazyFrame:
        """With the columns of the record ``judged``; labels in the reading that verdicts are in."""
        there = rows.collect_schema().names()
        if (reading := self.config.reading) is not None:
            stands_for = {f"label_{t.name}": t.readings.get(reading, {}) for t in guard.tasks}
            rows = rows.with_columns(pl.col(label).replace(others) for label, others in stands_for.items() if others and label in there)
        return rows.with_columns(**judged_expressions(there, guard))


def _read(texts: pl.Series, guard: Guard, mode: Mode, reading: str | None) -> pl.Series:
    return read_frame(guard, texts.struct.unnest(), mode, reading=reading).to_struct(texts.name)
