"""Drawing no more than a rule needs: whether a row's outcome is settled, and which rows a screen leaves out.

*Settled* is exact: a row is settled as hard, or as not hard, when the rule says the same of it whatever the draws still to come say. Nothing is lost
by stopping there. A row of which every draw was right so far can be hard until its last draw, so that stopping alone saves little where guards are
mostly right.

The *screen* guesses: from the first draw of each guard it takes the least probability that any guard gave to the row's own label, and leaves out rows
of which every guard is surer than a threshold. What that loses is measured, not believed: a random share of the rows is drawn in full, and the
threshold is the highest at which the recall of hard rows in that share, at its lower confidence bound, is at least what was asked for. Thresholds are
tried from the safest upward and the first that fails ends the search (fixed-sequence testing), so that trying many of them costs no confidence; the
bound of one is Clopper and Pearson's (1934) for a binomial share.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.mining._rule import Rule
from toolkit.mining._rule_apply import NONE, RIGHT, WRONG, outcome_codes, rule_outcomes
from toolkit.mining._tally import row_numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]

MOST_DRAWS = 64
"""Draws that are looked at together, at most: the table of what may still come grows with their cube."""


@dataclass(frozen=True)
class _Reach:
    """What a unit of `n` draws may still come to, by (right, wrong, unread) so far."""

    hard: NDArray[np.bool_]
    """Whether it may be hard in the end."""
    other: NDArray[np.bool_]
    """Whether it may not be."""


@lru_cache(maxsize=32)
def _reach(rule_text: str, n: int) -> _Reach:
    import numpy as np

    from toolkit.mining._rule_condition import parse_condition

    size = n + 1
    r, w, u = np.meshgrid(*[np.arange(size)] * 3, indexing="ij")
    done = r + w + u == n
    hard = parse_condition(rule_text).holds(r, w, u, np.full_like(r, n)) & done
    other = done & ~hard
    for total in range(n - 1, -1, -1):
        at = np.nonzero(r + w + u == total)
        for reach in (hard, other):
            reach[at] = reach[at[0] + 1, at[1], at[2]] | reach[at[0], at[1] + 1, at[2]] | reach[at[0], at[1], at[2] + 1]
    return _Reach(hard, other)


def settled(table: pl.DataFrame, rule: Rule, guard: Guard, k: Mapping[str, int], *, tasks: Sequence[str] | None = None) -> pl.DataFrame:
    """Which rows are settled by the draws that there are.

    Args:
        table: as for `apply_rule`, the draws so far, failed ones as unread; a row without any is a line without `guard_model`.
        rule: a whole one.
        guard: whose tasks these are.
        k: by name of each guard that is asked, its draws of a row.
        tasks: those alone.

    Raises:
        InputError: more than `MOST_DRAWS` draws are looked at together, or the rule looks at measures.

    Returns:
        A line a row, in order of first appearance: `parent` and `outcome`, ``hard``, ``not_hard`` or ``open``.

    Example:
        >>> draws = pl.DataFrame({"parent": ["a", "a", "b"], "guard_model": "m", "draw": [0, 1, 0], "outcome_prompt": ["right", "wrong", "right"],
        ...     "outcome_refusal": "not_applicable", "outcome_response": "not_applicable"})
        >>> settled(draws, load_rule("default"), toolkit.load_guard("guardreasoner"), {"m": 4})["outcome"].to_list()
        ['hard', 'open']
    """
    import numpy as np

    check_counts_alone(rule)
    guards = rule.guard_order(list(k))
    parents, row = row_numbers(table["parent"])
    who = table["guard_model"].cast(pl.String).replace_strict({g: i for i, g in enumerate(guards)}, default=-1, return_dtype=pl.Int64)
    at = who.fill_null(-1).to_numpy()
    counted = at >= 0
    cell = row * len(guards) + at
    draws = np.array([k[g] for g in guards])
    pooled = rule.guards.count == "pooled"
    if (most := int(draws.sum() if pooled else draws.max())) > MOST_DRAWS:
        raise InputError(f"{most} draws are looked at together, and a row is settled early among {MOST_DRAWS} at most")

    def count(mask: Flags) -> NDArray[np.int64]:
        return np.bincount(cell[mask & counted], minlength=parents.len() * len(guards)).reshape(parents.len(), len(guards))

    sure, possible, known = [], [], []
    for codes in rule_outcomes(table, rule, guard, tasks=tasks).values():
        labelled = np.zeros(parents.len(), dtype=bool)
        labelled[row[codes != NONE]] = True
        right, wrong, there = count(codes == RIGHT), count(codes == WRONG), count(np.ones(codes.size, dtype=bool))
        unread = there - right - wrong
        names, sizes = (guards, draws)
        if pooled:
            right, wrong, unread = (a.sum(1, keepdims=True) for a in (right, wrong, unread))
            names, sizes = ["all"], draws.sum(keepdims=True)
        surely, may = np.zeros(right.shape, dtype=bool), np.zeros(right.shape, dtype=bool)
        for i in range(len(names)):
            reach = _reach(rule.hard, int(sizes[i]))
            place = right[:, i], wrong[:, i], unread[:, i]
            may[:, i], surely[:, i] = reach.hard[place], ~reach.other[place]
        least: Any = 1 if rule.guards.hard_for == "any" else len(names) if rule.guards.hard_for == "all" else rule.guards.hard_for
        sure.append((surely.sum(1) >= least) & labelled)
        possible.append((may.sum(1) >= least) & labelled)
        known.append(labelled)
    hard, may_be = _of_tasks(rule, np.stack(sure), np.stack(possible), np.stack(known))
    words = np.where(hard, "hard", np.where(may_be, "open", "not_hard"))
    return pl.DataFrame({"parent": parents, "outcome": pl.Series(words.tolist(), dtype=pl.String)})


def _of_tasks(rule: Rule, sure: Flags, possible: Flags, known: Flags) -> tuple[Flags, Flags]:
    """Of rows: surely hard, and possibly; the arguments are of shape (tasks, rows)."""
    import numpy as np

    if rule.tasks.hard_on == "any":
        return np.any(sure, axis=0), np.any(possible, axis=0)
    some = np.any(known, axis=0)
    return np.all(sure | ~known, axis=0) & some, np.all(possible | ~known, axis=0) & some


def check_counts_alone(rule: Rule) -> None:
    """Raise InputError where a rule's `hard` looks at measures: whether a row is settled follows from counts."""
    if found := rule.condition.measures:
        message = f"the rule {rule.name!r} ({rule.hard}) looks at {found[0]!r}, and whether a row is settled follows from counts alone"
        raise InputError(message, hint="write the rule with counts (0 < wrong < k), or draw in full: leave out `adaptive`")


