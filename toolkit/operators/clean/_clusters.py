"""From pairs of rows that are alike to clusters: whole ones for what must stay together, stars for what may stand for what.

Rows are numbers in the order of preference: of two rows that are alike the lower one is the better survivor.

- `components`: everything that a chain of pairs links (single link). Its ends may be quite unlike each other, so nobody is merged for being in one;
  but who keeps a component in one part of a split has no pair across two parts.
- `stars`: from the lowest row on, a row that no survivor stands for yet becomes one and stands for all rows that pair with it and have none. So a
  row is merged only into one that it is alike itself, and no two survivors are a pair that could have been merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Ints = np.ndarray[Any, Any]


def components(n: int, one: Ints, other: Ints) -> Ints:
    """For each of `n` rows the lowest row that a chain of pairs links it to (least labels, with pointer jumping)."""
    import numpy as np

    label = np.arange(n)
    while True:
        low = np.minimum(label[one], label[other])
        after = label.copy()
        # a label is set on what its rows reach, too: chains then shorten by half each time
        for ends in (one, other):
            np.minimum.at(after, ends, low)
            np.minimum.at(after, label[ends], low)
        after = after[after]
        if np.array_equal(after, label):
            return label
        label = after


def stars(n: int, low: Ints, high: Ints) -> Ints:
    """For each of `n` rows its survivor: itself, or a row that it pairs with.

    Args:
        n: rows.
        low, high: the pairs that may be merged, the lower row first; each once.
    """
    import numpy as np

    owner = list(range(n))
    by = np.lexsort((high, low))
    for u, v in zip(low[by].tolist(), high[by].tolist(), strict=True):
        if owner[u] == u and owner[v] == v:
            owner[v] = u
    return np.asarray(owner, np.int64)
