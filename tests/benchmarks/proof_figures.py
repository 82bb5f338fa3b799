"""What the proof's tables are made of: each arm's answers on the same rows, in several seeds, and what differences between arms are worth.

Two things vary: the seed of the training, and the rows. A difference of two arms is taken seed by seed and has two 95 % intervals: over seeds (Student's
t of the differences, for other trainings on these rows), and over rows (paired bootstrap of the difference that is averaged over seeds, for other rows
of such kind). It is called *there* if the larger of the two p-values, corrected by Holm over all comparisons of the table, is below 0.05; else *not
shown*, which does not say that there is none: the interval says how large it may be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from toolkit.evaluation import holm

LEVEL = 0.05
DRAWS = 10_000
Answers = Mapping[str, Mapping[int, pl.DataFrame]]
"""By arm and seed the lines of its step `judged-…`: `parent`, `tested_on`, ``label_<task>``, ``verdict_<task>``."""


@dataclass(frozen=True)
class Part:
    """Rows and the task that they are scored on. `tested_on`: own, others, or both (None)."""

    name: str
    task: str
    tested_on: str | None


PARTS = (
    Part("prompt, all", "prompt", None),
    Part("prompt, own benchmarks", "prompt", "own"),
    Part("prompt, other benchmarks", "prompt", "others"),
    Part("refusal, own benchmarks", "refusal", "own"),
)
"""The first one is what differences are tested on."""


def right(table: pl.DataFrame, part: Part) -> pl.DataFrame:
    """For each row of a part that has a label whether the answer is it (`parent`, `right`), by row; an answer that could not be read is wrong."""
    rows = table if part.tested_on is None else table.filter(pl.col("tested_on") == part.tested_on)
    label, verdict = pl.col(f"label_{part.task}"), pl.col(f"verdict_{part.task}")
    return rows.filter(label.is_not_null()).select("parent", right=(label == verdict).fill_null(False)).sort("parent")


def matrix(of: Mapping[int, pl.DataFrame], part: Part, seeds: Sequence[int]) -> Any:
    """Right answers as an array of 0 and 1, shape (seeds, rows).

    Raises:
        ValueError: the seeds were not asked about the same rows.
    """
    found = [right(of[seed], part) for seed in seeds]
    if any(not one["parent"].equals(found[0]["parent"]) for one in found):
        raise ValueError(f"{part.name}: the seeds answer other rows")
    return np.stack([one["right"].to_numpy().astype(float) for one in found])


def over_seeds(values: Any) -> tuple[float, float, float | None, float | None]:
    """Mean, half of its 95 % interval and the p-value of no mean (Student's t), of one figure a seed; the last None where there is no spread."""
    from scipy import stats

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return mean, math.nan, None, None
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
    if error == 0:
        return mean, half, 1.0 if mean == 0 else 0.0, error
    return mean, half, float(2 * stats.t.sf(abs(mean) / error, n - 1)), error


def over_rows(difference: Any, draws: int = DRAWS, seed: int = 0) -> tuple[float, float, float]:
    """95 % interval and two-sided p-value of the mean over rows of a difference, by the bootstrap."""
    rng = np.random.default_rng(seed)
    rows = len(difference)
    drawn = np.array([difference[rng.integers(0, rows, rows)].mean() for _ in range(draws)])
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    p = 2 * min(1 + int((drawn <= 0).sum()), 1 + int((drawn >= 0).sum())) / (1 + draws)
    return float(low), float(high), min(1.0, p)


def compared(answers: Answers, pairs: Sequence[tuple[str, str, str]], part: Part = PARTS[0]) -> list[dict[str, Any]]:
    """Each arm held against another: what is asked, difference, both intervals, p, and in words whether it is there.

    Args:
        answers: of all arms.
        pairs: the arm, what it is held against, the question; those of which an arm is missing are left out.
        part: rows and task.
    """
    out: list[dict[str, Any]] = []
    for arm, base, question in pairs:
        one, other = answers.get(arm, {}), answers.get(base, {})
        if other.keys() == {0}:  # no training, so the same in every seed
            other = dict.fromkeys(one, other[0])
        if not (seeds := sorted(one.keys() & other.keys())):
            continue
        difference = matrix(one, part, seeds) - matrix(other, part, seeds)
        mean, half, p_seeds, _ = over_seeds(difference.mean(axis=1))
        low, high, p_rows = over_rows(difference.mean(axis=0))
        p = None if p_seeds is None else max(p_seeds, p_rows)
        out.append(
            {"arm": arm, "base": base, "question": question, "seeds": len(seeds), "difference": mean, "half": half, "low": low, "high": high, "p": p}
        )
    for line, p in zip(out, holm([line["p"] for line in out]), strict=True):
        line["holm"] = p
        line["words"] = words(line["difference"], p)
    return out


def words(difference: float, p: float | None) -> str:
    """Whether a difference is there."""
    if p is None:
        return "one seed: nothing can be said"
    if p >= LEVEL:
        return "not shown"
    return "better" if difference > 0 else "worse"


def arm_line(of: Mapping[int, pl.DataFrame], parts: Sequence[Part] = PARTS) -> dict[str, Any]:
    """Of an arm its seeds, for each part the mean share of right answers with half of its interval over seeds, how many outputs could be read, and the
    share of *harmful* among the verdicts that could."""
    seeds = sorted(of)
    figures = {part.name: over_seeds(found.mean(axis=1))[:2] for part in parts if (found := matrix(of, part, seeds)).shape[1]}
    verdicts = pl.concat([of[s]["verdict_prompt"] for s in seeds])
    read = verdicts.drop_nulls()
    harmful = (read == "harmful").sum() / len(read) if len(read) else math.nan
    return {"seeds": len(seeds), "figures": figures, "read": len(read) / len(verdicts), "harmful": harmful}
