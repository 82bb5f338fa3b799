"""Operator `split`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import polars as pl
from pydantic import Field, model_validator

from toolkit.guards import Guard
from toolkit.operators._value_counts import Tally
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.choose._choice_figures import PARTED
from toolkit.operators.choose._draw import keys, units, units_of
from toolkit.operators.choose._quota import check_classes
from toolkit.records import Column
from toolkit.shards import SPLIT_HINT, names_split

if TYPE_CHECKING:
    import numpy as np


class SplitConfig(Config):
    """Options of `split`."""

    parts: dict[str, float] = Field({"train": 0.9, "test": 0.1}, min_length=1)
    """Share of the groups that each part gets; the shares add up to 1."""
    keep_existing: bool = True
    """A row that comes with a split keeps it, and the rows of its group go where it is."""
    stratify: list[str] = []
    """Columns (`source`, `label_prompt`) in each of whose combinations of values the shares are met as nearly as whole groups allow. Without them
    each group is drawn for itself, and the shares are met by chance alone."""

    @model_validator(mode="after")
    def _adds_up(self) -> SplitConfig:
        if abs(sum(self.parts.values()) - 1) > 1e-9 or min(self.parts.values()) <= 0:
            raise ValueError(f"the shares must be positive and add up to 1, not {sum(self.parts.values()):g}")
        for name in self.parts:
            if not names_split(name):
                raise ValueError(f"{name!r} cannot name a split of shards: {SPLIT_HINT}")
        return self


class Split(DatasetOperator):
    """Set `split` by group, so that rows of one group never straddle two parts.

    A group's part follows from its name and the recipe's seed alone: more rows or another order move nothing; a row without a group is one by itself,
    named by its id. With `stratify` it follows from the
    groups of its stratum as well (a group is of the stratum that most of its rows are of), still whatever their order: the groups of a stratum are
    laid out in the order of a number drawn from their names and cut by their rows. A group that comes with two different splits would straddle by its
    source's own doing: its rows are rejected (`group_straddles`). Memory: 12 bytes for each group that
    comes with a split; with `stratify`, about 100 bytes for every group.
    """

    name = "split"
    shape = "one_to_one"
    carries_media = True
    config_class = SplitConfig
    figures = PARTED
    example = {"parts": {"train": 0.9, "test": 0.1}}
    uses = frozenset({"seed"})
    config: SplitConfig

    def reads(self, guard: Guard) -> list[str]:
        return list(dict.fromkeys(["id", "group", "split", *self.config.stratify]))

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("split", "string", nullable=True)]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = inputs.get("rows", {})
        out = super().columns(inputs, guard)
        for name in self.config.stratify:
            check_classes("split", have[name])
        return out

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        source = inputs["rows"]
        salt = str(ctx.rng_seed("split"))
        parts = list(self.config.parts)
        given = _given(source, salt, parts) if self.config.keep_existing else _Placed(parts)
        laid_out = _laid_out(source, self.config, given, salt) if self.config.stratify else None
        tally = Tally("stratum")
        of_parts = {str(i): pl.col("split") == name for i, name in enumerate(given.names)}
        done = 0
        for block in source.blocks():
            named = block.with_columns(_GROUP)
            groups = named.select(pl.col("_group").unique())
            found = keys(salt, groups["_group"])
            own = laid_out.of(found) if laid_out is not None else _part(self.config, units_of(found))
            groups = groups.with_columns(given.named(found, own).alias("_part"), (given.of(found) == _STRADDLES).alias("_straddles"))
            rows = named.join(groups, on="_group", how="left", maintain_order="left").with_columns(pl.col("_part").alias("split"))
            rows = rows.drop("_part", "_group")
            gone = rows["_straddles"]
            kept = rows.filter(~gone).drop("_straddles")
            out.keep(kept)
            tally.add(kept.select(_stratum(self.config.stratify), "split"), **of_parts)
            out.reject(block.filter(gone), "group_straddles", pl.format("its group comes with several splits; this row's is {}", "split"))
            done += block.height
            ctx.progress(done, source.rows, "rows")
        lines = tally.lines()
        out.stat("parts", [{"stratum": n["stratum"], "parts": {p: n[str(i)] for i, p in enumerate(given.names)}} for n in lines])


def _stratum(by: list[str]) -> pl.Expr:
    """A row's stratum in words."""
    words = [pl.format("{} is {}", pl.lit(name), pl.col(name).cast(pl.String).str.slice(0, 100).fill_null("null")) for name in by]
    return (pl.concat_str(words, separator=", ") if words else pl.lit("all rows")).alias("stratum")


