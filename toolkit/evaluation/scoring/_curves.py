"""Figures of probabilities: how well they part harmful rows from others, how far they can be believed, and what a threshold costs.

auprc            average precision: sum over the distinct scores of (recall gained) x precision, not interpolated (as scikit-learn's
                 `average_precision_score`; why not: Davis and Goadrich, ICML 2006)
auroc            the share of pairs of a positive and a negative row in which the positive one has the higher score, ties by half (Hanley and McNeil,
                 1982, Radiology 143:29)
ece              expected calibration error of the positive label's probability: 15 bins of equal width, (0, 1/15], …, (14/15, 1] and 0 in the first;
                 the mean over rows of |share of positive rows in the bin - mean probability there| (Naeini et al., AAAI 2015; 15 bins as Guo et al.,
                 ICML 2017, have it)
recall_at_fpr    the highest recall of a threshold at which at most x % of the negative rows are flagged, with its 95 % interval by the bootstrap
                 over rows
budgets          the lowest threshold at which at most x % of all rows are flagged

A row is flagged where its probability is at least the threshold.

The bootstrap of recall at a false-positive rate needs no rows either. In a resample with N negative rows and k of them allowed, what decides is the
(k+1)-th highest negative score. The order statistics of N uniform draws are Beta-distributed, so the rank of that score among the true negatives is
floor(N0 x U) with U ~ Beta(k + 1, N - k), and how many of the P resampled positives lie above it is binomial. These are the draws' exact
distributions, not approximations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from toolkit.evaluation.scoring._bootstrap import interval, rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

BINS = 15
RATES = (1.0, 2.0, 5.0)
"""False-positive rates in percent that recall is given at."""
BUDGETS = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Shares of all rows in percent that may be flagged."""
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Thresholds of the table."""
CURVES = ("auprc", "auroc", "ece", "thresholds", "recall_at_fpr", "budgets")
"""Keys of `curve_figures`."""
_NUDGE = 1e-9
"""Against binary fractions: 5 % of 20 is 1."""


def curve_figures(positive: Bools, score: Floats, draws: int, rng: np.random.Generator) -> dict[str, Any]:
    """All figures of probabilities; None what does not exist.

    Args:
        positive: of each row, whether its label is the positive one.
        score: its probability of that, in [0, 1].
        draws: of the bootstrap; 0: no intervals.
        rng: draws them.
    """
    if not len(score):
        return dict.fromkeys(CURVES)
    both = 0 < positive.sum() < len(score)
    return {
        "auprc": rounded(_percent(average_precision(positive, score))),
        "auroc": rounded(_percent(roc_area(positive, score))),
        "ece": rounded(_percent(calibration_error(positive, score))),
        "thresholds": [at_threshold(positive, score, t) for t in THRESHOLDS],
        "recall_at_fpr": [recall_at(score[positive], score[~positive], rate, draws, rng) for rate in RATES] if both else None,
        "budgets": [budget(positive, score, share) for share in BUDGETS],
    }


def average_precision(positive: Bools, score: Floats) -> float | None:
    """Average precision in [0, 1]; None without a positive row."""
    import numpy as np

    if not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    tp = np.cumsum(positive[order])[last]
    gained = np.diff(tp, prepend=0)
    return float((gained * tp / (last + 1)).sum() / tp[-1])


def roc_area(positive: Bools, score: Floats) -> float | None:
    """Area under the ROC curve in [0, 1]; None with one class."""
    import numpy as np

    p = int(positive.sum())
    n = len(positive) - p
    if not p or not n:
        return None
    _, at, size = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[at]
    return float((rank[positive].sum() - p * (p + 1) / 2) / (p * n))


def calibration_error(positive: Bools, score: Floats) -> float | None:
    """Expected calibration error in [0, 1]; None without a row."""
    import numpy as np

    if not len(score):
        return None
    bin_of = np.clip(np.ceil(score * BINS - _NUDGE).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.bincount(bin_of, positive, BINS) - np.bincount(bin_of, score, BINS)
    return float(np.abs(gap).sum() / len(score))


def at_threshold(positive: Bools, score: Floats, threshold: float) -> dict[str, float | None]:
    """What flagging rows of at least this probability gives, in percent: flagged (of all rows), recall, precision, fpr, f1."""
    flagged = score >= threshold
    n, p, f = len(score), int(positive.sum()), int(flagged.sum())
    tp = int((flagged & positive).sum())
    return {
        "threshold": threshold,
        "flagged": _share(f, n),
        "recall": _share(tp, p),
        "precision": _share(tp, f),
        "fpr": _share(f - tp, n - p),
        "f1": _share(2 * tp, p + f),
    }


def recall_at(harmful: Floats, benign: Floats, rate: float, draws: int, rng: np.random.Generator) -> dict[str, float | None]:
    """The highest recall with at most `rate` percent of the benign rows flagged, its interval, and the threshold; both kinds have a row.

    `fpr` is the rate asked for, `benign` the one that there is. A threshold of None: nothing can be flagged.
    """
    import numpy as np

    up, down = np.sort(harmful), np.sort(benign)[::-1]
    allowed = _allowed(rate, len(down))
    above = _above(up, down[allowed]) if allowed < len(down) else len(up)
    both = np.concatenate([up, down])
    over = both[both > down[allowed]] if allowed < len(down) else both
    threshold = float(over.min()) if len(over) else None
    out = {"fpr": rate, "recall": _share(above, len(up)), "recall_low": None, "recall_high": None, "threshold": threshold}
    out["benign"] = _share(int((down >= threshold).sum()) if threshold is not None else 0, len(down))
    if draws:
        n = len(up) + len(down)
        p = rng.binomial(n, len(up) / n, draws)
        p = p[(p > 0) & (p < n)]
        negatives = n - p
        k = np.floor(rate / 100 * negatives + _NUDGE).astype(np.int64)
        free = k >= negatives
        rank = np.minimum((len(down) * rng.beta(k + 1, np.maximum(negatives - k, 1))).astype(np.int64), len(down) - 1)
        share = np.where(free, 1.0, (len(up) - np.searchsorted(up, down[rank], side="right")) / len(up))
        low, high = interval(100 * rng.binomial(p, share) / p)
        out |= {"recall_low": rounded(float(low)), "recall_high": rounded(float(high))}
    return out


def budget(positive: Bools, score: Floats, share: float) -> dict[str, float | None]:
    """The lowest threshold that flags at most `share` percent of the rows, and what it gives; a threshold of None: it flags none."""
    threshold = budget_threshold(score, share)
    found = at_threshold(positive, score, math.inf if threshold is None else threshold)
    return {"budget": share} | found | {"threshold": threshold}


def budget_threshold(score: Floats, share: float) -> float | None:
    """The lowest probability of a row at which at most `share` percent of the rows are flagged; None: even the highest flags more.

    Args:
        score: probabilities of the rows that one expects, labelled or not.
        share: in percent.
    """
    import numpy as np

    if not len(score):
        return None
    down = np.sort(score)[::-1]
    allowed = _allowed(share, len(down))
    if allowed >= len(down):
        return float(down[-1])
    over = down[down > down[allowed]]
    return float(over[-1]) if len(over) else None


def _allowed(rate: float, n: int) -> int:
    return math.floor(rate / 100 * n + _NUDGE)


def _above(ascending: Floats, value: float) -> int:
    import numpy as np

    return int(len(ascending) - np.searchsorted(ascending, value, side="right"))


def _share(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