def check_screen(rule: Rule, k: Mapping[str, int]) -> None:
    """Raise InputError where a row that a screen leaves out, every first draw of it being right, would be hard by a rule all the same."""
    import numpy as np

    n = np.array([sum(k.values())] if rule.guards.count == "pooled" else list(k.values()))
    right = np.array([len(k)] if rule.guards.count == "pooled" else [1] * len(k))
    if rule.condition.holds(right, np.zeros_like(n), n - right, n).any():
        message = f"the rule {rule.name!r} ({rule.hard}) makes rows hard that no guard was wrong on: no screen can tell these"
        raise InputError(message, hint="screen: null stops at settled rows alone")


def first_doubt(table: pl.DataFrame, rule: Rule, guard: Guard, *, tasks: Sequence[str] | None = None) -> pl.DataFrame:
    """How sure the guards' first draws are of each row's labels, as one number.

    Args:
        table: lines with ``outcome_<task>`` (or label and verdict), ``label_<task>`` and ``probability_<task>`` (of the positive label); the draws
            that are to count, one of each guard.
        rule: whose guards and tasks count.
        guard: whose tasks these are.
        tasks: those alone.

    Returns:
        `parent` and `doubt`, in [0, 1]: 1 less the least probability that a guard gave to the label of a task; 1 where a guard was wrong, could
        not be read, or gave no probability; 0 where the row has no label.
    """
    names = rule.guard_order([str(g) for g in table["guard_model"].drop_nulls().unique()])
    lines = table.filter(pl.col("guard_model").is_in(names) | pl.col("guard_model").is_null())
    doubts = []
    for task in rule.task_order(guard, list(tasks) if tasks else None):
        codes = pl.Series("_", outcome_codes(lines, task))
        positive = pl.col(f"label_{task}") == guard.task(task).positive
        given = pl.col(f"probability_{task}") if f"probability_{task}" in lines.columns else pl.lit(None, pl.Float64)
        of_label = pl.when(positive).then(given).otherwise(1 - given)
        right = lines.with_columns(codes).select(pl.when(pl.col("_") == NONE).then(0.0).when(pl.col("_") == RIGHT).then(1 - of_label).otherwise(1.0))
        doubts.append(right.to_series().fill_null(1.0).fill_nan(1.0).alias(task))
    every = pl.DataFrame(doubts).select(pl.max_horizontal(pl.all()).clip(0, 1).alias("doubt"))
    return lines.select("parent").hstack(every).group_by("parent", maintain_order=True).agg(pl.col("doubt").max())


