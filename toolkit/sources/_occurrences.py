"""How often a text has come before, in 8 bytes a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class SeenKeys:
    """64-bit keys that have come before, in 8 bytes each (up to 24 while runs are merged)."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray[Any, np.dtype[np.uint64]]] = []
        """Sorted keys, each run more than twice as long as the next: a key is merged at most log2(blocks) times."""
        self._first: pl.Series | None = None
        """The first block, until there is a second: a look at a file's beginning does without numpy, which takes a while to load."""

    def seen(self, keys: pl.Series) -> pl.Series:
        """For each of a block's keys (UInt64) whether an earlier block had it; the block's keys then count as seen."""
        import polars as pl

        if self._first is None:
            self._first = keys
            return pl.Series([False] * len(keys), dtype=pl.Boolean)

        import numpy as np

        if len(self._first):
            self._runs.append(np.sort(self._first.to_numpy()))
            self._first = self._first.clear()
        given = keys.to_numpy()
        order = given.argsort()  # those of one block in their order: the next one is found where the last one was
        new = given[order]
        found, seen = np.zeros(len(new), bool), np.empty(len(new), bool)
        for run in self._runs:
            found |= run[np.searchsorted(run, new).clip(max=len(run) - 1)] == new
        seen[order] = found
        while self._runs and len(self._runs[-1]) <= 2 * len(new):
            new = np.concatenate([self._runs.pop(), new])
            new.sort(kind="stable")
        if len(new):
            self._runs.append(new)
        return pl.Series(seen.tolist(), dtype=pl.Boolean)


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
