"""Which texts share a run of words with which others: an index of one side's n-grams of words, and looking up the other side's.

A word is a run of the letters a to z and the digits, in lower case; everything else parts words. So a text in another script has no
words here, and is compared whole: see `exact_key`. Two texts share an n-gram when n words in a row are the same in both.

How: the characters of all words are in one array, the first of each word marked. With S[k] = sum of code[i] * B**i for i < k (modulo 2**64,
B odd), the n-gram of the words that are in [p, q) has the key (S[q] - S[p]) * B**-p, wherever it stands: a polynomial hash, two lookups a
word. Two tables, by a key's high bits and by its low ones, keep most foreign keys from the sorted ones. What was found by its key is then
compared character by character, so that two n-grams with one key are never taken for the same.

Memory: the index alone, about 50 bytes an n-gram and a byte a character; what is looked up is handled in pieces of `PIECE` bytes. The
result depends on neither the pieces nor the threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Keys = NDArray[np.uint64]

PIECE = 128 << 10
"""Bytes of text that are handled at a time: what is computed of them stays in a processor's cache."""
PLACES = 32
"""Places of one n-gram in one set that the index keeps, the first ones."""
SHOWN = 40
"""Words of a run that are shown."""
_BASE = 0x9E3779B97F4A7C15
_FIRST = 128
"""Added to the code of a word's first character."""


def exact_key(text: pl.Expr) -> pl.Expr:
    """A text as it is compared whole: in lower case, its letters, marks and digits of any script, one space for whatever is between them.

    Null where nothing is left. Texts of equal key have equal words.
    """
    key = text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ").str.strip_chars()
    return pl.when(key != "").then(key)


@dataclass(frozen=True)
class Words:
    """The words of some texts, one text after the other.

    `codes`: their characters, the first of each word with 128 added. `starts`: where each word starts in it, and its length at the end.
    `offsets`: for each text the number of its first word, and the number of all at the end.
    """

    codes: NDArray[np.uint8]
    starts: Ints
    offsets: Ints

    def shown(self, at: int, n: int) -> str:
        """`n` words from word `at` on, with a space between them."""
        codes = self.codes[self.starts[at] : self.starts[at + n]].tobytes()
        return "".join((" " if c >= _FIRST else "") + chr(c % _FIRST) for c in codes)[1:]

    def text_of(self, word: Ints) -> Ints:
        """The text that each of some words is in."""
        import numpy as np

        return np.searchsorted(self.offsets, word, "right") - 1

    def whole(self, at: Ints, n: int) -> Ints:
        """Those of some words from which n words on are in the same text."""
        return at[at + n <= self.offsets[self.text_of(at) + 1]]


def words_of(texts: pl.Series) -> Words:
    """The words of each text; null has none."""
    import numpy as np

    array = texts.fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())
    data, at = _bytes(array)
    if data.size and int(data.max()) >= 128:  # a few letters beyond ASCII have one of a to z as their lower case
        data, at = _bytes(texts.fill_null("").str.to_lowercase().to_arrow(compat_level=pl.CompatLevel.oldest()))
    # In this order of bits setting 32 makes a capital small and leaves digits as they are.
    low = data | np.uint8(32)
    inside = (low - np.uint8(ord("a"))) < 26
    inside |= (data - np.uint8(ord("0"))) < 10
    first = inside.copy()
    first[1:] &= ~inside[:-1]
    begins = at[:-1][at[:-1] < data.size]
    first[begins] = inside[begins]
    low += first.view(np.uint8) << np.uint8(7)
    codes = low[inside]
    starts = np.append(np.flatnonzero(codes >= _FIRST), codes.size)
    return Words(codes, starts, np.searchsorted(np.flatnonzero(first), at))


def _bytes(array: Any) -> tuple[NDArray[np.uint8], Ints]:
    """The bytes of an Arrow array of large strings, and where each text begins in them."""
    import numpy as np

    _, offsets, data = array.buffers()
    at = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    bytes_ = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return bytes_[at[0] : at[-1]], at - at[0]


@lru_cache(maxsize=4)
def _powers(size: int) -> tuple[Keys, Keys]:
    """The first `size` powers of the base, and of its inverse."""
    import numpy as np

    out = []
    for base in (_BASE, pow(_BASE, -1, 1 << 64)):
        powers = np.full(size, base, np.uint64)
        powers[0] = 1
        out.append(np.multiply.accumulate(powers))
    return out[0], out[1]


def keys_of(words: Words, n: int) -> Keys:
    """The key of the n words from each word on, over the borders of texts, too; empty where there are fewer."""
    import numpy as np

    size = words.codes.size
    if words.starts.size <= n:
        return np.empty(0, np.uint64)
    powers, inverse = _powers(max(PIECE, 1 << size.bit_length()))
    sums = np.empty(size + 1, np.uint64)
    sums[0] = 0
    np.multiply(words.codes, powers[:size], out=sums[1:])
    np.cumsum(sums, out=sums)
    at = sums[words.starts]
    keys = at[n:] - at[:-n]
    keys *= inverse[words.starts[: keys.size]]
    return _mixed(keys)


