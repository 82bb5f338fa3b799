"""One figure of two guards on the same rows: how much it changed, with bounds that hold for few rows too, and how many rows would tell.

The plain bootstrap knows nothing of what no row of the sample shows: where no verdict differs, every resample says that nothing changed, of three
rows as of three thousand. So a bound is drawn by the Bayesian bootstrap (Rubin, 1981, Annals of Statistics 9:130), in which the shares of the rows of
each pair of outcomes have a Dirichlet distribution, after *one more row of the worst kind* has been added: one that the guard had right before and
has wrong now. For a share alone that is the exact bound of Clopper and Pearson (1934, Biometrika 26:404), whose limit is the quantile of a beta
distribution with one more such row. The other bound is drawn with one more row of the best kind. Each is a one-sided 95 % bound; the two are a 90 %
interval.

How many rows would do follows from the variance of a row's part in the difference (Nam, 1997, Biometrics 53:1422, for shares; of F1 by the delta
method): n = (z_level + z_power)^2 variance / distance^2, with the distance that has to be seen. It is never less than what a sample in
which no verdict differs would need, log(0.05) / log(1 - margin) rows for a share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from toolkit.evaluation.scoring._bootstrap import FIGURES, figures, sums
from toolkit.evaluation.scoring._policies import Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Figure = Literal["f1", "fpr"]
Pairs = Mapping[tuple[Outcome, Outcome], int]
"""Rows by their outcome before and after."""
LEVEL, POWER = 0.05, 0.8
"""Share of certificates that may be wrong on one line; how often a guard that has not changed passes it with the rows that `Change.rows_to_pass` asks
for."""
MOST = 10_000_000
"""Rows beyond which no number is stated."""
_RIGHT = {"f1": Outcome("tp", 1, right=True), "fpr": Outcome("tn", 1, right=True)}
_WRONG = {"f1": Outcome("fn", 1, right=False), "fpr": Outcome("fp", 1, right=False)}


@dataclass(frozen=True)
class Change:
    """A figure before and after, in percent.

    Attributes:
        n: rows that it is made of.
        before, after: the figure.
        gain: how many points it is better; of a false-positive rate, how many it is lower.
        low, high: one-sided 95 % bounds of the gain.
        variance: of a row's part in the gain, in points squared.
        worst: points that the figure loses with a row of the worst kind, times `n`.
    """

    n: int
    before: float
    after: float
    gain: float
    low: float
    high: float
    variance: float
    worst: float
    down: Floats
    """Draws of the gain with one more row of the worst kind, ascending."""
    up: Floats
    """Draws with one more of the best."""

    def p_above(self, least: float) -> float:
        """One-sided p of the claim that the gain is above `least` points."""
        return (1 + int(self.down.searchsorted(least, "right"))) / (1 + len(self.down))

    def p_below(self, most: float) -> float:
        """One-sided p of the claim that the gain is below `most` points."""
        return (1 + len(self.up) - int(self.up.searchsorted(most, "left"))) / (1 + len(self.up))

    def rows_to_pass(self, margin: float) -> int | None:
        """Rows that would show that the figure did not fall by `margin` points, if the guard is as it was measured, or has not changed where it was
        measured as better; None: no number of rows would, or more than `MOST`."""
        least = math.log(LEVEL) / math.log1p(-min(margin / self.worst, 1 - 1e-9)) if self.worst > margin else 1.0
        return self._rows(margin + min(self.gain, 0.0), LEVEL, least)

    def rows_to_show(self, effect: float, tests: int = 1) -> int | None:
        """Rows that would show a change of `effect` points, after a correction for so many tests; None as `rows_to_pass`."""
        return self._rows(abs(effect), LEVEL / tests, 1.0)

    def _rows(self, distance: float, level: float, least: float) -> int | None:
        if distance <= 0:
            return None
        z = NormalDist().inv_cdf
        n = (z(1 - level) + z(POWER)) ** 2 * self.variance / distance**2
        found = max(math.ceil(max(n, least)), self.n + 1)
        return found if found <= MOST else None


def change(pairs: Pairs, figure: Figure, draws: int, rng: np.random.Generator) -> Change | None:
    """How much a figure changed; None where it does not exist before or after.

    Args:
        pairs: rows by their outcomes.
        figure: ``f1``, of all rows; ``fpr``, of those without the positive label.
        draws: of the bootstrap.
        rng: draws them.
    """
    import numpy as np

    kinds = sorted(k for k, n in pairs.items() if n and (k[0].weight or k[1].weight) and (figure == "f1" or k[0].cell in ("fp", "tn")))
    counts = np.asarray([pairs[k] for k in kinds], np.float64)
    if not kinds or (figure == "f1" and not any(k[0].cell in ("tp", "fn") for k in kinds)):
        return None
    value = _Value(figure)
    before, after = (float(v) for v in value.both(kinds, counts))
    if math.isnan(before) or math.isnan(after):
        return None
    right, wrong = _RIGHT[figure], _WRONG[figure]
    down, up = (_drawn(value, [*kinds, more], counts, draws, rng) for more in ((right, wrong), (wrong, right)))
    variance, worst = _spread(value, [*kinds, (right, wrong)], np.append(counts, 1.0))
    at = max(0, math.floor(LEVEL * (len(down) + 1)) - 1)
    low, high = float(down[at]), float(up[len(up) - 1 - at])
    return Change(int(counts.sum()), before, after, value.sign * (after - before), low, high, variance, worst, down, up)


class _Value:
    """A figure of counts."""

    def __init__(self, figure: Figure) -> None:
        self._at = FIGURES.index(figure)
        self.sign = 1.0 if figure == "f1" else -1.0

    def both(self, kinds: list[tuple[Outcome, Outcome]], counts: Floats) -> tuple[Floats, Floats]:
        """Before and after, of counts along the last axis."""
        first, second = (figures(counts @ sums([k[i] for k in kinds]))[..., self._at] for i in (0, 1))
        return first, second

    def gain(self, kinds: list[tuple[Outcome, Outcome]], counts: Floats) -> Floats:
        """How many points it is better."""
        before, after = self.both(kinds, counts)
        return self.sign * (after - before)


def _drawn(value: _Value, kinds: list[tuple[Outcome, Outcome]], counts: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Draws of the gain, ascending, after one row of the last kind has been added; the shares are gamma variates over their sum, which changes no
    figure and so is left out."""
    import numpy as np

    gain = value.gain(kinds, rng.standard_gamma(np.append(counts, 1.0), size=(draws, len(kinds))))
    return np.sort(gain[gain == gain])


def _spread(value: _Value, kinds: list[tuple[Outcome, Outcome]], counts: Floats) -> tuple[float, float]:
    """The variance of a row's part in the gain, and what the last kind's part is in points, by the derivatives of the gain (both are of shares)."""
    import numpy as np

    shares, step = counts / counts.sum(), 1e-6
    parts = (value.gain(kinds, shares + step * np.eye(len(shares))) - value.gain(kinds, shares)) / step
    return float(shares @ parts**2 - (shares @ parts) ** 2), float(-parts[-1])
