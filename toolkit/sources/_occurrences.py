"""How often a text has come before, in 8 bytes a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


class SeenKeys:
    """64-bit keys that have come before, in 8 bytes each (up to 24 while runs are merged)."""

    def __init__(self) -> None:
        self._runs: list[pl.Series] = []
        """Sorted keys, each run more than twice as long as the next: a key is merged at most log2(blocks) times."""

    def seen(self, keys: pl.Series) -> pl.Series:
        """For each of a block's keys whether an earlier block had it; the block's keys then count as seen."""
        import polars as pl

        seen = pl.repeat(False, len(keys), eager=True)
        for run in self._runs:
            at = run.search_sorted(keys).clip(upper_bound=len(run) - 1)
            seen = seen | (run.gather(at) == keys)
        new = keys.sort()
        while self._runs and len(self._runs[-1]) <= 2 * len(new):
            new = pl.concat([self._runs.pop(), new]).sort()
        if len(new):
            self._runs.append(new)
        return seen


class Occurrences:
    """Counts content ids over a whole source: 0 for the first row of a text, 1 for the next, and so on.

    Memory: 8 bytes a row (up to 24 while runs are merged), and about 200 for each text that occurs again. Only the first 64 bits of an
    id are kept for texts seen once. Were two different texts to share them (at 10 million rows a chance of 3e-6), the later one would
    be numbered 1 instead of 0; its row id would still be unlike any other's.
    """

    def __init__(self) -> None:
        self._keys = SeenKeys()
        self._next: dict[str, int] = {}

    def number(self, ids: Sequence[str]) -> list[int]:
        """The number of each of a block's ids."""
        import polars as pl

        if not ids:
            return []
        seen = self._keys.seen(pl.Series("key", [int(i[:16], 16) for i in ids], dtype=pl.UInt64))
        out = []
        here: set[str] = set()
        for name, before in zip(ids, seen.to_list(), strict=True):
            n = self._next.get(name)
            if n is None:
                n = int(before or name in here)
                here.add(name)
            if n:
                self._next[name] = n + 1
            out.append(n)
        return out
