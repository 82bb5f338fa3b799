"""A benchmark's rows, read: texts, the label of each of its tasks, the set's own categories, and what could not be read, with its row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from toolkit.common.errors import InputError
from toolkit.common.facets import Part
from toolkit.common.reading import Files
from toolkit.evaluation.benchmarks._benchmarks_model import Benchmark
from toolkit.guards import Guard, Task, load_guard
from toolkit.sources import Block, Label, Source, read_source
from toolkit.sources._source_definition import Categories
from toolkit.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    import polars as pl

    from toolkit.evaluation.benchmarks._benchmarks import BenchmarkFiles

OWN = ""
"""The scheme of a set's own category words: each stands for itself."""
P = TypeVar("P", bound=Part)
SHOWN = 3
"""Rows that cannot be read which are named in words."""


@dataclass(frozen=True)
class BenchmarkRows:
    """A benchmark's rows.

    Attributes:
        benchmark: what they are of.
        rows: id, prompt, response (null: none), context (list of {role, content}), ``label_<task>`` of each of its tasks (null: none), categories
            (the set's own words), row (its number among those of its files, from 0).
        rejects: rows that could not be read: row, reason, detail.
        way: ``released``, ``files`` or ``hub``: what was read.
        left_out: rows that the benchmark's own filter leaves out.
    """

    benchmark: Benchmark
    rows: pl.DataFrame
    rejects: pl.DataFrame
    way: str
    left_out: int = 0

    @cached_property
    def unread(self) -> dict[str, int]:
        """Rows that could not be read, by reason."""
        return dict(sorted(Counter(self.rejects["reason"]).items()))

    @cached_property
    def label_counts(self) -> dict[str, dict[str, int]]:
        """By task, rows of each of its labels, also of one that no row has."""
        out = {}
        for task in self.benchmark.task_names:
            found = dict(self.rows[f"label_{task}"].drop_nulls().value_counts().iter_rows())
            out[task] = dict.fromkeys(self.benchmark.words(task), 0) | found
        return out

    @property
    def single_class(self) -> list[str]:
        """Tasks of which all labelled rows have one label, or no row the positive one: their F1 says nothing of false alarms, or is not defined."""
        return [
            t for t, counts in self.label_counts.items() if sum(n > 0 for n in counts.values()) < 2 or not counts[self.benchmark.tasks[t].positive]
        ]

    def fault(self) -> InputError | None:
        """Why none of its tasks can be scored; None where one can."""
        where = f"benchmark {self.benchmark.name!r}"
        if not self.rows.height:
            return InputError(f"no row can be read: {self._unread_words() or 'there is none'}", where=where)
        if not any(sum(counts.values()) for counts in self.label_counts.values()):
            return InputError(f"none of its {self.rows.height:,} rows has a label", where=where, hint=self._unread_words() or None)
        return None

    def remarks(self) -> list[str]:
        """What whoever reads its scores must know, in words."""
        name = self.benchmark.name
        out = [f"{name}: {words}"] if (words := self._unread_words()) else []
        for task, counts in self.label_counts.items():
            if none := self.rows.height - sum(counts.values()):
                out.append(f"{name}: {none:,} of {self.rows.height:,} rows have no label for the task {task!r} and are not scored on it")
            if task in self.single_class:
                there = " or ".join(repr(w) for w, n in counts.items() if n)
                out.append(f"{name}: every label of the task {task!r} is {there}" if there else f"{name}: no row has a label for the task {task!r}")
            stated = self.benchmark.counts.get(task)
            if stated is not None and (self.way == "released" or self.benchmark.released is None) and stated != counts:
                expected, found = (", ".join(f"{w} {n:,}" for w, n in sorted(c.items())) for c in (stated, counts))
                out.append(f"{name}: it has {found}, where its schema states {expected}: not the rows of the published figures")
        if self.way != "released" and (size := self.benchmark.sizes.released) is not None and size != self.rows.height:
            out.append(f"{name}: {self.rows.height:,} rows, the released file has {size:,}: not the rows of the published figures")
        return out

    def _unread_words(self) -> str:
        n = self.rejects.height
        if not n:
            return ""
        some = "; ".join(f"row {row + 1}: {reason}, {detail}" for row, reason, detail in self.rejects.head(SHOWN).iter_rows())
        return f"{n:,} {'row' if n == 1 else 'rows'} could not be read ({some}{'; …' if n > SHOWN else ''})"


