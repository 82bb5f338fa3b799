"""The benchmarks' identities: pydantic models of ``schemas/benchmarks/<name>.yaml``, and where a benchmark's rows are.

A benchmark file says what a test set is: task, sizes, labels, licence, where it is on the hub and which of the files that GuardReasoner
released holds it. A fact that is not known is null. How rows are read is a source's business (`toolkit.sources`): a released file is a
part of a source, and a set on the hub becomes one from the benchmark's own `columns` and `label`. So there is one reader, and one kind
of row id.

Nothing is guessed from data: a file whose columns fit neither way is refused with the columns that would. A benchmark that this machine
cannot read is `Missing`, with what to give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.common.errors import InputError, InputErrors, Missing
from toolkit.common.files import digest
from toolkit.common.paths import Beside, Roots
from toolkit.common.reading import Files
from toolkit.common.resources import find, names
from toolkit.common.yamlfile import load_yaml
from toolkit.guards import load_guard
from toolkit.sources import (
    Columns,
    Filter,
    Hub,
    Label,
    Source,
    expand_files,
    file_columns,
    hub_needs,
    load_source,
    read_source,
)
from toolkit.taxonomy import load_taxonomy

if TYPE_CHECKING:
    import polars as pl

GUARD = "guardreasoner"
"""The guard whose tasks and labels the benchmark files speak of."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Released(_Model):
    """The file that GuardReasoner released: a part of a source, which knows its name and columns."""

    source: str
    part: str


class HubSet(_Model):
    """Where the set lies on the Hugging Face hub; `config` and `split` are null where that is not known."""

    id: str
    config: str | None = None
    split: str | None = None


class Sizes(_Model):
    """Rows by where they are counted; null where that is not known."""

    paper: int | None
    """What the paper's table 3 says."""
    released: int | None
    """Rows of the released file; null where none was released."""
    hub: int | None
    """Rows of the hub's split, which may be more than the benchmark's."""


