"""Operator `cap`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.operators._words import closed, word_fault
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.choose._choice_figures import CAPPED
from toolkit.operators.choose._draw import keys
from toolkit.operators.choose._quota import SHOWN, check_classes, shown_class

Most = Annotated[int, Field(ge=0)]


class CapConfig(Config):
    """Options of `cap`."""

    by: str
    """Column that is counted: `source`, `label_prompt`, or a list of texts such as `categories`, where a row counts in each of its values."""
    most: Most | dict[str, Most]
    """Most rows of each value; or, by name, of some values (the others are not bounded)."""
    within: list[str] = []
    """Count in each combination of values of these columns on its own: `[source]` for so many of each category in every source."""

    @model_validator(mode="after")
    def _agree(self) -> CapConfig:
        if self.by in self.within:
            raise ValueError(f"{self.by!r} cannot be both `by` and in `within`")
        return self


class Cap(DatasetOperator):
    """At most so many rows of each category, source or other value, drawn by id; the others are set aside as `over_cap`.

    Rows are taken in the order of a number drawn from their ids. A row is kept when none of its values is full by then, and counts in each of them.
    So, with several values in a row (categories), a value may end with fewer rows than it may have, where its other rows are in values that are full.
    A row without a value is in none and stays. The same rows whatever their order. Memory: about 60 bytes per row, and as much for each value of a
    row in a list.
    """

    name = "cap"
    shape = "select"
    carries_media = True
    config_class = CapConfig
    figures = CAPPED
    passes = 2
    example = {"by": "categories", "most": 2000, "within": ["source"]}
    uses = frozenset({"guard.tasks", "seed"})
    config: CapConfig

    def reads(self, guard: Guard) -> list[str]:
        return list(dict.fromkeys(["id", *self.config.within, self.config.by]))

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        for name in self.config.within:
            check_classes("cap", have[name])
        for value in self.config.most if isinstance(self.config.most, dict) else ():
            if self.config.by in closed(guard) and value not in closed(guard)[self.config.by][1]:
                raise InputError(f"cap.most: {word_fault(self.config.by, value, guard)}")
        column = have[self.config.by]
        if column.type != {"list": "string"}:
            if isinstance(column.type, dict):
                raise InputError(f"cap counts single values or lists of text, and the column {column.name!r} holds {column.type}")
            check_classes("cap", column)
        return have

    def factor(self, inputs: Any) -> float | None:
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        source = inputs["rows"]
        full = self._full(source, ctx, out)
        at = 0
        for block in source.blocks():
            over = full[at : at + block.height]
            at += block.height
            out.keep(block.filter(over.is_null()))
            gone = over.is_not_null()
            out.set_aside(block.filter(gone), "over_cap", over.filter(gone))
            ctx.progress(at, source.rows, "rows")

    def _full(self, source: StepInput, ctx: Context, out: Output) -> pl.Series:
        """For each row the value that was full, in words; null where the row stays."""
        salt = str(ctx.rng_seed("cap", ctx.step))
        c = self.config
        parts, n = [], 0
        for block in source.blocks(self.reads(ctx.guard)):
            column = pl.col(c.by)
            many = isinstance(block.schema[c.by], pl.List)
            value = column.list.unique(maintain_order=True) if many else pl.concat_list(column.cast(pl.String))
            rows = block.select(*c.within, value.alias("_value")).with_columns(
                pl.Series("_key", keys(salt, block["id"]), dtype=pl.UInt64),
                pl.int_range(n, n + block.height, dtype=pl.Int64, eager=True).alias("_at"),
            )
            n += block.height
            parts.append(rows.explode("_value").drop_nulls("_value"))
        if not parts:
            return pl.Series([], dtype=pl.String)
        group = [*c.within, "_value"]
        if isinstance(c.most, dict):
            seen = {v for part in parts for v in part["_value"].unique()}
            out.stat("values_absent", sorted(set(c.most) - seen))
        long = pl.concat(parts).with_columns(self._most(), pl.len().over(group).cast(pl.Int64).alias("_of"))
        # A line whose value has no more rows than it may have is never the one that is full.
        crowded = long.filter(pl.col("_of") > pl.col("_most")).sort("_key", "_at", maintain_order=True)
        out.stat("values_over", crowded.select(group).n_unique() if crowded.height else 0)
        gone = _greedy(crowded, group) if crowded["_at"].is_duplicated().any() else (pl.int_range(pl.len()).over(group) >= pl.col("_most"))
        out.stat("over", _over(crowded.with_columns(gone.alias("_gone")), c.within, c.by))
        words = pl.format("{} is {}: {} of {}", pl.lit(c.by), pl.col("_value").str.slice(0, 100), "_most", "_of")
        over = crowded.filter(gone).select("_at", words.alias("_over"))
        every = pl.DataFrame({"_at": pl.int_range(n, dtype=pl.Int64, eager=True)})
        return every.join(over, on="_at", how="left", maintain_order="left")["_over"]

    def _most(self) -> pl.Expr:
        most = self.config.most
        if isinstance(most, int):
            return pl.lit(most, pl.Int64).alias("_most")
        return pl.col("_value").replace_strict(list(most), list(most.values()), default=None, return_dtype=pl.Int64).alias("_most")


def _over(crowded: pl.DataFrame, within: list[str], by: str) -> list[dict[str, Any]]:
    """Values with more rows than they may have, those of most rows first: ``value, rows, most, kept``."""
    stays = ~pl.col("_at").is_in(crowded.filter("_gone")["_at"].implode())
    found = crowded.group_by(*within, "_value").agg(pl.col("_of").first(), pl.col("_most").first(), stays.sum().alias("_kept"))
    found = found.sort("_of", *within, "_value", descending=[True, *[False] * (len(within) + 1)]).head(SHOWN)
    lines = found.select(*within, "_value", "_of", "_most", "_kept").iter_rows()
    return [{"value": shown_class([*within, by], line[:-3]), **dict(zip(("rows", "most", "kept"), line[-3:], strict=True))} for line in lines]


def _greedy(rows: pl.DataFrame, group: list[str]) -> pl.Series:
    """Which line says why its row is not kept: the first of the row's values that was full when the row came.

    Args:
        rows: one line for each value, of too many rows, of each row; the lines of a row are together, rows in their order.
        group: columns whose values together are counted.
    """
    taken: Counter[int] = Counter()
    held: list[int] = []
    last, left = None, False
    out: list[bool] = []
    for value, at, most in rows.select(pl.struct(group).rank("dense"), "_at", "_most").iter_rows():
        if at != last:
            taken.update(held)
            held, last, left = [], at, False
        full = not left and taken[value] >= most
        out.append(full)
        if full:
            held, left = [], True
        elif not left:
            held.append(value)
    return pl.Series(out, dtype=pl.Boolean)
