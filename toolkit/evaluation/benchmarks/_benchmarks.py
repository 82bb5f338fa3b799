"""Benchmarks by name, and where a benchmark's rows are: `_benchmarks_model` says what one is, `_benchmarks_read` reads it.

Nothing is guessed from data: a file whose columns fit neither way is refused with the columns that would. A benchmark that this machine
cannot read is `Missing`, with what to give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from toolkit.common.errors import InputError, InputErrors, Missing, nearest, short_path
from toolkit.common.paths import Beside, Roots, is_there, near_file
from toolkit.common.resources import find, names, shipped
from toolkit.common.yamlfile import load_yaml
from toolkit.evaluation.benchmarks._benchmarks_model import Benchmark, patterns
from toolkit.sources import Source, expand_files, file_columns, hub_needs


@dataclass(frozen=True)
class BenchmarkFiles:
    """Files of a benchmark and how they are read; no files: the hub."""

    benchmark: Benchmark
    way: Source
    paths: tuple[Path, ...] = ()

    @property
    def way_name(self) -> str:
        """``released`` (a file in the form of those that GuardReasoner released), ``files`` (with its own columns) or ``hub``."""
        return "released" if self.way.exchange is not None else "files" if self.paths else "hub"


@dataclass(frozen=True)
class Chosen:
    """The benchmarks that can be read here, what the others lack in words, and those that nobody asked for by name and that have no file."""

    found: list[BenchmarkFiles]
    missing: list[str]
    without: list[str]


def load_benchmark(name: str, beside: Beside = None) -> Benchmark:
    """Load a benchmark by name or path.

    Raises:
        InputError: no such benchmark, or its released file is of a source or part that is not there; InputErrors: faults in its file, each with
            its line.
    """
    path = find("benchmarks", name, beside)
    file = load_yaml(path)
    found = file.model(Benchmark)
    found._file = path
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


def find_benchmark(benchmark: Benchmark, given: Sequence[str | Path] | None, beside: Beside = None, *, scoring: bool = False) -> BenchmarkFiles:
    """The files that a user names for one benchmark, those beside its own file, or the hub.

    Args:
        benchmark: the benchmark.
        given: files, or folders with files of its names; None: files that its schema names (of one of your own), else the hub.
        beside: folder that a relative path is also looked up from.
        scoring: whether it is to be scored: then a split of the hub that is larger than the benchmark is none.

    Raises:
        InputError: a file is not there, or has columns of neither kind.
        Missing: nothing is given and it cannot be read from the hub.
    """
    if given is None:
        way = benchmark.ways[-1]
        if own := _own_files(benchmark, beside):
            return BenchmarkFiles(benchmark, way, own)
        if way.hub is None:
            near = _near(benchmark)
            raise Missing(f"benchmark {benchmark.name!r} needs its file {', '.join(benchmark.file_names)}".rstrip(), hint=near or way.obtain)
        if scoring and not benchmark.scored_on_hub:
            sizes = f"{benchmark.sizes.hub:,} rows, the benchmark {benchmark.sizes.released:,}"
            hint = f"{benchmark.ways[0].obtain}; or give a file of the hub's columns that holds the rows you mean"
            raise Missing(f"benchmark {benchmark.name!r} needs its file {', '.join(benchmark.file_names)}: the hub's split has {sizes}", hint=hint)
        return BenchmarkFiles(benchmark, way)
    roots = Roots.of(beside)
    if any(roots.first(item, Path.is_dir) for item in given):
        found = find_among(benchmark, given, roots)
        if found is None:
            hint = f"looked for {', '.join(benchmark.file_names) or 'nothing: its file names are not known'}; name the files one by one"
            raise InputError(f"no file of benchmark {benchmark.name!r}", where=", ".join(map(str, given)), hint=hint)
        return found
    paths = expand_files(given, roots)
    there = [columns for p in paths if (columns := file_columns(p, delimiter=benchmark.delimiter)) is not None]
    for way in benchmark.ways:
        if all(_columns(way) <= columns for columns in there):
            return BenchmarkFiles(benchmark, way, tuple(paths))
    hint = "it has " + ", or ".join(" and ".join(sorted(_columns(w))) for w in benchmark.ways)
    lacking = sorted(_columns(benchmark.ways[-1]) - frozenset[str]().union(*there))
    near = next((words for c in lacking if (words := nearest(c, frozenset[str]().union(*there)))), None)
    if near:
        hint += f"; for {lacking[0]!r} {near}"
    raise InputError(f"not the columns of benchmark {benchmark.name!r}", where=", ".join(map(str, given)), hint=hint)


def _own_files(benchmark: Benchmark, beside: Beside) -> tuple[Path, ...]:
    """The files that a user's own schema names: beside it, else in the working folder or `beside`. Empty for a schema that ships with guardkit.

    Raises:
        InputError: some of the files that it names one by one are there, and one is not.
    """
    file = benchmark._file
    if file is None or file.is_relative_to(shipped("schemas")):
        return ()
    roots = Roots.of(beside)
    places = Roots(tuple(dict.fromkeys((file.parent, *roots.folders))))
    found: list[Path] = []
    absent: list[str] = []
    for name in benchmark.files:
        hits = places.matching(name)
        if hits is None:
            path = places.first(name, Path.is_file)
            absent += [] if path else [name]
            hits = [path] if path else []
        found += hits
    if absent and found:
        hint = _near(benchmark) or f"looked in: {', '.join(map(short_path, places.folders))}"
        raise InputError(f"no such file: {absent[0]!r}, which benchmark {benchmark.name!r} names", where=f"{file}", hint=hint)
    roots.saw(*found)
    return tuple(dict.fromkeys(found))


def _near(benchmark: Benchmark) -> str | None:
    """What is wrong with a file that a user's own schema names: a folder, or called nearly as one that is there."""
    if benchmark._file is None or benchmark._file.is_relative_to(shipped("schemas")):
        return None
    if folder := next((name for name in benchmark.files if is_there(benchmark._file.parent / name, Path.is_dir)), None):
        return f"{folder} is a folder: name the files in it, or a pattern, as {Path(folder) / '*.csv'}"
    return next((hint for name in benchmark.files if (hint := near_file(benchmark._file.parent / name))), None)


