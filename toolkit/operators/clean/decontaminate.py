"""Operator `decontaminate`: rows that share text with a benchmark.

A row is contaminated when its prompt, its response or an earlier message shares a run of 13 words with a text of a benchmark, or when its prompt
has fewer words than that and is, normalised, a prompt of one. Text that was found by its hash is compared before it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError, Missing, did_you_mean
from toolkit.common.parquet import ParquetFile
from toolkit.evaluation import Chosen, benchmark_names, benchmark_needs, choose_benchmarks
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.clean._against import Against, benchmark_side, build, old_shards, shard_side, text_columns, text_files, text_side
from toolkit.operators.clean._matches import match, report_lines, verdicts
from toolkit.operators.figures import Figure, some
from toolkit.records import Column, to_arrow, to_polars
from toolkit.shards import MANIFEST, OldVersion
from toolkit.sources import guards_of

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = ("context", "prompt", "response")

REPORT = (
    Column("row", "string", doc="id of the row"),
    Column("field", "string", doc="prompt, response or context"),
    Column("benchmark", "string", doc="name of the benchmark or text file"),
    Column("benchmark_row", "string", doc="id of its row; of a text file without ids the number from 1"),
    Column("benchmark_field", "string", doc="prompt, response, or text for a text file"),
    Column("kind", "string", doc="exact_interaction, exact_prompt or ngram"),
    Column("run", "int64", doc="words of the longest run that both share"),
    Column("runs", "int64", doc="runs that both share"),
    Column("share", "float64", doc="share of the row's text that is in n-grams of any benchmark"),
    Column("counted", "bool", doc="whether it counts against the row: see min_share"),
    Column("words", "string", doc="the longest run, its first 40 words"),
)
"""Columns of the artefact `report`."""

FLAGS = (
    Column("contamination", {"list": "string"}, doc="benchmarks that share text with the row"),
    Column("contamination_run", "int64", doc="words of the longest run that the row shares with one; 0 for none"),
)


class DecontaminateConfig(Config):
    """Options of `decontaminate`."""

    benchmarks: Literal["all"] | list[str] | None = None
    """Names of benchmarks, or `all`; default: those that `files` holds. One that is named and can be read neither from files nor from the hub stops
    the run before it starts."""
    files: list[str] | dict[str, list[str]] | None = None
    """Folders and files that hold benchmarks under their usual names; or by benchmark its files, whatever they are called."""
    against: list[str] = []
    """Other texts to keep out: JSON Lines, JSON, CSV or parquet files with a column of text (`text`), or of prompts and responses; `id` names a
    row."""
    text: str = "text"
    """That column."""
    shards: list[str] = []
    """Older shards to keep out, so that rows which extend them are new: folders of shards, or of steps that made some, for the recipe's guard, out of
    whose inputs prompts and responses are read."""
    fields: list[Literal["prompt", "response", "context"]] | None = Field(None, min_length=1)
    """Texts of a row that are looked at (default: all three, as far as the rows have them)."""
    ngram: int = Field(13, ge=2, le=1000)
    """Words in a row that both sides must share: a to z and digits, in lower case."""
    exact: Literal["prompt", "interaction", "off"] = "prompt"
    """For prompts of fewer words than that, which are compared whole (lower case, letters and digits of any script): the `prompt` must be equal, the
    whole `interaction`, or they are not compared (`off`)."""
    min_share: float = Field(0.0, ge=0, le=1)
    """Smallest share of a text's words that must be in shared n-grams for a match to count; more than 0 lets a long text quote a phrase."""
    on_find: Literal["reject", "flag"] = "reject"
    """`reject` the row, or only `flag` it: columns `contamination` and `contamination_run`, for a `select` later on."""

    @model_validator(mode="after")
    def _something(self) -> DecontaminateConfig:
        if self.benchmarks is None and not self.files and not self.against and not self.shards:
            raise ValueError("nothing to compare with: give benchmarks (all, or names), files, against or shards")
        if self.benchmarks == [] or (isinstance(self.benchmarks, list) and len(set(self.benchmarks)) < len(self.benchmarks)):
            raise ValueError("name each benchmark once, and at least one")
        if isinstance(self.files, dict) and isinstance(self.benchmarks, list):
            for name in self.files:
                if name not in self.benchmarks:
                    raise ValueError(f"files for {name!r}, which is not compared with; {did_you_mean(name, self.benchmarks)}")
        return self


