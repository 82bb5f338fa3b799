"""Measures of votes against values worked out by hand, and against the literature's formulas written out row by row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import product

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from spoken import GUARD, H, U, table

from toolkit.common.errors import InputError
from toolkit.mining import MEASURES, count_votes, measures


def of(lines: Sequence[tuple[str, str, str | None]], label: str | None = H) -> dict[str, float | None]:
    row = measures(table(lines, label), GUARD).row(0, named=True)
    return {m: row[f"{m}_prompt"] for m in MEASURES}


def test_by_hand() -> None:
    # a says H H H U, b says U U U and one unread: 3 right, 4 wrong of 7 read.
    found = of([("r", "a", v) for v in (H, H, H, U)] + [("r", "b", v) for v in (U, U, U, None)])
    all_ = -(3 / 7 * math.log2(3 / 7) + 4 / 7 * math.log2(4 / 7))
    within = 4 / 7 * -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert found == pytest.approx({"error_rate": 4 / 7, "entropy": all_, "margin": 1 / 7, "divergence": all_ - within})


def test_the_two_ends_of_disagreement() -> None:
    between = of([("r", "a", H), ("r", "a", H), ("r", "b", U), ("r", "b", U)])
    within = of([("r", "a", H), ("r", "a", U), ("r", "b", H), ("r", "b", U)])
    assert between == {"error_rate": 0.5, "entropy": 1.0, "margin": 0.0, "divergence": 1.0}
    assert within == {"error_rate": 0.5, "entropy": 1.0, "margin": 0.0, "divergence": 0.0}
    assert of([("r", "a", H), ("r", "b", H)]) == {"error_rate": 0.0, "entropy": 0.0, "margin": 1.0, "divergence": 0.0}


def test_unknown_is_null_and_not_zero() -> None:
    assert of([("r", "a", None)]) == dict.fromkeys(MEASURES)
    assert of([("r", "a", H), ("r", "a", U)])["divergence"] is None  # one guard: nothing between guards
    assert of([("r", "a", H), ("r", "b", None)])["divergence"] is None
    assert of([("r", "a", H), ("r", "b", U)], label=None) == {"error_rate": None, "entropy": 1.0, "margin": 0.0, "divergence": 1.0}
    other = measures(table([("r", "a", H)]), GUARD)
    assert other["entropy_response"].to_list() == [None]
    assert measures(table([]), GUARD).height == 0


def test_an_outcome_that_is_there_decides() -> None:
    """A reading may count a label right that is another word."""
    rows = table([("r", "a", U)]).with_columns(pl.lit("right").alias("outcome_prompt"))
    assert measures(rows, GUARD)["error_rate_prompt"].to_list() == [0.0]


LINES = st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("abc"), st.sampled_from([H, U, None])), min_size=1, max_size=40)


@given(LINES, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_as_the_literature_writes_them(lines: list[tuple[str, str, str | None]], random: object) -> None:
    found = {r["parent"]: r for r in measures(table(lines), GUARD).iter_rows(named=True)}
    assert list(found) == list(dict.fromkeys(p for p, _, _ in lines))
    for parent, row in found.items():
        stated = {g: [v for p, w, v in lines if (p, w) == (parent, g) and v] for g in "abc"}
        read = [v for vs in stated.values() for v in vs]
        if not read:
            assert [row[f"{m}_prompt"] for m in MEASURES] == [None] * 4
            continue
        shares = [read.count(v) / len(read) for v in (H, U)]
        assert row["error_rate_prompt"] == pytest.approx(read.count(U) / len(read))
        assert row["entropy_prompt"] == pytest.approx(entropy(shares, base=2), abs=1e-12)
        first, second = ([n for _, n in Counter(read).most_common(2)] + [0])[:2]
        assert row["margin_prompt"] == pytest.approx((first - second) / len(read))
        voters = [vs for vs in stated.values() if vs]
        if len(voters) < 2:
            assert row["divergence_prompt"] is None
        else:
            inner = sum(len(vs) / len(read) * entropy([vs.count(H), vs.count(U)], base=2) for vs in voters)
            assert row["divergence_prompt"] == pytest.approx(entropy(shares, base=2) - inner, abs=1e-9)
            assert 0 <= row["divergence_prompt"] <= row["entropy_prompt"] + 1e-12
            if len(voters) == 2 and len(voters[0]) == len(voters[1]):
                apart = jensenshannon(*([vs.count(H) / len(vs), vs.count(U) / len(vs)] for vs in voters), base=2)
                assert row["divergence_prompt"] == pytest.approx(apart**2, abs=1e-9)
    again = list(lines)
    random.shuffle(again)  # type: ignore[attr-defined]
    assert measures(table(again), GUARD).sort("parent").equals(measures(table(lines), GUARD).sort("parent"))


@pytest.mark.parametrize("order", ["by row", "in rounds", "mixed"])
def test_rows_are_numbered_alike_in_any_order(order: str) -> None:
    cells = list(product("xyz", "ab", (H, U, H)))
    lines = [(f"id-{p}", g, v) for p, g, v in cells]
    if order == "in rounds":
        lines = [lines[r * 6 + k] for k in range(6) for r in range(3)]
    if order == "mixed":
        lines = lines[::5] + [one for i, one in enumerate(lines) if i % 5]
    votes = count_votes(table(lines), GUARD)
    assert sorted(votes.parents) == ["id-x", "id-y", "id-z"]
    assert votes.tasks["prompt"].counts.tolist() == [[[1, 2], [1, 2]]] * 3


def test_what_cannot_be_counted_is_named() -> None:
    with pytest.raises(InputError, match="no column 'guard_model'"):
        measures(pl.DataFrame({"parent": ["r"]}), GUARD)
    with pytest.raises(InputError, match="verdict_prompt: label not of the task: 'Harmful'"):
        measures(table([("r", "a", "Harmful")]), GUARD)
    with pytest.raises(InputError, match="no task 'promt'"):
        count_votes(table([("r", "a", H)]), GUARD, ["promt"])
