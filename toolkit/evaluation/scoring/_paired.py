"""Two models on the same rows: is one better, and could the difference be luck?

The difference of F1 has a 95 % interval and a p-value by the paired bootstrap: rows are resampled, and both models are scored on the same resample.
Only how many rows of each pair of outcomes a resample holds changes a figure, and these numbers are multinomial, so they are drawn themselves
(`_bootstrap`). The p-value is two-sided, 2 min(1 + draws at most 0, 1 + draws at least 0) / (1 + draws) (Davison and Hinkley,
Bootstrap Methods, 1997, 4.2.3 and 4.2.5).

McNemar's test (1947, Psychometrika 12:153) asks whether the rows that one model alone has right are evenly split: exactly, by the binomial
distribution, up to `EXACT` such rows, by its chi-squared statistic with Edwards' correction (1948, Psychometrika 13:185) beyond. It speaks of
accuracy, the bootstrap of F1: they may differ.

A difference of means is drawn from the draws of its benchmarks, each of which is resampled for itself. Tasks of one benchmark are, too, although they
may share rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError, nearest
from toolkit.evaluation.scoring._bootstrap import figures, generator, interval, resample, rounded, sums
from toolkit.evaluation.scoring._means import KINDS, Sizes, stated
from toolkit.evaluation.scoring._policies import Outcome, check_policies
from toolkit.evaluation.scoring._reference import reference_rows
from toolkit.evaluation.scoring._results import Readings, check_outputs, prepared_for, read_votes, row_outcome
from toolkit.evaluation.scoring._tallies import Tally, Votes, per_row_votes, split_by, tallies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EXACT = 1000
"""Most rows that one of the models alone has right, of which McNemar's test is exact."""
Place = tuple[str, str, str | None]
"""Benchmark, task and part."""


def paired(
    rows: pl.LazyFrame | pl.DataFrame,
    a: str,
    b: str,
    positives: Mapping[str, str],
    *,
    policy: str = "clean",
    k: str = "majority",
    readings: Readings | None = None,
    draws: int = 1000,
    seed: int = 0,
    sizes: Sizes | None = None,
    by: str | None = None,
) -> list[dict[str, Any]]:
    """Hold model `b` against model `a` on the rows that both have a line of.

    Args:
        rows: the per-row table with both, as in `toolkit.evaluation.results`.
        a: the one.
        b: the other.
        positives: positive label by task.
        policy: of `toolkit.evaluation.POLICIES`.
        k: as in `results`.
        readings: likewise.
        draws: of the bootstrap; 0: no intervals and no `p`.
        seed: likewise.
        sizes: as in `toolkit.evaluation.means`.
        by: a column to break the benchmarks down by, as in `breakdown`; then there are no means.

    Returns:
        A dict each, first of benchmarks by task (`mean` is None), then of means (`benchmark` is None, `mean` one of weighted, stated, macro; of the
        tasks together: `task` is None), with a, b, policy, n (rows of both that have a label), only_a and only_b (labelled rows of one alone),
        f1_a, f1_b, difference (b less a), low, high, p, and of benchmarks right_a and right_b (rows that this one alone has right), mcnemar (its
        p-value) and test (exact, chi-squared). What does not exist is None.

    Raises:
        InputError: as in `results`, or a model that is not in the table.
    """
    (policy,) = check_policies([policy])
    found, drawn = [], []
    for place, (both, judged) in _outcomes(rows, a, b, positives, policy, k, readings, by, draws).items():
        made, difference = both.compared(policy, draws, seed, judged)
        found.append(made | ({"by": by, "part": place[2]} if by else {}))
        drawn.append(difference)
    return found if by else found + _means(found, drawn, sizes)


def paired_outcomes(
    rows: pl.LazyFrame,
    a: str,
    b: str,
    positives: Mapping[str, str],
    *,
    policy: str = "clean",
    k: str = "majority",
    readings: Readings | None = None,
    by: str | None = None,
) -> dict[Place, Counter[tuple[Outcome, Outcome]]]:
    """Rows that both models have by how they count for `a` and for `b`, by benchmark, task and part; what only one of them judges is not there.

    Args and errors: as `paired`.
    """
    found = _outcomes(rows, a, b, positives, policy, k, readings, by, 0)
    return {place: both.cells for place, (both, judged) in found.items() if judged}


