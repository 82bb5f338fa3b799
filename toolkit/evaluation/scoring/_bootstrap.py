"""95 % intervals of figures that are made from counts, by the bootstrap over rows (Efron, 1979, Annals of Statistics 7:1).

A resample of n rows with replacement changes a figure of counts only through how many rows of each kind it holds, and these numbers are multinomial:
n draws over the kinds, each with its share of the rows. So the kinds' numbers are drawn themselves. That is the bootstrap over rows, exactly, at a
cost that does not depend on the number of rows. The intervals are the draws' 2.5 and 97.5 percentiles; draws in which the figure does not exist
(no row that it counts) are left out of it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from toolkit.evaluation.scoring._policies import Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CELLS = ("tp", "fp", "fn", "tn")
FIGURES = ("f1", "precision", "recall", "accuracy", "fpr")
"""Figures of counts, in the order in which `figures` gives them."""
LEVEL = 0.95


def generator(seed: int, *words: str) -> np.random.Generator:
    """A generator for the figures that `words` name: the same whatever else is drawn."""
    import numpy as np

    name = hashlib.sha256("\x1f".join([str(seed), *words]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(name[:16], "big")))


def sums(outcomes: Sequence[Outcome]) -> Floats:
    """What a row of each outcome adds to tp, fp, fn, tn and to the right ones; shape (outcomes, 5)."""
    import numpy as np

    out = np.zeros((len(outcomes), 5))
    for i, one in enumerate(outcomes):
        out[i, CELLS.index(one.cell)] = one.weight
        out[i, 4] = one.weight * one.right
    return out


def figures(cells: Floats) -> Floats:
    """`FIGURES` in percent, of tp, fp, fn, tn and right ones along the last axis; NaN: there is none."""
    import numpy as np

    tp, fp, fn, tn, right = (cells[..., i] for i in range(5))
    above = np.stack([2 * tp, tp, tp, right, fp], axis=-1)
    below = np.stack([2 * tp + fp + fn, tp + fp, tp + fn, tp + fp + fn + tn, fp + tn], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = 100 * above / below
    return out


def resample(counts: Sequence[int], draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of rows of each kind in each of the resamples; shape (draws, kinds)."""
    import numpy as np

    n = np.asarray(counts, np.int64)
    return rng.multinomial(int(n.sum()), n / n.sum(), size=draws)


def interval(draws: Floats) -> tuple[Floats, Floats]:
    """Ends of the 95 % interval along the first axis; NaN where no draw has the figure."""
    import numpy as np

    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ordered = np.sort(draws, axis=0)  # NaN last
    if not np.isnan(ordered[-1:]).any() and len(ordered):
        at = np.array(tails) * (len(ordered) - 1)
        below = at.astype(np.int64)
        low, high = ((1 - w) * ordered[i] + w * ordered[min(i + 1, len(ordered) - 1)] for i, w in zip(below, at - below, strict=True))
        return low, high
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns where all are NaN, which is an answer here
        low, high = np.nanquantile(draws, tails, axis=0)
    return low, high


def count_figures(rows: Mapping[Outcome, int], draws: int, rng: np.random.Generator) -> dict[str, float | None]:
    """The figures of rows by outcome with their intervals: each of `FIGURES`, and with ``_low`` and ``_high``; None: there is none."""
    import numpy as np

    kinds = sorted(rows)
    counts = [rows[k] for k in kinds]
    adds = sums(kinds)
    found = figures(np.asarray(counts, np.float64) @ adds) if kinds else np.full(5, np.nan)
    ends = interval(figures(resample(counts, draws, rng) @ adds)) if draws and sum(counts) else (np.full(5, np.nan),) * 2
    out: dict[str, float | None] = {}
    for i, name in enumerate(FIGURES):
        low, high = (end[i] if not np.isnan(found[i]) else np.nan for end in ends)
        out |= {name: rounded(found[i]), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
    return out


def rounded(value: float | None, digits: int = 2) -> float | None:
    """As figures are given; None for what does not exist."""
    return None if value is None or value != value else round(float(value), digits) + 0.0
