"""Verdicts by guard and row, as arrays: what every measure is made of.

A table in `judged` columns (one line a generation) is counted once, by row, guard and label; the order of lines plays no part but that rows come in
the order in which they first appear. Memory: 4 bytes a row, guard, task and label, and 8 bytes a line while it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard, unknown_label

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int32]
    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TaskVotes:
    """The votes of one task; rows and guards as in `Votes`.

    Attributes:
        labels: the task's labels, from least to most severe.
        counts: votes for each label, shape (rows, guards, labels).
        right: generations whose verdict is the row's label, shape (rows, guards).
        wrong: those with another label, likewise; both are 0 where the row has no label.
        gold: place of the row's label in `labels`; -1 where it has none.
        unread: generations without a readable verdict, shape (rows, guards).
    """

    labels: Sequence[str]
    counts: Counts
    right: Counts
    wrong: Counts
    gold: NDArray[np.int8]
    unread: Counts


@dataclass(frozen=True)
class Votes:
    """All votes of a table.

    Attributes:
        parents: ids of the rows, in the order of their first line.
        guards: names of the guards, sorted.
        tasks: votes by task.
    """

    parents: pl.Series
    guards: Sequence[str]
    tasks: dict[str, TaskVotes]


def count_votes(table: pl.DataFrame, guard: Guard, tasks: Sequence[str] | None = None) -> Votes:
    """Count a table's votes.

    Args:
        table: `parent`, `guard_model` and for each task ``verdict_<task>``; ``label_<task>`` and ``outcome_<task>`` where known: an outcome that is
            there decides what is right, else the comparison of both labels.
        guard: whose tasks these are.
        tasks: those to count; default all.

    Raises:
        InputError: no such task; a column that is not there; a word that is no label of its task.
    """
    for t in tasks or ():
        if t not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {t!r}", hint=did_you_mean(t, guard.task_names))
    return tally(table, {t: guard.task(t).labels for t in guard.task_names if tasks is None or t in tasks})


def tally(table: pl.DataFrame, labels: Mapping[str, Sequence[str]]) -> Votes:
    """`count_votes` where the labels of each task are given."""

    for name in ("parent", "guard_model", *(f"verdict_{t}" for t in labels)):
        if name not in table.columns:
            raise InputError(f"a table of verdicts has no column {name!r}", hint="it holds one line a generation, as a step `verdicts` makes them")
    parents, row = row_numbers(table["parent"])
    if table["guard_model"].null_count():
        raise InputError(f"{table['guard_model'].null_count():,} verdicts name no guard: their `guard_model` is null")
    guards = sorted(map(str, table["guard_model"].unique()))
    who = word_places(table["guard_model"], guards)
    shape = (len(parents), len(guards))
    cell = row * shape[1] + who
    return Votes(parents, guards, {t: _count(table, words, t, row, cell, shape) for t, words in labels.items()})


def _count(table: pl.DataFrame, labels: Sequence[str], task: str, row: Any, cell: Any, shape: tuple[int, int]) -> TaskVotes:
    import numpy as np

    size = shape[0] * shape[1]
    verdict = label_places(table[f"verdict_{task}"], labels)
    read = verdict >= 0
    counts = np.bincount(cell[read] * len(labels) + verdict[read], minlength=size * len(labels)).astype(np.int32)
    gold = np.full(shape[0], -1, np.int8)
    right = wrong = np.zeros(shape, np.int32)
    if f"label_{task}" in table.columns:
        label = label_places(table[f"label_{task}"], labels)
        known = label >= 0
        gold[row[known][::-1]] = label[known][::-1]  # of several, the first line's
        if f"outcome_{task}" in table.columns:
            outcome = table[f"outcome_{task}"]
            ok, bad = ((outcome == word).fill_null(False).to_numpy() for word in ("right", "wrong"))
        else:
            ok, bad = read & (verdict == label), read & known & (verdict != label)
        right, wrong = (np.bincount(cell[which], minlength=size).astype(np.int32).reshape(shape) for which in (ok, bad))
    unread = np.bincount(cell[~read], minlength=size).astype(np.int32).reshape(shape)
    return TaskVotes(list(labels), counts.reshape(*shape, len(labels)), right, wrong, gold, unread)


def label_places(words: pl.Series, labels: Sequence[str]) -> NDArray[np.int64]:
    """Words as places in `labels`, -1 for null; InputError for a word that is none of them."""
    try:
        return word_places(words, labels)
    except pl.exceptions.InvalidOperationError:
        strange = str(words.filter(~words.is_in(list(labels))).drop_nulls().sort()[0])
        raise InputError(f"{words.name}: {unknown_label(strange, labels)}") from None


def word_places(words: pl.Series, known: Sequence[str]) -> NDArray[np.int64]:
    """Words, which may be an enum or categories, as places in `known`, -1 for null (InvalidOperationError: a word is none of them)."""
    import numpy as np

    if words.null_count() == words.len():
        return np.full(words.len(), -1, np.int64)
    if not isinstance(words.dtype, pl.Enum | pl.Categorical):
        return np.asarray(words.replace_strict(list(known), range(len(known)), return_dtype=pl.Int64).fill_null(-1).to_numpy(), np.int64)
    each, codes = words.unique().drop_nulls(), words.to_physical()
    physical = each.to_physical().to_numpy()
    place = np.full(int(physical.max()) + 2, -1, np.int64)
    place[physical] = word_places(each.cast(pl.String), known)
    out: NDArray[np.int64] = place[codes.cast(pl.Int64).fill_null(len(place) - 1).to_numpy()]
    return out


def row_numbers(parents: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
    """The different ids in the order of their first line, and the number of each line's.

    Lines that come sorted by row, or as whole rounds over the same rows, are numbered without hashing every line.
    """
    import numpy as np

    lines = parents.len()
    again = (parents == parents[0]).arg_true() if lines else parents
    round_ = int(again[1]) if len(again) > 1 else lines
    if lines and round_ > 1 and lines % round_ == 0 and parents[:round_].n_unique() == round_ and (parents[round_:] == parents[:-round_]).all():
        return parents[:round_], np.tile(np.arange(round_, dtype=np.int64), lines // round_)
    runs = np.asarray(parents.rle_id().to_numpy(), np.int64)
    starts = np.flatnonzero(np.diff(runs, prepend=-1))
    heads = parents.gather(starts)
    if heads.n_unique() == heads.len():
        return heads, runs
    distinct = parents.unique(maintain_order=True)
    numbers = pl.DataFrame({"parent": distinct}).with_row_index("_n")
    found = parents.to_frame("parent").join(numbers, on="parent", how="left", maintain_order="left", nulls_equal=True)
    return distinct, np.asarray(found["_n"].to_numpy(), np.int64)
