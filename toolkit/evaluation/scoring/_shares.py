"""A share of rows in one set and in another, whose rows are not the same: how much it changed, and could the change be luck?

The interval of the difference is Newcombe's (1998, Statistics in Medicine 17:873, method 10), which joins the two score intervals of Wilson (1927,
JASA 22:209); it holds for few rows and for shares of 0 and 1. The p-value is that of Fisher's exact test (1922, Journal of the Royal Statistical
Society 85:87). Where the two sets share rows, both take the sets for more different than they are, and so find a change later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from toolkit.evaluation.scoring._bounds import LEVEL
from toolkit.evaluation.scoring._score import wilson

_Z = NormalDist().inv_cdf(1 - LEVEL)


@dataclass(frozen=True)
class ShareChange:
    """A share before and after, in percent and points.

    Attributes:
        before, after: the share.
        low, high: one-sided 95 % bounds of the difference, after less before.
        p_fell, p_rose: one-sided p of the claim that it fell, and that it rose.
    """

    before: float
    after: float
    low: float
    high: float
    p_fell: float
    p_rose: float

    @property
    def difference(self) -> float:
        """Points."""
        return self.after - self.before


def share_change(before: tuple[int, int], after: tuple[int, int]) -> ShareChange:
    """How much a share changed.

    Args:
        before: rows that are counted, and all rows.
        after: likewise.

    Raises:
        ValueError: no rows, or more that are counted than there are.
    """
    (k, n), (m, rows) = before, after
    if not (0 <= k <= n and 0 <= m <= rows and n and rows):
        raise ValueError(f"no shares: {k} of {n}, {m} of {rows}")
    p, q = k / n, m / rows
    (low_p, high_p), (low_q, high_q) = wilson(k, n, _Z), wilson(m, rows, _Z)
    low = q - p - math.hypot(q - low_q, high_p - p)
    high = q - p + math.hypot(high_q - q, p - low_p)
    return ShareChange(100 * p, 100 * q, 100 * low, 100 * high, _fisher(m, rows, k, n), _fisher(rows - m, rows, n - k, n))


def _fisher(k: int, n: int, others: int, of: int) -> float:
    """The chance of at most `k` in `n`, where `k` and `others` of `n` and `of` fell as they would by chance: a tail of the hypergeometric
    distribution, summed from `k` downward until nothing more counts."""
    total = k + others

    def ways(rows: int, some: int) -> float:
        return math.lgamma(rows + 1) - math.lgamma(some + 1) - math.lgamma(rows - some + 1)

    chance = math.exp(ways(n, k) + ways(of, others) - ways(n + of, total))
    if not chance:  # further from what chance would have than a float can say
        return float(k * of > others * n)
    out, at = 0.0, k
    while at >= max(0, total - of):
        before, out = out, out + chance
        if out == before:
            break
        chance *= at * (of - total + at) / ((n - at + 1) * (total - at + 1))
        at -= 1
    return min(1.0, out)
