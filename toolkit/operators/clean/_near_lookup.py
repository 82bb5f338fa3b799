"""Whether a text is near to one of many that are known already, asked one text at a time: the sketches of `_minhash` in tables that grow.

Memory, a known text: 4 bytes a band and a shingle (up to `SKETCH`), and 16 more; of those that are added one at a time about 100 bytes a band.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.operators.clean import _texts
from toolkit.operators.clean._minhash import SKETCH, WINDOW, Shape, Sketches

if TYPE_CHECKING:
    import numpy as np

    Ints = np.ndarray[Any, Any]


class NearLookup:
    """Known texts by number, and which of them a text is near to.

    Args:
        shape: of the sketches, as `deduplicate` has it.
        threshold: least Jaccard similarity of two texts that are near.
    """

    def __init__(self, shape: Shape, threshold: float) -> None:
        self._shape, self._threshold = shape, threshold
        self._exact: dict[int, int] = {}
        self._tables: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(shape.bands)]
        self._sets: list[Ints] = []
        self._bulk: _Bulk | None = None

    def begin(self, blocks: Iterable[pl.Series]) -> None:
        """Take texts that are known from the beginning, as numbers below 0 (-1 for the first). Once, before any other; a block is held at a time."""
        self._bulk = _Bulk([_sketched(_texts.fold(b.fill_null("")), self._shape) for b in blocks if len(b)], self._shape)

    def add(self, text: str) -> int:
        """Take one more; its number, from 0."""
        keys, values, exact = _sketch(text, self._shape)
        number = len(self._sets)
        self._sets.append(values)
        self._exact.setdefault(exact, number)
        for table, key in zip(self._tables, keys.tolist(), strict=True):
            table[key].append(number)
        return number

    def nearest(self, text: str, but: Collection[int] = ()) -> tuple[float, int] | None:
        """Similarity and number of the known text that it is nearest to; None where it is near to none. Equal texts (but for case and white space)
        are 1.0. `but`: numbers that only count where the text is equal."""
        keys, values, key = _sketch(text, self._shape)
        equal = self._exact.get(key)
        if equal is None and self._bulk is not None:
            equal = self._bulk.equal(key)
        if equal is not None:
            return 1.0, equal
        found = {n for table, k in zip(self._tables, keys.tolist(), strict=True) for n in _some(table.get(k, []))} - set(but)
        near = [(_jaccard(values, self._sets[n]), n) for n in sorted(found)]
        if self._bulk is not None:
            near += [(_jaccard(values, self._bulk.values(n)), -1 - n) for n in self._bulk.sharing(keys)]
        best = max(near, key=lambda pair: (pair[0], -pair[1]), default=None)
        return best if best is not None and best[0] >= self._threshold else None


def _some(same: Any) -> list[int]:
    """Of the texts of one band those that are compared: the first and the last `WINDOW`, as in `_minhash`, so that thousands that share a template
    cost no more than a few."""
    return list(map(int, same if len(same) <= WINDOW + 1 else [same[0], *same[-WINDOW:]]))


@lru_cache(maxsize=4096)
def _sketch(text: str, shape: Shape) -> tuple[Ints, Ints, int]:
    """Band keys, shingles and hash of one text: the same text is looked up several times, by one table or another."""
    keys, values, _, exact = _sketched(_texts.fold(pl.Series([text])), shape)
    return keys[:, 0].copy(), values.copy(), int(exact[0])


def _sketched(folded: pl.Series, shape: Shape) -> tuple[Ints, Ints, Ints, Ints]:
    """Band keys (bands x texts), shingles one text after the other, how many each has, and a hash of each whole text."""
    import numpy as np

    sketches = Sketches(shape)
    sketches.add(folded, folded, pl.zeros(len(folded), dtype=pl.UInt64, eager=True))
    chunks = sketches._chunks
    keys = np.concatenate([c.keys for c in chunks], axis=1)
    return keys, np.concatenate([c.values for c in chunks]), np.concatenate([np.minimum(c.sizes, SKETCH) for c in chunks]), folded.hash(1).to_numpy()


def _jaccard(one: Ints, other: Ints) -> float:
    """Similarity of two sets, counted up to the hash below which both are known."""
    import numpy as np

    full = [s[-1] for s in (one, other) if len(s) >= SKETCH]
    if full:
        one, other = (s[: int(np.searchsorted(s, min(full), "right"))] for s in (one, other))
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


class _Bulk:
    """Many texts that do not change: sorted tables."""

    def __init__(self, blocks: list[tuple[Ints, Ints, Ints, Ints]], shape: Shape) -> None:
        import numpy as np

        none = np.zeros(0, np.uint32)
        keys = np.concatenate([b[0] for b in blocks], axis=1) if blocks else np.zeros((shape.bands, 0), np.uint32)
        self._order = [np.argsort(band, kind="stable").astype(np.uint32) for band in keys]
        self._keys = [band[order] for band, order in zip(keys, self._order, strict=True)]
        self._values = np.concatenate([b[1] for b in blocks]) if blocks else none
        sizes = np.concatenate([b[2] for b in blocks]).astype(np.int64) if blocks else np.zeros(0, np.int64)
        self._edges = np.concatenate([[0], np.cumsum(sizes)])
        exact = np.concatenate([b[3] for b in blocks]) if blocks else np.zeros(0, np.uint64)
        self._exact_order = np.argsort(exact, kind="stable")
        self._exact = exact[self._exact_order]

    def equal(self, key: int) -> int | None:
        """Number (below 0) of the first text with this hash."""
        import numpy as np

        at = int(np.searchsorted(self._exact, np.uint64(key)))
        return -1 - int(self._exact_order[at]) if at < len(self._exact) and int(self._exact[at]) == key else None

    def sharing(self, keys: Ints) -> list[int]:
        """Places of the texts that share a band."""
        import numpy as np

        found = set[int]()
        for table, order, key in zip(self._keys, self._order, keys, strict=True):
            low, high = np.searchsorted(table, key, "left"), np.searchsorted(table, key, "right")
            found.update(_some(order[low:high]))
        return sorted(found)

    def values(self, place: int) -> Ints:
        """The set of a text."""
        return self._values[self._edges[place] : self._edges[place + 1]]
