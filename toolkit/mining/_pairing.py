"""Which outputs make a preference pair: chosen on numbers alone, for all hard units at once.

A *unit* is what a row is hard for: a task, and one guard or all of them together. Its *candidates* are the outputs that are right on the task (they
may be chosen) and those that are wrong (they may be rejected). What a candidate is, is known without its text: its line in the verdict table, its
length, its outcomes. Texts are looked at only of outputs that would be taken, through `Faults`: whether they are sound. Where one is not, the next
best is taken.

Policies: the output with the highest score of its side (`pick_best`), or the two sides together (`pick_closest`), so that length does not tell chosen
from rejected. Equal candidates are told apart by their place in the table, so that no cut of it into blocks, and no number of threads, changes a
choice. Memory: about 60 bytes a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

Faults = Callable[["Ints", "Mask"], "Ints"]
"""Faults of outputs: given their places in `Lines`, rising, and whether each is to be chosen or to be rejected, a number each, 0 for none. It is
asked twice at most."""

NONE = -1
"""No candidate, no guard."""
_SAMPLE = 16_384
"""Units over which the aim of `pick_closest` is looked for; with more, every n-th counts."""
RIGHT, WRONG, UNREAD, NOT_APPLICABLE = range(4)


def hard_units(rows: pl.DataFrame, tasks: Sequence[str], order: Sequence[str] | None = None) -> pl.DataFrame:
    """What the rows are hard for, a line each: `row` (its number), `task`, `guard` (null: all together), `n_right`, `n_wrong`, `n_unread`.

    In the order of the rows; of one row, as `hard_of` names them, or by their tasks in `order`.

    Args:
        rows: of the record ``hard``. An older one, without `hard_of`, is hard for each task whose status is so, all guards together.
        tasks: of the guard, in its order.
        order: tasks that come first, in this order.
    """
    numbered = rows.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    if "hard_of" in rows.columns:
        units = numbered.select("row", "hard_of").explode("hard_of", empty_as_null=True).drop_nulls("hard_of").unnest("hard_of")
        units = units.rename({"right": "n_right", "wrong": "n_wrong", "unread": "n_unread"})
    else:
        of_task = [
            numbered.filter(pl.col(f"status_{t}") == "hard").select(
                "row",
                pl.lit(t).alias("task"),
                pl.lit(None, pl.String).alias("guard"),
                *(pl.col(f"{n}_{t}").alias(n) for n in ("n_right", "n_wrong", "n_unread")),
            )
            for t in tasks
        ]
        units = pl.concat(of_task).sort("row", maintain_order=True)
    if order:
        rank = {t: i for i, t in enumerate(order)}
        units = units.sort("row", pl.col("task").replace_strict(rank, default=len(rank), return_dtype=pl.Int64), maintain_order=True)
    return units.select("row", "task", "guard", "n_right", "n_wrong", "n_unread")


@dataclass(frozen=True)
class Lines:
    """Lines of the verdict table that are about hard rows.

    Attributes:
        line: their numbers in the table, rising.
        row: number of the hard row.
        guard: number of the guard.
        guards: names of the guards.
        draw: as in the table.
        length: characters of the output.
        outcomes: of each task, in the guard's order, one of `RIGHT`, `WRONG`, `UNREAD`, `NOT_APPLICABLE`; shape (lines, tasks), uint8.
        ids: of the generations, where they are needed.
    """

    line: Ints
    row: Ints
    guard: Ints
    guards: Sequence[str]
    draw: Ints
    length: Ints
    outcomes: NDArray[np.uint8]
    ids: pl.Series | None = None


@dataclass(frozen=True)
class Candidates:
    """Outputs that may stand in a pair, by unit and place.

    Attributes:
        unit: number of the unit.
        at: place in `Lines`.
        right: whether it may be chosen; else it may be rejected.
        length: characters of the output.
        units: how many units there are.
    """

    unit: Ints
    at: Ints
    right: Mask
    length: Ints
    units: int

    def only(self, which: Mask) -> Candidates:
        """Those that are marked."""
        return Candidates(self.unit[which], self.at[which], self.right[which], self.length[which], self.units)

    def two_sided(self) -> Mask:
        """Whether a candidate's unit has one of each side."""
        import numpy as np

        right = np.bincount(self.unit[self.right], minlength=self.units) > 0
        wrong = np.bincount(self.unit[~self.right], minlength=self.units) > 0
        return (right & wrong)[self.unit]


