"""Positive rows against benign look-alikes: the positive rows of each benchmark and the other rows of one that was made to look like them.

On the rows that are only called harmful, a guard that flags whatever sounds so has a perfect recall; its price shows on rows that sound alike and are
benign (XSTest, Röttger et al., NAACL 2024). So the false-positive rate is that on the look-alikes, with Wilson's interval, which does not shrink to
nothing where none of them was flagged; recall is that on the positive rows; and where both have probabilities, recall at a false-positive rate and
AUROC are of the two together. A benchmark's own look-alikes stand against its own positive rows, too.

All is computed from the per-row table. The policy ``reference`` has no such figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.evaluation.scoring._bootstrap import generator, rounded
from toolkit.evaluation.scoring._curves import RATES, recall_at, roc_area
from toolkit.evaluation.scoring._policies import check_policies
from toolkit.evaluation.scoring._results import Readings, prepared_for, read_votes, row_outcome, row_scores
from toolkit.evaluation.scoring._score import wilson
from toolkit.evaluation.scoring._tallies import Tally, tallies

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FIGURES = ("flagged", "unparsable", "fpr", "fpr_low", "fpr_high", "recall", "auroc", "recall_at_fpr")
"""Keys of an entry that are None where there is no such figure."""


def look_alikes(
    rows: pl.LazyFrame | pl.DataFrame,
    positives: Mapping[str, str],
    names: Sequence[str],
    *,
    policies: Sequence[str] = ("clean",),
    k: str = "majority",
    readings: Readings | None = None,
    draws: int = 1000,
    seed: int = 0,
    titles: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The figures of each set of look-alikes, benchmark with positive rows, model, task and policy.

    Args:
        rows: the per-row table, as for `results`.
        positives: positive label by task.
        names: benchmarks in the table whose rows of other labels are the look-alikes.
        policies: as in `results`; ``reference`` is passed over.
        k: likewise.
        readings: likewise.
        draws: likewise.
        seed: likewise.
        titles: likewise.

    Returns:
        One dict each: look_alikes and benchmark (names), look_alikes_title, title, model, task, policy, judged, n (look-alikes with a label),
        unparsable and flagged (of these: not read; counted as called positive), positives (rows), in percent fpr with fpr_low and fpr_high, recall,
        auroc, recall_at_fpr (as in `results`), and probability_n (rows that have one, of both kinds together).

    Raises:
        InputError: as `results`; see `check_look_alikes`.
    """
    policies = check_policies(policies)
    ready = prepared_for(rows, positives, k, draws, [p for p in policies if p != "reference"])
    found = tallies(ready, positives, likely=k == "mean")
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for one in found:
        of, positive = (one.benchmark, one.task), sum(n for votes, n in one.rows.items() if votes.gold == positives[one.task])
        counts[of] = max(counts.get(of, (0, 0)), (positive, one.n - positive))
    check_look_alikes(names, counts, policies)
    scores = row_scores(ready, found)
    by = {_key(t): t for t in found}
    out = []
    for name in dict.fromkeys(names):
        for one in found:
            if (other := by.get((name, one.model, one.task))) is None or not counts[name, one.task][1] or not counts[one.benchmark, one.task][0]:
                continue
            reading = (readings or {}).get(one.model, {}).get(one.task, {})
            pair = _Pair(one, other, positives[one.task], reading)
            by_scores = pair.by_scores(scores, draws, generator(seed, "look-alikes", name, one.benchmark, one.task))
            for policy in policies:
                if policy != "reference":
                    out.append(_entry(pair, policy, k, titles or {}) | by_scores)
    return [one if one["judged"] else one | dict.fromkeys(FIGURES) for one in out]


