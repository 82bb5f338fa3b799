"""The table over which hard samples are mined: one line a generation, what it says of each task, and whether that is right.

Contract: the columns of the record ``judged``, in its order and types, whichever record the lines come from. What an older record lacks is derived
where it can be (`length` of the output, the outcomes of label and verdict, the id of a generation) and null where it cannot.
Neither reads a text but for its length, so a table of two million lines takes well under a second.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import polars as pl

from toolkit.guards import Guard
from toolkit.records import load_record, to_polars

OUTCOMES = ("right", "wrong", "unread", "not_applicable")
"""What a generation is for a task; the last where the row has no label."""


def judged(block: pl.DataFrame, guard: Guard) -> pl.DataFrame:
    """Lines of the record ``verdict`` or ``judged`` as lines of ``judged``.

    Args:
        block: has at least `parent`, `guard_model` and ``verdict_<task>``.
        guard: the definition.

    Example:
        >>> guard = toolkit.load_guard("guardreasoner")
        >>> lines = {"parent": ["a", "a"], "guard_model": ["m", "m"], "draw": [0, 1], "label_prompt": ["harmful", "harmful"]}
        >>> verdicts = {"verdict_prompt": ["harmful", None], "verdict_refusal": [None, None], "verdict_response": [None, None]}
        >>> judged(pl.DataFrame(lines | verdicts), guard)["outcome_prompt"].to_list()
        ['right', 'unread']
    """
    return block.select(**judged_expressions(block.columns, guard))


def judged_expressions(there: Collection[str], guard: Guard) -> Mapping[str, pl.Expr]:
    """By name in order, the columns of ``judged`` made of those that are there."""
    return _expressions(frozenset(there), guard)


@lru_cache(maxsize=32)
def _expressions(there: frozenset[str], guard: Guard) -> Mapping[str, pl.Expr]:
    derived: dict[str, pl.Expr] = {
        "id": pl.format("{}:{}:{}", "parent", "guard_model", pl.col("draw") if "draw" in there else pl.lit(0)),
        "draw": pl.lit(0),
        "length": pl.col("output").str.len_chars() if "output" in there else pl.lit(None),
    }
    for task in guard.task_names:
        label = f"label_{task}" if f"label_{task}" in there else None
        derived[f"outcome_{task}"] = outcome(pl.col(label) if label else pl.lit(None, pl.String), pl.col(f"verdict_{task}"))
    types: Mapping[str, Any] = to_polars(load_record("judged", guard.task_names).columns)
    return {name: (pl.col(name) if name in there else derived.get(name, pl.lit(None))).cast(kind) for name, kind in types.items()}


def outcome(label: pl.Expr, verdict: pl.Expr, kind: Any = pl.String) -> pl.Expr:
    """Which of `OUTCOMES` a verdict is; `kind`: the type, text or an enum of these."""
    right, wrong, unread, none = (pl.lit(word, kind) for word in OUTCOMES)
    return pl.when(label.is_null()).then(none).when(verdict.is_null()).then(unread).when(verdict == label).then(right).otherwise(wrong)
