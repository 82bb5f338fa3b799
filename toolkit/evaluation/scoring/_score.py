"""Scores of verdicts against labels for one task.

F1 is that of the positive label, in percent (paper, section 4). A verdict that could not be read counts once, as wrong: as a miss where the
label is positive, as a false alarm where it is not (spec E.8, "clean"; the released script drops some and counts others twice).

Nothing is drawn at random. A figure that does not exist is NaN, None in `Score.as_dict`: accuracy without rows; F1 where nothing is
positive and nothing was called so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

_Z = 1.959963984540054
"""Normal quantile for the level of the intervals, 95 %."""


@dataclass(frozen=True)
class Counts:
    """Rows by label and verdict: true and false positives and negatives.

    `unread`: how many of `fp` and `fn` were unread. `mixed`: how many of `tn` got another label than theirs, none of the two being the
    positive one; so only where a task has more than two labels.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0
    unread: int = 0
    mixed: int = 0

    @property
    def n(self) -> int:
        """Rows."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def right(self) -> int:
        """Rows whose verdict is their label."""
        return self.tp + self.tn - self.mixed

    @property
    def accuracy(self) -> float:
        """Share right, in percent."""
        return 100 * self.right / self.n if self.n else math.nan

    @property
    def f1(self) -> float:
        """F1 of the positive label, in percent."""
        below = 2 * self.tp + self.fp + self.fn
        return 100 * 2 * self.tp / below if below else math.nan


@dataclass(frozen=True)
class Score:
    """Accuracy and F1 in percent with 95 % intervals (`wilson`, `f1_interval`)."""

    counts: Counts
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    f1: float
    f1_low: float
    f1_high: float

    def as_dict(self) -> dict[str, Any]:
        """Flat, for a table: the counts, n, and the figures; NaN as None."""
        out = asdict(self.counts) | {"n": self.counts.n}
        out |= {k: v for k, v in asdict(self).items() if k != "counts"}
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in out.items()}


def count(pairs: Iterable[tuple[str, str | None]], positive: str) -> Counts:
    """Counts from (label, verdict) pairs; a verdict of None is unread.

    Raises:
        ValueError: a row without a label, which no verdict can be right or wrong on.
    """
    return tally(((label, verdict, n) for (label, verdict), n in Counter(pairs).items()), positive)


def tally(cells: Iterable[tuple[str, str | None, int]], positive: str) -> Counts:
    """As `count`, from (label, verdict, number of rows)."""
    tp = fp = fn = tn = unread = mixed = 0
    for label, verdict, n in cells:
        if label is None:
            raise ValueError("a row without a label cannot be scored")
        unread += n * (verdict is None)
        if label == positive:
            tp, fn = tp + n * (verdict == label), fn + n * (verdict != label)
        else:
            alarm = verdict is None or verdict == positive
            fp, tn = fp + n * alarm, tn + n * (not alarm)
            mixed += n * (not alarm and verdict != label)
    return Counts(tp, fp, fn, tn, unread, mixed)


def score(pairs: Iterable[tuple[str, str | None]], positive: str) -> Score:
    """Score verdicts.

    Args:
        pairs: (label, verdict or None) of each row.
        positive: label that F1 counts, against all others together; accuracy asks for the very label.

    Raises:
        ValueError: a row without a label.
    """
    return score_counts(count(pairs, positive))


def score_counts(c: Counts) -> Score:
    """The figures of counts."""
    low, high = wilson(c.right, c.n)
    f_low, f_high = f1_interval(c)
    return Score(c, c.accuracy, 100 * low, 100 * high, c.f1, f_low, f_high)


def wilson(k: int, n: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's interval for a share of `k` in `n` (Wilson, 1927, JASA 22:209), in [0, 1]; NaN without any. `z`: its normal quantile (95 %)."""
    if not n:
        return math.nan, math.nan
    p, z2 = k / n, z * z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (max(0.0, middle - half) if k else 0.0), (min(1.0, middle + half) if k < n else 1.0)


def f1_interval(c: Counts) -> tuple[float, float]:
    """95 % interval of F1, in percent: Wilson's "indirect" interval (Lam, Gopal and Qian, arXiv 2309.14621).

    F1 is 2 J / (1 + J) with J = tp / (tp + fp + fn), a share of which Wilson's interval is known; F1 rises with J, so the ends carry over.
    """
    low, high = wilson(c.tp, c.tp + c.fp + c.fn)
    return 200 * low / (1 + low), 200 * high / (1 + high)


def baselines(labels: Iterable[str], positive: str, negative: str) -> dict[str, Score]:
    """What constant answers score on these labels: the more frequent class (the negative one on a tie), and always the positive one.

    Args:
        labels: of the rows.
        positive: label that F1 counts.
        negative: the other label; with more than two, the most frequent of them.
    """
    known = list(labels)
    majority = positive if known.count(positive) > known.count(negative) else negative
    return {
        "majority class": score(((v, majority) for v in known), positive),
        "always positive": score(((v, positive) for v in known), positive),
    }
