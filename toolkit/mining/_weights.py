"""Weights of preference pairs: ``1 + Norm(r, gamma)`` of a figure r of the pair, Norm mapping the least r to -gamma and the greatest to +gamma
(GuardReasoner, Liu et al., 2025, arXiv:2501.18492, section 3.3, where r = n_wrong - n_right). A scheme names the figure.

Where all r are equal there is no spread to map, and every weight is 1 (the released code divides by zero there); a pair whose figure is not known has
the weight 1, too, and does not count for the ends.
"""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl

Scheme = Literal["difference", "entropy", "margin", "divergence", "uniform"]
Normalise = Literal["all", "per_guard"]
SCHEMES: tuple[str, ...] = get_args(Scheme)


ROUNDING = 1e-9
"""Figures of a set that differ by no more are equal: measures of equal votes may differ in their last bits."""


def pair_weights(pairs: pl.DataFrame, scheme: Scheme = "difference", gamma: float = 0.2, normalise: Normalise = "all") -> pl.Series:
    """The weights of pairs, each in [1 - gamma, 1 + gamma].

    Args:
        pairs: a line each: `n_right` and `n_wrong`; `entropy`, `margin` or `divergence` (`toolkit.mining.measures`) for the scheme of its name. Where
            it is not there, or null, entropy and margin are those of the counts, and divergence is unknown. For ``per_guard``, `guard`, too.
        scheme: ``difference`` (wrong less right outputs, as in the paper: often wrong weighs more), ``entropy`` (of the votes: disputed weighs more),
            ``margin`` (between the two commonest labels: narrow weighs more), ``divergence`` (between guards: where guards differ, not draws, weighs
            more), ``uniform`` (all 1).
        gamma: 0.2 in the paper.
        normalise: over all pairs, or over those of each guard by themselves (released code, a file a guard); null is a guard like any other.
    """
    import numpy as np

    out = np.ones(pairs.height)
    if scheme == "uniform" or not pairs.height:
        return pl.Series("weight", out)
    figures = pairs.with_columns(_figure(scheme, scheme in pairs.columns).alias("_r"))["_r"].to_numpy()
    groups = pairs["guard"].rank("dense").fill_null(0).to_numpy() if normalise == "per_guard" else np.zeros(pairs.height)
    for group in np.unique(groups):
        mine = (groups == group) & ~np.isnan(figures)
        r = figures[mine]  # polars would multiply by the inverse of the spread, which is not the same to the last bit
        if r.size and (spread := r.max() - r.min()) > ROUNDING:
            out[mine] = 1 - gamma + 2 * gamma * (r - r.min()) / spread
    return pl.Series("weight", out)


def _figure(scheme: str, measured: bool) -> pl.Expr:
    """What a scheme depends on; greater weighs more."""
    right, wrong = pl.col("n_right").cast(pl.Float64), pl.col("n_wrong").cast(pl.Float64)
    if scheme == "difference":
        return wrong - right
    n = right + wrong  # each share by itself, so that 1 right of 7 comes to what 6 of 7 do, to the last bit
    parts = [pl.when((p > 0) & (p < 1)).then(-p * p.log(2)).when(p.is_finite()).then(0.0) for p in (right / n, wrong / n)]
    counted = {"entropy": parts[0] + parts[1], "margin": (right - wrong).abs() / n, "divergence": pl.lit(None, pl.Float64)}[scheme].fill_nan(None)
    value = pl.coalesce(pl.col(scheme).cast(pl.Float64).fill_nan(None), counted) if measured else counted
    return -value if scheme == "margin" else value