@dataclass(frozen=True)
class Screen:
    """A threshold below which rows are left out, and what is known of it.

    Attributes:
        threshold: rows whose doubt is smaller are left out; 0 leaves out none.
        recall: of the hard rows of the share those that it keeps.
        recall_low: the lower bound of that, one-sided.
        confidence: of the bound.
        left_out: of the rows of the share those that it leaves out.
        rows: of the share.
        hard: of these the hard ones.
    """

    threshold: float
    recall: float
    recall_low: float
    confidence: float
    left_out: float
    rows: int
    hard: int


def choose_screen(doubt: NDArray[np.float64], hard: Flags, *, recall: float, confidence: float) -> Screen:
    """The threshold that leaves out most and keeps the recall; see the module's docstring.

    Args:
        doubt: of each row of the share.
        hard: whether it is hard, by all of its draws.
        recall: of hard rows, that is to be kept, in [0, 1].
        confidence: with which, in (0, 1).

    Returns:
        A screen whose `recall_low` is at least `recall`, or one that leaves out nothing: so where the share has too few hard rows to say anything
        (with none lost of n, the bound is ``(1 - confidence) ** (1 / n)``: 149 for a recall of 0.98 at 95 %).
    """
    import numpy as np

    n = int(hard.sum())
    found = np.sort(doubt[hard])
    # The bound falls with every hard row that is lost: the first number that breaks it ends the search.
    may_lose = bisect_left(range(n + 1), True, key=lambda lost: share_low(n - lost, n, confidence) < recall) - 1
    threshold = 0.0 if may_lose < 0 else float(found[may_lose])
    kept = int((found >= threshold).sum())
    out = float((doubt < threshold).mean()) if doubt.size else 0.0
    return Screen(threshold, kept / n if n else 1.0, share_low(kept, n, confidence) if n else 0.0, confidence, out, int(doubt.size), n)


def share_low(k: int, n: int, confidence: float) -> float:
    """The lower end of Clopper and Pearson's one-sided interval for a share of which `k` of `n` were seen (Biometrika 26, 1934)."""
    if k <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_least(k, n, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def _at_least(k: int, n: int, p: float) -> float:
    """P(X >= k) of a binomial."""
    if p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    logs = math.log(p), math.log1p(-p)
    whole = math.lgamma(n + 1)
    return math.fsum(math.exp(whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * logs[0] + (n - i) * logs[1]) for i in range(k, n + 1))