def _outcomes(
    rows: pl.LazyFrame | pl.DataFrame,
    a: str,
    b: str,
    positives: Mapping[str, str],
    policy: str,
    k: str,
    readings: Readings | None,
    by: str | None,
    draws: int,
) -> dict[Place, tuple[_Both, bool]]:
    """The outcomes of both by place, and whether both judge it."""
    ready = prepared_for(rows, positives, k, draws, [policy], (by,) if by else (), readings).filter(pl.col("model").is_in([a, b]))
    counted = tallies(ready, positives, likely=k == "mean")
    _check_models(rows, counted, a, b)
    if policy == "reference":
        check_outputs(ready, counted)
        ready = reference_rows(ready, sorted({t.task for t in counted}))
    judges = {(t.benchmark, t.task, t.model): t.judged for t in counted}
    out: dict[Place, tuple[_Both, bool]] = {}
    for place, cells in _joined(ready, counted, a, b, by).items():
        both = _Both(place, a, b)
        maps = [(readings or {}).get(m, {}).get(place[1], {}) if policy != "reference" else {} for m in (a, b)]
        for (one, other), n in cells.items():
            both.add(one, other, n, maps, positives[place[1]], policy, k)
        out[place] = both, all(judges.get((*place[:2], m), False) for m in (a, b))
    return out


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for being many (Holm, 1979, Scandinavian Journal of Statistics 6:65); None stays None and does not count.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes smaller than the one before it, or larger than 1.

    Raises:
        InputError: one that is none.
    """
    if odd := [p for p in pvalues if p is not None and not (isinstance(p, Real) and 0 <= p <= 1)]:
        raise InputError(f"{odd[0]!r} is no p-value: a number from 0 to 1, or None")
    order = sorted((p, i) for i, p in enumerate(pvalues) if p is not None)
    out: list[float | None] = [None] * len(pvalues)
    most = 0.0
    for rank, (p, i) in enumerate(order):
        out[i] = most = min(1.0, max(most, (len(order) - rank) * p))
    return out


def mcnemar(right_a: int, right_b: int) -> tuple[float | None, str | None]:
    """The p-value of McNemar's test and its kind; None where no row tells the models apart.

    Args:
        right_a: rows that the one alone has right.
        right_b: rows that the other alone has right.
    """
    n, least = right_a + right_b, min(right_a, right_b)
    if not n:
        return None, None
    if n <= EXACT:
        return min(1.0, 2 * sum(math.comb(n, i) for i in range(least + 1)) / 2**n), "exact"
    statistic = max(0, abs(right_a - right_b) - 1) ** 2 / n
    return math.erfc(math.sqrt(statistic / 2)), "chi-squared"


def two_sided(difference: Floats) -> float | None:
    """The p-value of draws of a difference; those that do not exist are left out."""
    known = difference[difference == difference]
    if not len(known):
        return None
    return min(1.0, 2 * min(1 + int((known <= 0).sum()), 1 + int((known >= 0).sum())) / (1 + len(known)))


class _Both:
    """The outcomes of two models on one benchmark and task."""

    def __init__(self, place: Place, a: str, b: str) -> None:
        self._place, self._a, self._b = place, a, b
        self.cells: Counter[tuple[Outcome, Outcome]] = Counter()
        self._alone = [0, 0]

    def add(self, one: Votes | None, other: Votes | None, n: int, maps: Sequence[Mapping[str, str]], positive: str, policy: str, k: str) -> None:
        if one is None or other is None:
            self._alone[one is None] += n
            return
        first, second = (row_outcome(read_votes(v, m), positive, policy, k)[0] for v, m in zip((one, other), maps, strict=True))
        self.cells[first, second] += n

    def compared(self, policy: str, draws: int, seed: int, judged: bool) -> tuple[dict[str, Any], Floats]:
        """The dict, and F1 of both models, shape (1 + draws, 2): as it is, then drawn."""
        import numpy as np

        benchmark, task, part = self._place
        kinds = sorted(self.cells)
        f1 = np.full((1 + draws, 2), np.nan)
        if kinds and judged:
            counts = [self.cells[x] for x in kinds]
            again = resample(counts, draws, generator(seed, "paired", benchmark, task, part or ""))
            whole = np.vstack([np.asarray(counts), again])
            f1 = np.stack([figures(whole @ sums([x[i] for x in kinds]))[:, 0] for i in (0, 1)], axis=1)
        out: dict[str, Any] = {"benchmark": benchmark, "task": task, "mean": None, "a": self._a, "b": self._b, "policy": policy, "judged": judged}
        out |= {"n": self.cells.total(), "only_a": self._alone[0], "only_b": self._alone[1]} | _differs(f1)
        right = [sum(n for x, n in self.cells.items() if x[0].weight and x[1].weight and x[i].right and not x[1 - i].right) for i in (0, 1)]
        p, test = mcnemar(*right)
        tested = {"right_a": right[0], "right_b": right[1], "mcnemar": p, "test": test}
        return out | (tested if judged else dict.fromkeys(tested)), f1


def _differs(f1: Floats) -> dict[str, float | None]:
    """What is reported of the F1 of two models and its draws."""
    difference = f1[:, 1] - f1[:, 0]
    there = difference[0] == difference[0] and len(difference) > 1
    low, high = interval(difference[1:]) if there else (math.nan, math.nan)
    return {
        "f1_a": rounded(f1[0, 0]),
        "f1_b": rounded(f1[0, 1]),
        "difference": rounded(difference[0]),
        "low": rounded(float(low)),
        "high": rounded(float(high)),
        "p": two_sided(difference[1:]) if there else None,
    }


def _means(found: Sequence[Mapping[str, Any]], drawn: Sequence[Floats], sizes: Sizes | None) -> list[dict[str, Any]]:
    """Differences of the means of benchmarks, and of tasks."""
    import numpy as np

    out = []
    tasks = list(dict.fromkeys(one["task"] for one in found))
    for kind in KINDS if sizes is not None else ("weighted", "macro"):
        made: list[Floats] = []
        for task in tasks:
            some = [(f1, _weight(kind, one, sizes or {})) for one, f1 in zip(found, drawn, strict=True) if one["task"] == task]
            known = [(f1, w) for f1, w in some if w and not np.isnan(f1[0]).any()]
            total = sum(w for _, w in known)
            made.append(np.sum([f1 * (w / total) for f1, w in known], axis=0) if total else np.full_like(drawn[0], np.nan))
            out.append(_mean_line(found, kind, task) | _differs(made[-1]))
        if len(tasks) > 1:
            out.append(_mean_line(found, kind, None) | _differs(np.mean(made, axis=0)))
    return out


def _weight(kind: str, one: Mapping[str, Any], sizes: Sizes) -> int:
    return 1 if kind == "macro" else one["n"] if kind == "weighted" else stated(sizes, one["benchmark"], one["task"]) or 0


def _mean_line(found: Sequence[Mapping[str, Any]], kind: str, task: str | None) -> dict[str, Any]:
    mine = [one for one in found if task in (None, one["task"])]
    same = {c: found[0][c] for c in ("a", "b", "policy")}
    counts = {c: sum(one[c] for one in mine) for c in ("n", "only_a", "only_b")}
    return {"benchmark": None, "task": task, "mean": kind} | same | counts | dict.fromkeys(("right_a", "right_b", "mcnemar", "test"))


def _check_models(rows: pl.LazyFrame | pl.DataFrame, counted: Sequence[Tally], a: str, b: str) -> None:
    there = {t.model for t in counted}
    if a == b:
        raise InputError(f"{a!r} against itself", hint="give two models")
    for model in (a, b):
        if model not in there:
            known = [str(m) for m in rows.lazy().select(pl.col("model").unique().sort()).collect()["model"]]
            raise InputError(f"no model {model!r} in the table", hint=nearest(model, known) or f"it has {', '.join(known) or 'none'}")


def _joined(rows: pl.LazyFrame, counted: Sequence[Tally], a: str, b: str, by: str | None) -> dict[Place, Counter[tuple[Votes | None, Votes | None]]]:
    """Labelled rows by the votes of both models, by place, in the order of the table; None: the model has no line of the row."""
    split = split_by(rows, by) if by else rows.with_columns(part=pl.lit(None, pl.String))
    words = sorted(split.select(pl.col("verdict").drop_nulls().unique().cast(pl.String)).collect()["verdict"])
    names = [f"_{i}" for i in range(len(words))]
    key = ["benchmark", "task", "part", "id"]
    sides = [
        per_row_votes(split.filter(pl.col("model") == m), words, ["part"])
        .filter(pl.col("gold").is_not_null())
        .select(*key, pl.struct(pl.col("gold").cast(pl.String), *names, "_unread", "_likely").alias(m))
        for m in (a, b)
    ]
    joined = sides[0].join(sides[1], on=key, how="full", coalesce=True, nulls_equal=True)
    lines = joined.group_by("benchmark", "task", "part", a, b).len().collect(engine="streaming")
    places = {(t.benchmark, t.task): i for i, t in reversed(list(enumerate(counted)))}
    out: dict[Place, Counter[tuple[Votes | None, Votes | None]]] = {}
    for benchmark, task, part, one, other, n in sorted(lines.iter_rows(), key=lambda x: (places[x[0], x[1]], x[2] or "")):
        out.setdefault((benchmark, task, part), Counter())[_read(one, words), _read(other, words)] += n
    return out


def _read(struct: Mapping[str, Any] | None, words: Sequence[str]) -> Votes | None:
    if struct is None or struct["gold"] is None:
        return None
    labels = tuple((w, n) for i, w in enumerate(words) if (n := struct[f"_{i}"]))
    return Votes(struct["gold"], labels, struct["_unread"], struct["_likely"])