class Benchmark(_Model):
    """One test set for one task. See schemas/benchmarks/ for all thirteen of GuardReasoner's paper (table 3)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: int
    title: str
    """Its name in the paper."""
    description: str
    task: str
    """The guard's task that its labels are for."""
    adversarial: bool
    licence: str
    """SPDX id where there is one."""
    gated: bool | None
    """Whether the hub hands it out only to an account that has accepted its terms; null: not known."""
    url: str | None
    """The set's page; null: not known."""
    citation: str
    """Where the sizes and the task are from."""
    released: Released | None
    hub: HubSet | None
    sizes: Sizes
    label_counts: dict[str, int] | None
    """Rows by label, of the released file or, where there is none, of the hub's split; null: not known."""
    files: list[str] = []
    """Patterns of file names that hold the hub's own columns."""
    columns: Columns | None = None
    """The hub's own columns; null: the released file alone can be read."""
    filter: Filter | None = None
    label: Label | None = None
    """How the label of the task is read from the hub's own columns."""

    @model_validator(mode="after")
    def _fits(self) -> Benchmark:
        if (self.columns is None) != (self.label is None):
            raise ValueError("columns and label belong together: give both or neither")
        if self.columns is None and (self.files or self.filter):
            raise ValueError("files and filter need columns and label")
        if self.released is None and self.columns is None:
            raise ValueError("give released, or columns and label: how the rows are read")
        task = {t.name: t for t in load_guard(GUARD).tasks}.get(self.task)
        if task is None or not set(self.label_counts or ()) <= set(task.labels):
            raise ValueError(f"guard {GUARD!r} knows no such task, or not these labels of it")
        return self

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that says how its rows are read."""
        return digest([w.fingerprint for w in self.ways])

    @cached_property
    def ways(self) -> list[Source]:
        """The sources that its rows can be read with: the released file's part, then the hub's own columns."""
        out = []
        if self.released is not None:
            source = load_source(self.released.source)
            part = source.parts[source.part_names([self.released.part])[0]]
            out.append(source.model_copy(update={"parts": {self.released.part: part}}))
        if self.columns is not None and self.label is not None:
            hub = Hub(**{k: v for k, v in self.hub.model_dump().items() if v is not None}) if self.hub else None
            out.append(
                Source(
                    name=self.name,
                    version=self.version,
                    description=self.description,
                    licence=self.licence,
                    gated=bool(self.gated),
                    url=self.url,
                    obtain="" if hub else self.citation,
                    hub=hub,
                    files=self.files,
                    filter=self.filter,
                    columns=self.columns,
                    labels={self.task: self.label},
                )
            )
        return out

    @property
    def file_names(self) -> list[str]:
        """Patterns of the names of its files, released ones first."""
        return [p for way in self.ways for p in _patterns(way)]


@dataclass(frozen=True)
class BenchmarkFiles:
    """Files of a benchmark and how they are read; no files: the hub."""

    benchmark: Benchmark
    way: Source
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """The benchmarks that can be read here, what the others lack in words, and those that nobody asked for by name and that have no file."""

    found: list[BenchmarkFiles]
    missing: list[str]
    without: list[str]


@dataclass(frozen=True)
class BenchmarkRows:
    """A benchmark's rows.

    `rows`: id, prompt, response (null: none), label (of its task; null: none), all strings, in order. `unread`: rows that could not be read, by
    reason.
    """

    rows: pl.DataFrame
    unread: dict[str, int]


def load_benchmark(name: str, beside: Beside = None) -> Benchmark:
    """Load a benchmark by name or path.

    Raises:
        InputError: no such benchmark, or its released file is of a source or part that is not there; InputErrors: faults in its file, each with
            its line.
    """
    path = find("benchmarks", name, beside)
    file = load_yaml(path)
    found = file.model(Benchmark)
    try:
        _ = found.ways
    except InputErrors:
        raise
    except InputError as e:
        raise InputError(e.message, where=file.where(("released",)), hint=e.hint) from None
    return found


def benchmark_names(beside: Beside = None) -> list[str]:
    """Names of all benchmarks, the user's own included."""
    return names("benchmarks", beside)


def find_benchmark(benchmark: Benchmark, given: Sequence[str | Path] | None, beside: Beside = None) -> BenchmarkFiles:
    """The files that a user names for one benchmark, or the hub.

    Args:
        benchmark: the benchmark.
        given: files, or folders with files of its names; None: the hub.
        beside: folder that a relative path is also looked up from.

    Raises:
        InputError: a file is not there, or has columns of neither kind.
        Missing: nothing is given and it cannot be read from the hub.
    """
    if given is None:
        way = benchmark.ways[-1]
        if way.hub is None:
            raise Missing(f"benchmark {benchmark.name!r} needs its file {', '.join(benchmark.file_names)}", hint=way.obtain)
        return BenchmarkFiles(benchmark, way)
    roots = Roots.of(beside)
    if any(roots.first(item, Path.is_dir) for item in given):
        found = find_among(benchmark, given, roots)
        if found is None:
            hint = f"looked for {', '.join(benchmark.file_names) or 'nothing: its file names are not known'}; name the files one by one"
            raise InputError(f"no file of benchmark {benchmark.name!r}", where=", ".join(map(str, given)), hint=hint)
        return found
    paths = expand_files(given, roots)
    there = [columns for p in paths if (columns := file_columns(p)) is not None]
    for way in benchmark.ways:
        if all(_columns(way) <= columns for columns in there):
            return BenchmarkFiles(benchmark, way, tuple(paths))
    hint = "it has " + ", or ".join(" and ".join(sorted(_columns(w))) for w in benchmark.ways)
    raise InputError(f"not the columns of benchmark {benchmark.name!r}", where=", ".join(map(str, given)), hint=hint)


