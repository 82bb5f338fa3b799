"""Semantic duplicates: cosine similarity of embeddings (`toolkit.operators._embedding`), every text against every other.

Memory: 4 bytes a dimension and text (384 dimensions: 1.5 KB; 127,544 texts 0.2 GB), and 32 MB for a block of similarities. Time grows with the
square of the texts: n x n x dimensions / 2 multiplications, in float32 (127,544 texts of 384 dimensions: 3 x 10^12). Pairs that may reach the
threshold are computed again in float64 and rounded to `DIGITS`, so that block sizes and a processor's way of adding leave them alone. The model sees
the texts as they are, not normalised, `ENCODE` at a time whatever the size of the blocks that come; a model whose result for a text depends on those
beside it (by padding, in its last digits) is steadied by the rounding but for a pair that lies right on the threshold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from toolkit.operators._embedding import Embed

    Floats = np.ndarray[Any, Any]

DIGITS = 4
"""Decimals of a similarity."""
ENCODE = 1024
"""Texts that are handed to the model together."""
LEFT, RIGHT = 1024, 8192
"""Texts of a block of similarities."""


class Embeddings:
    """Embeddings of texts, in the order in which they were added."""

    def __init__(self, embed: Embed, threshold: float) -> None:
        self._embed = embed
        self.threshold = threshold
        self._apart: list[Floats] = []
        self._waiting: list[str] = []
        self._parts: list[Floats] = []
        self._whole: Floats | None = None

    def add(self, normalised: pl.Series, plain: pl.Series, apart: pl.Series) -> None:
        """Add texts, as they are. Texts with different numbers in `apart` are never alike."""
        self._waiting += plain.to_list()
        self._apart.append(apart.to_numpy())
        while len(self._waiting) >= ENCODE:
            self._encode(ENCODE)

    def pairs(self, order: Floats) -> tuple[Floats, Floats]:
        """All pairs of the texts `order` whose similarity reaches the threshold, as positions in it, the lower one first."""
        import numpy as np

        vectors = self._vectors()[order]
        low: list[Floats] = [np.zeros(0, np.int64)]
        high: list[Floats] = [np.zeros(0, np.int64)]
        for i in range(0, len(vectors), LEFT):
            for j in range(i, len(vectors), RIGHT):
                close = vectors[i : i + LEFT] @ vectors[j : j + RIGHT].T >= self.threshold - 10**-DIGITS
                a, b = np.nonzero(close)
                a, b = a + i, b + j
                low.append(a[a < b])
                high.append(b[a < b])
        one, other = np.concatenate(low), np.concatenate(high)
        reached = self.similarity(order[one], order[other]) >= self.threshold
        return one[reached], other[reached]

    def similarity(self, one: Floats, other: Floats) -> Floats:
        """Cosine similarity of each pair of texts, by their numbers."""
        import numpy as np

        vectors = self._vectors()
        out = np.zeros(len(one))
        for at in range(0, len(one), RIGHT):
            a, b = (vectors[ends[at : at + RIGHT]].astype(np.float64) for ends in (one, other))
            out[at : at + RIGHT] = (a * b).sum(axis=1)
        apart = np.concatenate(self._apart) if self._apart else np.zeros(0, np.uint64)
        return np.where(apart[one] == apart[other], np.round(out, DIGITS), 0.0)

    def _vectors(self) -> Floats:
        import numpy as np

        if self._waiting:
            self._encode(len(self._waiting))
        if self._whole is None:
            self._whole = np.concatenate(self._parts) if self._parts else np.zeros((0, 1), np.float32)
            self._parts = []
        return self._whole

    def _encode(self, n: int) -> None:
        self._parts.append(self._embed(self._waiting[:n]))
        self._waiting = self._waiting[n:]
