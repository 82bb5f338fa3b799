"""How unlike each other seeds are: the share of their n-grams that are distinct (Li and others, "A Diversity-Promoting Objective Function for Neural
Conversation Models", 2016: distinct-n is the number of distinct n-grams by the number of all).

Memory: 8 bytes an n-gram.
"""

from __future__ import annotations

import re
from array import array
from hashlib import blake2b

SIZES = (1, 2, 3)
_UNIT = re.compile(r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")
"""A word; in scripts that put no spaces between words a character."""


class DistinctNgrams:
    """Counts the n-grams of texts."""

    def __init__(self) -> None:
        self._seen: dict[int, array[int]] = {n: array("Q") for n in SIZES}

    def add(self, text: str) -> None:
        """One more text."""
        units = _UNIT.findall(text.lower())
        for n, seen in self._seen.items():
            for i in range(len(units) - n + 1):
                gram = " ".join(units[i : i + n]).encode("utf-8", "replace")
                seen.append(int.from_bytes(blake2b(gram, digest_size=8).digest(), "little"))

    def figures(self) -> dict[str, float | None]:
        """For each size the share that is distinct, from 0 to 1; None where there is no n-gram."""
        import numpy as np

        out: dict[str, float | None] = {}
        for n, seen in self._seen.items():
            hashes = np.frombuffer(seen, np.uint64) if len(seen) else np.zeros(0, np.uint64)
            out[f"distinct_{n}"] = round(len(np.unique(hashes)) / len(hashes), 4) if len(hashes) else None
        return out
