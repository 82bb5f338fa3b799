"""Rows counted by some of their values, for the figures of a step."""

from __future__ import annotations

from typing import Any

import polars as pl

MOST = 50
"""Lines of a tally, at most: a manifest holds them."""
NONE = "(none)"
OTHERS = "(others)"


class Tally:
    """Counts of rows by the values of some columns. Rows come a block at a time, in any order. Memory: a line for each combination of values."""

    def __init__(self, *by: str) -> None:
        self._by = list(by)
        self._found: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame, **sums: pl.Expr) -> None:
        """Count rows, and in how many of them each of `sums` (of booleans) is true."""
        words = (pl.col(c).cast(pl.String).fill_null(NONE) for c in self._by)
        counted = rows.select(*words, pl.lit(1, pl.Int64).alias("rows"), *(e.cast(pl.Int64).alias(n) for n, e in sums.items()))
        both = counted if self._found is None else pl.concat([self._found, counted])
        self._found = both.group_by(self._by).sum()

    def lines(self) -> list[dict[str, Any]]:
        """A line for each combination, those of most rows first; beyond `MOST` all others in one."""
        if self._found is None or not self._found.height:
            return []
        lines = self._found.sort("rows", *self._by, descending=[True, *[False] * len(self._by)])
        if lines.height > MOST:
            rest = lines[MOST - 1 :].select(*(pl.lit(OTHERS).alias(c) for c in self._by), pl.exclude(self._by).sum())
            lines = pl.concat([lines[: MOST - 1], rest[:1]])
        return lines.to_dicts()
