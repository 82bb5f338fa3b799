"""Drawing by name: what a row gets depends on its id and a seed, never on its place or its neighbours.

Every draw is a number made by sha256 from a salt and a text (`toolkit.records.content_id`'s framing, so that recipes keep what they drew since
version 1). The hash of a million ids takes about a second; only ids or the names of groups are hashed, never texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


def keys(salt: str, texts: Iterable[str]) -> np.ndarray:
    """For each text a number from 0 to 2**64 - 1 that depends on `salt` and the text alone: the first 64 bits of ``content_id([], salt, text)``."""
    import numpy as np

    start = hashlib.sha256()
    for part in ("content/1", "0", salt):
        start.update(_framed(part.encode("utf-8", "surrogatepass")))
    found = bytearray()
    for text in texts:
        h = start.copy()
        h.update(_framed(b"1" + text.encode("utf-8", "surrogatepass")))
        found += h.digest()[:8]
    return np.frombuffer(bytes(found), dtype=">u8").astype(np.uint64)


def _framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(8, "little") + raw


def units(salt: str, texts: pl.Series) -> pl.Series:
    """For each text a number in [0, 1): the first 52 bits of its key."""
    import polars as pl

    return pl.Series(texts.name, units_of(keys(salt, texts)), dtype=pl.Float64)


def units_of(found: np.ndarray) -> np.ndarray:
    """Keys as numbers in [0, 1)."""
    import numpy as np

    units: np.ndarray = (found >> np.uint64(12)) / 2.0**52
    return units


def apportion(total: int, weights: list[Fraction]) -> list[int]:
    """Whole numbers that add up to `total` in proportion to `weights`, by the largest remainder (Hamilton's method).

    Each is its quota rounded down or up. Of equal remainders the first in the list goes first.

    Args:
        total: 0 or more.
        weights: 0 or more each, not all 0 where `total` is not.
    """
    if not total:
        return [0] * len(weights)
    whole = sum(weights)
    quotas = [total * w / whole for w in weights]
    out = [int(q) for q in quotas]
    by_rest = sorted(range(len(weights)), key=lambda i: (out[i] - quotas[i], i))
    for i in by_rest[: total - sum(out)]:
        out[i] += 1
    return out
