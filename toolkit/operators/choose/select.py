"""Operator `select`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.operators._reasoned import REASONED
from toolkit.operators._words import closed, word_fault
from toolkit.operators.base import Columns, Config, Context, RowOperator, Shape, mark
from toolkit.operators.choose._draw import units
from toolkit.records import MEDIA, has_media

NUMBERS = ("int64", "float64")
Values = bool | str | list[str]


class SelectConfig(Config):
    """Options of `select`."""

    where: dict[str, Values] = Field(default_factory=dict)
    """Values that a text column must have, one or a list of them, or that a bool column must have; or the words `null` and `not_null` (of any
    column), `empty` and `not_empty` (of a list; a missing list is empty). `media: empty` leaves rows of text, without that column."""
    where_not: dict[str, Values] = Field(default_factory=dict)
    """Values that a text or bool column must not have; a missing one is none of them."""
    any_of: dict[str, list[str]] = Field(default_factory=dict)
    """Values of which a list of texts (categories, say) must hold one."""
    none_of: dict[str, list[str]] = Field(default_factory=dict)
    """Values of which a list of texts (faults, say) may hold none; a missing list holds none."""
    at_least: dict[str, float] = Field(default_factory=dict)
    """Smallest value that a numeric column may have."""
    at_most: dict[str, float] = Field(default_factory=dict)
    """Largest value that a numeric column may have."""
    null_passes: list[str] = []
    """Numeric columns whose missing values lie within any bounds; without this they lie within none."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of the remaining rows, drawn by id: the same rows whatever their order."""

    @model_validator(mode="after")
    def _bounded(self) -> SelectConfig:
        if loose := [n for n in self.null_passes if n not in self.at_least and n not in self.at_most]:
            raise ValueError(f"null_passes names {loose[0]!r}, which has no bounds in at_least or at_most")
        return self


class Select(RowOperator):
    """Let some rows go on and set the others aside (`not_selected`, `not_drawn`), which is no fault of theirs.

    Each row that is set aside says which condition it fails first, and with what value. The place for thresholds on what `measure`, `validate` and
    others stored: right before the rows are rendered, so that moving one makes anew only this step and what follows. A number that is missing, or not
    a number, lies within no bounds.
    """

    name = "select"
    version = 2
    row_local = True
    shape: ClassVar[Shape] = "select"
    carries_media = True
    config_class = SelectConfig
    example = {"where": {"split": "train"}, "share": 0.25}
    uses = frozenset({"guard.tasks", "seed"})
    figures = REASONED
    config: SelectConfig

    def used(self) -> frozenset[str]:
        return self.uses if self.config.share < 1 else self.uses - {"seed"}

    def reads(self, guard: Guard) -> list[str]:
        c = self.config
        return list(dict.fromkeys(["id", *c.where, *c.where_not, *c.any_of, *c.none_of, *c.at_least, *c.at_most]))

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        c = self.config
        for option, wanted in (("where", c.where), ("where_not", c.where_not)):
            for name, value in wanted.items():
                _comparable(option, name, value, have[name].type)
                _known(option, name, value, guard)
        for option, lists in (("any_of", c.any_of), ("none_of", c.none_of)):
            for name in lists:
                if have[name].type != {"list": "string"}:
                    raise InputError(f"select.{option} looks into lists of text, and the column {name!r} holds {have[name].type}", hint="text: where")
        for name in (*c.at_least, *c.at_most):
            if have[name].type not in NUMBERS:
                raise InputError(f"select.at_least and at_most compare numbers, and the column {name!r} holds {have[name].type}", hint="text: where")
        if c.where.get(MEDIA) == "empty" and has_media(have):
            return {n: column for n, column in have.items() if n != MEDIA}
        return have

    def factor(self, inputs: Any) -> float:
        return self.config.share

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        c = self.config
        for name, wanted in c.where.items():
            rows = _aside(rows, name, ~_has(name, wanted))
        for name, wanted in c.where_not.items():
            rows = _aside(rows, name, _has(name, wanted))
        for name, some in c.any_of.items():
            rows = _aside(rows, name, ~_holds(name, some), f", wanted any of {_listed(some)}", is_list=True)
        for name, some in c.none_of.items():
            rows = _aside(rows, name, _holds(name, some), f", wanted none of {_listed(some)}", is_list=True)
        for name, low in c.at_least.items():
            rows = _aside(rows, name, self._outside(name, pl.col(name) >= low), f", wanted at least {low:g}")
        for name, high in c.at_most.items():
            rows = _aside(rows, name, self._outside(name, pl.col(name) <= high), f", wanted at most {high:g}")
        if c.share < 1:
            salt = str(ctx.rng_seed("select", ctx.step))
            place = pl.col("id").map_batches(lambda ids: units(salt, ids), return_dtype=pl.Float64, is_elementwise=True)
            rows = mark(rows, place >= c.share, "not_drawn", None, "set_aside")
        return rows

    def _outside(self, name: str, within: pl.Expr) -> pl.Expr:
        number = pl.col(name).cast(pl.Float64).is_not_nan()
        return ~(within & number).fill_null(name in self.config.null_passes)


