"""The figures of an evaluation, from its per-row table and from nothing else.

==================== ==========================================================================================================
n                    rows with a label
tp, fp, fn, tn       rows by label and verdict as the policy counts them; `f1`, `precision`, `recall`, `accuracy`, and `fpr` (share of the other
                     rows that are called positive) are made from them, each with ``_low`` and ``_high``, 95 % (`_bootstrap`)
unparsable, coverage rows of which no verdict was read; share that was read
dropped, doubled     rows that the policy leaves out, or counts twice
ties                 rows whose draws are split evenly (`_policies`)
auprc, auroc, ece    of the probabilities of the positive label, mean over a row's draws (`_curves`), over `probability_n` rows
tokens, seconds      mean of a row, its draws together
==================== ==========================================================================================================

F1 is that of the positive label against all others together; accuracy asks for the very label. Figures are in percent with two decimals; None: the
figure does not exist. F1 without a positive row and without a row called so, for one, has nothing to be made of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError, nearest
from toolkit.evaluation.scoring._bootstrap import CELLS, FIGURES, count_figures, generator, rounded
from toolkit.evaluation.scoring._curves import CURVES, curve_figures
from toolkit.evaluation.scoring._policies import WAYS, Outcome, check_policies, outcome, verdict
from toolkit.evaluation.scoring._reference import reference_outcome, reference_rows
from toolkit.evaluation.scoring._tallies import KEYS, Tally, Votes, parts, prepared, tallies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Scores = dict[tuple[str, str, str], list[tuple[str, NDArray[np.float64]]]]

Readings = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Label that a label stands for, by model and task."""


