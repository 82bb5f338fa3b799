"""Operator `benchmarks`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError, InputErrors, Missing, did_you_mean
from toolkit.evaluation import (
    Benchmark,
    BenchmarkFiles,
    Chosen,
    benchmark_blocks,
    benchmark_names,
    benchmark_needs,
    choose_benchmarks,
    find_among,
    load_benchmark,
)
from toolkit.guards import Guard, Task
from toolkit.operators.base import Columns, Context, DatasetOperator, Output, StepInput
from toolkit.operators.figures import Figure, Finished, Table, stat
from toolkit.operators.ingest._intake import OPTIONS, Intake, IntakeConfig, Labels
from toolkit.records import Column, load_record, to_polars
from toolkit.sources import count_rows, format_of, guards_of
from toolkit.taxonomy import load_taxonomy

BENCHMARK = Column("benchmark", "string", doc="name of the benchmark that the row is of")
"""The column that seeds of benchmarks have beside those of the record ``seed``."""


class BenchmarksConfig(IntakeConfig):
    """Options of `benchmarks`."""

    benchmarks: Literal["all"] | list[str] = Field(min_length=1)
    """Names of benchmarks, or of YAML files of your own; or `all`."""
    files: list[str] | dict[str, list[str]] | None = None
    """Folders and files that hold benchmarks under their usual names; or by benchmark its files, whatever they are called."""
    hub: bool = True
    """Whether what no file holds is read from the hub, where that holds the very rows."""
    without: Literal["error", "leave_out"] = "error"
    """What becomes of a benchmark that can be read from nowhere: the run does not start, or it is left out, and that is in the figures."""
    limit: int | None = Field(None, ge=1)
    """Rows to read from each benchmark, at most: a trial, and never the benchmark's figure."""
    max_rejected: float = Field(0.01, ge=0, le=1)
    """Share of the rows of each benchmark that may be rejected; if there are more, the step is an error, which says what did not fit."""

    @model_validator(mode="after")
    def _once_each(self) -> BenchmarksConfig:
        if isinstance(self.benchmarks, list):
            if twice := next((n for n in self.benchmarks if self.benchmarks.count(n) > 1), None):
                raise ValueError(f"the benchmark {twice!r} is named twice")
            for name in self.files if isinstance(self.files, dict) else ():
                if name not in self.benchmarks:
                    raise ValueError(f"files for {name!r}, which is not read; {did_you_mean(name, self.benchmarks)}")
        return self


@dataclass(frozen=True)
class _Found:
    """The benchmarks that are read, those that can be read from nowhere and those that the guard does not judge, each with the reason."""

    read: list[BenchmarkFiles]
    missing: dict[str, str]
    unjudged: dict[str, str]


def _left_out(step: Finished, figure: Figure, value: Mapping[str, str]) -> Iterator[Table | str]:
    for name, why in value.items():
        yield f"Benchmark left out ({step.step}): {name}: {why}"


def _rows(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, Any]]) -> Iterator[Table | str]:
    for name, n in value.items():
        rejected = f", {n['rejected']:,} could not be read" if n["rejected"] else ""
        size = f", the benchmark has {n['stated']:,}" if n["stated"] is not None and n["stated"] != n["rows"] else ""
        if rejected or size:
            yield f"Benchmark {name} ({step.step}): {n['rows']:,} rows{size}{rejected}"


