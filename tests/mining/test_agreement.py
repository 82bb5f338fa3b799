"""Agreement against published worked examples and against pairs counted one by one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken import GUARD, H, U, table

from toolkit.mining import agreement, fleiss


def test_the_published_example_with_equal_numbers() -> None:
    """Fleiss, 1971, Psychological Bulletin 76:378, Table 1: 30 patients, 6 psychiatrists, 5 diagnoses; he states kappa .430, and .5556 observed."""
    counts = [
        [0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0], [2, 0, 4, 0, 0], [0, 0, 4, 0, 2], [2, 0, 3, 1, 0],
        [2, 0, 0, 4, 0], [0, 0, 0, 0, 6], [1, 0, 0, 5, 0], [1, 1, 0, 4, 0], [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1], [0, 0, 5, 0, 1],
        [3, 0, 0, 1, 2], [5, 1, 0, 0, 0], [0, 2, 0, 4, 0], [1, 0, 2, 0, 3], [0, 0, 0, 0, 6], [0, 1, 0, 5, 0], [0, 2, 0, 1, 3], [2, 0, 0, 4, 0],
        [1, 0, 0, 4, 1], [0, 5, 0, 1, 0], [4, 0, 0, 0, 2], [0, 2, 0, 4, 0], [1, 0, 5, 0, 0], [0, 0, 0, 0, 6],
    ]  # fmt: skip
    found = fleiss(np.array(counts))
    assert (found["rows"], found["votes"]) == (30, 180)
    assert found["agreement"] == pytest.approx(0.5556, abs=5e-5)
    assert found["kappa"] == pytest.approx(0.430, abs=5e-4)


def test_the_published_example_with_unequal_numbers() -> None:
    """Fleiss, Levin and Paik, 2003, section 18.3: 25 subjects, 2 to 5 ratings each, 46 of 81 positive; they state kappa .54."""
    m = [2, 2, 3, 4, 3, 4, 3, 5, 2, 4, 5, 3, 4, 4, 2, 2, 3, 2, 4, 5, 3, 4, 3, 3, 2]
    x = [2, 0, 2, 3, 3, 1, 0, 0, 0, 4, 5, 3, 4, 3, 0, 2, 1, 1, 1, 4, 2, 0, 0, 3, 2]
    counts = np.array([x, np.subtract(m, x)]).T
    assert counts.sum(axis=0).tolist() == [46, 35]
    assert fleiss(counts)["kappa"] == pytest.approx(0.54, abs=5e-3)


@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=3, max_size=12))
@settings(max_examples=40, deadline=None)
def test_kappa_by_its_definition(counts: list[list[int]]) -> None:
    """Agreement is that of all pairs on a row, each row weighing one less than it has votes; the error is that of leaving each row out."""
    found = fleiss(np.array(counts))
    used = [c for c in counts if sum(c) > 1]
    assert found["rows"] == len(used)
    if len(used) < 2:
        assert found["kappa"] is None
        return
    same = [sum(n * (n - 1) for n in c) / (sum(c) * (sum(c) - 1)) for c in used]
    assert found["agreement"] == pytest.approx(np.average(same, weights=[sum(c) - 1 for c in used]))
    p = np.sum(used, axis=0) / np.sum(used)
    if p.max() == 1:
        assert found["kappa"] is None
        return
    e = (p**2).sum()
    assert found["kappa"] == pytest.approx((found["agreement"] - e) / (1 - e), abs=1e-9)
    if found["kappa_se"] is not None and len(used) > 2:
        left = [fleiss(np.array(used[:i] + used[i + 1 :]))["kappa"] for i in range(len(used))]
        n = len(used)
        assert found["kappa_se"] == pytest.approx(np.sqrt((n - 1) / n * ((np.array(left) - np.mean(left)) ** 2).sum()), abs=1e-8)


def test_a_matrix_by_hand() -> None:
    lines: list[tuple[str, str, str | None]] = [("1", "a", v) for v in (H, H, U)]
    lines += [("1", "b", v) for v in (H, U)] + [("1", "c", U)]
    lines += [("2", "a", v) for v in (H, H)] + [("2", "b", None)] + [("2", "c", U)]
    found = agreement(table(lines), GUARD)["prompt"]
    assert found["guards"] == ["a", "b", "c"]
    # a's draws: (2 of 6 ordered pairs, all of row 2); b's: none of one pair; c has one draw a row.
    assert found["matrix"][0] == pytest.approx([(1 / 3 + 1) / 2, 0.5, (1 / 3 + 0) / 2])
    assert found["matrix"][1] == pytest.approx([0.5, 0.0, 0.5])
    assert found["matrix"][2] == [pytest.approx(1 / 6), pytest.approx(0.5), None]
    pair = found["pairs"][1]
    assert (pair["a"], pair["b"], pair["rows"]) == ("a", "c", 2)
    # c always says U, a does so with 1/6: chance 1/6, which is what they reach.
    assert pair["kappa"] == pytest.approx(0.0)


def test_who_stands_alone() -> None:
    rows = {"1": (H, U, U), "2": (H, H, U), "3": (U, H, H), "4": (H, H, H), "5": (H, None, U)}
    found = agreement(table([(p, g, v) for p, vs in rows.items() for g, v in zip("abc", vs, strict=True)]), GUARD)["prompt"]
    assert found["alone"] == {"a": 2, "b": 0, "c": 1}


def test_random_votes_agree_by_chance_alone() -> None:
    rng = np.random.default_rng(0)
    found = fleiss(rng.multinomial(6, [0.3, 0.7], size=4000))
    assert abs(found["kappa"]) < 3 * found["kappa_se"]
    assert found["kappa_se"] == pytest.approx(np.sqrt(2 / (4000 * 6 * 5)), rel=0.1)  # Fleiss, Nee and Landis, 1979, with two labels


@given(st.permutations(["a", "b", "c"]))
@settings(max_examples=6, deadline=None)
def test_names_and_order_of_guards_change_nothing(order: list[str]) -> None:
    rng = np.random.default_rng(1)
    stated = {(p, g): [H if rng.random() < 0.6 else U for _ in range(2)] for p in "12345678" for g in "abc"}
    lines = [(p, g, v) for (p, g), vs in stated.items() for v in vs]
    names = dict(zip("abc", order, strict=True))
    one = agreement(table(lines), GUARD)["prompt"]
    other = agreement(table([(p, names[g], v) for p, g, v in lines][::-1]), GUARD)["prompt"]
    assert one["kappa"] == other["kappa"]
    for a, b in combinations("abc", 2):
        ia, ib = (other["guards"].index(names[g]) for g in (a, b))
        assert one["matrix"]["abc".index(a)]["abc".index(b)] == pytest.approx(other["matrix"][ia][ib])


def test_nothing_to_say_is_none() -> None:
    assert agreement(table([("1", "a", H), ("2", "a", H)]), GUARD)["prompt"]["kappa"] is None
    all_one = agreement(table([("1", "a", H), ("1", "b", H), ("2", "a", H), ("2", "b", H)]), GUARD)["prompt"]
    assert (all_one["agreement"], all_one["kappa"], all_one["pairs"][0]["kappa"]) == (1.0, None, None)
    assert agreement(table([("1", "a", H)]), GUARD)["refusal"]["rows"] == 0
