"""A condensed benchmark: a tenth of the rows that ranks guards nearly as all rows do, and how nearly.

Rows are put in order by where they come from, by their labels, and by difficulty (`toolkit.mining.item_response`, each guard's draws as one
answer), and every tenth is taken from a random start: a systematic sample, which holds the same share of each source, label and difficulty as the
whole (Madow and Madow, 1944, Annals of Mathematical Statistics 15:1; Cochran, 1977, Sampling Techniques, chapter 8). Every row has the same
chance, so figures on the chosen rows need no weights and estimate those on all: whatever scores a benchmark scores this one. (Anchor points with
weights, as in Polo et al., 2024, tinyBenchmarks, ICML, and chances in proportion to the doubt about a row, which may err less, need a scoring of
their own.)

*How nearly* is tried on guards that had no part in the choice: each two guards are held out in turn, difficulties are fitted to the others' answers,
rows are chosen 20 times from other starts, and both guards' F1 and accuracy on them are held against those on all rows. Stated are the root mean
square of the errors, in points, that of as many rows drawn by chance alone, and how often the two guards come in the right order. It takes three
guards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.mining._irt import fit_item_response
from toolkit.mining._tally import TaskVotes, Votes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

STARTS = 20
"""Choices for each two guards that are held out."""
PAIRS = 15
"""Pairs of guards that are held out, at most; of more, as many are drawn."""


@dataclass(frozen=True)
class Condensed:
    """A choice of rows.

    Attributes:
        chosen: for each row of the votes whether it is in.
        checks: by task how nearly guards that were held out come out as on all rows: `rows` and `chosen` (with a label for the task), `f1_error`,
            `f1_by_chance`, `accuracy_error`, `accuracy_by_chance` (root mean squares, in points; None where F1 is not defined), `pairs` (of
            guards that differ on all rows, times 20) and `in_order` (of these; None without any).
    """

    chosen: NDArray[np.bool_]
    checks: list[dict[str, Any]]


def condense(votes: Votes, positive: Mapping[str, str], share: float = 0.1, seed: int = 0, groups: pl.Series | None = None) -> Condensed:
    """Choose a share of the rows that have a label, and check it on guards held out (the module's docstring has both).

    Args:
        votes: of several guards.
        positive: by task the label that F1 counts.
        share: of the rows, above 0 and below 1.
        seed: of the random starts.
        groups: where each row comes from; default: all from one place.

    Raises:
        InputError: no row has a label, or so few that the share is no row.
    """
    import numpy as np

    labelled = np.flatnonzero(np.any([task_votes.gold >= 0 for task_votes in votes.tasks.values()], axis=0))
    size = round(share * len(labelled))
    if not size:
        raise InputError(f"a share of {share:g} of {len(labelled):,} rows with a label is no row", hint="a larger share, or more rows")
    part = _rows(votes, labelled)
    keys: list[Any] = [task_votes.gold for task_votes in reversed(part.tasks.values())]
    if groups is not None:
        keys.append(groups.gather(labelled).rank("dense").fill_null(0).to_numpy())
    rng = np.random.default_rng(seed)
    order = np.lexsort([difficulties(part, range(len(part.guards))), *keys])
    chosen = np.zeros(len(votes.parents), dtype=bool)
    chosen[labelled[every_so_many(order, size, rng.random())]] = True
    trials: dict[str, list[dict[str, Any]]] = {t: [] for t in part.tasks}
    for a, b in _pairs(len(part.guards), rng):
        order = np.lexsort([difficulties(part, [g for g in range(len(part.guards)) if g not in (a, b)]), *keys])
        for _ in range(STARTS):
            some, chance = every_so_many(order, size, rng.random()), rng.permutation(len(labelled))[:size]
            for task, task_votes in part.tasks.items():
                trials[task].append(_trial(task_votes, task_votes.labels.index(positive[task]), (a, b), some, chance))
    checks = []
    for task, task_votes in part.tasks.items():
        counts = {"rows": int((task_votes.gold >= 0).sum()), "chosen": int((votes.tasks[task].gold[chosen] >= 0).sum())}
        checks.append({"task": task, **counts, **_summed(trials[task])})
    return Condensed(chosen, checks)


def every_so_many(order: Ints, size: int, start: float) -> Ints:
    """`size` of these at equal distances, the first at a share `start` of the distance."""
    import numpy as np

    found: Ints = order[np.floor((np.arange(size) + start) * len(order) / size).astype(np.int64)]
    return found


def difficulties(votes: Votes, guards: Sequence[int]) -> Floats:
    """Each row's difficulty by these guards' answers: the mean over its tasks, in units of their spread; 0, the middle, without an answer."""
    import numpy as np

    total, tasks = np.zeros(len(votes.parents)), np.zeros(len(votes.parents))
    for task, task_votes in votes.tasks.items():
        right, answers = task_votes.right[:, guards], (task_votes.right + task_votes.wrong)[:, guards]
        if answers.any():
            found = fit_item_response(votes.parents, [votes.guards[g] for g in guards], right, answers, task, draws="one")
            values = found.rows["difficulty"].fill_null(np.nan).to_numpy() / found.spread
            total += np.nan_to_num(values)
            tasks += ~np.isnan(values)
    out: Floats = np.round(total / np.maximum(tasks, 1), 9)  # the last bits may depend on the number of threads
    return out


def _pairs(guards: int, rng: Any) -> Iterator[tuple[int, int]]:
    pairs = list(combinations(range(guards), 2)) if guards > 2 else []
    at = range(len(pairs)) if len(pairs) <= PAIRS else sorted(rng.permutation(len(pairs))[:PAIRS])
    yield from (pairs[i] for i in at)


def _rows(votes: Votes, at: Ints) -> Votes:
    parts = {t: TaskVotes(s.labels, s.counts[at], s.right[at], s.wrong[at], s.gold[at], s.unread[at]) for t, s in votes.tasks.items()}
    return Votes(votes.parents.gather(at), votes.guards, parts)


def figures(task_votes: TaskVotes, positive: int, guard: int, at: Ints | slice) -> tuple[float, float]:
    """F1 and accuracy in percent on some rows; NaN where not defined. A row counts by the shares of its draws; an unread one is wrong, and a false
    alarm where the label is not the positive one (the policy `clean`)."""
    import numpy as np

    gold, counts = task_votes.gold[at], task_votes.counts[at, guard]
    asked = counts.sum(axis=1) + task_votes.unread[at, guard]
    there = (gold >= 0) & (asked > 0)
    gold, counts, asked = gold[there], counts[there], asked[there]
    if not len(gold):
        return np.nan, np.nan
    right = counts[np.arange(len(gold)), gold] / asked
    hit = float(right[gold == positive].sum())
    missed = float((gold == positive).sum()) - hit
    false = float(((counts[:, positive] + task_votes.unread[at, guard][there]) / asked)[gold != positive].sum())
    whole = 2 * hit + missed + false
    return 100 * 2 * hit / whole if whole else np.nan, 100 * float(right.mean())


def _trial(task_votes: TaskVotes, positive: int, pair: tuple[int, int], some: Ints, chance: Ints) -> dict[str, Any]:
    """Errors of one choice, and whether it has the two guards in order (None where they are level on all rows)."""
    import numpy as np

    every, mine, random = (np.array([figures(task_votes, positive, g, at) for g in pair]) for at in (slice(None), some, chance))
    apart, found = every[0, 0] - every[1, 0], mine[0, 0] - mine[1, 0]
    known = not (np.isnan(apart) or np.isnan(found)) and apart != 0
    return {"error": mine - every, "chance": random - every, "in_order": bool(apart * found > 0) if known else None}


def _summed(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    import numpy as np

    out: dict[str, Any] = {}
    for column, name in ((0, "f1"), (1, "accuracy")):
        for which, called in (("error", "error"), ("chance", "by_chance")):
            values = np.concatenate([t[which][:, column] for t in trials]) if trials else np.zeros(0)
            values = values[~np.isnan(values)]
            out[f"{name}_{called}"] = round(float(np.sqrt((values**2).mean())), 6) if len(values) else None
    decided = [t["in_order"] for t in trials if t["in_order"] is not None]
    return {**out, "pairs": len(decided), "in_order": sum(decided) if decided else None}
