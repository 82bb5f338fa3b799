"""Near-duplicates: MinHash with locality-sensitive hashing proposes pairs of texts, the Jaccard similarity of their shingle sets decides.

A text's set holds the hashes of all runs of `size` units in it. A unit is what is between spaces and, in scripts that put none between words
(`_UNSPACED`), each character; so the units fit the script wherever it is in a text, and a text without such characters has its words. Or all
units are words, or characters, as asked; of a shorter text the one run that is there, so that two short
texts are near each other only if they are equal. Sets and signatures (Broder, "On the resemblance and containment of documents", 1997) are computed
in numpy over many texts at once, from the UTF-8 bytes alone: equal on every machine, and whatever other texts are beside them.

Two texts of similarity s share at least one of `bands` bands of r signature values with the probability 1 - (1 - s^r)^bands (Leskovec, Rajaraman,
Ullman, "Mining of Massive Datasets", 3.4). What shares none is never looked at; what shares one is compared by its set. Up to `SKETCH` shingles the
similarity is exact (but for 32-bit hashes, of which two within a pair of such texts collide once in 10^5 pairs); beyond, it is estimated
from the `SKETCH` smallest (bottom-k sketch: Cohen and Kaplan, 2007), with a standard deviation of at most 0.5 / sqrt(SKETCH) = 0.03.

In a band, a text is compared with the first text that has the same values and with the `WINDOW` before it, in the order that the caller gives: up
to `WINDOW` + 1 texts of the same values that is every pair, and the time stays linear where thousands share a template.

Memory, a text: 4 bytes a band, 4 a shingle up to `SKETCH`, 4 more: 100 words and 32 bands 0.5 KB, at most 1.2 KB. No text is kept. While they are
hashed, some MB; for a text that is itself larger than `CHUNK`, about 50 times its size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Ints = np.ndarray[Any, Any]

Unit = Literal["auto", "word", "character"]
SKETCH = 256
"""Shingles of a text that are kept: the smallest by hash."""
WINDOW = 8
"""Neighbours in a band that a text is compared with."""
CHUNK = 1 << 17
"""Bytes of text that are hashed at a time: their tables fit into a processor's cache."""
PAIRS = 1 << 14
"""Pairs that are compared at a time."""

_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3000, 0x312F),  # CJK punctuation, kana, Bopomofo
    (0x31A0, 0x9FFF),  # Bopomofo and kana extensions, Chinese characters
    (0xF900, 0xFAFF),  # compatibility forms of those
    (0x20000, 0x3FFFF),  # rarer ones
)
"""Characters of scripts that put no spaces between words: first and last. Korean does put them."""
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)


