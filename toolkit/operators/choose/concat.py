"""Operator `concat`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl
from pydantic import Field, field_validator

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.choose._choice_figures import JOINED
from toolkit.records import MEDIA, Column, name_fault, to_polars


class ConcatConfig(Config):
    """Options of `concat`."""

    provenance: str | None = Field(None, min_length=1)
    """Column that says of each row which input it comes from, by the name under `from`; default: none."""
    missing: Literal["error", "null"] = "error"
    """A column that some inputs have and others have not: stop, or null where it is missing (of `media` an empty list: no media)."""
    repeated: Literal["error", "first"] = "error"
    """An id that several inputs have: stop, or the first of these rows stays and the others are set aside as `repeated`."""

    @field_validator("provenance")
    @classmethod
    def _may_be(cls, value: str | None) -> str | None:
        if value is not None and (fault := name_fault(value)) is not None:
            raise ValueError(fault)
        return value


class Concat(DatasetOperator):
    """The rows of several steps one after another, in the order of `from`: sources, subsets, what different guards sampled.

    `from: {main: samples-main, aegis: samples-aegis}`; the names are free. Each row must have an id of its own; ids are compared as they stand.
    Columns come in the order of the first input. Memory: about 60 bytes a row, for its id.
    """

    name = "concat"
    shape = "select"
    inputs = ("*",)
    all_inputs = True
    carries_media = True
    config_class = ConcatConfig
    figures = JOINED
    example = {"provenance": "part"}
    uses = frozenset()
    config: ConcatConfig

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        if len(inputs) < 2:
            raise InputError("concat puts the rows of several steps together", hint="from: {one: STEP, other: STEP}")
        out: Columns = {}
        for name, columns in inputs.items():
            for column in columns.values():
                first = out.setdefault(column.name, column)
                if first.type != column.type:
                    other = next(n for n, c in inputs.items() if column.name in c)
                    types = f"{other!r} has {first.type}, {name!r} has {column.type}"
                    raise InputError(f"concat: the column {column.name!r} is not of one type: {types}")
                if column.nullable and not first.nullable:
                    out[column.name] = column
        for column in out.values():
            if without := [n for n, c in inputs.items() if column.name not in c]:
                if self.config.missing == "error":
                    hint = "missing: null fills it up; or take it out before"
                    raise InputError(f"concat: {without[0]!r} has no column {column.name!r}, which other inputs have", hint=hint)
                out[column.name] = Column(column.name, column.type, column.name != MEDIA, column.doc)
        if "id" not in out:
            raise InputError("concat reads the column 'id', which no input has")
        if (own := self.config.provenance) is not None:
            if own in out:
                raise InputError(f"concat: the inputs have a column {own!r} already", hint="give `provenance` another name")
            out[own] = Column(own, "string", doc="name of the input that the row comes from")
        self._types = to_polars(tuple(out.values()))
        return out

    def factor(self, inputs: Sequence[str]) -> float | None:
        return 1.0 if self.config.repeated == "error" else None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        first = self._first(inputs, ctx)
        total, at = first.len(), 0
        for name, source in inputs.items():
            start = at
            for block in source.blocks():
                rows = block.with_columns(_absent(c, kind).alias(c) for c, kind in self._types.items() if c not in block.columns)
                if self.config.provenance is not None:
                    rows = rows.with_columns(pl.lit(name).alias(self.config.provenance))
                keep = first[at : at + block.height]
                rows = rows.select(list(self._types))
                out.keep(rows.filter(keep))
                out.set_aside(rows.filter(~keep), "repeated", f"{name} is not the first that has it")
                at += block.height
                ctx.progress(at, total, "rows")
            out.stat(f"rows_{name}", at - start)

    def _first(self, inputs: Mapping[str, StepInput], ctx: Context) -> pl.Series:
        """For each row whether it is the first with its id.

        Raises:
            InputError: one is not, and the options do not say what then.
        """
        parts = [(name, block["id"]) for name, source in inputs.items() for block in source.blocks(["id"])]
        ids = pl.concat([pl.Series("id", [], dtype=pl.String), *(p for _, p in parts)])
        first = ids.is_first_distinct()
        if self.config.repeated == "first" or first.all():
            return first
        again = ids.filter(~first)
        those = [name for name, part in parts if again[0] in part]
        places = " and ".join(map(repr, dict.fromkeys(those)))
        message = f"{again.len():,} ids of {ids.len():,} rows are there twice: {again[0]!r} in {places}"
        hint = "repeated: first keeps the first of such rows"
        raise InputError(message, where=f"step {ctx.step}", hint=hint)


def _absent(name: str, kind: pl.DataType) -> pl.Expr:
    """What rows have in a column that their input lacks."""
    return pl.lit(pl.Series([[]], dtype=kind)).first() if name == MEDIA else pl.lit(None, kind)
