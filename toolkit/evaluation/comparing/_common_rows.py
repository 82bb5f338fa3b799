"""Which rows several models have in common: joined by benchmark, task and id; and what each lacks.

Rows of one id whose texts differ, where both are known, are different rows as much as those whose labels do.
"""

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
    """The row's label as each model has it (with a mark where its text is not that of the first), None where the model lacks the row; and how many
    rows are so."""

    def n(self, i: int) -> int:
        """Rows of a model."""
        return sum(n for golds, n in self.patterns if golds[i] is not None)

    def same(self, models: Sequence[int]) -> int:
        """Rows that all of them have, with the same label and text."""
        return sum(n for g, n in self.patterns if g[models[0]] is not None and len({g[i] for i in models}) == 1)

    def lacks(self, i: int, other: int) -> int:
        """Rows that a model lacks and another one has."""
        return sum(n for g, n in self.patterns if g[i] is None and g[other] is not None)

    def relabelled(self, i: int, other: int) -> int:
        """Rows that both have with different labels or texts."""
        return sum(n for g, n in self.patterns if None not in (g[i], g[other]) and g[i] != g[other])

    def whole(self, models: Sequence[int]) -> bool:
        """Whether all of them have the same rows with the same labels and texts."""
        return all(len({g[i] for i in models}) == 1 for g, _ in self.patterns)


def common(rows: pl.LazyFrame, models: Sequence[str]) -> dict[Key, Common]:
    """By benchmark and task, in their order in the table. Memory: a label and the hashes of id and text for each row and model."""
    import polars as pl

    known = rows.filter(pl.col("gold").is_not_null()).select("benchmark", "task", "model", "gold", _text(), pl.col("id").hash().alias("id"))
    mine = [
        pl.col(c).filter(pl.col("model") == m).first().alias(f"{name}{i}")
        for c, name in (("gold", "_"), ("text", "_t"))
        for i, m in enumerate(models)
    ]
    labels = [f"_{i}" for i in range(len(models))]
    rows_of = known.group_by("benchmark", "task", "id").agg(mine).with_columns(_marked(i, len(models)) for i in range(len(models)))
    found = rows_of.group_by("benchmark", "task", *labels).len()
    order = rows.select("benchmark", "task").unique(maintain_order=True).collect(engine="streaming")
    out: dict[Key, Common] = {key: Common() for key in order.iter_rows()}
    for benchmark, task, *golds, n in found.sort(pl.all()).collect(engine="streaming").iter_rows():
        out[benchmark, task].patterns.append((tuple(golds), n))
    return {key: one for key, one in out.items() if one.patterns}


def _text() -> pl.Expr:
    """A hash of a row's prompt and response; null where the prompt is not known."""
    import polars as pl

    return pl.when(pl.col("prompt").is_not_null()).then(pl.struct("prompt", "response").hash()).alias("text")


def _marked(i: int, models: int) -> pl.Expr:
    """A model's label of a row, marked with the first model of its text where the first text that is known is another."""
    import polars as pl

    text = pl.col(f"_t{i}")
    first = pl.coalesce(f"_t{j}" for j in range(models))
    owner = pl.coalesce(pl.when(pl.col(f"_t{j}") == text).then(pl.lit(f" of the text of {j}")) for j in range(models))
    label = pl.col(f"_{i}").cast(pl.String)
    return pl.when(text.is_null() | (text == first)).then(label).otherwise(label + owner).alias(f"_{i}")


def shared_rows(rows: pl.LazyFrame, models: Sequence[str]) -> pl.LazyFrame:
    """Lines of some models on the rows that all of them have with the same label and text."""
    import polars as pl

    some = rows.filter(pl.col("model").is_in(list(models)) & pl.col("gold").is_not_null())
    keys = ["benchmark", "task", "id"]
    counts = [pl.col(c).drop_nulls().n_unique().alias(f"_{c}s") for c in ("model", "gold", "text")]
    held = some.select(*keys, "model", "gold", _text()).group_by(keys).agg(counts)
    whole = held.filter((pl.col("_models") == len(models)) & (pl.col("_golds") == 1) & (pl.col("_texts") <= 1)).select(keys)
    return some.join(whole, on=keys, how="semi")


def lacking(found: dict[Key, Common], models: Sequence[str], pairs: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """What the models of each pair lack of each other's rows, and rows with different labels; nothing where they have the same."""
    for (benchmark, task), one in found.items():
        for a, b in pairs:
            line = {"a": models[a], "b": models[b], "benchmark": benchmark, "task": task, "shared": one.same((a, b))}
            line |= {"a_lacks": one.lacks(a, b), "b_lacks": one.lacks(b, a), "relabelled": one.relabelled(a, b)}
            if line["a_lacks"] or line["b_lacks"] or line["relabelled"]:
                yield line