def find_among(benchmark: Benchmark, places: Sequence[str | Path], beside: Beside = None) -> BenchmarkFiles | None:
    """The files of a benchmark among files and folders that hold several benchmarks', by their names; None where there are none.

    Raises:
        InputError: a place is not there.
    """
    paths = expand_files(places, beside)
    for way in benchmark.ways:
        hits = [p for p in paths if any(fnmatchcase(p.name, Path(pattern).name) for pattern in patterns(way))]
        if hits:
            return BenchmarkFiles(benchmark, way, tuple(hits))
    return None


def choose_benchmarks(
    names: Sequence[str] | None,
    files: Sequence[str | Path] | Mapping[str, Sequence[str | Path]] | None,
    given: Mapping[str, Sequence[str | Path]] | None = None,
    beside: Beside = None,
    *,
    scoring: bool = False,
    how: str = "files: {{{name}: [FILE]}} or --source {name}=FILE",
) -> Chosen:
    """Find the benchmarks' files.

    Args:
        names: of benchmarks; None: those that the files are of.
        files: places that hold files of several, or the files of each by name.
        given: files of benchmarks that are before those.
        beside: folder that a relative path is also looked up from.
        scoring: as for `find_benchmark`.
        how: files are given to whoever asks; ``{name}`` stands for the benchmark's name.

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
            found.append(find_benchmark(benchmark, None, beside, scoring=scoring))
        except Missing as e:
            missing.append(f"{e.message} ({how.format(name=name)}): {e.hint}")
    return Chosen(found, missing, without)


def benchmark_needs(found: BenchmarkFiles) -> list[str]:
    """What this machine lacks for reading it, in words."""
    return [] if found.paths else hub_needs(found.way)


def _columns(way: Source) -> set[str]:
    """The columns that tell one way from another."""
    texts = [way.exchange.column] if way.exchange else [way.columns.prompt, way.columns.response] if way.columns else []
    return {c for c in [*texts, way.answer.column if way.answer else None] if c is not None}