def results(
    rows: pl.LazyFrame | pl.DataFrame,
    positives: Mapping[str, str],
    *,
    policies: Sequence[str] = ("clean",),
    k: str = "majority",
    readings: Readings | None = None,
    draws: int = 1000,
    seed: int = 0,
    titles: Mapping[str, str] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """The figures of each benchmark, model, task and policy; see the module's docstring.

    Args:
        rows: the per-row table (`toolkit.evaluation.ROWS`): `benchmark`, `id`, `model`, `task`, `gold`, `verdict`, and what there is of the others.
        positives: positive label by task.
        policies: of `toolkit.evaluation.POLICIES`; ``reference`` needs the column `output`.
        k: how several draws become one verdict: ``majority`` or ``mean`` (of the probabilities).
        readings: by model and task, the label that a label stands for, in verdicts and labels. A probability speaks of the positive label
            alone: where another one stands for it, its figures do not exist. ``reference`` reads outputs itself, and no reading applies.
        draws: of the bootstrap; 0: no intervals.
        seed: of the bootstrap. A figure's interval depends on it and on the figure's own rows, not on what else is in the table.
        titles: what to call a benchmark in `title`.
        labels: by task, those that there are (before any reading): another one is an error that names the row.

    Returns:
        One flat dict each, in the order in which benchmarks, models and tasks are in the table, then that of the policies.

    Raises:
        InputError: no such policy or way, a column that is not there, or a row that cannot be counted (`_tallies`): it is named.
    """
    policies = check_policies(policies)
    ready = prepared_for(rows, positives, k, draws, policies, readings=readings)
    found = tallies(ready, positives, likely=k == "mean", labels=labels)
    scores = row_scores(ready, found)
    referred = {_key(t): t for t in _referred(ready, found, positives)} if "reference" in policies else {}
    out = []
    for tally in found:
        reading = (readings or {}).get(tally.model, {}).get(tally.task, {})
        for policy in policies:
            one = referred[_key(tally)] if policy == "reference" else tally
            shared = {"title": (titles or {}).get(tally.benchmark, tally.benchmark)}
            of = scores.get((tally.benchmark, tally.model, tally.task), [])
            out.append(_result(one, policy, positives[tally.task], k, reading, of, draws, seed) | shared)
    return out


def breakdown(
    rows: pl.LazyFrame | pl.DataFrame,
    positives: Mapping[str, str],
    by: str,
    *,
    policies: Sequence[str] = ("clean",),
    k: str = "majority",
    readings: Readings | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The figures of counts by the values of a column, `part` in the dicts of `results`.

    Args:
        rows: as in `results`.
        positives: likewise.
        by: ``categories`` (a row counts in each of its own), ``source`` or another column. A part of None: rows that have none.
        policies: as in `results`, without ``reference``.
        k: likewise.
        readings: likewise.
        draws: likewise.
        seed: likewise.

    Raises:
        InputError: as in `results`.
    """
    policies = check_policies(policies)
    if "reference" in policies:
        raise InputError("no breakdown under the policy 'reference'", hint="the released script has none; take clean, drop or fail-closed")
    ready = prepared_for(rows, positives, k, draws, policies, (by,), readings)
    tallies(ready, positives)
    out = []
    for tally in parts(ready, by, likely=k == "mean"):
        reading = (readings or {}).get(tally.model, {}).get(tally.task, {})
        for policy in policies:
            found = _result(tally, policy, positives[tally.task], k, reading, [], draws, seed)
            out.append({"by": by, "part": tally.part} | {n: v for n, v in found.items() if n not in (*CURVES, "probability_n")})
    return out


def read_votes(votes: Votes, reading: Mapping[str, str]) -> Votes:
    """Votes as a reading takes them."""
    if not reading:
        return votes
    counts: Counter[str] = Counter()
    for label, n in votes.labels:
        counts[reading.get(label, label)] += n
    return Votes(reading.get(votes.gold, votes.gold), tuple(sorted(counts.items())), votes.unread, votes.likely)


def row_outcome(votes: Votes, positive: str, policy: str, k: str) -> tuple[Outcome, bool, bool]:
    """How rows of these votes count, whether they were read, and whether their draws are split evenly."""
    voted, tied = verdict(dict(votes.labels), votes.unread, positive, policy)
    if policy == "reference":
        return reference_outcome(votes.gold, voted, positive), voted is not None, False
    if k == "mean" and votes.likely is not None:
        others, _ = verdict({w: n for w, n in votes.labels if w != positive}, 0, positive, "clean")
        voted, tied = (positive, False) if votes.likely else (others or (votes.gold if votes.gold != positive else ""), False)
    return outcome(votes.gold, voted, positive, policy), bool(votes.labels) or (k == "mean" and votes.likely is not None), tied


def prepared_for(
    rows: pl.LazyFrame | pl.DataFrame,
    positives: Mapping[str, str],
    k: str,
    draws: int,
    policies: Sequence[str],
    more: Sequence[str] = (),
    readings: Readings | None = None,
) -> pl.LazyFrame:
    """The table with the columns that the policies need.

    Raises:
        InputError: a column is not there, no such way, or an argument of another shape.
    """
    _check_shapes(rows, positives, readings)
    if k not in WAYS:
        raise InputError(f"no way {k!r} to make one verdict of several draws", hint=nearest(k, WAYS) or f"choose of {', '.join(WAYS)}")
    if not isinstance(draws, Integral) or draws < 0:
        raise InputError(f"{draws} draws of the bootstrap", hint="0 (no intervals) or more")
    return prepared(rows, positives, (*more, *(["output"] if "reference" in policies else [])))


def _check_shapes(rows: Any, positives: Any, readings: Any) -> None:
    if not isinstance(rows, pl.LazyFrame | pl.DataFrame):
        hint = "read_evaluation(FOLDER).rows() is one"
        raise InputError(f"the per-row table is a frame of polars, not {type(rows).__name__}", hint=hint)
    if not isinstance(positives, Mapping):
        raise InputError(f"positives are labels by task, {{'prompt': 'harmful'}}, not {positives!r}")
    by_model = readings if readings is not None else {}
    by_task = (
        [of for tasks in by_model.values() for of in (tasks.values() if isinstance(tasks, Mapping) else [tasks])]
        if isinstance(by_model, Mapping)
        else [by_model]
    )
    if not all(isinstance(of, Mapping) for of in by_task):
        raise InputError(f"readings are labels by model and task, {{MODEL: {{TASK: {{LABEL: STANDS_FOR}}}}}}, not {readings!r}")


def _key(tally: Tally) -> tuple[str, str, str]:
    return tally.benchmark, tally.model, tally.task


def _referred(rows: pl.LazyFrame, found: Sequence[Tally], positives: Mapping[str, str]) -> list[Tally]:
    """The tallies of what the released script reads."""
    check_outputs(rows, found)
    return tallies(reference_rows(rows, sorted({t.task for t in found})), positives)


def check_outputs(rows: pl.LazyFrame, found: Iterable[Tally]) -> None:
    """That each row has one output for the released script to read.

    Raises:
        InputError: it has several draws, or a verdict and no output.
    """
    for tally in found:
        if tally.draws > 1:
            where = f"{tally.benchmark}: model {tally.model}, task {tally.task}"
            raise InputError(f"the policy 'reference' reads one output of a row, not {tally.draws} draws", where=where, hint="score one draw of them")
    lost = rows.filter(pl.col("output").is_null() & pl.col("verdict").is_not_null()).select("benchmark", "id", "model", "task").head(1).collect()
    if not lost.is_empty():
        benchmark, row, model, task = lost.row(0)
        hint = "it reads what the model wrote; a table of verdicts alone can be scored as clean, drop or fail-closed"
        raise InputError("the policy 'reference' needs the output", where=f"{benchmark}: row {row}, model {model}, task {task}", hint=hint)


def row_scores(rows: pl.LazyFrame, found: Iterable[Tally]) -> Scores:
    """Mean probabilities of rows that have one, by benchmark, model and task: (label, array) pairs."""
    if not any(t.probabilities for t in found):
        return {}
    known = rows.filter(pl.col("gold").is_not_null() & pl.col("probability").is_not_null())
    if (low := known.filter(~pl.col("probability").is_between(0, 1)).select(*KEYS, "id", "probability").head(1).collect()).height:
        benchmark, model, task, row, p = low.row(0)
        raise InputError(f"{p} is no probability", where=f"{benchmark}: row {row}, model {model}, task {task}")
    if any(t.draws > 1 for t in found):
        known = known.group_by(*KEYS, "id").agg(pl.col("gold").first(), pl.col("probability").mean())
    out: Scores = {}
    for benchmark, model, task, gold, values in (
        known.group_by(*KEYS, "gold").agg(pl.col("probability").sort()).sort(*KEYS, "gold").collect().iter_rows()
    ):
        out.setdefault((benchmark, model, task), []).append((gold, pl.Series(values, dtype=pl.Float64).to_numpy()))
    return out


def _result(
    tally: Tally,
    policy: str,
    positive: str,
    k: str,
    reading: Mapping[str, str],
    scores: Sequence[tuple[str, NDArray[np.float64]]],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    if policy == "reference":
        reading = {}
    means_another = any(to == positive for label, to in reading.items() if label != positive)
    if k == "mean" and (means_another or not tally.probabilities) and tally.judged:
        where = f"{tally.benchmark}: model {tally.model}, task {tally.task}"
        raise InputError("the mean of probabilities is not known", where=where, hint="take k='majority'")
    outcomes: Counter[Outcome] = Counter()
    positive_rows = read = tied = dropped = doubled = 0
    for votes, n in tally.rows.items():
        one = read_votes(votes, reading)
        found, was_read, split = row_outcome(one, positive, policy, k)
        outcomes[found] += n
        positive_rows += n * (one.gold == positive)
        read, tied = read + n * was_read, tied + n * split
        dropped, doubled = dropped + n * (found.weight == 0), doubled + n * (found.weight == 2)
    out: dict[str, Any] = {
        "benchmark": tally.benchmark,
        "model": tally.model,
        "task": tally.task,
        "policy": policy,
        "k": k,
        "draws": tally.draws,
        "judged": tally.judged,
        "n": tally.n,
        "unlabelled": tally.unlabelled,
        "single_class": positive_rows in (0, tally.n),
        "unparsable": tally.n - read,
        "coverage": rounded(100 * read / tally.n) if tally.n else None,
        "unread": dict(sorted(tally.reasons.items())),
        "dropped": dropped,
        "doubled": doubled,
        "ties": tied,
        "fewer_draws": sum(n for v, n in tally.rows.items() if v.draws < tally.draws),
    }
    out |= {c: sum(n * o.weight for o, n in outcomes.items() if o.cell == c) for c in CELLS}
    words = (tally.benchmark, tally.task, *([tally.part or ""] if tally.part is not None else []))  # not the model: its name changes no figure
    out |= count_figures(outcomes, draws, generator(seed, *words))
    if not tally.judged:
        out |= dict.fromkeys(
            [*CELLS, "unparsable", "coverage", "dropped", "doubled", "ties", *(f"{f}{end}" for f in FIGURES for end in ("", "_low", "_high"))]
        )
    out |= _curves([] if means_another else scores, positive, reading, draws, generator(seed, "curves", *words))
    return out | {"tokens": rounded(tally.tokens), "seconds": rounded(tally.seconds, 4)}


def _curves(
    scores: Sequence[tuple[str, NDArray[np.float64]]], positive: str, reading: Mapping[str, str], draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    import numpy as np

    if not scores:
        return dict.fromkeys(CURVES) | {"probability_n": 0}
    flags = np.concatenate([np.full(len(values), reading.get(gold, gold) == positive) for gold, values in scores])
    values = np.concatenate([v for _, v in scores])
    return curve_figures(flags, values, draws, rng) | {"probability_n": len(values)}
