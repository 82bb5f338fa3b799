"""Shared runs of words: what the index finds is what a plain look at every pair of texts finds, whatever the pieces, threads and hash."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.operators.clean import ngrams
from toolkit.operators.clean.ngrams import NgramIndex, exact_key, words_of

WORD = re.compile(r"[a-z0-9]+")


def plain_words(text: str | None) -> list[str]:
    """The definition (a to z and digits, in lower case), by Python's own means."""
    return WORD.findall((text or "").lower())


def series(texts: Sequence[str | None]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


@given(st.lists(st.none() | st.text() | st.text(alphabet="aB9 -\nİKé日", max_size=12), max_size=6))
def test_words_are_those_of_the_definition(texts: list[str | None]) -> None:
    words = words_of(series(texts))
    assert np.diff(words.offsets).tolist() == [len(plain_words(t)) for t in texts]
    all_words = [w for t in texts for w in plain_words(t)]
    assert words.shown(0, len(all_words)) == " ".join(all_words)


def longest_runs(here: list[str], there: list[str], n: int) -> tuple[int, set[int]]:
    """Words of the longest run that two texts share, and which of the first one's words are in runs of n at least."""
    longest, covered = 0, set[int]()
    for i in range(len(here)):
        for j in range(len(there)):
            k = 0
            while i + k < len(here) and j + k < len(there) and here[i + k] == there[j + k]:
                k += 1
            if k >= n:
                longest = max(longest, k)
                covered.update(range(i, i + k))
    return longest, covered


TEXT = st.none() | st.lists(st.sampled_from(["a", "b", "ab", "ba", "A", "é", "a-b", "", "0"]), max_size=14).map(" ".join)
SIDE = st.lists(st.tuples(st.integers(0, 2), TEXT), max_size=6).map(lambda rows: sorted(rows, key=lambda r: r[0]))


@settings(deadline=None, max_examples=80)
@given(
    texts=st.lists(TEXT, max_size=6),
    side=SIDE,
    n=st.integers(2, 4),
    piece=st.sampled_from([1, 20, 1 << 17]),
    threads=st.sampled_from([1, 3]),
    weak=st.booleans(),
)
def test_what_is_found_is_what_a_plain_comparison_finds(
    texts: list[str | None], side: list[tuple[int, str | None]], n: int, piece: int, threads: int, weak: bool
) -> None:
    expected = {}
    covered = []
    for i, text in enumerate(texts):
        inside: set[int] = set()
        for j, (_, other) in enumerate(side):
            run, cover = longest_runs(plain_words(text), plain_words(other), n)
            inside |= cover
            if run:
                expected[i, j] = run
        covered.append(len(inside))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "PIECE", piece)
        if weak:  # nearly all n-grams have the same key: what is found by its key must still be compared
            patch.setattr(ngrams, "_mixed", lambda keys: keys & np.uint64(1))
        index = NgramIndex(series([t for _, t in side]), np.array([s for s, _ in side], np.int64), n=n, places=1000)
        found = index.find(series(texts), most=100, threads=threads)
    assert {(a, b): r for a, b, r in found.lines.select("text", "other", "run").iter_rows()} == expected
    assert found.covered.tolist() == covered and found.counts.tolist() == [len(plain_words(t)) for t in texts] and found.left_out == 0
    by_set = defaultdict(list)
    for text, other, set_, run, words in found.lines.select("text", "other", "set", "run", "words").iter_rows():
        assert set_ == side[other][0]
        assert words in " ".join(plain_words(texts[text])) and words in " ".join(plain_words(side[other][1])) and len(words.split()) == run
        by_set[text, set_].append(run)
    assert all(runs == sorted(runs, reverse=True) for runs in by_set.values()), "the longest run first"


def test_a_phrase_that_a_set_has_everywhere_is_listed_so_often_and_hides_nothing() -> None:
    phrase = "one two three four"
    side = [f"{phrase} {i} x y z w{i}" for i in range(50)] + [phrase] * 50
    index = NgramIndex(series(side), np.array([0] * 50 + [1] * 50), n=4, places=8)
    found = index.find(series(["nothing", f"says {phrase} 40 x y z w40 and more"]), most=3)
    assert found.lines.select("text", "set", "run").rows() == [(1, 0, 8), (1, 0, 4), (1, 0, 4), (1, 1, 4), (1, 1, 4), (1, 1, 4)]
    assert found.lines["other"][0] == 40, (
        "by the words that are its own; of the phrase only 8 places are kept, so that its run of 9 comes out shorter"
    )
    assert found.left_out == 6 + 5 and found.covered.tolist() == [0, 9]


def test_nothing_to_look_up_and_nothing_to_find() -> None:
    empty = NgramIndex(series([]), np.empty(0, np.int64), n=13)
    assert empty.size == 0 and empty.find(series(["a b c " * 20, None]), most=5).lines.height == 0
    assert empty.find(series([]), most=5).counts.tolist() == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How do I kill a process?", "how do i  KILL a process", True),
        ("日本 2020", "中国 2020", False),
        ("日本。2020", "日本 2020", True),
        ("naïve", "naive", False),
        ("don't", "don t", True),
    ],
)
def test_whole_texts_are_compared_by_letters_and_digits_of_any_script(one: str, other: str, same: bool) -> None:
    a, b = pl.DataFrame({"t": [one, other]}).select(exact_key(pl.col("t")))["t"]
    assert (a == b) == same and a is not None


def test_a_text_of_signs_alone_is_like_no_other() -> None:
    assert pl.DataFrame({"t": ["?!", "", None]}).select(exact_key(pl.col("t")))["t"].to_list() == [None, None, None]
