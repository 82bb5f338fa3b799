"""Operator `replay`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard
from toolkit.operators._old_shards import check_fit, check_inputs, column_faults, find_version, guard_faults
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.choose._choice_figures import DRAWN
from toolkit.operators.choose._draw import apportion, keys
from toolkit.operators.choose._quota import SHOWN, check_classes, too_few
from toolkit.records import Column, to_polars
from toolkit.shards import GUARD_FACETS, MANIFEST, OldVersion, old_version, shard_rows, verify

ALWAYS = ("id", "prompt", "completion", "chosen", "rejected", "weight")
"""Columns that every row of shards has that has them at all; of the others some may come with new rows alone, or with older ones."""
INPUT = "old"
"""Name of the input, and of the option."""


class ReplayConfig(Config):
    """Options of `replay`."""

    old: str | None = None
    """The older shards: their folder, or that of a step that made some. For a step of the same recipe: `from: {rows: STEP, old: STEP}`."""
    share: float | None = Field(None, gt=0, lt=1)
    """Share that old rows have of what comes out."""
    each: int | None = Field(None, ge=1)
    """Instead, so many old rows of each class of `per`; of a smaller class all."""
    per: list[str] = []
    """Columns whose values are the classes: `[categories]`, `[source, label_prompt]`. With `share` each class gives equally many rows, and one with
    fewer all that it has, for which the others make up. Without `per` all old rows are one class."""
    split: str = "train"
    """Split of the old rows."""
    short: Literal["error", "fewer"] = "error"
    """Fewer old rows than `share` asks for: stop, or take all there are."""

    @model_validator(mode="after")
    def _one(self) -> ReplayConfig:
        if (self.share is None) == (self.each is None):
            raise ValueError("give one of `share` and `each`")
        if self.each is not None and not self.per:
            raise ValueError("`each` is of classes: name their columns in `per`")
        return self


class Replay(DatasetOperator):
    """Old rows among new ones, so that a guard that goes on learning does not forget: rendered rows, and after them some of older shards.

    Old rows are drawn by id: the same ones whatever the blocks, a larger share adds rows and drops none that it had in a class. They must be for the
    guard of the new rows, whose columns are kept; one that old rows lack is null in them. A row of several categories counts in the one that fewest
    rows have. Old rows that are not drawn stay where they are. In memory: classes and numbers of the old rows, a hash of each new row's id.
    """

    name = "replay"
    shape = "select"
    inputs = ("rows", "*")
    takes = {"*": "shards"}
    passes = 1
    carries_media = True
    config_class = ReplayConfig
    figures = DRAWN
    example = {"old": "outputs/first/shards", "share": 0.3, "per": ["categories"]}
    uses = frozenset({"seed", *(f"guard.{facet}" for facet in GUARD_FACETS)})
    config: ReplayConfig
    _columns: tuple[Column, ...] = ()

    def reads(self, guard: Guard) -> list[str]:
        return list(dict.fromkeys(["id", *self.config.per]))

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_inputs(self.name, inputs, INPUT, self.config.old, must=True)
        out = super().columns(inputs, guard)
        may = {name: Column(c.name, c.type, c.nullable or name not in ALWAYS, c.doc) for name, c in out.items()}  # older rows may lack it
        self._columns = tuple(may.values())
        for name in self.config.per:
            if out[name].type != {"list": "string"}:
                check_classes(self.name, out[name])
        return may

    def identity(self) -> dict[str, Any]:
        return {name: value for name, value in super().identity().items() if name != INPUT}  # what is there counts, not where: see `files`

    def files(self, ctx: Context) -> dict[str, str]:
        if self.config.old is None:
            return {}
        return {f"{INPUT}/{MANIFEST}": ctx.files.digest(find_version(self.config.old, ctx.roots) / MANIFEST)}

    def look(self, ctx: Context) -> None:
        if self.config.old is not None:
            self._fits(old_version(find_version(self.config.old, ctx.roots)), ctx)

    def _fits(self, old: OldVersion, ctx: Context) -> None:
        check_fit(old, [*column_faults(old, self._columns, self._apart(old)), *guard_faults(old, ctx.guard)], f"step {ctx.step}, {INPUT}")
        if self.config.split not in (splits := old.manifest["counts"]["split"]):
            raise InputError(
                f"{old.title!r} has no split {self.config.split!r}", where=f"step {ctx.step}", hint=did_you_mean(self.config.split, splits)
            )

    def _apart(self, old: OldVersion) -> list[str]:
        """Columns that one side may lack: all but those that every row has and those that make the classes."""
        there = {c["name"] for c in old.manifest["columns"]}
        return [n for n in there ^ {c.name for c in self._columns} if n not in ALWAYS and n not in self.config.per]

    def factor(self, inputs: Sequence[str]) -> float | None:
        return 1 / (1 - self.config.share) if self.config.share is not None else None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        old = old_version(inputs[INPUT].artefact("shards") if INPUT in inputs else find_version(str(self.config.old), ctx.roots))
        verify(old.folder)
        self._fits(old, ctx)
        new = [pl.Series("id", [], dtype=pl.UInt64)]
        trained = 0
        for block in inputs["rows"].blocks():
            out.keep(block)
            new.append(block["id"].hash())
            trained += block.height if "split" not in block.columns else int((block["split"].fill_null("train") == self.config.split).sum())
            ctx.progress(sum(map(len, new)), None, "rows")
        drawn = self._drawn(old, trained, ctx, out)
        known = pl.concat(new)
        at = 0
        for block in shard_rows(old.folder, old.manifest, split=self.config.split):
            lacking = [pl.lit(None).alias(c.name) for c in self._columns if c.name not in block.columns]
            rows = block.filter(drawn[at : at + block.height]).with_columns(lacking).select(c.name for c in self._columns)
            at += block.height
            self._check(rows, known, old, ctx)
            out.count_in(rows.height)
            out.keep(rows.cast(to_polars(self._columns)))  # type: ignore[arg-type]
        out.stat("columns_apart", sorted(self._apart(old)))
        out.stat("new_rows", sum(map(len, new)))
        out.stat("old_rows", int(drawn.sum()))

    def _drawn(self, old: OldVersion, new: int, ctx: Context, out: Output) -> pl.Series:
        """For each old row whether it is drawn."""
        per = self.config.per
        rows = pl.concat(list(shard_rows(old.folder, old.manifest, list(dict.fromkeys(["id", *per])), self.config.split)))
        rows = rows.select(*per, pl.Series("_key", keys(str(ctx.rng_seed("replay", ctx.step)), rows["id"]), dtype=pl.UInt64))
        for name in per:
            if rows.schema[name] == pl.List(pl.String):
                rows = rows.with_columns(_rarest(rows[name]))
        classes = rows.group_by(per).len("_of").sort(per) if per else rows.select(pl.len().alias("_of"))
        sizes = classes["_of"].to_list()
        if self.config.share is not None:
            share = Fraction(str(self.config.share))
            wanted = int(share / (1 - share) * new + Fraction(1, 2))
            if wanted > rows.height and self.config.short == "error":
                raise too_few(self.name, ctx, [f"{old.title!r}, {self.config.split}: {rows.height:,} of {wanted:,}"])
            takes = _level(min(wanted, rows.height), sizes)
        else:
            takes = [min(self.config.each or 0, n) for n in sizes]
        self._report(classes, sizes, takes, out)
        if not per:
            return rows.select(pl.col("_key").rank("ordinal") <= takes[0]).to_series()
        classes = classes.with_columns(pl.Series("_take", takes, dtype=pl.Int64))
        rows = rows.with_columns(pl.col("_key").rank("ordinal").over(per).cast(pl.Int64).alias("_rank"))
        found = rows.join(classes, on=per, how="left", nulls_equal=True, maintain_order="left")
        return found.select(pl.col("_rank") <= pl.col("_take")).to_series()

    def _report(self, classes: pl.DataFrame, sizes: list[int], takes: list[int], out: Output) -> None:
        lines = [dict(zip(self.config.per, values, strict=True)) for values in classes.select(self.config.per).iter_rows()] or [{"rows of": "all"}]
        out.stat("classes", [{**line, "rows": of, "drawn": n} for line, of, n in zip(lines, sizes, takes, strict=True)][:SHOWN])
        out.stat("classes_not_shown", max(0, len(sizes) - SHOWN))
        out.stat("classes_taken_whole", sum(of == n for of, n in zip(sizes, takes, strict=True)))

    def _check(self, rows: pl.DataFrame, known: pl.Series, old: OldVersion, ctx: Context) -> None:
        """Refuse an old row that is among the new ones, or lacks what each of them has."""
        where = f"step {ctx.step}, {INPUT}: {old.title!r}"
        if (again := rows["id"].filter(rows["id"].hash().is_in(known.implode()))).len():
            hint = "replay older shards than those that the new rows are in"
            raise InputError(f"an old row that is drawn is among the new rows, too: {again[0]}", where=where, hint=hint)
        for column in self._columns:
            if not column.nullable and rows[column.name].null_count():
                raise InputError(f"old rows have no {column.name!r}, which all new rows have", where=where)


def _rarest(values: pl.Series) -> pl.Series:
    """Of each list the text that is in fewest of the lists, of equal ones the first by name; null for an empty one."""
    at = pl.DataFrame({"_value": values.list.unique()}).with_row_index("_at")
    each = at.explode("_value", empty_as_null=True).with_columns(pl.len().over("_value").alias("_of"))
    each = each.with_columns(pl.when(pl.col("_value").is_not_null()).then("_of").alias("_of"))
    first = each.sort("_at", "_of", "_value", nulls_last=True).group_by("_at", maintain_order=True).agg(pl.col("_value").first())
    return first["_value"].alias(values.name)


def _level(total: int, sizes: Sequence[int]) -> list[int]:
    """As equal parts of `total` as the sizes allow: the small ones whole, the others share the rest."""
    takes = [0] * len(sizes)
    left = list(range(len(sizes)))
    while left:
        parts = dict(zip(left, apportion(total - sum(takes), [Fraction(1)] * len(left)), strict=True))
        small = [i for i in left if sizes[i] <= parts[i]]
        if not small:
            for i in left:
                takes[i] = parts[i]
            return takes
        for i in small:
            takes[i] = sizes[i]
        left = [i for i in left if i not in small]
    return takes
