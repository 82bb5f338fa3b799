"""Which outputs make a pair, against plain Python on random tables; and that length does not tell chosen from rejected where it need not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolkit.mining import OUTCOMES, Lines, hard_units, length_auc, length_figures, pair_candidates, pick_best, pick_closest

TASKS = ("one", "two")
GUARDS = ("a", "b")
RIGHT, WRONG, UNREAD, NOT_APPLICABLE = range(len(OUTCOMES))
LINE = st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 6), st.tuples(st.integers(0, 3), st.integers(0, 3)))
TABLE = st.lists(LINE, max_size=40)
UNIT = st.tuples(st.integers(0, 4), st.sampled_from(TASKS), st.sampled_from([None, *GUARDS]))
UNITS = st.lists(UNIT, min_size=1, max_size=8, unique=True)
SOUND = st.sets(st.integers(0, 40))
MUST = st.tuples(st.booleans(), st.booleans())


def lines_of(table: Sequence[Any]) -> Lines:
    column = [np.array([line[i] for line in table], np.int64) for i in range(3)]
    outcomes = np.array([line[3] for line in table], np.uint8).reshape(len(table), len(TASKS))
    at = np.arange(len(table))
    return Lines(column[0], column[1], GUARDS, at, column[2] + 1, outcomes)


def units_of(units: Sequence[Any]) -> pl.DataFrame:
    data = {n: [u[i] for u in units] for i, n in enumerate(("row", "task", "guard"))}
    return pl.DataFrame(data, schema={"row": pl.Int64, "task": pl.String, "guard": pl.String})


def sides(table: Sequence[Any], unit: Any, *, right_on_all: bool, wrong_read: bool) -> tuple[list[int], list[int]]:
    """The candidates of a unit, the definition once more; none of a side alone."""
    right, wrong = [], []
    for at, (row, guard, _, outcomes) in enumerate(table):
        found = outcomes[TASKS.index(unit[1])]
        if row != unit[0] or unit[2] not in (None, GUARDS[guard]):
            continue
        if found == RIGHT and (not right_on_all or all(o in (RIGHT, NOT_APPLICABLE) for o in outcomes)):
            right.append(at)
        if found == WRONG and (not wrong_read or UNREAD not in outcomes):
            wrong.append(at)
    return (right, wrong) if right and wrong else ([], [])


class Faulty:
    """Outputs with these places have a fault; how often it was asked."""

    def __init__(self, bad: set[int]) -> None:
        self.bad, self.asked, self.looked = bad, 0, 0

    def __call__(self, at: Any, right: Any) -> Any:
        self.asked += 1
        self.looked += len(at)
        assert sorted(set(zip(at.tolist(), right.tolist(), strict=True))) == list(zip(at.tolist(), right.tolist(), strict=True)), "each once, rising"
        return np.array([1 if i in self.bad else 0 for i in at], np.int64)


@settings(max_examples=150, deadline=None)
@given(TABLE, UNITS, SOUND, MUST, st.booleans(), st.booleans(), st.sampled_from([1, -1]))
def test_the_best_of_each_side_is_what_plain_python_finds(
    table: list[Any], units: list[Any], bad: set[int], must: tuple[bool, bool], right_on_all: bool, wrong_read: bool, sign: int
) -> None:
    lines, faults = lines_of(table), Faulty(bad)
    c = pair_candidates(units_of(units), lines, TASKS, right_on_all=right_on_all, wrong_read=wrong_read)
    found = pick_best(c, (c.length * sign).astype(np.float64), faults, must)
    passed = []
    for u, unit in enumerate(units):
        for right, at in zip((True, False), sides(table, unit, right_on_all=right_on_all, wrong_read=wrong_read), strict=True):
            order = sorted(at, key=lambda i: (-sign * table[i][2], i))
            sound = [i for i in order if not must[0 if right else 1] or i not in bad]
            assert (found.chosen if right else found.rejected)[u] == (sound[0] if sound else -1)
            worse = sign * table[sound[0]][2] if sound else float("-inf")
            passed += [(u, right) for i in order if i in bad and must[0 if right else 1] and sign * table[i][2] > worse]
    assert sorted(zip(found.over_unit.tolist(), found.over_right.tolist(), strict=True)) == sorted(passed)
    assert faults.asked <= 2


@settings(max_examples=150, deadline=None)
@given(TABLE, UNITS, SOUND, MUST)
def test_the_closest_are_sound_and_as_close_as_their_side_allows(table: list[Any], units: list[Any], bad: set[int], must: tuple[bool, bool]) -> None:
    lines, faults = lines_of(table), Faulty(bad)
    c = pair_candidates(units_of(units), lines, TASKS, right_on_all=False, wrong_read=False)
    found = pick_closest(c, faults, must)
    for u, unit in enumerate(units):
        right, wrong = sides(table, unit, right_on_all=False, wrong_read=False)
        right, wrong = ([i for i in at if not m or i not in bad] for at, m in zip((right, wrong), must, strict=True))
        chosen, rejected = int(found.chosen[u]), int(found.rejected[u])
        assert (chosen in right if right else chosen == -1) and (rejected in wrong if wrong else rejected == -1)
    assert faults.asked <= 2
    assert np.array_equal(found.paired, (found.chosen >= 0) & (found.rejected >= 0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.lists(st.integers(1, 50), min_size=1, max_size=4)), min_size=1))
@example([([1], [1, 2]), ([2], [1])] * 3)  # nearest is an equal length, and there is a longer one
def test_signs_are_balanced_as_far_as_any_choice_can(rows: list[tuple[list[int], list[int]]]) -> None:
    """As many chosen outputs are the longer ones as are the shorter ones, or all units that could change have changed."""
    c, found = closest_of(rows)
    longer = shorter = 0
    least = most = 0
    for (right, wrong), chosen, rejected in zip(rows, found.chosen, found.rejected, strict=True):
        difference = int(c.length[chosen] - c.length[rejected])
        longer, shorter = longer + (difference > 0), shorter + (difference < 0)
        signs = [int(np.sign(a - b)) for a, b in itertools.product(right, wrong)]
        least, most = least + min(signs), most + max(signs)
    excess = longer - shorter
    assert abs(excess) <= 1 or (excess > 0 and least > 0) or (excess < 0 and most < 0) or (least <= 0 <= most and abs(excess) <= 2)


def closest_of(rows: Sequence[tuple[Sequence[int], Sequence[int]]], bad: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    """Lines of rows given by the lengths of their right and wrong outputs, and what is taken."""
    table = [
        (r, 0, n, (answer, NOT_APPLICABLE))
        for r, both in enumerate(rows)
        for answer, lengths in zip((RIGHT, WRONG), both, strict=True)
        for n in lengths
    ]
    lines = lines_of(table)
    c = pair_candidates(units_of([(r, "one", None) for r in range(len(rows))]), lines, TASKS, right_on_all=True, wrong_read=False)
    return lines, pick_closest(c, Faulty(bad), (True, True))


def drawn(rng: Any, rows: int, longer: int, k: int = 4) -> list[tuple[list[int], list[int]]]:
    """Rows on whose k outputs guards are right and wrong; the wrong ones are `longer` characters longer on the average."""
    out = []
    for base in rng.lognormal(7.2, 0.3, rows):
        wrong = int(rng.integers(1, k))
        of = base + rng.normal(0, 200, k) + longer * (np.arange(k) < wrong)
        length = np.maximum(of, 50).astype(int).tolist()
        out.append((length[wrong:], length[:wrong]))
    return out


@pytest.mark.parametrize("longer", [0, 150])
def test_length_does_not_tell_chosen_from_rejected(longer: int) -> None:
    rows = drawn(np.random.default_rng(3), 4000, longer)
    lines, found = closest_of(rows)
    figures = length_figures(lines.length[found.chosen], lines.length[found.rejected])
    assert figures["pairs"] == 4000
    assert abs(figures["auc"] - 0.5) < 0.01 and abs(figures["longer_chosen"] - 0.5) < 0.01 and abs(figures["mean_difference"]) < 12
    longest = length_auc(np.array([max(r) for r, _ in rows]), np.array([max(w) for _, w in rows]))
    assert longer == 0 or longest < 0.45, "what the longest of each would tell"


def test_units_that_choose_again_keep_the_balance() -> None:
    rng = np.random.default_rng(4)
    rows = drawn(rng, 3000, 150, k=6)
    bad = set(np.flatnonzero(rng.random(18_000) < 0.2).tolist())
    lines, found = closest_of(rows, bad)
    taken = found.paired
    assert not bad & set(found.chosen[taken].tolist()) and not bad & set(found.rejected[taken].tolist())
    figures = length_figures(lines.length[found.chosen[taken]], lines.length[found.rejected[taken]])
    assert figures["pairs"] > 2500 and abs(figures["auc"] - 0.5) < 0.02 and abs(figures["longer_chosen"] - 0.5) < 0.03


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_auc_is_the_share_of_couples(chosen: list[int], rejected: list[int]) -> None:
    share = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in chosen for b in rejected) / (len(chosen) * len(rejected))
    assert length_auc(np.array(chosen), np.array(rejected)) == pytest.approx(share)


def test_figures_of_lengths_by_hand() -> None:
    found = length_figures(np.array([10, 20, 30]), np.array([20, 20, 5]))
    assert found == {
        "pairs": 3, "mean_chosen": 20.0, "mean_rejected": 15.0, "mean_difference": 5.0, "mean_distance": 11.667, "longer_chosen": 0.5, "auc": 0.666667
    }  # fmt: skip
    assert length_figures(np.zeros(0, np.int64), np.zeros(0, np.int64)) == {"pairs": 0}


def test_units_come_from_hard_of_or_from_the_status_of_older_rows() -> None:
    counts = {f"n_{n}_{t}": [2, 1] for n in ("right", "wrong", "unread") for t in TASKS}
    old = pl.DataFrame({"id": ["x", "y"], "status_one": ["hard", "no_label"], "status_two": ["hard", "hard"], **counts})
    assert hard_units(old, TASKS).select("row", "task", "guard").rows() == [(0, "one", None), (0, "two", None), (1, "two", None)]
    assert hard_units(old, TASKS, ["two"])["task"].to_list() == ["two", "one", "two"]
    of = [[{"task": "two", "guard": g, "right": 1, "wrong": 3, "unread": 0} for g in ("b", "a")], []]
    new = hard_units(old.with_columns(pl.Series("hard_of", of)), TASKS)
    assert new.rows() == [(0, "two", "b", 1, 3, 0), (0, "two", "a", 1, 3, 0)], "the order is the rule's"
