"""Verdicts by voter and row: the votes that `noise` and `relabel` go by.

Rows come with verdicts in tables of their own (steps `sample` and `verdicts`), or are themselves a table of verdicts, as predictions are: then
each parent is one row, as the first of its generations has it. Votes are counted by voter, task and label; the order of generations plays no part.

Memory: about 60 bytes a row for its id, 2 bytes a row, task, voter and label for the votes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard
from toolkit.operators._words import check_words
from toolkit.operators.base import Columns, Context, StepInput
from toolkit.records import load_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 262_144
"""Generations that are joined to their rows at once: a join hashes all ids, so that small ones would take quadratic time."""
BLIND = "(blind)"
"""The voter that a teacher is which judged before it was shown the labels; no guard in a recipe has such a name."""


def generation_columns(guard: Guard) -> list[str]:
    """Columns that a verdict has and its row has not."""
    seed = set(load_record("seed", guard.task_names).every_name)
    return [n for n in load_record("verdict", guard.task_names).every_name if n not in seed]


def are_verdicts(columns: Columns | Sequence[str], guard: Guard) -> bool:
    """Whether rows with these columns are generations with verdicts."""
    return {"parent", "guard_model", *(f"verdict_{t}" for t in guard.task_names)} <= set(columns)


def check_inputs(name: str, inputs: Mapping[str, Columns], tasks: Sequence[str] | None, guard: Guard) -> None:
    """Raise InputError where a task is not the guard's, or an input beside the rows holds no verdicts."""
    for task in tasks or ():
        if task not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {task!r}", hint=did_you_mean(task, guard.task_names))
    for which, columns in inputs.items():
        if which != "rows" and not are_verdicts(columns, guard):
            missing = [c for c in ("parent", "guard_model", *(f"verdict_{t}" for t in guard.task_names)) if c not in columns]
            raise InputError(f"{name} reads verdicts from the input {which!r}, which has no column {missing[0]!r}", hint="name a `verdicts` step")
    rows = inputs.get("rows", {})
    if len(inputs) < 2 and not are_verdicts(rows, guard) and not any(f"blind_{t}" in rows for t in guard.task_names) and "votes" not in rows:
        hint = "name a step of verdicts (from: {rows: STEP, verdicts: VERDICTS_STEP}), or give rows with blind_<task> or votes"
        raise InputError(f"{name} has no votes to go by", hint=hint)


def none_match(verdicts: int, step: str, rows: int) -> InputError:
    """The error for verdicts of a step that are about none of the rows."""
    message = f"none of the {verdicts:,} verdicts of {step!r} is about one of the {rows:,} rows: no id matches"
    return InputError(message, hint="the column `parent` of a verdict must be the `id` of a row, as it stands")


def read_verdicts(source: StepInput, columns: Sequence[str], rows: Rows, take: Callable[[pl.DataFrame], int]) -> int:
    """Hand the verdicts of a step over, many at once.

    Args:
        source: the step.
        columns: of its verdicts.
        rows: that they are about.
        take: is given a frame of them, and says how many are about the rows.

    Raises:
        InputError: a word that the guard does not know, or verdicts of which none is about these rows.

    Returns:
        How many are about none of the rows.
    """
    total = matched = 0
    for frame in _many_at_once(source.blocks(columns) if columns_of(source) else ()):
        check_words(frame, rows.guard, f"rows of {source.step!r}")
        total += frame.height
        matched += take(frame)
    if total and not matched and rows.height:
        raise none_match(total, source.step, rows.height)
    return total - matched


