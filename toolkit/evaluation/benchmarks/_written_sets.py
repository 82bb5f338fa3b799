"""Files of rows that others wrote: what guards answered, or rows of one's own, with columns by name.

How they are read, and by what names columns are known: `toolkit.sources._written`. The released form has ``prompt`` (the guard's whole rendered
input), ``label`` and ``predict``.

A row's `key` is what its text is known by: that of its prompt and response, where the file has both or its prompt is a guard's rendered input, which
is parted again; else the text as it stands. An empty response is none. A row that cannot be read (torn, not UTF-8, of another type) is a fault with
its place.

Memory: all texts of the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import GuardkitError, InputError, InputErrors
from toolkit.guards import Guard, load_guard, parse, unknown_label, without_tokens
from toolkit.records import content_id
from toolkit.sources import Fault as Unreadable
from toolkit.sources import check_columns, layout_of, read_layout, split_released_input, unreadable_rows

if TYPE_CHECKING:
    import polars as pl

    from toolkit.common.reading import Files
    from toolkit.evaluation.benchmarks._benchmarks_model import BenchmarkTask

RELEASED = "guardreasoner"
"""The guard whose rendered input the prompts of the released form are, whoever was asked."""
SHOWN = 20
"""Faults that are listed."""


@dataclass(frozen=True)
class Fault:
    """A row that cannot be used; `row` counts from 1."""

    path: Path
    row: int
    reason: str
    detail: str

    @property
    def where(self) -> str:
        return f"{self.path}: row {self.row}"


@dataclass(frozen=True)
class Written:
    """What files say.

    Attributes:
        paths: the files.
        rows: their rows in order: ``n`` (a number of its own), ``file`` (number of its file), ``row`` (number in it, from 1), ``key`` (null where
            there is no prompt), ``text`` (the prompt as it stands, where it could not be parted), ``rendered`` (whether it was a guard's rendered
            input), and what `toolkit.sources.USUAL` names and the files have.
        faults: the others.
        named: keys of `toolkit.sources.USUAL` whose column was named by the user.
    """

    paths: Sequence[Path]
    rows: pl.DataFrame
    faults: Sequence[Fault]
    named: frozenset[str] = frozenset()

    def where(self, n: int) -> str:
        """The place of a row."""
        file, row = self.rows.row(n, named=True)["file"], self.rows["row"][n]
        return f"{self.paths[file]}: row {row}"

    def has(self, name: str) -> bool:
        """Whether the files have such a column."""
        return name in self.rows.columns

    def column(self, kind: str, task: str, tasks: Collection[str], prefix: str = "") -> pl.Expr | None:
        """The label, verdict or probability of a task: what its own column has, else, where it is the only one of a set's `tasks`, the plain one;
        None where there is neither. Files may differ in which they have. `prefix`: of the columns' names where it is asked for."""
        import polars as pl

        names = [f"{kind}_{task}", *([kind] if len(tasks) == 1 else [])]
        there = [f"{prefix}{name}" for name in names if self.has(name)]
        return pl.coalesce(there) if there else None

    def fault(self) -> InputErrors | None:
        """All faults as an error; None where there is none."""
        some: list[GuardkitError] = [InputError(f"{f.reason}: {f.detail.removeprefix(f'row {f.row}: ')}", where=f.where) for f in self.faults[:SHOWN]]
        if (more := len(self.faults) - SHOWN) > 0:
            some.append(InputError(f"and {more:,} further rows: {len(self.faults):,} of {len(self.faults) + self.rows.height:,} cannot be used"))
        return InputErrors(some) if some else None