def check_look_alikes(names: Iterable[str], counts: Mapping[tuple[str, str], tuple[int, int]], policies: Sequence[str]) -> None:
    """Refuse look-alikes that no figure can be made of.

    Args:
        names: benchmarks of look-alikes.
        counts: positive and other rows by benchmark and task.
        policies: what is to be computed under.

    Raises:
        InputError: no such benchmark, one without a row that is not positive, or of tasks of which no benchmark has a positive row; no policy for it.
    """
    for name in names:
        if name not in (known := dict.fromkeys(benchmark for benchmark, _ in counts)):
            raise InputError(
                f"look-alikes {name!r}: no benchmark of that name is evaluated", where="{--look-alikes|look_alikes}", hint=did_you_mean(name, known)
            )
        benign = [task for (benchmark, task), (_, others) in counts.items() if benchmark == name and others]
        if not benign:
            hint = "name a benchmark that has rows of another label"
            raise InputError(
                f"look-alikes {name!r}: every row with a label is positive, so none is a look-alike", where="{--look-alikes|look_alikes}", hint=hint
            )
        if not any(task in benign and positive for (_, task), (positive, _) in counts.items()):
            there = ", ".join(dict.fromkeys(task for (_, task), (positive, _) in counts.items() if positive)) or "none"
            hint = f"tasks with positive rows: {there}; evaluate on one more benchmark"
            raise InputError(
                f"look-alikes {name!r} are of the task {', '.join(benign)}, of which no benchmark here has a positive row",
                where="{--look-alikes|look_alikes}",
                hint=hint,
            )
        if set(policies) == {"reference"}:
            raise InputError(
                "look-alikes have no figures under the policy 'reference'", where="{--look-alikes|look_alikes}", hint="add clean, drop or fail-closed"
            )


class _Pair:
    """A model's rows of a benchmark, and those of the look-alikes."""

    def __init__(self, one: Tally, other: Tally, positive: str, reading: Mapping[str, str]) -> None:
        self.one, self.other, self.positive, self.reading = one, other, positive, reading

    def by_scores(self, scores: Mapping[tuple[str, str, str], Sequence[tuple[str, Floats]]], draws: int, rng: np.random.Generator) -> dict[str, Any]:
        """The figures of probabilities."""
        import numpy as np

        harmful, benign = (
            np.concatenate([values for gold, values in scores.get(_key(of), ()) if self._is_positive(gold) == want] or [np.empty(0)])
            for of, want in ((self.one, True), (self.other, False))
        )
        if any(to == self.positive for label, to in self.reading.items() if label != self.positive) or not len(harmful) or not len(benign):
            return {"auroc": None, "recall_at_fpr": None, "probability_n": 0}
        area = roc_area(np.arange(len(harmful) + len(benign)) < len(harmful), np.concatenate([harmful, benign]))
        at = [recall_at(harmful, benign, rate, draws, rng) for rate in RATES]
        return {"auroc": rounded(None if area is None else 100 * area), "recall_at_fpr": at, "probability_n": len(harmful) + len(benign)}

    def cells(self, of: Tally, want: bool, policy: str, k: str) -> tuple[Counter[str], int, int]:
        """Rows of the positive label, or of the others, by cell, how many there are, and how many of them were not read."""
        cells: Counter[str] = Counter()
        n = unread = 0
        for votes, rows in of.rows.items():
            one = read_votes(votes, self.reading)
            if (one.gold == self.positive) == want:
                found, was_read, _ = row_outcome(one, self.positive, policy, k)
                cells[found.cell] += rows * found.weight
                n, unread = n + rows, unread + rows * (not was_read)
        return cells, n, unread

    def _is_positive(self, gold: str) -> bool:
        return self.reading.get(gold, gold) == self.positive


def _key(of: Tally) -> tuple[str, str, str]:
    return of.benchmark, of.model, of.task


def _entry(pair: _Pair, policy: str, k: str, titles: Mapping[str, str]) -> dict[str, Any]:
    one, other = pair.one, pair.other
    mine, positive, _ = pair.cells(one, True, policy, k)
    theirs, n, unread = pair.cells(other, False, policy, k)
    flagged, low, high = theirs["fp"], *wilson(theirs["fp"], theirs.total())
    names = {"look_alikes": other.benchmark, "look_alikes_title": titles.get(other.benchmark, other.benchmark), "benchmark": one.benchmark}
    names |= {"title": titles.get(one.benchmark, one.benchmark), "model": one.model, "task": one.task, "policy": policy}
    found: dict[str, Any] = {"judged": one.judged and other.judged, "n": n, "unparsable": unread, "positives": positive, "flagged": flagged}
    fpr = 100 * flagged / theirs.total() if theirs.total() else None
    found |= {"fpr": rounded(fpr), "fpr_low": rounded(100 * low), "fpr_high": rounded(100 * high)}
    return names | found | {"recall": rounded(100 * mine["tp"] / mine.total() if mine.total() else None)}
