"""Pairs of which length does not tell chosen from rejected, and how well it tells them.

A model trained on pairs whose chosen outputs are the longer ones learns to write longer (Park et al., 2024, Disentangling length from quality in
direct preference optimization, arXiv:2403.19159). So of the outputs that may be in a pair two of like length are taken, balanced over all pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.mining._pairing import NONE, Candidates, Chosen, Faults, Looked

if TYPE_CHECKING:
    from toolkit.mining._pairing import Ints

_FEW = 30
"""Units below which nothing but closeness is aimed for: over a few pairs the AUC says little."""
_SAMPLE = 16_384
"""Units over which the aim of `pick_closest` is looked for; with more, every n-th counts."""


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

    looked = Looked(c, faults, must)
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
    if there.size < _FEW:
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

    def offer(self, aim: int, sign: int, *, strict: bool = False) -> Ints:
        """Of each unit those whose difference in length has this sign (or is 0, unless `strict`) and is nearest to `aim`, and how great it is.

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
        cost = np.where((c.unit[wrong] == self.of[:, None]) & (difference * sign >= int(strict)), cost, far)
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
    ups = (cost_up <= cost_down)[:, None]
    taken = np.where(ups, up, down)
    excess += int(np.sign(taken[taken[:, 0] != NONE, 2]).sum())
    taken, excess = _changed(taken, np.where(ups, down, up), aim, excess)
    if excess:  # where two are equally long, that was both offers
        way = -1 if excess > 0 else 1
        taken, _ = _changed(taken, sides.offer(max(aim * way, 1) * way, way, strict=True), aim, excess)
    return taken[:, :2]


def _changed(taken: Ints, other: Ints, aim: int, excess: int) -> tuple[Ints, int]:
    """What is taken, with the other offer where that brings the excess nearer to 0, the cheapest changes first; and the excess then."""
    import numpy as np

    way = -1 if excess > 0 else 1
    gain = (np.sign(other[:, 2]) - np.sign(taken[:, 2])) * way
    may = np.flatnonzero((taken[:, 0] != NONE) & (other[:, 0] != NONE) & (gain > 0))
    cost = np.abs(np.abs(other[may, 2] - aim) - np.abs(taken[may, 2] - aim))
    may = may[np.argsort(cost, kind="stable")]
    may = may[np.cumsum(gain[may]) <= abs(excess)]
    out = taken.copy()
    out[may] = other[may]
    return out, excess + way * int(gain[may].sum())


def _excess(c: Candidates, taken: Ints) -> int:
    """By how many the chosen outputs that are longer than their rejected ones outnumber those that are shorter."""
    import numpy as np

    there = taken[taken[:, 0] != NONE]
    return int(np.sign(c.length[there[:, 0]] - c.length[there[:, 1]]).sum())


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