def read_written(
    paths: Sequence[Path], tasks: Mapping[str, BenchmarkTask], guard: Guard, columns: Mapping[str, str] | None = None, held: Files | None = None
) -> Written:
    """Read files.

    Args:
        paths: one or several, of the same columns or not.
        tasks: whose labels and verdicts are read.
        guard: whose rendered input the prompts may be.
        columns: names of columns, by the keys of `toolkit.sources.USUAL` (or ``label_<task>`` and the like).
        held: files of a step.

    Raises:
        InputError: a file that cannot be read, a column that it does not have, or two that could be meant.
    """
    import polars as pl

    given = dict(columns or {})
    check_columns(given, tasks)
    frames: list[pl.DataFrame] = []
    faults: list[Fault] = []
    for number, path in enumerate(paths):
        for frame, bad in _read(path, tasks, given, held):
            faults += [Fault(path, n, f.reason, f.detail) for n, f in bad]
            if frame.height:
                frames.append(_keyed(frame, guard).with_columns(file=pl.lit(number, pl.Int64)))
    empty = pl.DataFrame(schema={"row": pl.Int64, "file": pl.Int64, "key": pl.String, "text": pl.String})
    rows = pl.concat([empty, *frames], how="diagonal").with_row_index("n").with_columns(pl.col("n").cast(pl.Int64))
    return Written(list(paths), rows, faults, frozenset(given))


def _read(
    path: Path, tasks: Mapping[str, BenchmarkTask], given: Mapping[str, str], held: Files | None
) -> Iterator[tuple[pl.DataFrame, list[tuple[int, Unreadable]]]]:
    import polars as pl

    if (layout := layout_of(path, tasks, given, held)) is not None:
        yield from read_layout(layout, held)
    else:
        yield from ((pl.DataFrame(), bad) for bad in unreadable_rows(path, held))


def _keyed(rows: pl.DataFrame, guard: Guard) -> pl.DataFrame:
    """With `key`, and with prompt and response where they are in one text."""
    import polars as pl

    if "prompt" not in rows.columns:
        return rows.with_columns(key=pl.lit(None, pl.String), text=pl.lit(None, pl.String))
    prompts: list[str | None] = rows["prompt"].to_list()
    if "response" in rows.columns:
        keys = [None if p is None else content_id([], p, r or None) for p, r in zip(prompts, rows["response"].to_list(), strict=True)]
        return rows.with_columns(key=pl.Series(keys, dtype=pl.String), text=pl.lit(None, pl.String))
    released = load_guard(RELEASED)
    guards = [g for g in dict.fromkeys((guard, released)) if g.grammar is None]
    parts = [(None, None, None) if p is None else _parted(p, guards) for p in prompts]
    found = {"prompt": [p for p, _, _ in parts], "response": [r for _, r, _ in parts], "text": [t for _, _, t in parts]}
    found["key"] = [None if p is None else content_id([], p, r) for p, r, _ in parts]
    return rows.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in found.items()).with_columns(
        rendered=pl.col("text").is_null() & pl.col("prompt").is_not_null()
    )


def _parted(text: str, guards: Sequence[Guard]) -> tuple[str, str | None, str | None]:
    """Prompt, response, and the text where it is no input of the guards' that could be parted."""
    for guard in guards:
        try:
            return *split_released_input(text, guard), None
        except InputError:
            continue
    return text, None, text


def label_reader(task: BenchmarkTask, guard: Guard | None) -> Callable[[str], str | None]:
    """What reads a label: the word in any case, or the one of an answers block of the guard's; None for no label of the task."""
    words = {word.casefold(): word for word in task.labels}

    def read(text: str) -> str | None:
        word = words.get(without_tokens(text).strip().casefold())
        if word is None and guard is not None and task.name in guard.task_names and re.search(r"\s", text):
            word = words.get((parse(guard, text).labels[task.name] or "").casefold())
        return word

    return read


def read_labels(words: pl.Series, task: BenchmarkTask, guard: Guard | None) -> pl.Series:
    """A column of words as labels; null where one is none."""
    import polars as pl

    read = label_reader(task, guard)
    each: dict[Any, str | None] = {word: read(word) for word in words.unique().to_list() if word is not None}
    return pl.Series(words.name, [None if word is None else each[word] for word in words.to_list()], dtype=pl.String)


def odd_label(word: str, task: BenchmarkTask) -> str:
    """What is wrong with a word that should be a label."""
    return unknown_label(word, task.labels)
