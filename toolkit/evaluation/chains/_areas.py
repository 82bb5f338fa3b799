"""Intervals of figures of probabilities that are made from the rows themselves, by the bootstrap over rows (Efron, 1979, Annals of Statistics 7:1).

A resample is how often each row is in it. What decides is only the order of the scores, so they are sorted once for all resamples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from toolkit.evaluation.scoring._bootstrap import interval, rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

CELLS = 4_000_000
"""Numbers of a block of resamples."""
_NUDGE = 1e-9
"""Against binary fractions: 5 % of 20 is 1."""


def area(positive: Bools, score: Floats, times: Counts) -> Floats:
    """Area under the ROC curve, in [0, 1], of resamples: the share of pairs of a positive and another row in which the positive one has the higher
    score, ties by half (Hanley and McNeil, 1982, Radiology 143:29); NaN with one class.

    Args:
        positive: of each row, whether its label is the positive one.
        score: its probability of that.
        times: how often each row is in each resample; shape (resamples, rows).
    """
    import numpy as np

    _, group = np.unique(score, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    up = np.add.reduceat(times[:, order] * positive[order], starts, axis=1)
    down = np.add.reduceat(times[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(down, axis=1) - down / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = (up * below).sum(1) / (up.sum(1) * down.sum(1))
    return out


def recall_at_rate(positive: Bools, score: Floats, times: Counts, rate: float) -> Floats:
    """The highest recall, in [0, 1], of a threshold at which at most `rate` percent of the negative rows are flagged; NaN with one class. Arguments
    as for `area`."""
    import numpy as np

    _, group = np.unique(-score, return_inverse=True)  # the highest score first
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    up = np.cumsum(np.add.reduceat(times[:, order] * positive[order], starts, axis=1), axis=1)
    down = np.cumsum(np.add.reduceat(times[:, order] * ~positive[order], starts, axis=1), axis=1)
    allowed = np.floor(rate / 100 * down[:, -1] + _NUDGE)
    last = (down <= allowed[:, None]).sum(1) - 1
    found = np.where(last >= 0, np.take_along_axis(up, np.maximum(last, 0)[:, None], 1)[:, 0], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = np.where(down[:, -1] > 0, found / up[:, -1], np.nan)
    return out


def blocks(rows: int, draws: int, rng: np.random.Generator) -> list[Counts]:
    """Resamples in blocks: how often each row is in each of them."""
    import numpy as np

    size = max(1, CELLS // max(1, rows))
    out = []
    for begun in range(0, draws, size):
        chosen = rng.integers(0, rows, (min(size, draws - begun), rows))
        times = np.zeros(chosen.shape, np.int64)
        np.add.at(times, (np.arange(len(chosen))[:, None], chosen), 1)
        out.append(times)
    return out


def area_ends(positive: Bools, score: Floats, draws: int, rng: np.random.Generator) -> tuple[float | None, float | None]:
    """95 % interval of the area under the ROC curve, in percent; None where there is none."""
    import numpy as np

    if not draws or not len(score) or not 0 < positive.sum() < len(score) or np.isnan(score).any():
        return None, None
    found = np.concatenate([area(positive, score, times) for times in blocks(len(score), draws, rng)])
    low, high = (float(end) for end in interval(100 * found))
    return (None, None) if math.isnan(low) else (rounded(low), rounded(high))