def _many_at_once(blocks: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same lines in frames of `CHUNK` lines or more, but for the last."""
    waiting: list[pl.DataFrame] = []
    n = 0
    for block in blocks:
        waiting.append(block)
        n += block.height
        if n >= CHUNK:
            yield pl.concat(waiting)
            waiting, n = [], 0
    if waiting:
        yield pl.concat(waiting)


def check_draws(generations: pl.DataFrame, step: str) -> None:
    """Refuse (InputError) generations of which two are the same draw of one guard for one row: they would count twice."""
    draws = generations.select("parent", "guard_model", "draw")
    hashes = draws.hash_rows().sort()
    if not (hashes[1:] == hashes[:-1]).any():  # quick, and no hash is another's but where the draws are to be looked at
        return
    twice = draws.filter(draws.is_duplicated())
    if twice.height:
        which = "draw {2} of {1!r} for {0!r}".format(*twice.row(0))
        hint = "each must have a `draw` of its own, and each row an `id` of its own"
        raise InputError(f"{twice.height:,} generations are the same draw of a guard for one row: {which}", where=f"step {step}", hint=hint)


class Rows:
    """The rows that are judged, in order, once each.

    Args:
        source: rows, or generations with verdicts.
        guard: whose tasks the labels are for.
        more: further columns that are needed of every row at once, besides ids and labels; those that are not there are left out.
        sources: who gave the labels is needed, too.
    """

    def __init__(self, source: StepInput, guard: Guard, more: Sequence[str] = (), *, sources: bool = True) -> None:
        self._source = source
        self.guard = guard
        columns = columns_of(source)
        self.columns = columns
        self.of_verdicts = are_verdicts(columns, guard)
        self._left_out = set(generation_columns(guard)) - {"id", "parent"} if self.of_verdicts else set()
        labels = [f"label_{t}" for t in guard.task_names]
        wanted = ["parent" if self.of_verdicts else "id", *(c for c in labels if c in columns)]
        parts, self.read = [], 0
        for block in _many_at_once(source.blocks(wanted) if columns else ()):
            check_words(block, guard, f"rows of {source.step!r}")
            part = block.with_columns(pl.int_range(self.read, self.read + block.height, dtype=pl.Int64).alias("_from"))
            parts.append(part.unique("parent", keep="first", maintain_order=True) if self.of_verdicts else part)
            self.read += block.height
        empty = pl.DataFrame(schema=dict.fromkeys(["id", *labels], pl.String) | {"_from": pl.Int64})
        table = pl.concat(parts) if parts else empty
        if self.of_verdicts:
            table = table.unique("parent", keep="first", maintain_order=True).rename({"parent": "id"})
        self._from = table["_from"]
        rest = [c for c in dict.fromkeys([*(f"{c}_source" for c in labels if sources), *more]) if c in columns and c not in table.columns]
        if rest and table.height:
            others = pl.concat(list(source.take(self._from, rest)))
            check_words(others, guard, f"rows of {source.step!r}")
            table = table.hstack(others)
        self.table = table.drop("_from")
        """`id`, labels (with their sources), and what else was asked for."""

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.table.height

    def codes(self, task: str, labels: Sequence[str]) -> NDArray[np.int64]:
        """The rows' labels as numbers, -1 for none."""
        return codes(self.table[f"label_{task}"], labels)

    def blocks(self) -> Iterator[pl.DataFrame]:
        """The rows whole, a block at a time."""
        if not self.of_verdicts:
            yield from self._source.blocks() if self.columns else ()
            return
        for block in self._source.take(self._from, [c for c in self.columns if c not in self._left_out]):
            yield block.with_columns(pl.col("parent").alias("id")).drop("parent")


def columns_of(source: StepInput) -> Sequence[str]:
    """Names of the columns of a step's rows; none where there is no row and they are not known."""
    return source.columns or next((b.columns for b in source.blocks()), [])


def codes(words: pl.Series, labels: Sequence[str]) -> NDArray[np.int64]:
    """Words as their places in `labels`; -1 for null and for others."""
    import numpy as np

    found = words.replace_strict({w: i for i, w in enumerate(labels)}, default=-1, return_dtype=pl.Int64).fill_null(-1)
    return np.asarray(found.to_numpy(), np.int64)


class Ballots:
    """Votes by task and voter: arrays of shape (rows, labels + 1), uint16, the last column counting what could not be read.

    Args:
        rows: that are judged.
        guard: has the tasks.
        tasks: those that are counted.
    """

    def __init__(self, rows: Rows, guard: Guard, tasks: Sequence[str]) -> None:
        self._rows = rows
        self.labels = {t: list(guard.task(t).labels) for t in tasks}
        self.counts: dict[str, dict[str, NDArray[np.uint16]]] = {t: {} for t in tasks}
        self.strangers = 0
        """Generations whose row is not among the rows."""

    @property
    def voters(self) -> list[str]:
        """All voters, in the order of their names: the order of the files plays no part."""
        return sorted({v for by in self.counts.values() for v in by})

    def read(self, source: StepInput) -> None:
        """Count the verdicts of a step.

        Raises:
            InputError: a word that the guard does not know, or verdicts of which none is about these rows.
        """
        wanted = ["parent", "guard_model", *(f"verdict_{t}" for t in self.labels)]
        self.strangers += read_verdicts(source, wanted, self._rows, self._count)

    def _count(self, block: pl.DataFrame) -> int:
        """Count a frame of verdicts; how many of them are about the rows."""
        import numpy as np

        ids = self._rows.table.select("id").with_row_index("_at")
        block = block.join(ids, left_on="parent", right_on="id", how="inner")
        for (voter,), part in block.group_by(["guard_model"], maintain_order=True):
            at = part["_at"].to_numpy()
            for task, labels in self.labels.items():
                np.add.at(self._box(task, str(voter)), (at, codes(part[f"verdict_{task}"], labels)), 1)  # -1 is the last column
        return block.height

    def blind(self) -> None:
        """Count what a blind teacher answered, where the rows have it and it could be read."""
        import numpy as np

        for task, labels in self.labels.items():
            if f"blind_{task}" in self._rows.table.columns:
                found = codes(self._rows.table[f"blind_{task}"], labels)
                at = np.flatnonzero(found >= 0)
                if at.size:
                    self._box(task, BLIND)[at, found[at]] = 1

    def leave_out(self, in_sample: Mapping[str, Mapping[str, Sequence[str]]], ctx: Context) -> dict[str, int]:
        """Take out the votes of voters on rows that they were trained on; how many votes by voter.

        Args:
            in_sample: for each voter, the values of text columns that mark such rows; a row must have one of the values in every column named.
            ctx: for messages.

        Raises:
            InputError: no voter of that name.
        """
        import numpy as np

        known_voters(in_sample, self.voters, ctx)
        out = {}
        for voter, where in in_sample.items():
            mask = np.ones(self._rows.height, dtype=bool)
            for column, values in where.items():
                mask &= self._rows.table[column].is_in(list(values)).fill_null(False).to_numpy()
            boxes = [by[voter] for by in self.counts.values() if voter in by]
            out[voter] = sum(int(b[mask].sum()) for b in boxes)
            for box in boxes:
                box[mask] = 0
        return out

    def _box(self, task: str, voter: str) -> NDArray[np.uint16]:
        import numpy as np

        by = self.counts[task]
        if voter not in by:
            by[voter] = np.zeros((self._rows.height, len(self.labels[task]) + 1), dtype=np.uint16)
        return by[voter]

    def readable(self, task: str) -> dict[str, NDArray[np.uint16]]:
        """Counts of labels by voter, in the order of the voters' names, without what could not be read."""
        return {v: self.counts[task][v][:, :-1] for v in self.voters if v in self.counts[task]}

    def unread(self, task: str) -> NDArray[np.int64]:
        """Outputs of each row without a readable verdict."""
        import numpy as np

        out = np.zeros(self._rows.height, dtype=np.int64)
        for box in self.counts[task].values():
            out += box[:, -1]
        return out

    def describe(self, task: str, at: int) -> str:
        """The votes on a row in words: ``1B: harmful 3, unharmful 1; 8B: harmful 4``."""
        out = []
        for voter in self.voters:
            box = self.counts[task].get(voter)
            words = [*self.labels[task], "unread"]
            if box is not None and box[at].any():
                out.append(f"{voter}: " + ", ".join(f"{words[i]} {box[at, i]}" for i in range(len(words)) if box[at, i]))
        return "; ".join(out)


def known_voters(names: Mapping[str, Any], voters: Sequence[str], ctx: Context) -> None:
    """Raise InputError where one of `names` is no voter."""
    for name in names:
        if name not in voters:
            raise InputError(f"no votes of a guard {name!r}", where=f"step {ctx.step}", hint=did_you_mean(name, voters))


def annotators(rows: Rows, task: str, labels: Sequence[str]) -> NDArray[np.float64] | None:
    """The votes of the source's annotators, as shares of shape (rows, labels); None where no row has votes for the task.

    A share that the source gives to one label alone leaves the rest to the others, evenly.
    """
    import numpy as np

    if "votes" not in rows.table.columns:
        return None
    shares = rows.table.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("_at"), "votes").explode("votes", empty_as_null=True).drop_nulls("votes")
    shares = shares.unnest("votes").filter(pl.col("task") == task) if shares.height else shares
    if not shares.height:
        return None
    out = np.zeros((rows.height, len(labels)))
    given = np.zeros(out.shape, dtype=bool)
    label = codes(shares["label"], labels)
    known = label >= 0
    at = shares["_at"].to_numpy()[known], label[known]
    np.add.at(out, at, shares["share"].to_numpy()[known])
    given[at] = True  # also a share of 0, which speaks for the others
    rest = np.clip(1 - out.sum(axis=1, keepdims=True), 0, 1)
    others = (~given).sum(axis=1, keepdims=True)
    filled: NDArray[np.float64] = out + np.where(~given & given.any(axis=1, keepdims=True), rest / np.where(others > 0, others, 1), 0)
    return filled
