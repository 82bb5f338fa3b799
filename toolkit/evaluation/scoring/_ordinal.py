"""Figures of a task whose labels are on a scale: how far verdicts are from the labels, and what each cut through the scale gives.

========== =====================================================================================================================
within_one share of the rows whose verdict is the label or next to it; one that was not read is neither
kappa      quadratically weighted kappa (Cohen, 1968, Psychological Bulletin 70:213) over the rows that were read: 1 - sum(w o) / sum(w e), where w
           is the squared distance, o the rows by label and verdict, and e those expected of the same margins; None where none is to differ
cuts       of each label but the least: that label and those above it against those below. A row that was not read counts once, as wrong
========== =====================================================================================================================

Of several draws the verdict is that of `toolkit.evaluation.scoring._policies`. What a reading takes for fewer labels is no longer on the scale, and
has no such figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.evaluation.scoring._bootstrap import rounded
from toolkit.evaluation.scoring._policies import verdict
from toolkit.evaluation.scoring._results import Readings, prepared_for
from toolkit.evaluation.scoring._score import Counts, wilson
from toolkit.evaluation.scoring._tallies import Tally, tallies

if TYPE_CHECKING:
    import polars as pl

Cells = Mapping[tuple[int, int | None], int]
"""Rows by the places of label and verdict on the scale; None: not read."""


def ordinal(
    rows: pl.LazyFrame | pl.DataFrame,
    scales: Mapping[str, Sequence[str]],
    *,
    readings: Readings | None = None,
    titles: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The figures of each benchmark, model and task that has a scale.

    Args:
        rows: the per-row table, as for `results`.
        scales: by task its labels, from least to most severe; that the last one is the positive label.
        readings: as for `results`; a model and task that has one is passed over.
        titles: what to call a benchmark in `title`.

    Returns:
        One dict each: benchmark, title, model, task, judged, n, unparsable, in percent within_one with within_one_low and within_one_high (Wilson's
        95 % interval), kappa (from -1 to 1), and cuts: at_least (a label), tp, fp, fn, tn, f1, recall, fpr.

    Raises:
        InputError: as `results`.
    """
    import polars as pl

    table = rows.lazy().filter(pl.col("task").is_in(list(scales)))
    positives = {task: labels[-1] for task, labels in scales.items()}
    ready = prepared_for(table, positives, "majority", 0, ["clean"])
    found = tallies(ready, positives, labels=scales)
    return [
        {"benchmark": t.benchmark, "title": (titles or {}).get(t.benchmark, t.benchmark), "model": t.model, "task": t.task, "judged": t.judged}
        | _figures(t, scales[t.task])
        for t in found
        if not (readings or {}).get(t.model, {}).get(t.task)
    ]


def quadratic_kappa(cells: Cells, size: int) -> float | None:
    """Quadratically weighted kappa of the rows that were read; None where it does not exist.

    Args:
        cells: rows by label and verdict.
        size: labels of the scale.
    """
    read = {(gold, answer): n for (gold, answer), n in cells.items() if answer is not None and n}
    whole = sum(read.values())
    golds, verdicts = Counter[int](), Counter[int]()
    for (gold, answer), n in read.items():
        golds[gold] += n
        verdicts[answer] += n
    expected = sum((g - v) ** 2 * golds[g] * verdicts[v] for g in range(size) for v in range(size))
    differ = sum((g - v) ** 2 * n for (g, v), n in read.items())
    return 1 - whole * differ / expected if expected else None


def _figures(tally: Tally, scale: Sequence[str]) -> dict[str, Any]:
    place = {label: i for i, label in enumerate(scale)}
    cells: Counter[tuple[int, int | None]] = Counter()
    for votes, n in tally.rows.items():
        voted, _ = verdict(dict(votes.labels), votes.unread, scale[-1], "clean")
        cells[place[votes.gold], None if voted is None else place[voted]] += n
    unread = sum(n for (_, answer), n in cells.items() if answer is None)
    if not tally.judged or not tally.n:
        none = dict.fromkeys(("within_one", "within_one_low", "within_one_high", "kappa"))
        return {"n": tally.n, "unparsable": unread if tally.judged else None, **none, "cuts": []}
    near = sum(n for (gold, answer), n in cells.items() if answer is not None and abs(gold - answer) <= 1)
    low, high = wilson(near, tally.n)
    within = {"within_one": 100 * near / tally.n, "within_one_low": 100 * low, "within_one_high": 100 * high}
    cuts = [{"at_least": scale[at], **_cut(cells, at)} for at in range(1, len(scale))]
    kappa = rounded(quadratic_kappa(cells, len(scale)), 4)
    return {"n": tally.n, "unparsable": unread, **{k: rounded(v) for k, v in within.items()}, "kappa": kappa, "cuts": cuts}


def _cut(cells: Cells, at: int) -> dict[str, Any]:
    found: Counter[str] = Counter()
    for (gold, answer), n in cells.items():
        positive = gold >= at
        right = answer is not None and (answer >= at) == positive
        found[("tp" if right else "fn") if positive else ("tn" if right else "fp")] += n
    counts = Counts(found["tp"], found["fp"], found["fn"], found["tn"])
    shares = {"recall": (counts.tp, counts.tp + counts.fn), "fpr": (counts.fp, counts.fp + counts.tn)}
    f1 = 100 * 2 * counts.tp / below if (below := 2 * counts.tp + counts.fp + counts.fn) else None
    out = {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn, "f1": rounded(f1)}
    return out | {name: rounded(100 * k / n if n else None) for name, (k, n) in shares.items()}
