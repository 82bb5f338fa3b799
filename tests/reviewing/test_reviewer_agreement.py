"""Agreement: tables worked by hand, published ones, and implementations of others."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toolkit.reviewing import cohen_kappa, krippendorff_alpha

MEG, OWEN = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
BEN, GERRY = "aabbdcccedda", "babbbcccedd" + "d"
FOUR: list[list[Any]] = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


@pytest.mark.parametrize(("observers", "alpha"), [([MEG, OWEN], 0.095), ([list(BEN), list(GERRY)], 0.692), (FOUR, 0.743)])
def test_alpha_of_published_tables(observers: list[list[Any]], alpha: float) -> None:
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections A to C."""
    found = krippendorff_alpha(zip(*observers, strict=True))
    assert found is not None and round(found, 3) == alpha


def test_kappa_by_hand() -> None:
    """20 times both yes, 15 both no, 5 and 10 apart: p_o = 0.7, p_e = 0.5 · 0.6 + 0.5 · 0.4 = 0.5."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohen_kappa(pairs) == pytest.approx(0.4)
    assert cohen_kappa([*pairs, ("y", None), (None, None)]) == pytest.approx(0.4), "a gap does not count"


def test_where_there_is_nothing_to_agree_on_beyond_chance_there_is_no_figure() -> None:
    assert cohen_kappa([]) is None and cohen_kappa([("a", "a")] * 3) is None
    assert krippendorff_alpha([]) is None and krippendorff_alpha([("a", "a")] * 3) is None and krippendorff_alpha([("a", None), ("b",)]) is None


PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30)


@given(PAIRS)
@settings(max_examples=15)
def test_kappa_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    assume(len({v for pair in pairs for v in pair}) > 1)
    one, other = zip(*pairs, strict=True)
    assert cohen_kappa(pairs) == pytest.approx(cohen_kappa_score(one, other))


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=5), max_size=12))
def test_alpha_is_one_less_the_observed_over_the_expected_disagreement(units: list[list[str | None]]) -> None:
    """By its definition, pair of values by pair of values, without a table of coincidences."""
    known = [[v for v in unit if v is not None] for unit in units]
    pairable = [unit for unit in known if len(unit) > 1]
    pool = [v for unit in pairable for v in unit]
    expected = [a != b for a, b in combinations(pool, 2)]
    if not any(expected):
        assert krippendorff_alpha(units) is None
        return
    observed = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in pairable) / len(pool)
    assert krippendorff_alpha(units) == pytest.approx(1 - observed / (sum(expected) / len(expected)))
