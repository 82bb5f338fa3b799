"""Weights of pairs: the paper's by hand, bounds and order of every scheme, and what has no spread."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolkit.mining import SCHEMES, pair_weights

COUNTS = st.tuples(st.integers(0, 16), st.integers(0, 16))
MEASURED = st.none() | st.floats(0, 1)
PAIRS = st.lists(st.tuples(COUNTS, MEASURED, st.sampled_from(["a", "b", None])), min_size=1, max_size=12)


def table(*counts: tuple[int, int], **columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"n_right": [r for r, _ in counts], "n_wrong": [w for _, w in counts], **columns})


def weights(*counts: tuple[int, int], **options: Any) -> list[float]:
    columns = {n: options.pop(n) for n in ("entropy", "margin", "divergence", "guard") if n in options}
    return pair_weights(table(*counts, **columns), **options).to_list()


def test_weights_follow_the_paper() -> None:
    # 1 + Norm(n_wrong - n_right, 0.2): with four read outputs -2, 0 and 2 become 0.8, 1.0 and 1.2 (GuardReasoner, section 3.3).
    assert weights((3, 1), (2, 2), (1, 3)) == pytest.approx([0.8, 1.0, 1.2])
    assert weights((0, 3), (1, 0), (2, 2), gamma=0.5) == pytest.approx([1.5, 0.5, 0.75])
    assert weights((3, 1), (1, 3), gamma=0.0) == [1.0, 1.0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_where_all_are_equal_every_weight_is_one(scheme: str) -> None:
    assert weights((3, 1), (3, 1), scheme=scheme) == [1.0, 1.0]
    assert weights(scheme=scheme) == []


def test_other_schemes_weigh_what_is_disputed() -> None:
    even, narrow, clear = (2, 2), (3, 1), (7, 1)
    for scheme in ("entropy", "margin"):
        high, middle, low = weights(even, narrow, clear, scheme=scheme)
        assert (high, low) == pytest.approx((1.2, 0.8)) and low < middle < high, scheme
    assert weights(even, clear, scheme="entropy", entropy=[0.1, 0.9]) == pytest.approx([0.8, 1.2]), "what was measured goes before the counts"
    assert weights(even, clear, scheme="margin", margin=[0.9, None]) == pytest.approx([0.8, 1.2])
    assert weights(even, even, even, scheme="divergence", divergence=[0.1, 0.6, None]) == pytest.approx([0.8, 1.2, 1.0])
    assert weights(even, clear, scheme="uniform") == [1.0, 1.0]


def test_normalised_per_guard_each_spans_its_own_range() -> None:
    counts, guards = [(3, 1), (1, 3), (2, 2), (1, 3)], ["a", "a", "b", "b"]
    assert weights(*counts, guard=guards, normalise="per_guard") == pytest.approx([0.8, 1.2, 0.8, 1.2])
    assert weights(*counts, guard=guards) == pytest.approx([0.8, 1.2, 1.0, 1.2])


@settings(deadline=None)
@given(PAIRS, st.sampled_from(SCHEMES), st.floats(0, 0.99), st.sampled_from(["all", "per_guard"]))
def test_weights_stay_in_their_bounds_and_reach_both(pairs: list[Any], scheme: str, gamma: float, normalise: str) -> None:
    columns: dict[str, Any] = {"guard": pl.Series([g for *_, g in pairs], dtype=pl.String)}
    if scheme in ("entropy", "margin", "divergence"):
        columns[scheme] = pl.Series([m for _, m, _ in pairs], dtype=pl.Float64)
    found = weights(*(c for c, *_ in pairs), scheme=scheme, gamma=gamma, normalise=normalise, **columns)
    assert len(found) == len(pairs)
    assert all(1 - gamma - 1e-12 <= w <= 1 + gamma + 1e-12 for w in found)
    for group in {g for *_, g in pairs} if normalise == "per_guard" else {"all"}:
        mine = [w for w, (*_, g) in zip(found, pairs, strict=True) if group in ("all", g)]
        if len(set(mine)) > 1 and gamma > 1e-6:
            assert min(mine) == pytest.approx(1 - gamma) and max(mine) == pytest.approx(1 + gamma)


@example([(1, 6), (6, 1)])  # as disputed as each other
@given(st.lists(COUNTS, min_size=2, max_size=12))
def test_weights_keep_the_order_of_what_they_go_by(counts: list[tuple[int, int]]) -> None:
    for scheme, figure in (("difference", lambda r, w: w - r), ("entropy", bits)):
        known = [(figure(r, w), weight) for (r, w), weight in zip(counts, weights(*counts, scheme=scheme), strict=True) if r + w]
        assert all(v <= w + 1e-9 for a, v in known for b, w in known if a <= b)


def bits(right: int, wrong: int) -> float:
    return -sum(n / (right + wrong) * math.log2(n / (right + wrong)) for n in (right, wrong) if n)
