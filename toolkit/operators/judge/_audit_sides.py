"""What an audit holds against each other: what a chain concludes and the verdict, a guard and its twin. For the operator and the command alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from toolkit.evaluation import matched_rates, paired
from toolkit.guards import Guard
from toolkit.operators.reason._voice import stated_labels


def contradictions(guard: Guard, outputs: Iterable[tuple[str, str | None, Mapping[str, str | None]]], tasks: Sequence[str]) -> list[dict[str, Any]]:
    """How often chains conclude another label than the answer says.

    Args:
        guard: the definition.
        outputs: of each row its id, the output, and the verdicts by task.
        tasks: which.

    Returns:
        For each task a dict: task, stated (outputs that conclude a label and have a verdict), contradict (of them), first (ids of at most three),
        rate with low and high (percent, Wilson 95 %; None where none states one).
    """
    from toolkit.evaluation.scoring._score import wilson

    read = [(row, labels, stated_labels(guard, text)) for row, text, labels in outputs if text]
    out = []
    for task in tasks:
        stated = [(row, labels[task], label) for row, labels, found in read if labels.get(task) and (label := found.get(task))]
        against = [row for row, verdict, label in stated if label != verdict]
        low, high = wilson(len(against), len(stated)) if stated else (None, None)
        shares = {"rate": len(against) / len(stated) if stated else None, "low": low, "high": high}
        counts = {"task": task, "stated": len(stated), "contradict": len(against), "first": against[:3]}
        out.append(counts | {name: None if value is None else round(100 * value, 2) for name, value in shares.items()})
    return out


def held_against(rows: pl.DataFrame, a: str, b: str, positives: Mapping[str, str], *, draws: int, seed: int = 0) -> list[dict[str, Any]]:
    """Two sides held against each other: F1 as each has it, then AUROC and recall at equal false-positive rates.

    Args:
        rows: lines of `toolkit.evaluation.ROWS` with both, as the models `a` and `b`.
        a, b: the sides.
        positives: positive label by task.
        draws: of the bootstrap.
        seed: likewise.

    Returns:
        As `toolkit.evaluation.matched_rates`, with lines of the measure ``f1`` before; nothing where no row has a label.
    """
    if not rows.filter(pl.col("gold").is_not_null()).height:
        return []
    out = []
    for one in paired(rows, a, b, positives, draws=draws, seed=seed):
        if one["benchmark"] is not None:
            values = {"value_a": one["f1_a"], "value_b": one["f1_b"], **{n: one[n] for n in ("difference", "low", "high", "p")}}
            out.append({"task": one["task"], "measure": "f1", "fpr": None, "a": a, "b": b, "n": one["n"], "benign": None, **values})
    return out + matched_rates(rows, a, b, positives, draws=draws, seed=seed)
