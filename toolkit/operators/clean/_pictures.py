"""Pictures that look alike: perceptual hashes of 64 bits (pHash, package ImageHash, extra ``media``), compared by how many bits differ.

Two rows are alike if their texts are equal and their media are as many, each like the one at its place: images by their hashes, videos and sounds by
their sha256. A picture of one colour has nothing to tell it by, and is like none but itself; so is one that cannot be read (`unread`).

Memory: 8 bytes an image and 40 bytes a row. Pairs are looked for among rows that agree in one whole part of the first hash; one of ``distance + 1``
parts must agree where no more than `distance` bits differ, so none is missed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import require
from toolkit.common.mediafiles import JPEGS, open_image, read_whole
from toolkit.common.mediatypes import BadMedia
from toolkit.records import MEDIA

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Ints = np.ndarray[Any, Any]

BITS = 64
"""Bits of a hash."""
_SIDE = 128
"""Pixels that each side of a JPEG image keeps at least when it is decoded: the hash looks at 32."""
_COMPARED = 1 << 22
"""Pairs of hashes that are compared at a time."""
_FLAT = 2.0
"""Standard deviation of the grey levels (0 to 255) below which a picture has nothing to tell it by."""


def picture_hash(data: bytes) -> int | None:
    """The hash of an image's bytes; None for one of a single colour.

    Raises:
        BadMedia: they are no still image that can be decoded; Missing: without the packages.
    """
    require("imagehash", "media", "hashes of pictures")
    import imagehash
    from PIL import Image, ImageStat

    with open_image(data) as image:
        try:
            if image.format in JPEGS:
                image.draft("L", (_SIDE, _SIDE))
            grey = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
        except Exception as e:  # noqa: BLE001  a decoder meets data of strangers
            raise BadMedia("media_unreadable", f"it cannot be decoded: {str(e)[:100]}") from None
    if ImageStat.Stat(grey).stddev[0] < _FLAT:
        return None
    return int(str(imagehash.phash(grey)), 16)


class Pictures:
    """Hashes of rows' pictures, in the order in which the rows were added; a `Finder` of `toolkit.operators.clean._fates`.

    Args:
        folder: the dataset's.
        distance: bits in which the hashes of two pictures may differ.
    """

    def __init__(self, folder: Path, distance: int) -> None:
        self._folder, self._distance = folder, distance
        self.threshold = 1 - distance / BITS
        self._keys: list[int] = []
        self._starts: list[int] = [0]
        self._hashes: list[int] = []
        self._known: dict[str, int | None] = {}
        self.unread = 0
        """Images that could not be read."""

    def add(self, normalised: pl.Series, plain: pl.Series, apart: pl.Series) -> None:
        """Nothing: texts alone tell nothing here (`look`)."""

    def look(self, rows: pl.DataFrame, texts: pl.Series) -> None:
        """Add rows with media and with their texts."""
        for text, media in zip(texts.fill_null("").hash().to_list(), rows[MEDIA].to_list(), strict=True):
            found = [self._hash(one) for one in media or () if one["kind"] == "image"]
            others = tuple((n, one["sha256"]) for n, one in enumerate(media or ()) if one["kind"] != "image")
            alone = None in found or not found
            self._keys.append(hash((text, len(media or ()), others, len(self._keys) if alone else -1)))
            self._hashes += [one or 0 for one in found]
            self._starts.append(len(self._hashes))

    def _hash(self, one: dict[str, Any]) -> int | None:
        sha256 = one["sha256"]
        if sha256 not in self._known:
            try:
                self._known[sha256] = picture_hash(read_whole(self._folder, one["uri"], sha256))
            except BadMedia:
                self._known[sha256] = None
                self.unread += 1
        return self._known[sha256]

    def pairs(self, order: Ints) -> tuple[Ints, Ints]:
        """Pairs among the rows `order`, as positions in it, the lower one first; each once. Of several rows with the very same hashes the first pairs
        with the others, and for itself with rows that are like it."""
        import numpy as np

        keys, first = np.array(self._keys, np.int64)[order], self._first()[order]
        low: list[Ints] = []
        high: list[Ints] = []
        for part in range(self._distance + 1):
            begin, end = part * BITS // (self._distance + 1), (part + 1) * BITS // (self._distance + 1)
            value = (first >> np.uint64(begin)) & np.uint64((1 << (end - begin)) - 1)
            at = np.lexsort((np.arange(len(order)), first, value, keys))
            same = (keys[at][1:] == keys[at][:-1]) & (value[at][1:] == value[at][:-1])
            for run in np.split(at, np.flatnonzero(~same) + 1):
                if len(run) > 1:
                    one, other = self._within(run, first)
                    low.append(one)
                    high.append(other)
        if not low:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        n = len(order)
        one, other = np.concatenate(low), np.concatenate(high)
        once = np.unique(np.minimum(one, other) * n + np.maximum(one, other))
        one, other = once // n, once % n
        near = self.similarity(order[one], order[other]) >= self.threshold
        return one[near], other[near]

    def _within(self, run: Ints, first: Ints) -> tuple[Ints, Ints]:
        """Pairs among rows that agree in a part of their first hash: each with the first row of the same hash, and these with each other."""
        import numpy as np

        new = np.concatenate([[True], first[run][1:] != first[run][:-1]])
        heads = run[new]
        own = heads[np.cumsum(new) - 1]
        low, high = [own[~new]], [run[~new]]
        step = max(1, _COMPARED // len(heads))
        for at in range(0, len(heads), step):
            bits = np.bitwise_count(first[heads[at : at + step], None] ^ first[None, heads])
            one, other = np.nonzero(bits <= self._distance)
            one = one + at
            low.append(heads[one[one < other]])
            high.append(heads[other[one < other]])
        return np.concatenate(low), np.concatenate(high)

    def similarity(self, one: Ints, other: Ints) -> Ints:
        """Share of equal bits of the pictures that are least alike, for each pair of rows by their numbers; 0 where texts or other media differ."""
        import numpy as np

        keys, starts, hashes = np.array(self._keys, np.int64), np.array(self._starts), np.array(self._hashes, np.uint64)
        worst = np.zeros(len(one), np.int64)
        counts = starts[one + 1] - starts[one] if len(one) else np.zeros(0, np.int64)
        fits = keys[one] == keys[other] if len(one) else np.zeros(0, bool)
        for n in range(int(counts[fits].max()) if fits.any() else 0):
            at = np.flatnonzero(fits & (counts > n))
            worst[at] = np.maximum(worst[at], np.bitwise_count(hashes[starts[one[at]] + n] ^ hashes[starts[other[at]] + n]))
        return np.where(fits, 1 - worst / BITS, 0.0)

    def _first(self) -> Ints:
        """The first hash of each row."""
        import numpy as np

        hashes = np.array([*self._hashes, 0], np.uint64)
        return hashes[np.array(self._starts[:-1], np.int64)]
