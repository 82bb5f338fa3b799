"""Rows with labels that guards are scored on: those of a benchmark, or those of a file of one's own.

A set has rows in the order of their file: ``id``, ``prompt``, ``response`` (null: none), ``context``, ``label_<task>`` of each of its tasks (null:
none), ``categories`` and ``source``. A sample of it (`RowSet.sample`) depends on the seed and the rows' ids, not on their order.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import digest
from toolkit.evaluation.benchmarks._benchmarks_model import BenchmarkTask

if TYPE_CHECKING:
    import polars as pl

    from toolkit.evaluation.benchmarks._benchmarks_read import BenchmarkRows
    from toolkit.guards import Guard

SMALL = 100
"""Rows below which a figure is called one of few rows."""


@dataclass(frozen=True)
class RowSet:
    """Rows that guards are scored on.

    Attributes:
        name: what the lines of `ROWS` call it.
        title: its name for people.
        tasks: its tasks, by name.
        rows: see the module's docstring.
        way: where they are from: ``released``, ``files``, ``hub``, or ``file`` of one's own.
        paper: rows that the paper states; None: not known.
        whole: rows before a sample was taken.
        subset: what was taken of them, in words; None: all.
        unread: rows that could not be read, by reason.
        remarks: what whoever reads its figures must know.
        aliases: how else its name is spelled.
    """

    name: str
    title: str
    tasks: Mapping[str, BenchmarkTask]
    rows: pl.DataFrame
    way: str
    whole: int
    paper: int | None = None
    subset: str | None = None
    unread: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    aliases: Sequence[str] = ()

    @property
    def positives(self) -> dict[str, str]:
        """By task the label that F1 counts."""
        return {name: task.positive for name, task in self.tasks.items()}

    def drawn(self, limit: int, seed: int) -> list[int]:
        """Numbers of at most so many of its rows, drawn by their ids."""
        ids = self.rows["id"].to_list()
        order = sorted(range(len(ids)), key=lambda i: hashlib.sha256(f"{seed}:{ids[i]}".encode()).digest())
        return sorted(order[:limit])

    def sample(self, numbers: Sequence[int], seed: int) -> RowSet:
        """These rows of it."""
        words = f"{len(numbers):,} of {self.rows.height:,} rows, seed {seed}"
        return self if len(numbers) == self.rows.height else replace(self, rows=self.rows[list(numbers)], subset=words)

    @property
    def labelled(self) -> pl.Expr:
        """Whether a row has a label of any of its tasks."""
        import polars as pl

        return pl.any_horizontal(pl.col(f"label_{task}").is_not_null() for task in self.tasks)

    def entries(self) -> list[dict[str, Any]]:
        """What a document says of it, for each task."""
        import polars as pl

        out = []
        for task in self.tasks.values():
            known = self.rows.filter(pl.col(f"label_{task.name}").is_not_null()).select("id", f"label_{task.name}")
            counts = Counter(known[f"label_{task.name}"])
            out.append(
                {
                    "name": self.name,
                    "title": self.title,
                    "task": task.name,
                    "positive": task.positive,
                    "labels": list(task.labels),
                    **({"ordinal": True} if task.ordinal else {}),
                    **({"about": task.about} if task.about else {}),
                    "n": known.height,
                    "label_counts": {word: counts[word] for word in task.labels},
                    "unlabelled": self.rows.height - known.height,
                    "rows": self.rows.height,
                    "rows_digest": digest(sorted(known.rows())),
                    "way": self.way,
                    "whole": self.whole,
                    "subset": self.subset,
                    "paper": self.paper,
                    "unread": dict(self.unread),
                }
            )
        return out


def benchmark_set(read: BenchmarkRows) -> RowSet:
    """The rows of a benchmark.

    Raises:
        InputError: none of them can be scored.
    """
    import polars as pl

    if (fault := read.fault()) is not None:
        raise fault
    b = read.benchmark
    rows = read.rows.with_columns(source=pl.lit(None, pl.String)) if "source" not in read.rows.columns else read.rows
    return RowSet(b.name, b.title, b.tasks, rows, read.way, rows.height, b.sizes.paper, unread=read.unread, remarks=read.remarks(), aliases=b.aliases)


def guard_tasks(guard: Guard, names: Sequence[str]) -> dict[str, BenchmarkTask]:
    """Tasks of a guard, for rows of one's own.

    Raises:
        InputError: it has no such task.
    """
    out = {}
    for name in names:
        if name not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {name!r}", where="{--task|task}", hint=did_you_mean(name, guard.task_names))
        task = guard.task(name)
        others = [word for word in task.labels if word != task.positive]
        out[name] = BenchmarkTask(name, (*others, task.positive), task.positive, task.applies, task.ordinal, task.about)
    return out
