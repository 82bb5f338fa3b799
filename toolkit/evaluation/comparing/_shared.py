"""Which rows several models have in common: joined by benchmark, task and id, and told of what each lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

Key = tuple[str, str]
"""Benchmark and task."""


@dataclass
class Common:
    """Rows with a label of one benchmark and task: how many have which labels with whom."""

    patterns: list[tuple[tuple[str | None, ...], int]] = field(default_factory=list)
    """The row's label as each model has it, None where the model lacks the row; and how many rows are so."""

    def n(self, i: int) -> int:
        """Rows of a model."""
        return sum(n for golds, n in self.patterns if golds[i] is not None)

    def same(self, models: Sequence[int]) -> int:
        """Rows that all of them have, with the same label."""
        return sum(n for g, n in self.patterns if g[models[0]] is not None and len({g[i] for i in models}) == 1)

    def lacks(self, i: int, other: int) -> int:
        """Rows that a model lacks and another one has."""
        return sum(n for g, n in self.patterns if g[i] is None and g[other] is not None)

    def relabelled(self, i: int, other: int) -> int:
        """Rows that both have with different labels."""
        return sum(n for g, n in self.patterns if None not in (g[i], g[other]) and g[i] != g[other])

    def whole(self, models: Sequence[int]) -> bool:
        """Whether all of them have the same rows with the same labels."""
        return all(len({g[i] for i in models}) == 1 for g, _ in self.patterns)


def common(rows: pl.LazyFrame, models: Sequence[str]) -> dict[Key, Common]:
    """By benchmark and task, in their order in the table. Memory: an id's hash and a label for each row and model."""
    import polars as pl

    mine = [pl.col("gold").filter(pl.col("model") == m).first().alias(f"_{i}") for i, m in enumerate(models)]
    labels = [f"_{i}" for i in range(len(models))]
    known = rows.filter(pl.col("gold").is_not_null()).select("benchmark", "task", "model", "gold", pl.col("id").hash().alias("id"))
    found = known.group_by("benchmark", "task", "id").agg(mine).group_by("benchmark", "task", *labels).len()
    order = rows.select("benchmark", "task").unique(maintain_order=True).collect(engine="streaming")
    out: dict[Key, Common] = {key: Common() for key in order.iter_rows()}
    for benchmark, task, *golds, n in found.sort(pl.all()).collect(engine="streaming").iter_rows():
        out[benchmark, task].patterns.append((tuple(golds), n))
    return {key: one for key, one in out.items() if one.patterns}


def shared_rows(rows: pl.LazyFrame, models: Sequence[str]) -> pl.LazyFrame:
    """Lines of some models on the rows that all of them have with the same label."""
    import polars as pl

    some = rows.filter(pl.col("model").is_in(list(models)) & pl.col("gold").is_not_null())
    keys = ["benchmark", "task", "id"]
    held = some.group_by(keys).agg(pl.col("model").n_unique().alias("_models"), pl.col("gold").n_unique().alias("_golds"))
    whole = held.filter((pl.col("_models") == len(models)) & (pl.col("_golds") == 1)).select(keys)
    return some.join(whole, on=keys, how="semi")


def lacking(found: dict[Key, Common], models: Sequence[str], pairs: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """What the models of each pair lack of each other's rows, and rows with different labels; nothing where they have the same."""
    for (benchmark, task), one in found.items():
        for a, b in pairs:
            told = {"a": models[a], "b": models[b], "benchmark": benchmark, "task": task, "shared": one.same((a, b))}
            told |= {"a_lacks": one.lacks(a, b), "b_lacks": one.lacks(b, a), "relabelled": one.relabelled(a, b)}
            if told["a_lacks"] or told["b_lacks"] or told["relabelled"]:
                yield told