class Benchmarks(DatasetOperator):
    """Read the rows of benchmarks as seeds, with the column `benchmark`: from files that you name, or the hub.

    So a recipe ends with figures on test sets: `benchmarks`, `sample` (k: 1, temperature: 0), `verdicts`, `evaluate`, `compare`. A row has the labels
    of its benchmark's own tasks; the guard's other tasks have none. `categories` holds the set's own words, which no taxonomy maps. A row that cannot
    be read is rejected with its reason. A benchmark of your own is a YAML file of ten lines (docs/decontamination.md).
    """

    name = "benchmarks"
    shape = "source"
    inputs = ()
    config_class = BenchmarksConfig
    example = {"benchmarks": "all", "files": ["data/benchmarks"]}
    uses = frozenset({"guard.tasks"})
    figures = (
        Figure("benchmarks", "rows of each benchmark, how many could not be read, and how many its schema states", stat("benchmarks", {}), _rows),
        Figure("left_out", "benchmarks that are not read, and why", stat("left_out", {}), _left_out),
    )
    config: BenchmarksConfig

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        return {c.name: c for c in (*load_record("seed", guard.task_names).columns, BENCHMARK)}

    def needs(self, ctx: Context) -> list[str]:
        found = self._found(ctx)
        if self.config.without == "error":
            return [*found.missing.values(), *(need for one in found.read for need in benchmark_needs(one))]
        if found.read or not found.missing:
            return []
        some = f"files: [FOLDER], or --source NAME=FILE or FOLDER; {next(iter(found.missing.values()))}"
        return [f"none of the {len(found.missing)} benchmarks of the step {ctx.step!r} can be read here: {some}"]

    def source_names(self, ctx: Context) -> list[str]:
        named = self._benchmarks(ctx)
        released = [b.released.source for b in named.values() if b.released]
        return list(dict.fromkeys([*named, *(b.name for b in named.values()), *released]))

    def fetches(self, ctx: Context) -> list[tuple[str, str]]:
        return [("dataset", f.way.hub.id) for f in self._found(ctx).read if not f.paths and f.way.hub is not None]

    def files(self, ctx: Context) -> dict[str, str]:
        all_ = self._found(ctx)
        out = {f"left_out/{name}": "" for name in (all_.missing | all_.unjudged if self.config.without == "leave_out" else all_.unjudged)}
        for found in all_.read:
            name = found.benchmark.name
            out[f"{name}.yaml"] = found.benchmark.rows_fingerprint
            out |= guards_of(found.way)
            if any(rule.vote for rule in found.way.labels.values()):
                out["taxonomy"] = load_taxonomy().only(("maps",)).fingerprint
            out |= {f"{name}/{i:05d}/{p.name}": ctx.files.digest(p) for i, p in enumerate(found.paths)}
            if found.paths:
                benchmark_blocks(found)  # raises what is wrong with them as a whole, before any row is read
        return out

    def identity(self) -> dict[str, Any]:
        # What is in them counts, not where they are or in which order they are named: see `files`.
        out = self.config.model_dump(mode="json", exclude={"benchmarks", "files", "hub", "without", *OPTIONS})
        return {n: v for n, v in out.items() if v is not None}

    def expected_rows(self, ctx: Context) -> int | None:
        """Rows in the files, and those that the schemas state of what is read from the hub; None where one is not known."""
        counts = []
        for found in self._found(ctx).read:
            n = found.benchmark.sizes.hub
            if found.paths:
                n = sum(count_rows(p, format_of(p), found.way.delimiter) for p in found.paths)
            counts.append(n if n is None or self.config.limit is None else min(n, self.config.limit))
        return None if None in counts else sum(n or 0 for n in counts)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        found = self._found(ctx)
        if found.missing and (self.config.without == "error" or not found.read):
            raise Missing("\n  ".join(found.missing.values()))
        if not found.read:
            raise InputError(f"no benchmark that the guard {ctx.guard.name!r} judges", where=f"step {ctx.step}")
        counts: dict[str, dict[str, int | None]] = {}
        done = 0
        for one in sorted(found.read, key=lambda f: f.benchmark.name):
            intake = Intake(f"benchmark {one.benchmark.name!r}", self._labels(one))
            left = self.config.limit
            for block in benchmark_blocks(one, ctx.files):
                rows, gone = block.rows, block.rejects
                if left is not None and rows.height >= left:  # the last row that is taken ends it, and what was rejected before it counts
                    rows = rows[:left]
                    gone = gone.filter(pl.col("source_row") < rows["source_row"][-1])
                rows = _seeds(rows, one.benchmark, ctx.guard)
                intake.add(rows, gone)
                out.count_in(rows.height + gone.height)
                out.keep(rows)
                place = pl.format("{}, row {}: {}", pl.lit(one.benchmark.name), pl.col("source_row") + 1, "detail")
                out.leave(gone.select(pl.col("row").alias("raw")), gone["outcome"], gone["reason"], gone.select(place).to_series())
                done += rows.height + gone.height
                ctx.progress(done, None, one.benchmark.name)
                left = None if left is None else left - rows.height
                if left == 0:
                    break
            intake.check(self.config, ctx.step)
            stated = sum(one.benchmark.counts.get(one.benchmark.task_names[0], {}).values()) or None
            counts[one.benchmark.name] = {"rows": intake.kept, "rejected": intake.rejected.total(), "stated": stated}
        out.stat("benchmarks", counts)
        out.stat("left_out", dict(sorted((found.missing | found.unjudged).items())))

    def about(self, ctx: Context) -> dict[str, dict[str, Any]]:
        """By benchmark a description of its rows: title, the paper's number of rows, and how they are read."""
        found = {one.benchmark.name: one for one in self._found(ctx).read}
        return {n: {"title": f.benchmark.title, "paper": f.benchmark.sizes.paper, "way": f.way_name} for n, f in sorted(found.items())}

    def _labels(self, found: BenchmarkFiles) -> list[Labels]:
        """What a mistaken map shows in: where values were refused, a label of which no row is."""
        if found.way.exchange is not None:
            return []
        rules = found.benchmark.label_rules
        return [Labels(rules[t].columns, f"label_{t}", found.benchmark.words(t)) for t in found.benchmark.task_names]

    def _benchmarks(self, ctx: Context) -> dict[str, Benchmark]:
        """The benchmarks by the names that the recipe gives them (InputErrors: all that are not known)."""
        given = benchmark_names(ctx.roots) if self.config.benchmarks == "all" else self.config.benchmarks
        found: dict[str, Benchmark] = {}
        errors = []
        for name in given:
            try:
                found[name] = load_benchmark(name, ctx.roots)
                _ = found[name].tasks
            except InputError as e:
                errors.append(e)
        if errors:
            raise errors[0] if len(errors) == 1 else InputErrors(errors)
        names = [b.name for b in found.values()]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise InputError(f"two of the benchmarks are called {twice!r}", hint="give one of their files another `name`")
        return found

    def _found(self, ctx: Context) -> _Found:
        named = self._benchmarks(ctx)
        unjudged = {b.name: why for b in named.values() if (why := _not_judged(b, ctx.guard)) is not None}
        if unjudged and self.config.benchmarks != "all":
            name, why = next(iter(unjudged.items()))
            raise InputError(f"benchmark {name!r}: {why}", where=f"step {ctx.step}")
        names = [n for n, b in named.items() if b.name not in unjudged]
        chosen = self._chosen(names, named, ctx)
        read, missing = [], {}
        for one in chosen.found:
            if one.way_name == "hub" and not self.config.hub:
                missing[one.benchmark.name] = f"no file of it is given ({', '.join(one.benchmark.file_names)}), and `hub` is off"
            elif one.way_name == "hub" and self.config.without == "leave_out" and (needs := benchmark_needs(one)):
                missing[one.benchmark.name] = "; ".join(needs)
            else:
                read.append(one)
        there = {one.benchmark.name for one in chosen.found}
        absent = [named[n].name for n in names if named[n].name not in there]
        return _Found(read, missing | dict(zip(absent, chosen.missing, strict=True)), unjudged)

    def _chosen(self, names: list[str], named: Mapping[str, Benchmark], ctx: Context) -> Chosen:
        """Their files: those of the command line come first, then the recipe's, each by benchmark before a folder of many."""
        given = dict(ctx.source_paths)
        for name in names:
            source = named[name].released.source if named[name].released else None  # type: ignore[union-attr]
            if source in given and named[name].name not in given and name not in given:
                among = find_among(named[name], given[source], ctx.roots)
                given |= {name: list(among.paths)} if among else {}
        return choose_benchmarks(names, self.config.files, given, ctx.roots, scoring=True)


