"""Columns of rows whose values are words that the guard or the records know: labels and verdicts of a task, and who gave a label.

A word of theirs that nobody knows (``Harmful`` for ``harmful``) would count as wrong wherever it is counted. So it is rejected where rows enter from
files (`strange`), and what counts such words refuses them (`check_words`), wherever they may come from. A missing one is no such word.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import polars as pl

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard, unknown_label
from toolkit.records import load_record

LABEL, SOURCE = "unknown_label", "unknown_label_source"
"""Reasons of a reject."""
_OF_TASK = ("label", "verdict", "blind", "rederived", "suggested", "consensus")


@lru_cache(maxsize=32)
def closed(guard: Guard) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By column, the reason of a reject and the known words."""
    sources = load_record("seed").label_sources
    out = {f"{kind}_{t.name}": (LABEL, tuple(t.labels)) for t in guard.tasks for kind in _OF_TASK}
    return out | {f"label_{t.name}_source": (SOURCE, sources) for t in guard.tasks}


def may_be_closed(name: str) -> bool:
    """Whether a column has the name of one whose words a guard may know."""
    return name.partition("_")[0] in _OF_TASK


def word_fault(name: str, word: str, guard: Guard) -> str:
    """What is wrong with a word in a column."""
    reason, known = closed(guard)[name]
    what = unknown_label(word, known) if reason == LABEL else f"no source of labels: {word[:60]!r} ({did_you_mean(word[:60], known)})"
    return f"{name}: {what}"


def strange(rows: pl.DataFrame, guard: Guard) -> tuple[pl.Series, pl.Series] | None:
    """For each row reason and detail of the first word that is not known, null where all are; None where that goes for all rows."""
    reasons: list[pl.Expr] = []
    details: list[pl.Expr] = []
    for name, bad in _unknown(rows, guard):
        reasons.append(pl.when(pl.col(name).is_in(bad.implode())).then(pl.lit(closed(guard)[name][0])))
        details.append(pl.col(name).replace_strict(bad, [word_fault(name, w, guard) for w in bad], default=None, return_dtype=pl.String))
    if not reasons:
        return None
    found = rows.select(pl.coalesce(reasons).alias("reason"), pl.coalesce(details).alias("detail"))
    return found["reason"], found["detail"]


def check_words(rows: pl.DataFrame, guard: Guard, where: str) -> None:
    """Refuse words that are not known (InputError): how often the first one is there, and what is known."""
    for name, bad in _unknown(rows, guard):
        n = int(rows[name].is_in(bad.implode()).sum())
        message = f"{n:,} {'row' if n == 1 else 'rows'} of {rows.height:,}: {word_fault(name, bad[0], guard)}"
        raise InputError(message, where=where, hint="rows that `read` takes from files are held against the words; what step made these?")


def _unknown(rows: pl.DataFrame, guard: Guard) -> Iterable[tuple[str, pl.Series]]:
    """The columns with unknown words, and these, in order."""
    for name, (_, known) in closed(guard).items():
        if name in rows.columns and rows.schema[name] == pl.String and rows[name].null_count() < rows.height:
            words = rows[name].unique().drop_nulls()
            if (bad := words.filter(~words.is_in(list(known)))).len():
                yield name, bad.sort()