def recall(similarity: float, permutations: int, bands: int) -> float:
    """Probability that two texts of this similarity are compared at all: 1 - (1 - s^(permutations / bands))^bands."""
    return float(1 - (1 - similarity ** (permutations // bands)) ** bands)


@dataclass(frozen=True)
class Shape:
    """What sets and signatures are made of; see `deduplicate`'s options."""

    unit: Unit = "auto"
    size: int = 5
    permutations: int = 256
    bands: int = 32


@dataclass
class Sketches:
    """Band keys and shingle sets of texts, in the order in which they were added."""

    shape: Shape
    threshold: float = 0.7
    rows: int = 0
    _chunks: list[_Chunk] = field(default_factory=list)

    def add(self, normalised: pl.Series, plain: pl.Series, apart: pl.Series) -> None:
        """Add texts (normalised: words stand one space apart). Texts with different numbers in `apart` have no shingle in common."""
        import numpy as np
        import pyarrow as pa

        texts, marks = normalised, apart.to_numpy()
        array = texts.to_arrow().cast(pa.large_string())
        edges = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
        data = np.frombuffer(array.buffers()[2], np.uint8) if array.buffers()[2] is not None else np.zeros(0, np.uint8)
        at = 0
        while at < len(texts):
            end = max(at + 1, int(np.searchsorted(edges, edges[at] + CHUNK, "right")) - 1)
            hashes, lengths = self._shingles(data[edges[at] : edges[end]], edges[at : end + 1] - edges[at], marks[at:end])
            self._chunks.append(self._chunk(hashes, lengths))
            self.rows += end - at
            at = end

    def pairs(self, order: Ints) -> tuple[Ints, Ints]:
        """Pairs of the texts `order` that share a band and reach the threshold, as positions in it, the lower one first; each once."""
        low, high = self.candidates(order)
        reached = self.similarity(order[low], order[high]) >= self.threshold
        return low[reached], high[reached]

    def candidates(self, order: Ints) -> Ints:
        """Pairs of texts that share a band, each once, as two rows of positions in `order`, the lower one first.

        Args:
            order: numbers of distinct texts; in a crowded band who is compared with whom follows it.
        """
        import numpy as np

        found = np.zeros(0, np.uint64)
        for band in range(self.shape.bands):
            keys = np.concatenate([c.keys[band] for c in self._chunks])[order] if self._chunks else np.zeros(0, np.uint32)
            found = np.union1d(found, _neighbours(keys))
        return np.stack([found >> np.uint64(32), found & np.uint64(0xFFFFFFFF)]).astype(np.int64)

    def similarity(self, one: Ints, other: Ints) -> Ints:
        """Jaccard similarity of each pair of texts, by their numbers."""
        import numpy as np

        texts, places = np.unique(np.concatenate([one, other]), return_inverse=True)
        sets = self._sets(texts)
        left, right = places[: len(one)], places[len(one) :]
        parts = [_jaccard(sets, left[at : at + PAIRS], right[at : at + PAIRS]) for at in range(0, len(one), PAIRS)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _shingles(self, data: Ints, edges: Ints, apart: Ints) -> tuple[Ints, Ints]:
        """64-bit hashes of all shingles of some texts, one text after the other, and how many each has (repeats included).

        The hash of the bytes from s to e is sum(byte_i x BASE^(i-s)) mod 2^64, out of sums from the start of the chunk, and then mixed.
        """
        import numpy as np

        length = CHUNK if len(data) <= CHUNK else len(data)
        power, inverse = _powers(_BASE, length), _powers(_INVERSE, length)
        sums = np.zeros(len(data) + 1, np.uint64)
        np.cumsum((data + np.uint64(1)) * power[: len(data)], out=sums[1:])
        starts, ends, units = _units(data, edges, self.shape.unit)
        lengths = np.maximum(units - self.shape.size + 1, 1)
        first = np.cumsum(units) - units
        shingle = np.arange(lengths.sum()) + np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
        s, e = starts[shingle], ends[shingle + np.repeat(np.minimum(units, self.shape.size) - 1, lengths)]
        hashes = (sums[e] - sums[s]) * inverse[s]
        hashes += np.repeat(apart.astype(np.uint64), lengths) * np.uint64(_BASE)
        hashes ^= hashes >> np.uint64(29)
        hashes *= np.uint64(0xBF58476D1CE4E5B9)
        hashes ^= hashes >> np.uint64(32)
        return hashes, lengths

    def _chunk(self, hashes: Ints, lengths: Ints) -> _Chunk:
        """Sets and band keys out of shingles."""
        import numpy as np

        owner = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
        tagged = np.sort(owner << np.uint64(32) | hashes >> np.uint64(32))
        tagged = tagged[np.concatenate([[True], tagged[1:] != tagged[:-1]])] if len(tagged) else tagged
        owner, values = (tagged >> np.uint64(32)).astype(np.int64), tagged.astype(np.uint32)
        sizes = np.bincount(owner, minlength=len(lengths))
        starts = np.cumsum(sizes) - sizes
        keys = _band_keys(values, starts, self.shape)
        if sizes.max(initial=0) > SKETCH:
            values = values[np.arange(len(values)) - np.repeat(starts, sizes) < SKETCH]
        return _Chunk(keys, values, sizes.astype(np.int32))

    def _sets(self, texts: Ints) -> _Sets:
        """The sets of some texts (numbers in ascending order)."""
        import numpy as np

        values, sizes, base = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)], 0
        for chunk in self._chunks:
            n = len(chunk.sizes)
            mine = texts[np.searchsorted(texts, base) : np.searchsorted(texts, base + n)] - base
            if len(mine):
                held = np.minimum(chunk.sizes, SKETCH).astype(np.int64)
                values.append(chunk.values[_spans((np.cumsum(held) - held)[mine], held[mine])])
                sizes.append(chunk.sizes[mine].astype(np.int64))
            base += n
        return _Sets(np.concatenate(values), np.concatenate(sizes))


@dataclass(frozen=True)
class _Chunk:
    """Texts that were hashed together: band keys (bands x texts), sets one after the other (ascending, cut at `SKETCH`), their full sizes."""

    keys: Ints
    values: Ints
    sizes: Ints


class _Sets:
    """Sets by number; `cut` is the largest hash that is known of a set."""

    def __init__(self, values: Ints, sizes: Ints) -> None:
        import numpy as np

        self.values, self.held = values, np.minimum(sizes, SKETCH)
        self.starts = np.cumsum(self.held) - self.held
        last = values[self.starts + self.held - 1] if len(values) else values
        self.cut = np.where(sizes > SKETCH, last, np.uint32(0xFFFFFFFF))


@lru_cache(maxsize=2)
def _powers(base: int, length: int) -> Ints:
    """The powers 0 to `length` of an odd number, mod 2^64."""
    import numpy as np

    out = np.full(length + 1, base, np.uint64)
    out[0] = 1
    return np.cumprod(out)


def _unspaced(data: Ints) -> tuple[Ints, Ints]:
    """Where the characters of such scripts start and end in UTF-8."""
    import numpy as np

    at = np.flatnonzero(data >= 0xE0)
    ends = at + 3 + (data[at] >= 0xF0)
    code = np.zeros(len(at), np.int64)
    for i in range(4):
        inside = at + i < ends
        byte = data[np.minimum(at + i, len(data) - 1)].astype(np.int64)
        code = np.where(inside, code << 6 | (byte & (0x3F if i else 0x0F)), code)
    of = np.zeros(len(at), bool)
    for first, last in _UNSPACED:
        of |= (code >= first) & (code <= last)
    return at[of], ends[of]


def _units(data: Ints, edges: Ints, unit: str) -> tuple[Ints, Ints, Ints]:
    """Where each unit of some texts starts and ends, and how many each text has; an empty text has one, which is empty."""
    import numpy as np

    if unit == "auto":
        alone, behind = _unspaced(data)
        if len(alone):
            spaces = np.flatnonzero(data == 32)
            starts = np.sort(np.concatenate([edges[:-1], spaces + 1, alone, behind]), kind="stable")
            ends = np.sort(np.concatenate([edges[1:], spaces, alone, behind]), kind="stable")
            real = ends > starts
            units = np.diff(np.searchsorted(starts[real], edges))
            none = edges[:-1][units == 0]
            starts, ends = (np.sort(np.concatenate([x[real], none]), kind="stable") for x in (starts, ends))
            return starts, ends, np.maximum(units, 1)
        unit = "word"
    inside = data == 32 if unit == "word" else (data & 0xC0) != 0x80  # spaces, or the first bytes of UTF-8 characters
    breaks = np.flatnonzero(inside)
    if unit == "character":
        empty = edges[:-1][edges[:-1] == edges[1:]]
        starts = np.sort(np.concatenate([breaks, empty]), kind="stable")
        units = np.maximum(np.diff(np.searchsorted(breaks, edges)), 1)
        first = np.cumsum(units) - units
        ends = np.append(starts[1:], len(data))
        ends[first + units - 1] = edges[1:]
        return starts, ends, units
    starts = np.sort(np.concatenate([edges[:-1], breaks + 1]), kind="stable")
    ends = np.sort(np.concatenate([breaks, edges[1:]]), kind="stable")
    return starts, ends, np.diff(np.searchsorted(breaks, edges)) + 1


def _band_keys(values: Ints, starts: Ints, shape: Shape) -> Ints:
    """A 32-bit key for each band of each text: bands x texts.

    A permutation is h -> a h + b mod 2^32 with a odd: over hashes that are mixed already its minima agree as often as random ones do (measured: mean
    and deviation of the estimate, and the share of pairs with a band in common, are those of independent draws). Two texts whose keys agree by
    chance are compared in vain, and that is all.
    """
    import numpy as np

    factors, offsets = _permutations(shape.permutations)
    width = shape.permutations // shape.bands
    keys = np.zeros((shape.bands, len(starts)), np.uint32)
    held, least, key = np.empty_like(values), np.empty(len(starts), np.uint32), np.empty(len(starts), np.uint64)
    if not len(starts):
        return keys
    for band in range(shape.bands):
        key[:] = 0
        for i in range(band * width, (band + 1) * width):
            np.multiply(values, factors[i], out=held)
            np.add(held, offsets[i], out=held)
            np.minimum.reduceat(held, starts, out=least)
            key ^= least
            key *= np.uint64(_BASE)
            key ^= key >> np.uint64(31)
        keys[band] = key >> np.uint64(32)
    return keys


@lru_cache(maxsize=4)
def _permutations(n: int) -> tuple[Ints, Ints]:
    """`n` odd factors and `n` offsets: bytes of sha256 over a counter, so that no library's random numbers matter."""
    import numpy as np

    raw = b"".join(hashlib.sha256(f"guardkit/minhash/1/{i}".encode()).digest()[:8] for i in range(n))
    drawn = np.frombuffer(raw, "<u4").astype(np.uint32).reshape(n, 2)
    return drawn[:, 0] | np.uint32(1), drawn[:, 1].copy()


def _neighbours(keys: Ints) -> Ints:
    """Positions of equal keys, as pairs (lower << 32 | higher): each with the first of its kind and with the `WINDOW` before it."""
    import numpy as np

    order = np.argsort(keys, kind="stable").astype(np.uint64)
    sorted_keys = keys[order.astype(np.int64)]
    fresh = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]) if len(keys) else np.zeros(0, bool)
    place = np.arange(len(keys))
    start = np.maximum.accumulate(np.where(fresh, place, 0)) if len(keys) else place
    rest = np.flatnonzero(~fresh)
    pairs = [order[start[rest]] << np.uint64(32) | order[rest]]
    for back in range(1, WINDOW + 1):
        rest = rest[rest - back > start[rest]]
        pairs.append(order[rest - back] << np.uint64(32) | order[rest])
    return np.concatenate(pairs)


def _spans(starts: Ints, lengths: Ints) -> Ints:
    """The positions start, start + 1, ... of spans, one span after the other."""
    import numpy as np

    out: Ints = np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return out


def _jaccard(sets: _Sets, left: Ints, right: Ints) -> Ints:
    """Similarity of pairs of sets, counted up to the hash below which both are known."""
    import numpy as np

    pair = np.arange(len(left), dtype=np.uint64)
    cut = np.minimum(sets.cut[left], sets.cut[right])
    parts = []
    for side in (left, right):
        values = sets.values[_spans(sets.starts[side], sets.held[side])]
        owner = np.repeat(pair, sets.held[side])
        known = values <= cut[owner.astype(np.int64)]
        parts.append(owner[known] << np.uint64(32) | values[known])
    both = np.sort(np.concatenate(parts))
    twice = both[1:][both[1:] == both[:-1]] >> np.uint64(32)
    shared = np.bincount(twice.astype(np.int64), minlength=len(left))
    total = np.bincount((both >> np.uint64(32)).astype(np.int64), minlength=len(left))
    out: Ints = shared / np.maximum(total - shared, 1)
    return out