def benchmark_blocks(found: BenchmarkFiles, held: Files | None = None, *, texts: bool = False) -> Iterator[Block]:
    """A benchmark's rows as seeds, a block at a time, with ``label_<task>`` of its own tasks and the set's own category words.

    Args:
        found: its files, or the hub.
        held: files of a step: what is read must be what the plan has digested.
        texts: for the texts alone: categories are not read, and its labels need not be described.

    Raises:
        InputError: a file as a whole cannot be read, or lacks a column; the benchmark does not say what its labels are.
        Missing: the hub is out of reach, or hands the set out to this account not at all.
    """
    benchmark = found.benchmark
    way = _any_name(found.way) if found.paths else found.way
    taxonomy = load_taxonomy()
    guard = _reader(benchmark, texts=texts)
    if way.exchange is not None:
        guard = load_guard(way.exchange.guard)
        _same_words(benchmark, guard)
    elif texts:
        way = way.model_copy(update={"labels": {t: rule if benchmark.words(t) else Label() for t, rule in way.labels.items()}})
    elif (c := benchmark.categories) is not None:
        way = way.model_copy(update={"categories": Categories(columns=c.columns, kind=c.kind, scheme=OWN)})
        taxonomy = _OwnWords.model_construct(**dict(taxonomy), none=frozenset(c.none))
    return read_source(way, guard=guard, taxonomy=taxonomy, files=list(found.paths) or None, held=held)


def read_benchmark(found: BenchmarkFiles, held: Files | None = None, *, texts: bool = False) -> BenchmarkRows:
    """All rows of a benchmark; arguments and errors as for `benchmark_blocks`."""
    import polars as pl

    tasks = [f"label_{t}" for t in found.benchmark.task_names]
    names = ("id", "prompt", "response", "context", *tasks, "categories")
    rows: list[pl.DataFrame] = []
    rejects: list[pl.DataFrame] = []
    left_out = 0
    for block in benchmark_blocks(found, held, texts=texts):
        rows.append(block.rows.select(*names, row="source_row"))
        bad = block.rejects.filter(pl.col("outcome") == "rejected")
        rejects.append(bad.select("reason", "detail", row="source_row").select("row", "reason", "detail"))
        left_out += block.rejects.height - bad.height
    return BenchmarkRows(found.benchmark, pl.concat(rows), pl.concat(rejects), found.way_name, left_out)


@dataclass(frozen=True)
class _Itself(Mapping[str, "str | None"]):
    """Every word stands for itself, but for some that name nothing."""

    none: frozenset[str] = field(default_factory=frozenset)

    def __getitem__(self, word: str) -> str | None:
        return None if word in self.none else word

    def __contains__(self, word: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.none)

    def __len__(self) -> int:
        return len(self.none)


class _OwnWords(Taxonomy):
    """A taxonomy that also knows the scheme `OWN`."""

    none: frozenset[str] = frozenset()

    def scheme(self, name: str) -> Mapping[str, str | None]:
        return _Itself(self.none) if name == OWN else super().scheme(name)


def _reader(benchmark: Benchmark, *, texts: bool) -> Guard:
    """What a source's reader must know of the labels, in the place of a guard."""
    if not texts:
        _ = benchmark.tasks  # raises what its file does not say
    tasks = []
    for name in benchmark.task_names:
        words = benchmark.words(name)
        rule = benchmark.label_rules.get(name)
        positive = benchmark.positive_of(name) or (words[-1] if words else "")
        fields = {"name": name, "labels": words, "positive": positive, "applies": rule.applies if rule else "always", "missing": "absent"}
        tasks.append(_made(Task, fields))
    return _made(Guard, {"name": f"of benchmark {benchmark.name}", "tasks": tasks})


def _made(cls: type[P], fields: dict[str, Any]) -> P:
    """A part of a guard that says these things and nothing else."""
    return cast("P", cls.model_construct(**fields))


def _same_words(benchmark: Benchmark, guard: Guard) -> None:
    for task in benchmark.task_names:
        known = guard.task(task).labels if task in guard.task_names else []
        if odd := next((w for w in benchmark.words(task) if w not in known), None):
            message = f"{odd!r} is no label of the task {task!r} of guard {guard.name!r}, which the released file was written with"
            raise InputError(message, where=f"benchmark {benchmark.name!r}", hint=f"known: {', '.join(known)}" if known else None)


def _any_name(way: Source) -> Source:
    """The source with its one part taking a file of any name and format, as `find_benchmark` has found it."""
    parts = {n: p.model_copy(update={"files": ["*"]}) for n, p in way.parts.items()}
    return way.model_copy(update={"parts": parts, "format": "auto"})