def _not_judged(benchmark: Benchmark, guard: Guard) -> str | None:
    """Why a guard cannot judge any of a benchmark's tasks; None where it can one.

    Raises:
        InputError: a task that both have, with other labels.
    """
    both = [t for t in benchmark.task_names if t in guard.task_names]
    for task in both:
        known = guard.task(task).labels
        if odd := next((w for w in benchmark.tasks[task].labels if w not in known), None):
            hint = f"{did_you_mean(odd, known)}; the benchmark's `map` says which label a value is"
            raise InputError(f"{odd!r}, of benchmark {benchmark.name!r}, is no label of guard {guard.name!r} for {task!r}", hint=hint)
    return None if both else f"the guard {guard.name!r} does not judge {' or '.join(benchmark.task_names)}"


def _seeds(rows: pl.DataFrame, benchmark: Benchmark, guard: Guard) -> pl.DataFrame:
    """A benchmark's rows in the columns of the record ``seed`` for a guard, with `BENCHMARK`."""
    own = [f"label_{t}" for t in benchmark.task_names]
    rows = rows.select(c for c in rows.columns if not c.startswith("label_") or c.removesuffix("_source") in own)
    for task in guard.tasks:
        if f"label_{task.name}" not in own:
            rows = rows.with_columns(_none(task).alias(f"label_{task.name}_source"), pl.lit(None, pl.String).alias(f"label_{task.name}"))
    record = load_record("seed", guard.task_names).columns
    return rows.select(c.name for c in record).cast(to_polars(record)).with_columns(pl.lit(benchmark.name).alias(BENCHMARK.name))  # type: ignore[arg-type]


def _none(task: Task) -> pl.Expr:
    """Why a row has no label for a task that its benchmark is not about."""
    absent = pl.lit("absent")
    return pl.when(pl.col("response").is_null()).then(pl.lit("not_applicable")).otherwise(absent) if task.applies == "response" else absent