def pair_candidates(units: pl.DataFrame, lines: Lines, tasks: Sequence[str], *, right_on_all: bool, wrong_read: bool) -> Candidates:
    """Which outputs may stand in which unit's pair; units with right ones alone, or wrong ones alone, have none.

    Args:
        units: of `hard_units`.
        lines: of the verdict table.
        tasks: of the guard, in the order of `Lines.outcomes`.
        right_on_all: a chosen output is right on every task that its row has a label for.
        wrong_read: a rejected output could be read on every task that its row has a label for.
    """
    import numpy as np

    number = {g: i for i, g in enumerate(lines.guards)}
    strange = len(number)
    known = pl.col("guard").replace_strict(number, default=strange, return_dtype=pl.Int64) if number else pl.lit(strange, pl.Int64)
    of_guard = units.select(pl.when(pl.col("guard").is_null()).then(NONE).otherwise(known).alias("guard"))["guard"].to_numpy()
    of_task = units["task"].to_numpy()
    key = units["row"].to_numpy() * (strange + 2) + of_guard + 1
    sound_right = np.isin(lines.outcomes, (RIGHT, NOT_APPLICABLE)).all(axis=1) if right_on_all else None
    sound_wrong = (lines.outcomes != UNREAD).all(axis=1) if wrong_read else None
    found: list[tuple[Ints, Ints, Mask]] = []
    for j, task in enumerate(tasks):
        mine = np.flatnonzero(of_task == task)
        right, wrong = lines.outcomes[:, j] == RIGHT, lines.outcomes[:, j] == WRONG
        right = right if sound_right is None else right & sound_right
        wrong = wrong if sound_wrong is None else wrong & sound_wrong
        at = np.flatnonzero(right | wrong)
        if not mine.size or not at.size:
            continue
        mine = mine[np.argsort(key[mine], kind="stable")]
        for guard in (np.full(at.size, NONE), lines.guard[at]):
            wanted = lines.row[at] * (strange + 2) + guard + 1
            place = np.minimum(np.searchsorted(key[mine], wanted), mine.size - 1)
            hit = key[mine][place] == wanted
            found.append((mine[place[hit]], at[hit], right[at[hit]]))
    unit, at, is_right = (np.concatenate([f[i] for f in found]) if found else np.zeros(0, np.int64) for i in range(3))
    by = np.lexsort((at, unit))
    unit, at = unit[by].astype(np.int64), at[by].astype(np.int64)
    out = Candidates(unit, at, is_right[by].astype(bool), lines.length[at], units.height)
    return out.only(out.two_sided())


@dataclass(frozen=True)
class Chosen:
    """What was taken.

    Attributes:
        chosen: of each unit, the place in `Lines` of its chosen output; `NONE` where no right output is sound.
        rejected: of each unit, that of its rejected output; `NONE` where no wrong output is.
        over_unit: units of outputs that would have been taken, were they sound.
        over_fault: their faults.
        over_right: whether they would have been chosen.
    """

    chosen: Ints
    rejected: Ints
    over_unit: Ints
    over_fault: Ints
    over_right: Mask

    @property
    def paired(self) -> Mask:
        """Units with a pair."""
        paired: Mask = (self.chosen != NONE) & (self.rejected != NONE)
        return paired


