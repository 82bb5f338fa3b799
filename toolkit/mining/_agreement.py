"""How far guards agree over a set of rows: Fleiss' kappa, agreement of each two guards, and who disagrees with whom.

*Fleiss' kappa* takes each vote (a generation that could be read) as a rating of its row, whoever gave it. Rows may have unequal numbers of votes:
with x_ij votes for label j among the m_i of row i, N rows, p_j = sum_i x_ij / sum_i m_i and mean m of the m_i::

    kappa = 1 - sum_i sum_j x_ij (m_i - x_ij) / m_i  /  ( N (m - 1) sum_j p_j (1 - p_j) )

(Fleiss, Levin and Paik, 2003, Statistical Methods for Rates and Proportions, 3rd edition, section 18.3: their kappa of each label, weighted by
p_j (1 - p_j)). With equal m_i it is the kappa of Fleiss (1971, Psychological Bulletin 76:378). Rows with one vote agree with nobody and are left out.
Its standard error is the jackknife over rows (Fleiss and Davies, 1982, American Journal of Epidemiology 115:841), so draws of one guard on one
row may depend on each other as they like.

*Agreement of guards a and b*: the probability that a random vote of a and one of b on the same row are for the same label, the mean over
rows that both have votes on; of a guard with itself: of two different draws, over rows with two votes of it. *Kappa of a and b* corrects that for
chance as Cohen (1960, Educational and Psychological Measurement 20:37) does: (agreement - e) / (1 - e), e = sum_j q_aj q_bj, with q the guards' mean
shares on these rows. None where e is 1: both always say one and the same label.
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


def agreement(table: pl.DataFrame | Votes, guard: Guard) -> dict[str, Any]:
    """Agreement of the guards on each task (formulas: the module's docstring).

    Args:
        table: verdicts in `judged` columns, or their votes (`count_votes`), which then need not be counted again.
        guard: whose tasks these are.

    Returns:
        By task ``rows`` (with two votes or more), ``votes`` (on these), ``agreement`` (of two votes on a row, as kappa counts it), ``expected`` (by
        chance), ``kappa`` and its standard error ``kappa_se`` (None where it is not defined: fewer than two rows, or one label alone),
        ``guards`` (names, in the order of the matrix), ``matrix`` (agreement of each with each, its own draws on the diagonal; None
        where they share no row), ``pairs`` (a, b, rows, agreement, kappa) and ``alone`` (for each guard in how many rows its majority
        is one way and that of all others, two at least, another way; ties are no majority).

    Raises:
        InputError: as `count_votes`.
    """
    votes = table if isinstance(table, Votes) else count_votes(table, guard)
    return {task: _of_task(task_votes, list(votes.guards)) for task, task_votes in votes.tasks.items()}


def _of_task(task_votes: TaskVotes, guards: list[str]) -> dict[str, Any]:
    import numpy as np

    found = fleiss(task_votes.counts.sum(axis=1))
    each = task_votes.counts.sum(axis=2)
    shares = task_votes.counts / np.maximum(each, 1)[..., None]
    matrix: list[list[float | None]] = [[None] * len(guards) for _ in guards]
    pairs = []
    for a, name in enumerate(guards):
        two = each[:, a] > 1
        if two.any():
            m = each[two, a].astype(np.float64)
            x = task_votes.counts[two, a]
            matrix[a][a] = _rounded((((x * (x - 1)).sum(axis=1)) / (m * (m - 1))).mean())
        for b in range(a + 1, len(guards)):
            both = (each[:, a] > 0) & (each[:, b] > 0)
            pair = _pair(shares[both, a], shares[both, b])
            matrix[a][b] = matrix[b][a] = pair["agreement"]
            pairs.append({"a": name, "b": guards[b], **pair})
    return {**found, "guards": guards, "matrix": matrix, "pairs": pairs, "alone": dict(zip(guards, _alone(task_votes.counts), strict=True))}


def _pair(a: Floats, b: Floats) -> dict[str, Any]:
    if not len(a):
        return {"rows": 0, "agreement": None, "kappa": None}
    same = float((a * b).sum(axis=1).mean())
    chance = float((a.mean(axis=0) * b.mean(axis=0)).sum())
    return {"rows": len(a), "agreement": _rounded(same), "kappa": _rounded((same - chance) / (1 - chance)) if chance < 1 - 1e-12 else None}


def _alone(counts: NDArray[np.int32]) -> list[int]:
    """In how many rows each guard's majority stands against the one and the same of all others."""
    import numpy as np

    ordered = np.sort(counts, axis=2)
    choice = np.where(ordered[..., -1] > ordered[..., -2], counts.argmax(axis=2), -1)
    there = counts.sum(axis=2) > 0
    out = []
    for g in range(counts.shape[1]):
        rest, has = np.delete(choice, g, axis=1), np.delete(there, g, axis=1)
        low, high = np.where(has, rest, 127).min(axis=1, initial=127), np.where(has, rest, -1).max(axis=1, initial=-1)
        alone = (low == high) & (has.sum(axis=1) > 1) & (choice[:, g] >= 0) & (high >= 0) & (choice[:, g] != high)
        out.append(int(alone.sum()))
    return out


def fleiss(counts: NDArray[Any]) -> dict[str, Any]:
    """Fleiss' kappa with its parts.

    Args:
        counts: ratings of each label, shape (rows, labels).

    Returns:
        ``rows, votes, agreement, expected, kappa, kappa_se``; see `agreement`.
    """
    import numpy as np

    x = counts[counts.sum(axis=1) > 1].astype(np.float64)
    m = x.sum(axis=1)
    rows, votes = len(x), float(m.sum())
    if rows < 2:
        return {"rows": rows, "votes": int(votes), "agreement": None, "expected": None, "kappa": None, "kappa_se": None}
    apart = (x * (m[:, None] - x)).sum(axis=1) / m
    observed = 1 - apart.sum() / (votes - rows)
    p = x.sum(axis=0) / votes
    expected = float((p * p).sum())
    out = {"rows": rows, "votes": int(votes), "agreement": _rounded(observed), "expected": _rounded(expected), "kappa": None, "kappa_se": None}
    if expected >= 1 - 1e-12:
        return out
    kappa = 1 - (1 - observed) / (1 - expected)
    # The same without each row in turn.
    left = (x.sum(axis=0) - x) / (votes - m)[:, None]
    spread = 1 - (left * left).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        without = 1 - (apart.sum() - apart) / ((votes - m) - (rows - 1)) / spread
    error = float(np.sqrt((rows - 1) / rows * ((without - without.mean()) ** 2).sum())) if (spread > 1e-12).all() else None
    return out | {"kappa": _rounded(kappa), "kappa_se": _rounded(error)}


def _rounded(value: Any) -> float | None:
    """To ten places, so that the same votes in another order are the same figure."""
    return None if value is None else round(float(value), 10) + 0.0
