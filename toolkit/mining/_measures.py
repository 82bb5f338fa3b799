"""Measures of each row and task, from the votes of all draws of all guards.

Votes are generations whose verdict could be read; n of them, n_g by guard g, with shares p of all and p_g of one guard. Logarithms are to base 2.

- *error rate*: wrong / (right + wrong); null where the row has no label or nothing was read.
- *vote entropy*: H(p) = - sum p log p (Dagan and Engelson, 1995, Committee-based sampling for training probabilistic classifiers, ICML), in bits and
  not divided by log n: 0 where all agree, 1 for an even split of two labels.
- *margin*: largest share less the second largest (Scheffer, Decomain and Wrobel, 2001, Active hidden Markov models, IDA): 1 where all agree, 0 for
  an even split.
- *divergence*: how much of the entropy is between the guards, the Jensen-Shannon divergence of their shares with weights n_g / n (Lin, 1991, IEEE
  Transactions on Information Theory 37:145): H(p) - sum (n_g / n) H(p_g). The rest, entropy less divergence, is variation within a guard, from
  one draw to the next. This is how McCallum and Nigam (1998, ICML) part a committee's disagreement from its members' doubt. Null where fewer
  than two guards were read. It is biased upwards with few draws: 2 n ln 2 times it is the G statistic of guards against labels, so
  that guards which do not differ have (guards - 1)(labels - 1) / (2 n ln 2) bits on average, nearly, where n is large.

A null where nothing was read is no zero: such a row has no measure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.guards import Guard
from toolkit.mining._tally import TaskVotes, Votes, count_votes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MEASURES = ("error_rate", "entropy", "margin", "divergence")
"""Their names; a column is called ``<measure>_<task>``."""


def measures(table: pl.DataFrame | Votes, guard: Guard) -> pl.DataFrame:
    """Error rate, vote entropy, margin and divergence of each row and task (formulas: the module's docstring).

    Args:
        table: verdicts in `judged` columns, or their votes (`count_votes`), which then need not be counted again.
        guard: whose tasks these are.

    Returns:
        `parent`, in the order of first appearance, and for each task ``error_rate_<task>``, ``entropy_<task>``, ``margin_<task>`` and
        ``divergence_<task>``: float64, null where unknown.

    Raises:
        InputError: as `count_votes`.
    """
    votes = table if isinstance(table, Votes) else count_votes(table, guard)
    columns = {"parent": votes.parents}
    for task, task_votes in votes.tasks.items():
        for name, values in measures_of(task_votes).items():
            columns[f"{name}_{task}"] = pl.Series(f"{name}_{task}", values, nan_to_null=True)
    return pl.DataFrame(columns)


def measures_of(task_votes: TaskVotes) -> dict[str, Floats]:
    """The measures of one task, NaN where unknown."""
    import numpy as np

    each = task_votes.counts.sum(axis=2).astype(np.float64)
    total = each.sum(axis=1)
    right, wrong = task_votes.right.sum(axis=1), task_votes.wrong.sum(axis=1)
    pooled = _shares(task_votes.counts.sum(axis=1), total)
    top = np.sort(pooled, axis=1)
    entropy = entropy_bits(pooled)
    within = (each * entropy_bits(_shares(task_votes.counts, each))).sum(axis=1)
    between = np.maximum(entropy - within / np.where(total > 0, total, 1), 0)
    return {
        "error_rate": _shares(wrong[:, None], right + wrong)[:, 0],
        "entropy": np.where(total > 0, entropy, np.nan),
        "margin": np.where(total > 0, top[:, -1] - top[:, -2], np.nan),
        "divergence": np.where((each > 0).sum(axis=1) > 1, _near_zero(between), np.nan),
    }


def _shares(counts: NDArray[Any], total: NDArray[Any]) -> Floats:
    """Counts over their total on the last axis; NaN where that is 0."""
    import numpy as np

    out: Floats = counts / np.where(total > 0, total, np.nan)[..., None]
    return out


def _near_zero(values: Floats) -> Floats:
    """Without the rounding of a difference of equal sums."""
    import numpy as np

    out: Floats = np.where(values < 1e-12, 0.0, values)
    return out


def entropy_bits(shares: Floats) -> Floats:
    """Entropy over the last axis, in bits; 0 where the shares are unknown (NaN)."""
    import numpy as np

    safe = np.where(shares > 0, shares, 1.0)
    out: Floats = -(safe * np.log2(safe)).sum(axis=-1) + 0.0
    return out
