"""Files of rows that others wrote: what guards said, or rows of one's own, with columns by name.

Columns are known by their usual names (`USUAL`), or named: ``{"output": "completion", "verdict": "flagged"}``. The released form has ``prompt`` (the
guard's whole rendered input), ``label`` and ``predict``. Formats: JSON Lines, JSON, parquet, CSV, TSV.

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

from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.guards import Guard, load_guard, parse, unknown_label, without_tokens
from toolkit.records import Column, content_id
from toolkit.sources import file_columns, format_of, read_blocks, read_frames, split_released_input

if TYPE_CHECKING:
    import polars as pl

    from toolkit.common.reading import Files
    from toolkit.evaluation.benchmarks._benchmarks_model import BenchmarkTask

USUAL: dict[str, tuple[str, ...]] = {
    "id": ("parent", "id"),
    "prompt": ("prompt",),
    "response": ("response",),
    "output": ("predict", "output", "content"),
    "error": ("error",),
    "label": ("label",),
    "verdict": ("verdict",),
    "draw": ("draw",),
    "probability": ("probability",),
    "tokens": ("tokens", "completion_tokens"),
    "seconds": ("seconds",),
    "source": ("source",),
}
"""What a file may say of a row, and the names that its columns usually have. `label`, `verdict` and `probability` may also stand for each task,
``label_<task>``; without one, the plain column is that of the only task of a set."""
PER_TASK = ("label", "verdict", "probability")
RELEASED = "guardreasoner"
"""The guard whose rendered input the prompts of the released form are, whoever was asked."""
TYPES = {"draw": "int64", "tokens": "int64", "seconds": "float64", "probability": "float64"}
"""Of columns that are no text."""
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
            input), and what `USUAL` names and the files have.
        faults: the others.
        named: keys of `USUAL` whose column was named by the user.
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
        some = [InputError(f"{f.reason}: {f.detail.removeprefix(f'row {f.row}: ')}", where=f.where) for f in self.faults[:SHOWN]]
        return InputErrors(some) if some else None


def read_written(
    paths: Sequence[Path], tasks: Mapping[str, BenchmarkTask], guard: Guard, columns: Mapping[str, str] | None = None, held: Files | None = None
) -> Written:
    """Read files.

    Args:
        paths: one or several, of the same columns or not.
        tasks: whose labels and verdicts are read.
        guard: whose rendered input the prompts may be.
        columns: names of columns, by the keys of `USUAL` (or ``label_<task>`` and the like).
        held: files of a step.

    Raises:
        InputError: a file that cannot be read, a column that it does not have, or two that could be meant.
    """
    import polars as pl

    given = dict(columns or {})
    known = [*USUAL, *(f"{key}_{task}" for key in PER_TASK for task in tasks)]
    if odd := next((key for key in given if key not in known), None):
        raise InputError(f"nothing is called {odd!r}", where="--column", hint=did_you_mean(odd, known))
    frames: list[pl.DataFrame] = []
    faults: list[Fault] = []
    for number, path in enumerate(paths):
        for frame, bad in _read(path, tasks, given, held):
            faults += bad
            if frame.height:
                frames.append(_keyed(frame, guard).with_columns(file=pl.lit(number, pl.Int64)))
    empty = pl.DataFrame(schema={"row": pl.Int64, "file": pl.Int64, "key": pl.String, "text": pl.String})
    rows = pl.concat([empty, *frames], how="diagonal").with_row_index("n").with_columns(pl.col("n").cast(pl.Int64))
    return Written(list(paths), rows, faults, frozenset(given))


def _read(path: Path, tasks: Mapping[str, BenchmarkTask], given: Mapping[str, str], held: Files | None) -> Iterator[tuple[pl.DataFrame, list[Fault]]]:
    import polars as pl

    kind = format_of(path)
    there = file_columns(path, kind)
    if there is None:  # no row of its beginning can be read
        for block in read_blocks(path, kind, [], 4096, held):
            yield pl.DataFrame(), [Fault(path, i + 1, r.reason, r.detail) for i, r in enumerate(block) if not isinstance(r, dict)]
        return
    names = _names(path, there, tasks, given)
    types = {name: TYPES.get(key if key in TYPES else key.partition("_")[0], "string") for key, name in names.items()}
    if "id" in names and kind not in ("csv", "tsv"):
        types[names["id"]] = _id_type(path, kind, names["id"], held)
    wanted = tuple(Column(name, kind_, nullable=True) for name, kind_ in types.items())
    for frame in read_frames(path, kind, wanted, held):
        rows = frame.rows.select(row=frame.numbers, **{key: pl.col(name) for key, name in names.items()})
        if "id" in names:
            rows = rows.with_columns(pl.col("id").cast(pl.String))
        yield rows, [Fault(path, n, f.reason, f.detail) for n, f in frame.faults]


def _names(path: Path, there: Collection[str], tasks: Mapping[str, BenchmarkTask], given: Mapping[str, str]) -> dict[str, str]:
    """By key the column that is meant, of those that are there."""
    out: dict[str, str] = {}
    for key, name in given.items():
        if name not in there:
            raise InputError(f"no column {name!r}, which was named for {key}", where=str(path), hint=did_you_mean(name, there))
        out[key] = name
    for key, usual in USUAL.items():
        if key not in out and (found := next((name for name in usual if name in there and name not in given.values()), None)):
            out[key] = found
    for key in PER_TASK:
        out |= {own: own for task in tasks if (own := f"{key}_{task}") in there and own not in out}
        out |= {f"{key}_{task}": out.pop(key) for task in tasks if len(tasks) == 1 and key in out and f"{key}_{task}" not in out}
    return out


def _id_type(path: Path, kind: str, column: str, held: Files | None) -> str:
    """Ids are texts or whole numbers, as the first row has them."""
    for block in read_blocks(path, kind, [column], 64, held):
        values = [row.get(column) for row in block if isinstance(row, dict)]
        first = next((v for v in values if v is not None), None)
        return "int64" if isinstance(first, int) and not isinstance(first, bool) else "string"
    return "string"


def _keyed(rows: pl.DataFrame, guard: Guard) -> pl.DataFrame:
    """With `key`, and with prompt and response where they stand in one text."""
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

    def read(said: str) -> str | None:
        word = words.get(without_tokens(said).strip().casefold())
        if word is None and guard is not None and task.name in guard.task_names and re.search(r"\s", said):
            word = words.get((parse(guard, said).labels[task.name] or "").casefold())
        return word

    return read


def read_labels(said: pl.Series, task: BenchmarkTask, guard: Guard | None) -> pl.Series:
    """A column of words as labels; null where one is none."""
    import polars as pl

    read = label_reader(task, guard)
    each: dict[Any, str | None] = {word: read(word) for word in said.unique().to_list() if word is not None}
    return pl.Series(said.name, [None if word is None else each[word] for word in said.to_list()], dtype=pl.String)


def odd_label(word: str, task: BenchmarkTask) -> str:
    """What is wrong with a word that should be a label."""
    return unknown_label(word, task.labels)
