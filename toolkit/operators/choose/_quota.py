"""What `balance`, `mix` and `stratify` share: so many rows of each class, drawn by id.

Two passes: the first reads ids and the columns of the classes, the second all columns. Memory: about 60 bytes per row (a key, a rank, the class).
Every row gets a key from its id, the seed and the step; the rows of a class are taken in the order of their keys. So the same rows come out
whatever their order and the size of the blocks, a larger number adds rows and drops none, and what other classes hold moves nothing.

A row that is drawn more than once comes as copies, one after the other: the first keeps the row's id, the others are ``<id>:<step>:<2, 3, …>``
(a number whose id a row has already, from an earlier run of the step, is passed over), and all name the row in `parent`. A row that is not drawn is
set aside, with a reason.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Any, ClassVar, Literal

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, Shape, StepInput
from toolkit.operators.choose._choice_figures import DRAWN
from toolkit.operators.choose._draw import keys
from toolkit.records import Column, child_id

Way = Literal["never", "even", "random"]
CLASSES = ("string", "bool", "int64")
"""Types of a column whose values are classes."""
SHOWN = 200
"""Classes whose numbers are in the manifest; the rest is counted."""


class Quota(DatasetOperator):
    """So many rows of each class; a subclass says how many.

    `wanted` sees how many rows each class has, never a row. A class is one combination of the values of `by`.
    """

    shape: ClassVar[Shape] = "select"
    passes = 2
    carries_media = True
    uses = frozenset({"seed"})
    figures = DRAWN

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._taken: set[str] = set()
        if self.copies():
            self.shape = "pick"  # type: ignore[misc]  # a row may come several times, so each names its parent
            self.version = 2  # type: ignore[misc]  # of the ids of copies

    @abstractmethod
    def by(self) -> list[str]:
        """Columns whose values make a class."""

    @abstractmethod
    def wanted(self, sizes: Sequence[tuple[tuple[Any, ...], int]], ctx: Context) -> list[tuple[int | None, Way, str]]:
        """For each class how many rows are wanted (None: it takes no part), how they are drawn, and the reason of a row that is not.

        Args:
            sizes: values of `by` and number of rows of each class, in order of the values, null first.
            ctx: as everywhere.

        Raises:
            InputError: a class has too few rows.
        """

    def copies(self) -> bool:
        """Whether a row may come more than once."""
        return False

    def reads(self, guard: Guard) -> list[str]:
        return list(dict.fromkeys(["id", *self.by()]))

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("parent", "string", doc="id of the row that was drawn")] if self.copies() else []

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = inputs.get("rows", {})
        out = super().columns(inputs, guard)
        for name in self.by():
            check_classes(self.name, have[name])
        if self.copies() and {"parent", "guard_model"} <= set(have):
            why = "`parent` says which row each generation is about, and with replacement it would say what it is a copy of"
            raise InputError(f"{self.name}: {why}", hint="draw the rows before they are sampled")
        return out

    def factor(self, inputs: Sequence[str]) -> float | None:
        return None

    def rows_planned(self, came: int | None) -> int | None:
        """Rows out, for `plan`, where the options alone say how many; `came`: rows in, None where that is not known."""
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        source = inputs["rows"]
        fates, classes = self._fates(source, ctx)
        self._report(classes, out)
        at = 0
        for block in source.blocks():
            fate = fates[at : at + block.height]
            at += block.height
            n = fate["_n"]
            out.keep(self._copied(block, n, ctx.step) if self.copies() else block.filter(n > 0))
            gone = n == 0
            left = fate["_class"].filter(gone)
            out.set_aside(block.filter(gone), classes["_reason"].gather(left), classes["_detail"].gather(left))
            ctx.progress(at, source.rows, "rows")

    def _fates(self, source: StepInput, ctx: Context) -> tuple[pl.DataFrame, pl.DataFrame]:
        """For each row its class (`_class`, a place in the second frame) and how often it is drawn (`_n`); and the classes with their numbers."""
        salt = str(ctx.rng_seed(self.name, ctx.step))
        by = self.by()
        parts = [pl.DataFrame(schema={"_class": pl.UInt32, "_n": pl.UInt32})]
        found = []
        self._taken = set()
        like_a_copy = re.escape(child_id("", ctx.step, "")) + r"\d+$"
        for block in source.blocks(self.reads(ctx.guard)):
            found.append(block.select(by).with_columns(pl.Series("_key", keys(salt, block["id"]), dtype=pl.UInt64)))
            if self.copies():
                self._taken.update(block["id"].filter(block["id"].str.contains(like_a_copy)))
        if not found:
            self.wanted([], ctx)  # raises where rows are wanted
            return parts[0], pl.DataFrame()
        rows = pl.concat(found)
        del found
        classes = self._classes(rows.group_by(by).len("_of").sort(by), ctx)
        rows = rows.join(classes.select(*by, "_class"), on=by, how="left", nulls_equal=True, maintain_order="left").select("_class", "_key")
        rank = pl.col("_key").rank("ordinal").over("_class").cast(pl.Int64) - 1
        rows = rows.select("_class", rank.alias("_rank"))
        rows = rows.join(self._draws(classes, salt), on=["_class", "_rank"], how="left", maintain_order="left")
        # Each row its whole share of the class's number and, in the order of the keys, one of the rest; unless it was drawn at random.
        want, of = (pl.col("_class").replace_strict(classes["_class"], classes[c], return_dtype=pl.Int64) for c in ("_want", "_of"))
        even = want // of + (pl.col("_rank") < want % of).cast(pl.Int64)
        return rows.select("_class", pl.coalesce("_n", even).cast(pl.UInt32).alias("_n")), classes

    def _classes(self, sizes: pl.DataFrame, ctx: Context) -> pl.DataFrame:
        """The classes: `by`, ``_of`` (rows), ``_class`` (place), ``_want``, ``_way``, and reason and detail of a row that is not drawn."""
        pairs = [(tuple(r[:-1]), int(r[-1])) for r in sizes.iter_rows()]
        plan = self.wanted(pairs, ctx)
        details = [self._detail(values, of, want) for (values, of), (want, _, _) in zip(pairs, plan, strict=True)]
        return sizes.with_columns(
            pl.col("_of").cast(pl.Int64),
            pl.Series("_class", range(len(plan)), dtype=pl.UInt32),
            pl.Series("_want", [want or 0 for want, _, _ in plan], dtype=pl.Int64),
            pl.Series("_way", [way for _, way, _ in plan], dtype=pl.String),
            pl.Series("_reason", [reason for _, _, reason in plan], dtype=pl.String),
            pl.Series("_detail", details, dtype=pl.String),
        )

    def _detail(self, values: Sequence[Any], of: int, want: int | None) -> str:
        words = shown_class(self.by(), values)
        return words if want is None else f"{words}: {want:,} of {of:,}"

    def _draws(self, classes: pl.DataFrame, salt: str) -> pl.DataFrame:
        """For each row of a class that is drawn at random, by rank, how often it is."""
        parts = [pl.DataFrame(schema={"_class": pl.UInt32, "_rank": pl.Int64, "_n": pl.Int64})]
        for row in classes.filter(pl.col("_way") == "random").iter_rows(named=True):
            times = _random(f"{salt} {[row[c] for c in self.by()]}", row["_want"], row["_of"])
            parts.append(
                pl.DataFrame({"_n": times}).select(pl.lit(row["_class"], pl.UInt32).alias("_class"), pl.int_range(pl.len()).alias("_rank"), "_n")
            )
        return pl.concat(parts)

    def _copied(self, block: pl.DataFrame, n: pl.Series, step: str) -> pl.DataFrame:
        rows = block.with_columns(self._numbers(block["id"], n, step).alias("_copy"), pl.col("id").alias("parent"))
        rows = rows.filter(n > 0).explode("_copy")
        copy = pl.format("{}{}{}", pl.col("id"), pl.lit(child_id("", step, "")), pl.col("_copy"))
        return rows.with_columns(pl.when(pl.col("_copy") == 1).then("id").otherwise(copy).alias("id")).drop("_copy")

    def _numbers(self, ids: pl.Series, n: pl.Series, step: str) -> pl.Series:
        """For each row the numbers of its copies: 1, which keeps its id, and then those whose id no row has."""
        if not self._taken:
            return pl.int_ranges(1, n.cast(pl.Int64) + 1, dtype=pl.Int64, eager=True)

        def free(parent: str, copies: int) -> list[int]:
            return list(islice((k for k in count(1) if k == 1 or child_id(parent, step, k) not in self._taken), copies))

        return pl.Series([free(i, k) for i, k in zip(ids, n, strict=True)], dtype=pl.List(pl.Int64))

    def _report(self, classes: pl.DataFrame, out: Output) -> None:
        if not classes.height:
            return
        shown = classes.head(SHOWN)
        found = shown.select(*self.by(), "_of", "_want").iter_rows()
        drawn = [{**dict(zip(self.by(), r[:-2], strict=True)), "rows": r[-2], "drawn": r[-1]} for r in found]
        out.stat("classes", drawn)
        out.stat("classes_not_shown", max(0, classes.height - SHOWN))


def check_classes(operator: str, column: Column) -> None:
    """Refuse a column whose values cannot be classes (InputError)."""
    if column.type not in CLASSES:
        raise InputError(f"{operator} takes the values of a column as classes, and {column.name!r} holds {column.type}", hint="text, bool or int64")


def too_few(operator: str, ctx: Context, lacking: Sequence[str]) -> InputError:
    """The error for classes that have too few rows."""
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    hint = "short: fewer takes what there is; replacement: even or random takes rows several times"
    return InputError(f"{operator}: too few rows: {'; '.join(lacking[:5])}{more}", where=f"step {ctx.step}", hint=hint)


def class_name(value: Any) -> str | None:
    """A class by the name that a recipe gives it; None for a missing value."""
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def shown_class(by: Sequence[str], values: Sequence[Any]) -> str:
    """A class for people: ``source is a, label_prompt is harmful``."""
    return ", ".join(f"{name} is {(class_name(v) or 'null')[:100]}" for name, v in zip(by, values, strict=True))


def _random(salt: str, n: int, of: int) -> pl.Series:
    """How often each of `of` rows is drawn in `n` draws with replacement."""
    import numpy as np

    places = [(int(k) * of) >> 64 for k in keys(salt, map(str, range(n)))]
    return pl.Series(np.bincount(np.asarray(places, dtype=np.int64), minlength=of), dtype=pl.Int64)
