"""The table that `mine` looks at: every output of every row, in columns that take a few bytes.

Rows are numbered in their order, so that what a rule says of them is in that order too. A row's label is the one that the row has; a line's own
label is held against it. Memory: about 20 bytes an output, 60 a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import polars as pl

from toolkit.guards import Guard
from toolkit.mining import OUTCOMES, outcome
from toolkit.operators.base import StepInput
from toolkit.operators.judge._votes import Rows, columns_of, read_verdicts

_OUTCOME = pl.Enum(OUTCOMES)


class OutputTable:
    """Outputs of rows, gathered from tables of verdicts.

    Args:
        rows: that they are about.
        guard: whose tasks these are.
    """

    def __init__(self, rows: Rows, guard: Guard) -> None:
        self._rows = rows
        self._words = pl.Categories.random()
        self._labels = {t.name: pl.Enum(t.labels) for t in guard.tasks}
        self._ids = rows.table.select(pl.col("id").alias("parent"), pl.int_range(rows.height, dtype=pl.UInt32).alias("_at"))
        self._own = rows.table.select(pl.col(f"label_{t}").cast(e).alias(f"_own_{t}") for t, e in self._labels.items())
        self._parts: list[pl.DataFrame] = [self._there()]
        self.tokens: dict[str, int] = {}
        """By guard those that it wrote, in the outputs of these rows, as far as they are known."""
        self.strangers = 0
        """Outputs of rows that are not among the rows."""
        self.differing: dict[str, int] = dict.fromkeys(self._labels, 0)
        """By task the outputs that come with another label than their row has."""
        self.conflicting: set[int] = set()
        """Rows that one of these is about, by number."""

    def _there(self) -> pl.DataFrame:
        """A line for each row that is no output: it says that the row is there, and which labels it has."""
        columns = [pl.col("_at").alias("parent"), self._null(pl.Categorical(self._words)).alias("guard_model"), pl.lit(0, pl.Int64).alias("draw")]
        for t, labels in self._labels.items():
            nothing = outcome(pl.col(f"_own_{t}"), pl.lit(None, labels), _OUTCOME)
            columns += [pl.col(f"_own_{t}").alias(f"label_{t}"), self._null(labels).alias(f"verdict_{t}")]
            columns += [self._null(pl.Categorical(self._words)).alias(f"unread_{t}"), nothing.alias(f"outcome_{t}")]
            columns += [self._null(pl.Float64()).alias(f"probability_{t}")]
        return self._ids.hstack(self._own).select(columns)

    @staticmethod
    def _null(dtype: pl.DataType) -> pl.Expr:
        return pl.lit(None, dtype)

    def read(self, source: StepInput) -> None:
        """Take the verdicts of a step.

        Raises:
            InputError: a word that the guard does not know, or verdicts of which none is about these rows.
        """
        have = columns_of(source)
        wanted = ["parent", "guard_model", "draw"]
        wanted += [f"{n}_{t}" for t in self._labels for n in ("label", "verdict", "unread", "probability") if f"{n}_{t}" in have]
        wanted += ["tokens"] if "tokens" in have else []
        self.strangers += read_verdicts(source, wanted, self._rows, self._add)

    def _add(self, block: pl.DataFrame) -> int:
        """Take a frame of verdicts; how many of them are about the rows."""
        at = self._numbers(block["parent"])
        if at.null_count():
            block, at = block.filter(at.is_not_null()), at.drop_nulls()
        lines = block.hstack(self._own[at]).with_columns(at)
        if "tokens" in lines.columns:
            for name, tokens in lines.drop_nulls("tokens").group_by("guard_model").agg(pl.col("tokens").sum()).iter_rows():
                self.tokens[name] = self.tokens.get(name, 0) + tokens
        columns = [pl.col("_at").alias("parent"), pl.col("guard_model").cast(pl.Categorical(self._words)), pl.col("draw").cast(pl.Int64)]
        for t, labels in self._labels.items():
            own, verdict = pl.col(f"_own_{t}"), pl.col(f"verdict_{t}").cast(labels)
            if f"label_{t}" in lines.columns:
                differs = lines.select((pl.col(f"label_{t}").cast(labels) != own).fill_null(False)).to_series()
                if n := int(differs.sum()):
                    self.differing[t] += n
                    self.conflicting |= set(at.filter(differs))
            reason = pl.col(f"unread_{t}") if f"unread_{t}" in lines.columns else pl.lit(None, pl.String)
            probability = pl.col(f"probability_{t}") if f"probability_{t}" in lines.columns else pl.lit(None, pl.Float64)
            columns += [own.alias(f"label_{t}"), verdict.alias(f"verdict_{t}"), reason.cast(pl.Categorical(self._words)).alias(f"unread_{t}")]
            columns += [outcome(own, verdict, _OUTCOME).alias(f"outcome_{t}"), probability.cast(pl.Float64).alias(f"probability_{t}")]
        self._parts.append(lines.select(columns))
        return lines.height

    def _numbers(self, parents: pl.Series) -> pl.Series:
        """The number of each line's row, null where it is none of the rows. Lines that go through the rows in their order, over and over, as the
        draws of guards over one file do, are numbered by comparing ids, without hashing them."""
        import numpy as np

        ids, lines = self._ids["parent"], parents.len()
        start = ids.index_of(parents[0]) if ids.len() and lines and not parents.null_count() else None
        if start is not None:
            cuts = [0, *range(ids.len() - start, lines, ids.len()), lines]
            begins = [start, *[0] * (len(cuts) - 2)]
            if all((ids[at : at + b - a] == parents[a:b]).all() for at, (a, b) in zip(begins, pairwise(cuts), strict=True)):
                return pl.Series("_at", (start + np.arange(lines)) % ids.len(), dtype=pl.UInt32)
        return parents.to_frame().join(self._ids, on="parent", how="left", maintain_order="left")["_at"]

    def whole(self) -> pl.DataFrame:
        """All lines; `parent` is the number of the row. What was gathered is given away."""
        out, self._parts = pl.concat(self._parts), []
        return out


def drawn(table: pl.DataFrame) -> dict[str, list[int]]:
    """By guard the numbers of its draws, sorted."""
    found = table.drop_nulls("guard_model").select(pl.col("guard_model").cast(pl.String), "draw").unique().sort("guard_model", "draw")
    return {str(g): draws for g, draws in found.group_by("guard_model", maintain_order=True).agg("draw").iter_rows()}


def draw_remarks(draws: dict[str, list[int]]) -> list[str]:
    """What is odd about the numbers of draws, in words."""
    out = []
    for guard, numbers in draws.items():
        if gaps := sorted(set(range(max(numbers) + 1)) - set(numbers)):
            out.append(f"no row has draw {_few(gaps)} of {guard}: {len(numbers)} draws count, not {max(numbers) + 1}")
    return out


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