_ABSENT, _STRADDLES = -1, -2
_GROUP = pl.coalesce("group", "id").alias("_group")


@dataclass
class _Placed:
    """The part of some groups, by the key of the group's name: 12 bytes a group.

    Attributes:
        names: of the parts, and of splits that rows come with.
        keys: of the groups, in order.
        codes: places in `names`, or `_STRADDLES`.
    """

    names: list[str]
    keys: np.ndarray | None = None
    codes: np.ndarray | None = None

    def of(self, keys: np.ndarray) -> pl.Series:
        """The code of each key; `_ABSENT` for a group that is not here."""
        import numpy as np

        if self.keys is None or self.codes is None or not len(self.keys):
            return pl.repeat(_ABSENT, len(keys), dtype=pl.Int32, eager=True)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return pl.Series(np.where(self.keys[at] == keys, self.codes[at], _ABSENT), dtype=pl.Int32)

    def named(self, keys: np.ndarray, otherwise: pl.Series) -> pl.Series:
        """The name of each key's part; `otherwise` has the code of those that are not here. Groups that straddle have none."""
        codes = self.of(keys)
        return pl.select(code=pl.when(codes == _ABSENT).then(otherwise).when(codes >= 0).then(codes))["code"].replace_strict(
            range(len(self.names)), self.names, default=None, return_dtype=pl.String
        )


def _placed(names: list[str], table: pl.DataFrame) -> _Placed:
    """From `key` and `code`."""
    table = table.sort("key")
    return _Placed(names, table["key"].to_numpy(), table["code"].to_numpy())


def _given(rows: StepInput, salt: str, parts: list[str]) -> _Placed:
    """The groups that come with a split."""
    found = [pl.DataFrame(schema={"key": pl.UInt64, "split": pl.String})]
    for block in rows.blocks(["id", "group", "split"]):
        pairs = block.filter(pl.col("split").is_not_null()).select(_GROUP, "split").unique()
        if pairs.height:
            found.append(pairs.select(pl.Series("key", keys(salt, pairs["_group"]), dtype=pl.UInt64), "split"))
    by_group = pl.concat(found).group_by("key").agg(pl.col("split").min(), (pl.col("split").n_unique() > 1).alias("several"))
    names = list(dict.fromkeys([*parts, *by_group["split"].unique().sort()]))
    code = pl.when("several").then(_STRADDLES).otherwise(pl.col("split").replace_strict(names, range(len(names)), return_dtype=pl.Int32))
    return _placed(names, by_group.select("key", code.cast(pl.Int32).alias("code")))


def _part(config: SplitConfig, places: np.ndarray) -> pl.Series:
    """The number of the part that each place in [0, 1) falls into."""
    import numpy as np

    edges = list(accumulate(config.parts.values()))[:-1]
    return pl.Series(np.searchsorted(np.asarray(edges), places, side="right"), dtype=pl.Int32)


def _laid_out(rows: StepInput, config: SplitConfig, given: _Placed, salt: str) -> _Placed:
    """The parts of the groups that do not come with one.

    Each group has a stretch as long as its rows on the line of its stratum, and goes where a point of that stretch falls, as far along it as the
    stratum's own draw says: so each part gets its share of a stratum to within a group, and of many small strata on average.
    """
    by = config.stratify
    found = []
    for block in rows.blocks(list(dict.fromkeys(["id", "group", *by]))):
        some = block.group_by(_GROUP, *by, maintain_order=True).len()
        some = some.with_columns(pl.Series("key", keys(salt, some["_group"]), dtype=pl.UInt64))
        found.append(some.select("key", *by, pl.col("len").cast(pl.Int64)))
    if not found:
        return _Placed([])
    table = pl.concat(found).group_by("key", *by).agg(pl.col("len").sum())
    table = table.filter(given.of(table["key"].to_numpy()) == _ABSENT)
    # The stratum of a group is that of most of its rows; of as many, the first by value.
    table = table.sort("len", *by, descending=[True, *[False] * len(by)])
    table = table.group_by("key", maintain_order=True).agg(pl.col(by).first(), pl.col("len").sum())
    strata = table.select(by).unique()
    names = strata.select(pl.struct(by).struct.json_encode().alias("name"))["name"]
    strata = strata.with_columns(pl.Series("_draw", units(f"{salt} stratum", names)))
    table = table.join(strata, on=by, how="left", nulls_equal=True).sort("key")
    before = pl.col("len").cum_sum().over(by) - pl.col("len")
    place = (before + pl.col("_draw") * pl.col("len")) / pl.col("len").sum().over(by)
    return _placed([], table.select("key", _part(config, table.select(place.alias("p"))["p"].to_numpy()).alias("code")))