class _Looked:
    """What is known of candidates that were looked at.

    Args:
        c: the candidates.
        faults: what is wrong with an output.
        must: whether outputs to be chosen, and outputs to be rejected, must be sound.
    """

    def __init__(self, c: Candidates, faults: Faults, must: tuple[bool, bool]) -> None:
        import numpy as np

        self.c, self._faults = c, faults
        right, wrong = (NONE if m else 0 for m in must)
        self.known: Ints = np.where(c.right, right, wrong).astype(np.int64)
        """Of each candidate 0 for sound, a fault's number, or `NONE` for not looked at."""

    def look(self, which: Ints) -> None:
        """Look at these candidates, an output once for each side, whatever units it stands in."""
        import numpy as np

        new = which[self.known[which] == NONE]
        if new.size:
            one, back = np.unique(2 * self.c.at[new] + self.c.right[new], return_inverse=True)
            self.known[new] = self._faults(one // 2, one % 2 == 1)[back]

    def bad(self) -> Mask:
        """Units of which something is not sound."""
        import numpy as np

        out = np.zeros(self.c.units, bool)
        out[self.c.unit[self.known > 0]] = True
        return out


def pick_best(c: Candidates, score: Floats, faults: Faults, must: tuple[bool, bool]) -> Chosen:
    """Of each unit the right and the wrong output with the highest score that are sound; of equal ones the first of the table.

    Args:
        c: that may stand.
        score: of each.
        faults: what is wrong with an output.
        must: whether outputs to be chosen, and outputs to be rejected, must be sound.
    """
    import numpy as np

    looked = _Looked(c, faults, must)
    slot = 2 * c.unit + ~c.right  # a unit's right ones, then its wrong ones
    order = np.lexsort((c.at, -score, slot))
    looked.look(_firsts(slot, order))
    bad = np.zeros(2 * c.units, bool)
    bad[slot[looked.known > 0]] = True
    looked.look(order[bad[slot[order]]])
    taken = _firsts(slot, order[looked.known[order] == 0])
    out, least = np.full(2 * c.units, NONE, np.int64), np.full(2 * c.units, -np.inf)
    out[slot[taken]], least[slot[taken]] = c.at[taken], score[taken]
    over = np.flatnonzero((looked.known > 0) & (score > least[slot]))
    return Chosen(out[0::2], out[1::2], c.unit[over], looked.known[over], c.right[over])


def _firsts(slot: Ints, order: Ints) -> Ints:
    """The first candidate of each slot, of candidates in an order by slot."""
    import numpy as np

    return order[np.flatnonzero(np.diff(slot[order], prepend=NONE))]


# Closest in length -----------------------------------------------------------------------------------------------------


def pick_closest(c: Candidates, faults: Faults, must: tuple[bool, bool]) -> Chosen:
    """Of each unit a right and a wrong output of nearly the same length, so that over all pairs length does not tell which is which.

    Each unit has two offers: the two outputs whose difference in length (chosen less rejected) is nearest to an aim and not negative, and those
    whose difference is nearest to it and not positive. The nearer one is taken; then, where one sign prevails over all units, units change to their
    other offer, the cheapest changes first, until as many chosen outputs are the longer ones as are the shorter ones. The aim, the same for all
    units, is the one with which the AUC of length (`length_auc`) is nearest to a half: where wrong outputs are longer and some units have no other
    offer, the rest make up for them.

    Where an output is not sound, its unit chooses again among its sound ones; all unsound ones of such a unit count as passed over.

    Args:
        c: that may stand.
        faults: what is wrong with an output.
        must: whether outputs to be chosen, and outputs to be rejected, must be sound.
    """
    import numpy as np

    looked = _Looked(c, faults, must)
    aim = _aim(c)
    taken = _balanced(_Sides(c), aim, 0)
    looked.look(taken[taken != NONE])
    bad = looked.bad()
    again = np.flatnonzero(bad[c.unit])
    looked.look(again)
    sound = again[looked.known[again] == 0]
    taken[bad] = NONE
    left = c.only(sound)
    both = left.two_sided()
    new = np.append(sound[both], NONE)[_balanced(_Sides(left.only(both)), aim, _excess(c, taken))]
    taken[bad] = new[bad]
    for candidate in sound[~both]:  # there is one side to it: that says why it has no pair
        taken[c.unit[candidate], int(not c.right[candidate])] = candidate
    at = np.append(c.at, NONE)[taken]
    over = np.flatnonzero(looked.known > 0)
    return Chosen(at[:, 0], at[:, 1], c.unit[over], looked.known[over], c.right[over])


def _aim(c: Candidates) -> int:
    """The difference in length to aim for: the AUC of length rises with it, so it is found by halving; of two that are as good the smaller."""
    import numpy as np

    there = np.unique(c.unit)
    if not there.size:
        return 0
    some = np.zeros(c.units, bool)
    some[there[:: -(-there.size // _SAMPLE)]] = True
    part = _Sides(c.only(some[c.unit]))
    tried: dict[int, float] = {}

    def off(aim: int) -> float:
        if aim not in tried:
            taken = _balanced(part, aim, 0)
            taken = taken[taken[:, 0] != NONE]
            tried[aim] = length_auc(part.c.length[taken[:, 0]], part.c.length[taken[:, 1]]) - 0.5
        return tried[aim]

    low, high = 0, int(part.c.length.max() - part.c.length.min()) + 1
    sign = 1 if off(0) < 0 else -1
    while high - low > 1 and off(low * sign):
        middle = (low + high) // 2
        low, high = (middle, high) if off(middle * sign) * sign <= 0 else (low, middle)
    return min(tried, key=lambda aim: (abs(tried[aim]), abs(aim), aim))


class _Sides:
    """Candidates parted and sorted, so that those of like length are found at once.

    Args:
        c: all of units that have both sides, by unit and place.
    """

    def __init__(self, c: Candidates) -> None:
        import numpy as np

        self.c = c
        self.rights = np.flatnonzero(c.right)
        wrongs = np.flatnonzero(~c.right)
        self.wrongs = wrongs[np.lexsort((c.at[wrongs], c.length[wrongs], c.unit[wrongs]))]
        self.span = 2 * int(c.length.max(initial=0)) + 2
        self.key = c.unit[self.wrongs] * self.span + c.length[self.wrongs]
        self.first = np.searchsorted(self.key, self.key)
        """For each wrong one the first that is as long."""
        self.of = c.unit[self.rights]
        self.starts = np.flatnonzero(np.diff(self.of, prepend=NONE))

    def offer(self, aim: int, sign: int) -> Ints:
        """Of each unit the candidates whose difference in length has this sign, or is 0, and is nearest to `aim`, and that difference.

        Of equally near ones the smaller difference, then the first right output, then the first wrong one; `NONE` where there is none.
        """
        import numpy as np

        c = self.c
        out = np.full((c.units, 3), NONE, np.int64)
        if not self.rights.size:
            return out
        wanted = self.of * self.span + np.clip(c.length[self.rights] - aim, 0, self.span - 1)
        above = np.searchsorted(self.key, wanted)
        place = np.stack([np.minimum(above, self.key.size - 1), self.first[np.maximum(above - 1, 0)]], axis=1)
        wrong = self.wrongs[place]
        difference = c.length[self.rights][:, None] - c.length[wrong]
        far = np.iinfo(np.int64).max
        cost = np.abs(difference - aim) * self.span + np.abs(difference)  # the first decides
        cost = np.where((c.unit[wrong] == self.of[:, None]) & (difference * sign >= 0), cost, far)
        least = np.minimum.reduceat(cost.min(axis=1), self.starts)
        hit = np.flatnonzero((cost == np.repeat(least, np.diff(self.starts, append=self.of.size))[:, None]) & (cost < far))
        hit = hit[np.flatnonzero(np.diff(self.of[hit // 2], prepend=NONE))]
        out[self.of[hit // 2]] = np.stack([self.rights[hit // 2], wrong.ravel()[hit], difference.ravel()[hit]], axis=1)
        return out


def _balanced(sides: _Sides, aim: int, excess: int) -> Ints:
    """Of each unit the candidates to choose and to reject, `NONE` where it has not both; shape (units, 2).

    Args:
        sides: the candidates.
        aim: the difference in length to be near to.
        excess: by how many the longer ones among other units' chosen outputs outnumber the shorter ones.
    """
    import numpy as np

    up, down = sides.offer(max(aim, 0), 1), sides.offer(min(aim, 0), -1)
    far = np.iinfo(np.int64).max // 4
    cost_up, cost_down = (np.where(offer[:, 0] != NONE, np.abs(offer[:, 2] - aim), far) for offer in (up, down))
    ups = cost_up <= cost_down
    mine, other = np.where(ups, up[:, 2], down[:, 2]), np.where(ups, down[:, 2], up[:, 2])
    there = np.minimum(cost_up, cost_down) < far
    excess += int(np.sign(mine[there]).sum())
    way = -1 if excess > 0 else 1
    gain = (np.sign(other) - np.sign(mine)) * way
    may = np.flatnonzero(there & (np.maximum(cost_up, cost_down) < far) & (gain > 0))
    may = may[np.argsort(np.abs(cost_up - cost_down)[may], kind="stable")]
    may = may[np.cumsum(gain[may]) <= abs(excess)]
    ups[may] = ~ups[may]
    return np.where(ups[:, None], up[:, :2], down[:, :2])


def _excess(c: Candidates, taken: Ints) -> int:
    """By how many the chosen outputs that are longer than their rejected ones outnumber those that are shorter."""
    import numpy as np

    there = taken[taken[:, 0] != NONE]
    return int(np.sign(c.length[there[:, 0]] - c.length[there[:, 1]]).sum())


# What length tells -----------------------------------------------------------------------------------------------------


def length_auc(chosen: Ints, rejected: Ints) -> float:
    """Share of (chosen, rejected) outputs, of any two pairs, of which the chosen one is longer, ties by half (Mann and Whitney, 1947)."""
    import numpy as np

    if not chosen.size or not rejected.size:
        return 0.5
    ordered = np.sort(rejected)
    below = np.searchsorted(ordered, chosen, "left").sum()
    upto = np.searchsorted(ordered, chosen, "right").sum()
    return float((int(below) + int(upto)) / (2 * chosen.size * rejected.size))


def length_figures(chosen: Ints, rejected: Ints) -> Mapping[str, Any]:
    """How well length alone tells chosen from rejected outputs of some pairs, in characters.

    Returns:
        `pairs`; `mean_chosen`, `mean_rejected`, `mean_difference` (chosen less rejected); `mean_distance`, of the two of a pair; `longer_chosen`, the
        share of pairs whose chosen output is the longer one, ties by half: a half where length tells nothing within a pair; `auc`, the same
        over any two outputs of all pairs.
    """
    import numpy as np

    n = int(chosen.size)
    if not n:
        return {"pairs": 0}
    difference = chosen - rejected
    longer = 2 * int((difference > 0).sum()) + int((difference == 0).sum())
    return {
        "pairs": n,
        "mean_chosen": round(int(chosen.sum()) / n, 3),
        "mean_rejected": round(int(rejected.sum()) / n, 3),
        "mean_difference": round(int(difference.sum()) / n, 3),
        "mean_distance": round(int(np.abs(difference).sum()) / n, 3),
        "longer_chosen": round(longer / (2 * n), 6),
        "auc": round(length_auc(chosen, rejected), 6),
    }
