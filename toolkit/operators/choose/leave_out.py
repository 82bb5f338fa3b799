"""Operator `leave_out`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from pydantic import model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard
from toolkit.operators._losses import with_losses
from toolkit.operators._value_counts import Tally
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.choose._choice_figures import LEFT_OUT


class LeaveOutConfig(Config):
    """Options of `leave_out`."""

    sources: list[str] = []
    """Sources whose rows are set aside; those of all others stay."""
    where: dict[str, list[str]] = {}
    """The same for other columns: values of a text column, or of a list of texts such as `categories`, whose rows are set aside."""

    @model_validator(mode="after")
    def _something(self) -> LeaveOutConfig:
        if not self.sources and not any(self.where.values()):
            raise ValueError("nothing is left out: give `sources`, or values of other columns under `where`")
        if self.sources and "source" in self.where:
            raise ValueError("`sources` and `where: {source: …}` say the same: give one")
        return self

    def values(self) -> dict[str, list[str]]:
        """The values that are left out, by column."""
        return ({"source": self.sources} if self.sources else {}) | {c: v for c, v in self.where.items() if v}


class LeaveOut(DatasetOperator):
    """A leave-one-out subset: set the rows of some sources, or with some other values, aside (`not_in_subset`).

    GuardReasoner trains its diversity models so: WildGuard and two of the other three sources each (paper, section 3.3; spec B). A source or value
    that no row has stops the run: the subset would be the whole. A row that lacks the value stays.
    """

    name = "leave_out"
    shape = "select"
    carries_media = True
    config_class = LeaveOutConfig
    figures = LEFT_OUT
    passes = 1
    example = {"sources": ["quickstart-home"]}
    uses = frozenset()
    config: LeaveOutConfig

    def reads(self, guard: Guard) -> list[str]:
        return list(self.config.values())

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        for name in self.config.values():
            if have[name].type not in ("string", {"list": "string"}):
                raise InputError(f"leave_out compares text and lists of text, and the column {name!r} holds {have[name].type}")
        return have

    def factor(self, inputs: Any) -> float | None:
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        values = self.config.values()
        seen: dict[str, set[str]] = {name: set() for name in values}
        tally = Tally("value")
        done = 0
        for block in inputs["rows"].blocks():
            shown = []
            for name, left in values.items():
                held = block[name]
                many = isinstance(held.dtype, pl.List)
                seen[name].update((held.explode() if many else held).drop_nulls().unique())
                found = pl.col(name).list.filter(pl.element().is_in(left)).list.first() if many else pl.when(pl.col(name).is_in(left)).then(name)
                shown.append(found if name == "source" else pl.format("{} is {}", pl.lit(name), found))
            rows = block.with_columns(pl.coalesce(shown).alias("_left"))
            gone = rows.filter(pl.col("_left").is_not_null())
            out.keep(rows.filter(pl.col("_left").is_null()).drop("_left"))
            out.set_aside(gone.drop("_left"), "not_in_subset", gone["_left"])
            tally.add(gone.select(pl.col("_left").alias("value")))
            done += block.height
            ctx.progress(done, inputs["rows"].rows, "rows")
        out.stat("left_out", tally.lines())
        for name, left in values.items():
            for value in left:
                if value not in seen[name]:
                    what = f"no row comes from the source {value!r}" if name == "source" else f"no row has {value!r} in {name!r}"
                    hint = did_you_mean(value, seen[name]) if seen[name] else with_losses("there are no rows", ctx)
                    raise InputError(f"leave_out: {what}", where=f"step {ctx.step}", hint=hint)