def _comparable(option: str, name: str, value: Values, kind: Any) -> None:
    """Refuse to compare a column with a value of another type."""
    if value in ("null", "not_null"):
        return
    if value in ("empty", "not_empty"):
        if not (isinstance(kind, dict) and "list" in kind):
            raise InputError(f"select.{option}: {value!r} is an option for lists, and the column {name!r} holds {kind}", hint="null, not_null")
        return
    if isinstance(value, bool):
        if kind != "bool":
            raise InputError(f"select.{option}: {name!r} holds {kind}, not bool", hint="quote a text: 'true'")
    elif kind != "string":
        hint = "bool: true or false; numbers: at_least, at_most; lists: any_of, none_of, empty, not_empty"
        raise InputError(f"select.{option} compares text, and the column {name!r} holds {kind}", hint=hint)


def _known(option: str, name: str, value: Values, guard: Guard) -> None:
    """Refuse a word that no row can have."""
    words = [] if isinstance(value, bool) or value in ("null", "not_null") else [value] if isinstance(value, str) else value
    if name in closed(guard) and (bad := [w for w in words if w not in closed(guard)[name][1]]):
        raise InputError(f"select.{option}: {word_fault(name, bad[0], guard)}")


def _has(name: str, wanted: Values) -> pl.Expr:
    column = pl.col(name)
    if wanted == "null":
        return column.is_null()
    if wanted == "not_null":
        return column.is_not_null()
    if wanted in ("empty", "not_empty"):
        empty = (column.list.len() == 0).fill_null(True)
        return empty if wanted == "empty" else ~empty
    if isinstance(wanted, bool):
        return (column == wanted).fill_null(False)
    return column.is_in([wanted] if isinstance(wanted, str) else wanted).fill_null(False)


def _holds(name: str, some: list[str]) -> pl.Expr:
    return pl.col(name).list.eval(pl.element().is_in(some)).list.any().fill_null(False)


def _listed(values: list[str]) -> str:
    return ", ".join(values)[:200]


def _aside(rows: pl.LazyFrame, name: str, out: pl.Expr, why: str = "", *, is_list: bool = False) -> pl.LazyFrame:
    shown = pl.col(name).list.join(", ", ignore_nulls=True) if is_list else _shown(rows, name)
    return mark(rows, out, "not_selected", pl.format("{} is {}{}", pl.lit(name), shown.fill_null("null").str.slice(0, 100), pl.lit(why)), "set_aside")


def _shown(rows: pl.LazyFrame, name: str) -> pl.Expr:
    """A value as text; of a list its length, since it may hold anything."""
    if isinstance(rows.collect_schema()[name], pl.List):
        return pl.format("a list of {}", pl.col(name).list.len())
    return pl.col(name).cast(pl.String)