class Decontaminate(DatasetOperator):
    """Find rows that share text with a benchmark, or with older shards: any run of 13 words, or a whole short prompt; reject or flag them.

    Reasons: `contaminated_exact` (the prompt, or prompt and response, are a benchmark's), `contaminated_ngram`. The artefact `report` (parquet) lists
    the matches with the ids of both sides and the words that they share: of each text of a row up to 20 with each benchmark. Of a benchmark's texts
    that are shorter than a run only the prompts are compared, and whole: a short response is anyone's. Memory: the benchmarks' index alone, about
    50 bytes for each of their words, whatever the number of rows.
    """

    name = "decontaminate"
    shape = "one_to_one"
    config_class = DecontaminateConfig
    example = {"benchmarks": "all", "files": ["data/benchmarks"]}
    uses = frozenset()
    makes = ("report",)
    passes = 1
    figures = (Figure("rows_by_benchmark", "rows that share text with each benchmark or file", some("rows_by_benchmark")),)
    config: DecontaminateConfig

    def used(self) -> frozenset[str]:
        return self.uses | {"guard.input"} if self.config.shards else self.uses

    def reads(self, guard: Guard) -> list[str]:
        return ["id", *dict.fromkeys(self.config.fields or ["prompt"])]

    def writes(self, guard: Guard) -> list[Column]:
        return list(FLAGS) if self.config.on_find == "flag" else []

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        rows = inputs.get("rows", {})
        for name in ("prompt", "response"):
            if name in rows and rows[name].type != "string":
                raise InputError(f"the column {name!r} holds no text: decontaminate the rows before they are rendered")
        return super().columns(inputs, guard)

    def needs(self, ctx: Context) -> list[str]:
        chosen = self._chosen(ctx)
        return chosen.missing + [need for found in chosen.found for need in benchmark_needs(found)]

    def source_names(self, ctx: Context) -> list[str]:
        return self._names(ctx) or []

    def files(self, ctx: Context) -> dict[str, str]:
        out = {}
        for found in self._chosen(ctx).found:
            name = found.benchmark.name
            out[f"{name}.yaml"] = found.benchmark.fingerprint
            for way in found.benchmark.ways:
                out |= guards_of(way)
            out |= {f"{name}/{i:05d}/{p.name}": ctx.files.digest(p) for i, p in enumerate(found.paths)}
        for name, path in text_files(self.config.against, ctx.roots).items():
            text_columns(path, self.config.text)  # raises what is wrong with it before any row is read
            out[f"against/{name}"] = ctx.files.digest(path)
        for old in self._shards(ctx):
            out[f"shards/{old.title}/{MANIFEST}"] = ctx.files.digest(old.folder / MANIFEST)
        return out

    def identity(self) -> dict[str, Any]:
        # What is in them counts, not where they are or in which order they are named: see `files`.
        return self.config.model_dump(mode="json", exclude={"files", "against", "benchmarks", "shards"})

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        against = self._against(out, ctx)
        counts: Counter[str] = Counter()
        by: Counter[str] = Counter()
        done = 0
        with _report(out.folder("report") / "report.parquet") as report:
            for block in inputs["rows"].blocks():
                lines, left_out = match(block, self._fields(block), against, self.config.exact, pl.thread_pool_size())
                shown = report_lines(lines, block, against, self.config.min_share)
                report.write(shown)
                found = verdicts(shown, block.height)
                self._part(block, found, out)
                by.update(found["names"].explode(empty_as_null=False).to_list())
                counts.update(
                    {"matches": lines.height, "matches_not_listed": left_out, **dict(found["reason"].drop_nulls().value_counts().iter_rows())}
                )
                done += block.height
                ctx.progress(done, inputs["rows"].rows, "rows")
        for name in ("contaminated_exact", "contaminated_ngram", "matches", "matches_not_listed"):
            out.stat(name, counts[name])
        out.stat("rows_by_benchmark", dict(sorted(by.items())))

    def _part(self, block: pl.DataFrame, found: pl.DataFrame, out: Output) -> None:
        bad = found["reason"].is_not_null()
        if self.config.on_find == "flag":
            types = to_polars(FLAGS)
            out.keep(block.with_columns(found["names"].cast(types["contamination"]).alias("contamination"), found["run"].alias("contamination_run")))
        elif bad.any():
            out.keep(block.filter(~bad))
            gone = found.filter(bad)
            out.leave(block.filter(bad), "rejected", gone["reason"], gone["detail"])
        else:
            out.keep(block)

    def _fields(self, block: pl.DataFrame) -> Sequence[str]:
        return self.config.fields or [f for f in TEXTS if f in block.columns]

    def _names(self, ctx: Context) -> list[str] | None:
        c = self.config
        if c.benchmarks is not None:
            return benchmark_names(ctx.roots) if c.benchmarks == "all" else list(c.benchmarks)
        return list(c.files) if isinstance(c.files, dict) else None if c.files else []

    def _chosen(self, ctx: Context) -> Chosen:
        return choose_benchmarks(self._names(ctx), self.config.files, ctx.source_paths, ctx.roots)

    def _shards(self, ctx: Context) -> list[OldVersion]:
        return old_shards(self.config.shards, ctx.guard, ctx.roots) if self.config.shards else []

    def _against(self, out: Output, ctx: Context) -> Against:
        """What is compared with, read and indexed.

        Raises:
            Missing: a benchmark can be read from nowhere; InputError: a file cannot be read, or there is no text at all.
        """
        chosen = self._chosen(ctx)
        if chosen.missing:
            raise Missing("\n  ".join(chosen.missing))
        sides = [benchmark_side(f, ctx.files) for f in chosen.found]
        sides += [text_side(name, path, self.config.text, ctx.files) for name, path in text_files(self.config.against, ctx.roots).items()]
        sides += [shard_side(old, ctx.guard) for old in self._shards(ctx)]
        if not sides:
            raise InputError("nothing to compare with: no benchmark in the files", hint=f"benchmarks: {', '.join(benchmark_names())}")
        for side in sides:
            if not side.rows.height:  # nothing would be compared with it, and nobody would know
                why = ", ".join(f"{reason} {n:,}" for reason, n in side.unread.items())
                raise InputError(f"no row of {side.name!r} can be read: {why or 'there is none'}", where=f"step {ctx.step}")
        found = build(sorted(sides, key=lambda s: s.name), self.config.ngram)
        out.stat("benchmarks", {s.name: s.rows.height for s in sides})
        out.stat("unread", {s.name: s.unread for s in sides if s.unread})
        out.stat("ngrams", found.index.size)
        out.stat("short_prompts", found.short.height)
        if chosen.without:
            out.note("benchmarks_without_files", chosen.without)
        return found


@contextmanager
def _report(path: Path) -> Iterator[ParquetFile]:
    """The report's file, whole when the block ends without an error."""
    file = ParquetFile(path, to_arrow(REPORT), group=8192)
    try:
        yield file
        file.close()
    except BaseException:  # whatever it was: the thread must end, and the step's folder is removed
        file.stop()
        raise