def find_among(benchmark: Benchmark, places: Sequence[str | Path], beside: Beside = None) -> BenchmarkFiles | None:
    """The files of a benchmark among files and folders that hold several benchmarks', by their names; None where there are none.

    Raises:
        InputError: a place is not there.
    """
    paths = expand_files(places, beside)
    for way in benchmark.ways:
        hits = [p for p in paths if any(fnmatchcase(p.name, pattern) for pattern in _patterns(way))]
        if hits:
            return BenchmarkFiles(benchmark, way, tuple(hits))
    return None


def choose_benchmarks(
    names: Sequence[str] | None,
    files: Sequence[str | Path] | Mapping[str, Sequence[str | Path]] | None,
    given: Mapping[str, Sequence[str | Path]] | None = None,
    beside: Beside = None,
) -> Chosen:
    """Find the benchmarks' files.

    Args:
        names: of benchmarks; None: those that the files are of.
        files: places that hold files of several, or the files of each by name.
        given: files of benchmarks that stand before those.
        beside: folder that a relative path is also looked up from.

    Raises:
        InputError: no such benchmark or file.
    """
    own = {n: list(f) for n, f in files.items()} if isinstance(files, Mapping) else {}
    own |= {n: list(f) for n, f in (given or {}).items()}
    shared = [] if files is None or isinstance(files, Mapping) else list(files)
    found, missing, without = [], [], []
    for name in names if names is not None else benchmark_names(beside) if shared else list(own):
        benchmark = load_benchmark(name, beside)
        if benchmark.name in own or name in own:
            found.append(find_benchmark(benchmark, own.get(benchmark.name) or own[name], beside))
            continue
        if shared and (among := find_among(benchmark, shared, beside)) is not None:
            found.append(among)
            continue
        if names is None:
            without.append(name)
            continue
        try:
            found.append(find_benchmark(benchmark, None))
        except Missing as e:
            missing.append(f"{e.message} (files: {{{name}: [FILE]}} or --source {name}=FILE): {e.hint}")
    return Chosen(found, missing, without)


def benchmark_needs(found: BenchmarkFiles) -> list[str]:
    """What this machine lacks for reading it, in words."""
    return [] if found.paths else hub_needs(found.way)


def read_benchmark(found: BenchmarkFiles, held: Files | None = None) -> BenchmarkRows:
    """All rows of a benchmark; of files that `held` knows, only what it has digested.

    Raises:
        InputError: a file as a whole cannot be read, or lacks a column.
        Missing: the hub is out of reach, or hands the set out to this account not at all.
    """
    import polars as pl

    way = _any_name(found.way) if found.paths else found.way
    rows = [pl.DataFrame(schema=dict.fromkeys(("id", "prompt", "response", "label"), pl.String))]
    unread: dict[str, int] = {}
    for block in read_source(way, guard=load_guard(GUARD), taxonomy=load_taxonomy(), files=list(found.paths) or None, held=held):
        rows.append(block.rows.select("id", "prompt", "response", pl.col(f"label_{found.benchmark.task}").alias("label")))
        for reason, n in block.rejects.filter(pl.col("outcome") == "rejected")["reason"].value_counts().iter_rows():
            unread[reason] = unread.get(reason, 0) + n
    return BenchmarkRows(pl.concat(rows), dict(sorted(unread.items())))


def _patterns(way: Source) -> list[str]:
    return [p for part in way.parts.values() for p in part.files] or list(way.files)


def _columns(way: Source) -> set[str]:
    """The columns that tell one way from another."""
    texts = [way.exchange.column] if way.exchange else [way.columns.prompt, way.columns.response] if way.columns else []
    return {c for c in [*texts, way.answer.column if way.answer else None] if c is not None}


def _any_name(way: Source) -> Source:
    """The source with its one part taking a file of any name and format, as `find_benchmark` has found it."""
    parts = {n: p.model_copy(update={"files": ["*"]}) for n, p in way.parts.items()}
    return way.model_copy(update={"parts": parts, "format": "auto"})