def _mixed(keys: Keys) -> Keys:
    """Keys whose high bits depend on all of them (the finaliser of splitmix64, in place)."""
    import numpy as np

    keys ^= keys >> np.uint64(30)
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
    return keys


@dataclass(frozen=True)
class Found:
    """What `NgramIndex.find` found.

    `lines`: for each text and each other text that it shares an n-gram with: text, other (numbers from 0), set, run (words of the longest run that
    they share), runs (how many), words (the first of them that the longest run has, at most `SHOWN`); by text and set, the longest run first.
    `counts`: words of each text. `covered`: how many of them are in an n-gram that the index has. `left_out`: lines that `most` left out.
    """

    lines: pl.DataFrame
    counts: Ints
    covered: Ints
    left_out: int


@dataclass(frozen=True)
class _Piece:
    words: Words
    covered: Ints
    runs: dict[str, Ints] | None
    """text, other, at, length; None where there is nothing."""


class NgramIndex:
    """The n-grams of some texts.

    Args:
        texts: their text; null has none.
        sets: for each the number of the set that it belongs to, in ascending order.
        n: words of an n-gram.
        places: places of one n-gram in one set that are kept. Where a set has it more often, its further texts are found by their other
            n-grams alone, and the run that a text shares with one of them can come out shorter than it is.
    """

    def __init__(self, texts: pl.Series, sets: Ints, *, n: int, places: int = PLACES) -> None:
        import numpy as np

        self.n = n
        self.sets = sets
        parts, keys, at, before = [], [np.empty(0, np.uint64)], [np.empty(0, np.int64)], 0
        for _, piece in _pieces(texts):
            words = words_of(piece)
            found = keys_of(words, n)
            whole = words.whole(np.arange(found.size), n)
            keys.append(found[whole])
            at.append(whole + before)
            before += int(words.offsets[-1])
            parts.append(words)
        self.words = _joined(parts)
        self._sort(np.concatenate(keys), np.concatenate(at), places)

    def _sort(self, keys: Keys, at: Ints, places: int) -> None:
        """Sorted keys, the places of each, and the table of bits."""
        import numpy as np

        order = np.argsort(keys, kind="stable")
        keys, at = keys[order], at[order]
        sets = self.sets[self.words.text_of(at)]
        new = np.ones(keys.size, bool)
        new[1:] = (keys[1:] != keys[:-1]) | (sets[1:] != sets[:-1])
        number = np.arange(keys.size)
        kept = number - np.maximum.accumulate(np.where(new, number, 0)) < places
        keys, at = keys[kept], at[kept]
        first = np.ones(keys.size, bool)
        first[1:] = keys[1:] != keys[:-1]
        self._keys = keys[first]
        self._at = at
        self._from = np.append(np.flatnonzero(first), keys.size)
        bits = min(27, max(10, int(8 * self._keys.size).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._seen = np.zeros(1 << bits, bool)
        self._seen[self._keys >> self._shift] = True
        self._mask = np.uint64((1 << bits) - 1)
        self._seen_too = np.zeros(1 << bits, bool)
        self._seen_too[self._keys & self._mask] = True

    @property
    def size(self) -> int:
        """Different n-grams."""
        return int(self._keys.size)

    def find(self, texts: pl.Series, *, most: int, threads: int = 1) -> Found:
        """Look up some texts.

        Args:
            texts: their text; null has none.
            most: lines for a text and a set, at most.
            threads: that look up pieces at once.
        """
        import numpy as np

        starts, pieces = zip(*_pieces(texts), strict=True) if len(texts) else ((), ())
        if threads > 1 and len(pieces) > 1:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(self._look, pieces))
        else:
            found = [self._look(p) for p in pieces]
        none = [np.empty(0, np.int64)]
        counts = np.concatenate([np.diff(f.words.offsets) for f in found] or none)
        covered = np.concatenate([f.covered for f in found] or none)
        lines, left_out = self._lines(found, starts, most)
        return Found(lines, counts, covered, left_out)

    def _look(self, texts: pl.Series) -> _Piece:
        """The runs that a piece shares with the index, the longest that they can be."""
        import numpy as np

        words = words_of(texts)
        covered = np.zeros(len(texts), np.int64)
        keys = keys_of(words, self.n)
        maybe = np.flatnonzero(self._seen[keys >> self._shift])
        maybe = words.whole(maybe[self._seen_too[keys[maybe] & self._mask]], self.n)
        place = np.searchsorted(self._keys, keys[maybe])
        hit = np.zeros(maybe.size, bool)
        inside = place < self._keys.size
        hit[inside] = self._keys[place[inside]] == keys[maybe[inside]]
        maybe, place = maybe[hit], place[hit]
        if not maybe.size:
            return _Piece(words, covered, None)
        n_places = self._from[place + 1] - self._from[place]
        at = np.repeat(maybe, n_places)
        there = self._at[np.repeat(self._from[place], n_places) + _ranges(n_places)]
        runs = self._runs(words, at, there)
        if not self._same(words, runs["at"], runs["there"], runs["length"]).all():  # two n-grams with one key
            same = self._same(words, at, there, np.full(at.size, self.n))
            at, there = at[same], there[same]
            if not at.size:
                return _Piece(words, covered, None)
            runs = self._runs(words, at, there)
        shared = np.zeros(words.starts.size, np.int64)
        np.add.at(shared, runs["at"], 1)
        np.add.at(shared, runs["at"] + runs["length"], -1)
        total = np.append(0, np.cumsum(np.cumsum(shared)[:-1] > 0))
        covered = total[words.offsets[1:]] - total[words.offsets[:-1]]
        return _Piece(words, covered, runs)

    def _runs(self, words: Words, at: Ints, there: Ints) -> dict[str, Ints]:
        """n-grams that follow each other on both sides, joined."""
        import numpy as np

        text, other = words.text_of(at), self.words.text_of(there)
        order = np.lexsort((at, there - at, other, text))
        at, there, text, other = at[order], there[order], text[order], other[order]
        new = np.ones(at.size, bool)
        new[1:] = (text[1:] != text[:-1]) | (other[1:] != other[:-1]) | (at[1:] != at[:-1] + 1) | (there[1:] != there[:-1] + 1)
        first = np.flatnonzero(new)
        length = np.diff(np.append(first, at.size)) + self.n - 1
        return {"text": text[first], "other": other[first], "at": at[first], "there": there[first], "length": length}

    def _same(self, words: Words, at: Ints, there: Ints, length: Ints) -> NDArray[np.bool_]:
        """Whether `length` words are the same from word `at` here and from word `there` in the index."""
        import numpy as np

        here, inside = words.starts[at], self.words.starts[there]
        size = words.starts[at + length] - here
        same = size == self.words.starts[there + length] - inside
        which = np.flatnonzero(same)
        if which.size:
            steps = _ranges(size[which])
            equal = words.codes[np.repeat(here[which], size[which]) + steps] == self.words.codes[np.repeat(inside[which], size[which]) + steps]
            same[which] = np.logical_and.reduceat(equal, np.append(0, np.cumsum(size[which])[:-1]))
        return cast("NDArray[np.bool_]", same)

    def _lines(self, found: list[_Piece], starts: tuple[int, ...], most: int) -> tuple[pl.DataFrame, int]:
        parts = [pl.DataFrame(schema=dict.fromkeys(("text", "other", "at", "run", "piece"), pl.Int64))]
        for i, (piece, start) in enumerate(zip(found, starts, strict=True)):
            if piece.runs is not None:
                r = piece.runs
                parts.append(pl.DataFrame({"text": r["text"] + start, "other": r["other"], "at": r["at"], "run": r["length"]}).with_columns(piece=i))
        runs = pl.concat(parts, how="vertical_relaxed").sort("text", "other", "run", "at", descending=[False, False, True, False])
        lines = runs.group_by("text", "other", maintain_order=True).agg(pl.len().cast(pl.Int64).alias("runs"), pl.exclude("runs").first())
        sets = pl.Series("set", self.sets[lines["other"].to_numpy()], pl.Int64)
        lines = lines.with_columns(sets).sort("text", "set", "run", "other", descending=[False, False, True, False])
        kept = lines.filter(pl.int_range(pl.len()).over("text", "set") < most)
        shown = [found[p].words.shown(at, min(n, SHOWN)) for p, at, n in kept.select("piece", "at", "run").iter_rows()]
        kept = kept.select("text", "other", "set", "run", "runs", pl.Series("words", shown, pl.String))
        return kept, lines.height - kept.height


def _pieces(texts: pl.Series) -> Iterator[tuple[int, pl.Series]]:
    """The texts in pieces of about `PIECE` bytes, each with the number of its first text; a text is never cut."""
    import numpy as np

    ends = np.cumsum(texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64))
    start, before = 0, 0
    while start < len(texts):
        end = max(start + 1, int(np.searchsorted(ends, before + PIECE, "right")))
        yield start, texts[start:end]
        start, before = end, int(ends[end - 1])


def _joined(parts: list[Words]) -> Words:
    """The words of texts that were handled in pieces."""
    import numpy as np

    codes, starts, offsets = [np.empty(0, np.uint8)], [], []
    n_codes = n_words = 0
    for p in parts:
        codes.append(p.codes)
        starts.append(p.starts[:-1] + n_codes)
        offsets.append(p.offsets[:-1] + n_words)
        n_codes, n_words = n_codes + p.codes.size, n_words + int(p.offsets[-1])
    end = np.array([n_codes]), np.array([n_words])
    return Words(np.concatenate(codes), np.concatenate([*starts, end[0]]), np.concatenate([*offsets, end[1]]))


def _ranges(lengths: Ints) -> Ints:
    """0, 1, … up to each length, one after the other."""
    import numpy as np

    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - lengths, lengths)
