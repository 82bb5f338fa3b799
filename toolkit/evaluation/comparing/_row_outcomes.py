"""How each row counts for each model: the verdict of its draws under a policy and a reading, and whether that is right.

The table is grouped into patterns of votes first (`_tallies`), of which there are few: each is judged once, by the same rules as
in `results`, and joined back to its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from toolkit.evaluation.scoring._policies import Outcome, verdict
from toolkit.evaluation.scoring._reference import reference_rows
from toolkit.evaluation.scoring._results import Readings, read_votes, row_outcome
from toolkit.evaluation.scoring._tallies import KEYS, Votes, per_row_votes, prepared

OUTCOMES = {"benchmark": pl.String, "task": pl.String, "model": pl.String, "id": pl.String, "gold": pl.String}
"""Columns of `row_outcomes` beside verdict, cell, weight and right."""


@dataclass(frozen=True)
class How:
    """How rows are read and counted: see `toolkit.evaluation.results`."""

    positives: Mapping[str, str]
    readings: Readings
    policy: str = "clean"
    k: str = "majority"


def row_outcomes(rows: pl.LazyFrame, how: How) -> pl.LazyFrame:
    """A line for each benchmark, task, model and row with a label.

    Returns:
        `OUTCOMES`, ``verdict`` (in the reading; null: unread), ``cell``, ``weight`` and ``right`` of its `Outcome`.

    Raises:
        InputError: as `results`.
    """
    reference = how.policy == "reference"
    ready = prepared(rows, how.positives, ("output",) if reference else ()).filter(pl.col("gold").is_not_null())
    tasks, words, draws = _facts(ready)
    if reference:
        ready = reference_rows(ready, tasks)
        words = _facts(ready)[1]
    names = [f"_{i}" for i in range(len(words))]
    if draws > 1:
        votes = per_row_votes(ready, words)
    else:
        counts = [(pl.col("verdict") == w).fill_null(value=False).cast(pl.Int64).alias(n) for n, w in zip(names, words, strict=True)]
        votes = ready.select(*KEYS, "id", "gold", *counts, _unread=pl.col("verdict").is_null().cast(pl.Int64), _likely=pl.col("probability") >= 0.5)
    keys = ["model", "task", "gold", *names, "_unread", "_likely"]
    patterns = votes.select(keys).unique().collect(engine="streaming")
    judged = pl.DataFrame(
        [_judged(dict(zip(keys, line, strict=True)), words, how) for line in patterns.iter_rows()],
        schema={"verdict": pl.String, "cell": pl.String, "weight": pl.Int64, "right": pl.Boolean},
        orient="row",
    )
    known = pl.concat([patterns, judged], how="horizontal")
    return votes.join(known.lazy(), on=keys, how="inner", nulls_equal=True).select(*OUTCOMES, "verdict", "cell", "weight", "right")


def _facts(rows: pl.LazyFrame) -> tuple[list[str], list[str], int]:
    """Tasks, words of verdicts, and how many draws there are."""
    found = rows.select(
        pl.col("task").unique().drop_nulls().implode(), pl.col("verdict").unique().drop_nulls().implode().alias("words"), pl.col("draw").n_unique()
    )
    tasks, words, draws = found.collect(engine="streaming").row(0)
    return sorted(tasks), sorted(words), draws


def _judged(line: Mapping[str, object], words: Sequence[str], how: How) -> tuple[str | None, str, int, bool]:
    task, model = str(line["task"]), str(line["model"])
    positive = how.positives[task]
    labels = tuple((w, n) for i, w in enumerate(words) if isinstance(n := line[f"_{i}"], int) and n)
    unread, likely = line["_unread"], line["_likely"]
    votes = Votes(str(line["gold"]), labels, unread if isinstance(unread, int) else 0, likely if isinstance(likely, bool) else None)
    one = read_votes(votes, {} if how.policy == "reference" else how.readings.get(model, {}).get(task, {}))
    outcome, read, _ = row_outcome(one, positive, how.policy, how.k)
    label = _verdict(one, outcome, positive, how) if read or how.policy == "fail-closed" else None
    return label, outcome.cell, outcome.weight, outcome.right


def _verdict(votes: Votes, outcome: Outcome, positive: str, how: How) -> str | None:
    if how.k == "mean" and votes.likely is not None:
        others = Counter({w: n for w, n in votes.labels if w != positive})
        return positive if outcome.cell in ("tp", "fp") else max(sorted(others), key=others.__getitem__, default=None)
    return verdict(dict(votes.labels), votes.unread, positive, how.policy)[0]
