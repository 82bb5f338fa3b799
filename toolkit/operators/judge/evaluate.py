"""Operator `evaluate`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import Field, field_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import digest, write_atomic
from toolkit.evaluation import check_policies
from toolkit.guards import Guard, check_reading
from toolkit.judging import records_parts, score_table, with_reading
from toolkit.operators._losses import with_losses
from toolkit.operators._words import check_words
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Operator, Output, StepInput
from toolkit.operators.ingest.benchmarks import Benchmarks
from toolkit.operators.judge._evaluation import OUTPUT_COLUMNS, READ, TEXTS, Evaluating
from toolkit.operators.judge._verdict_figures import EVALUATED
from toolkit.operators.judge._votes import check_draws, none_match


class EvaluateConfig(Config):
    """Options of `evaluate`."""

    names: dict[str, str] = Field(default_factory=dict)
    """What to call a guard in the table: {name in `sample`: title}."""
    reading: str | None = None
    """For labels of which some stand for others (`readings` of the guard's tasks): by which reading labels and verdicts are compared."""
    policies: list[str] | None = Field(None, min_length=1)
    """How an output that could not be read counts in the artefact `evaluation`: `clean` (once, as wrong), `drop` (left out), `fail-closed` (as the
    positive label), `reference` (as the script that GuardReasoner released has it). Default: none, and no such artefact; of benchmarks `clean`."""
    min_parse_rate: float = Field(0.5, ge=0, le=1)
    """Share of a guard's outputs on a benchmark that must be read; where fewer are, the artefact `evaluation` has no figure but says why."""

    @field_validator("policies")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        try:
            return None if value is None else list(check_policies(value))
        except InputError as e:
            raise ValueError(f"{e.message}; {e.hint}") from None


class Evaluate(DatasetOperator):
    """Score the verdicts of each guard on each task: accuracy and F1 with 95 % intervals, beside the majority class and always-positive.

    An output that could not be read, or failed, counts once, as wrong; so that a row which every guard failed on counts too, name the rows that
    were asked about: `from: {rows: VERDICTS, asked: ROWS}`. That no verdict of a guard is about one of them is an error; how many ids match is in
    the figures (`matched`). So is that there is no verdict or no label at all, and a label or verdict that is none of its task's. Writes the artefact
    `scores` (scores.json). Only the first draw of a guard counts. Memory: about 200 bytes per generation, for ids and verdicts.

    Rows of benchmarks (column `benchmark`) are scored benchmark by benchmark. For these, and where `policies` are given, it also writes the artefact
    `evaluation`, which `compare` takes: figures by policy with bootstrap intervals, means as the paper weights them, and the table of rows that they
    are made from (docs/evaluation.md). Memory then: the texts and outputs as well.
    """

    name = "evaluate"
    version = 2
    shape = "sink"
    inputs = ("rows", "*")
    carries_media = True
    config_class = EvaluateConfig
    example = {"names": {"main": "R-SFT"}}
    uses = frozenset({"guard.tasks", "guard.readings"})
    makes: tuple[str, ...] = ("scores", "evaluation")  # type: ignore[misc]  # with these options and inputs: see `_evaluates`
    figures = EVALUATED
    config: EvaluateConfig
    _sources: Sequence[Benchmarks] = ()
    """The steps before that the rows of benchmarks come from."""

    def __init__(self, config: EvaluateConfig) -> None:
        super().__init__(config)
        self._evaluates(config.policies is not None)

    def _evaluates(self, yes: bool) -> None:
        self.makes = ("scores", "evaluation") if yes else ("scores",)

    def follow(self, before: Sequence[Operator]) -> None:
        self._sources = [op for op in before if isinstance(op, Benchmarks)]

    def files(self, ctx: Context) -> dict[str, str]:
        return {f"benchmarks/{name}": digest(about) for name, about in self._about(ctx).items()}

    def _about(self, ctx: Context) -> dict[str, dict[str, Any]]:
        """What the steps before recorded of the benchmarks that they read."""
        return {name: about for op in self._sources for name, about in op.about(ctx).items()} if "evaluation" in self.makes else {}

    def used(self) -> frozenset[str]:
        return self.uses if self.config.reading is not None else self.uses - {"guard.readings"}

    def reads(self, guard: Guard) -> list[str]:
        return ["parent", "guard_model", "draw", *(f"{k}_{t}" for t in guard.task_names for k in ("label", "verdict"))]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        super().columns(inputs, guard)
        if self.config.reading is not None:
            check_reading(guard, self.config.reading)
        for name in inputs:
            if name not in ("rows", "asked"):
                raise InputError(f"evaluate has no input called {name!r}", hint=did_you_mean(name, ["rows", "asked"]))
        for column in ("id", *(f"label_{t}" for t in guard.task_names)):
            if "asked" in inputs and column not in inputs["asked"]:
                raise InputError(f"evaluate reads the column {column!r} of its input 'asked', which that step does not write")
        named = inputs.get("asked", inputs["rows"]).get("benchmark")
        if named is not None and named.type != "string":
            raise InputError("the column 'benchmark' holds no text: it is the name of the benchmark that a row is of", hint="rename the column")
        self._evaluates(self.config.policies is not None or named is not None)
        if "reference" in (self.config.policies or ()) and "output" not in inputs["rows"]:
            raise InputError("the policy 'reference' reads the column 'output', which no earlier step writes")
        return {}

    def identity(self) -> dict[str, Any]:
        out = self.config.model_dump(mode="json", exclude_none=True)
        return out if "evaluation" in self.makes else {n: v for n, v in out.items() if n != "min_parse_rate"}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        there = _schema(inputs["rows"])
        whole = "evaluation" in self.makes
        more = [
            *(n for t in ctx.guard.task_names if (n := f"unread_{t}") in there),
            *(n for n, t in OUTPUT_COLUMNS.items() if whole and there.get(n) == t),
        ]
        columns = [*self.reads(ctx.guard), *more]
        types: dict[str, Any] = dict.fromkeys(columns, pl.String) | {"draw": pl.Int64}
        texts = {n: t for n, t in READ.items() if whole and there.get(n) == t} if "asked" not in inputs else {}
        rows = pl.concat([pl.DataFrame(schema=types | texts), *inputs["rows"].blocks([*columns, *texts])])
        check_words(rows, ctx.guard, f"rows of {inputs['rows'].step!r}")
        check_draws(rows, ctx.step)
        first, further = rows.filter(pl.col("draw") == 0), rows.filter(pl.col("draw") > 0)
        out.use(first.height)
        out.set_aside(further.select(pl.col("parent").alias("id")), "further_draw")
        labels = [f"label_{t}" for t in ctx.guard.task_names]
        asked = self._asked(inputs, first, labels, texts, ctx)
        _something(asked, first, further.height, labels, ctx)
        if "benchmark" in asked.columns and (unnamed := asked["benchmark"].null_count()):
            message = f"{unnamed:,} of the {asked.height:,} rows say of no benchmark that they are its own: the column 'benchmark' is null"
            raise InputError(message, where=f"step {ctx.step}")
        if "asked" in inputs:
            out.stat("matched", _matched(asked, first, inputs))
        table = self._scores(first, asked, ctx.guard)
        write_atomic(out.folder("scores") / "scores.json", json.dumps(table, indent=1, ensure_ascii=False) + "\n")
        out.stat("scores", table)
        if whole:
            self._evaluate(first, asked, inputs, out, ctx)

    def _asked(self, inputs: Mapping[str, StepInput], first: pl.DataFrame, labels: list[str], texts: Mapping[str, Any], ctx: Context) -> pl.DataFrame:
        """The rows that were asked about: id, labels, and what there is of the other columns that an evaluation has."""
        if "asked" not in inputs:
            found = first.unique("parent", keep="first", maintain_order=True)
            return found.select(pl.col("parent").alias("id"), *labels, *texts)
        there = _schema(inputs["asked"])
        known: dict[str, Any] = {"id": pl.String, **dict.fromkeys(labels, pl.String)}
        known |= {n: t for n, t in READ.items() if there.get(n) == t and "evaluation" in self.makes}
        asked = pl.concat([pl.DataFrame(schema=known), *inputs["asked"].blocks(list(known))])
        check_words(asked, ctx.guard, f"rows of {inputs['asked'].step!r}")
        return asked

    def _scores(self, first: pl.DataFrame, asked: pl.DataFrame, guard: Guard) -> list[dict[str, Any]]:
        """Accuracy and F1; of benchmarks for each of them."""
        labels = [c for c in asked.columns if c == "id" or c.startswith("label_")]

        def of(some: pl.DataFrame) -> list[dict[str, Any]]:
            parts = records_parts(first.drop(*(t for t in READ if t in first.columns)), guard, some.select(labels))
            if (reading := self.config.reading) is not None:
                parts = (with_reading(part, guard, reading) for part in parts)
            return score_table(parts, guard, self.config.names)

        if "benchmark" not in asked.columns:
            return of(asked)
        names = asked["benchmark"].unique(maintain_order=True)
        return [{"benchmark": name, **line} for name in names for line in of(asked.filter(pl.col("benchmark") == name))]

    def _evaluate(self, first: pl.DataFrame, asked: pl.DataFrame, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        """Write the artefact `evaluation`."""
        titles = [self.config.names.get(name, name) for name in first["guard_model"].unique(maintain_order=True)]
        if twice := next((t for t in titles if titles.count(t) > 1), None):
            raise InputError(
                f"two guards are called {twice!r}: their figures could not be distinguished", where=f"step {ctx.step}", hint="see `names`"
            )
        asker = (inputs.get("asked") or inputs["rows"]).step
        benchmarks = "benchmark" in asked.columns
        lacking = [pl.lit(asker if n == "benchmark" else None).cast(t).alias(n) for n, t in READ.items() if n not in asked.columns]
        asked = asked.with_columns(lacking).with_columns(_category_of_look_alikes()).drop("seed_category")
        first_outputs = first.select(
            "parent", "guard_model", *(pl.col(n) if n in first.columns else pl.lit(None, t).alias(n) for n, t in OUTPUT_COLUMNS.items())
        )
        c = self.config
        made = Evaluating(ctx.guard, asked, first_outputs, c.names, c.reading, c.policies or ["clean"], c.min_parse_rate, self._about(ctx), asker)
        bare = first.drop(*OUTPUT_COLUMNS, *READ, strict=False)
        made.write(out.folder("evaluation"), records_parts(bare, ctx.guard, asked.drop(*TEXTS)))
        if benchmarks:
            out.stat("results", made.shown())
            out.stat("means", made.means())
        out.stat("remarks", made.document["remarks"])


def _category_of_look_alikes() -> pl.Expr:
    none = pl.col("categories").is_null() | (pl.col("categories").list.len() == 0)
    return pl.when(none & pl.col("seed_category").is_not_null()).then(pl.concat_list("seed_category")).otherwise("categories").alias("categories")


def _schema(rows: StepInput) -> Mapping[str, Any]:
    """Columns and types of some rows; nothing where there is none."""
    return next((block.schema for block in rows.blocks()), {})


def _something(asked: pl.DataFrame, first: pl.DataFrame, further: int, labels: Sequence[str], ctx: Context) -> None:
    """Raise InputError where there is nothing to score: no verdict, no row that was asked about, or no label."""
    missing = None
    if not first.height:
        missing = "no verdict to score" + (f" ({further:,} are of further draws: only draw 0 counts)" if further else "")
    elif not asked.height:
        missing = "no row to score"
    elif asked.select(pl.all_horizontal(pl.col(c).is_null().all() for c in labels)).item():
        missing = f"none of the {asked.height:,} rows has a label"
    if missing:
        raise InputError(
            with_losses(missing, ctx), where=f"step {ctx.step}", hint="`guardkit rejects RUN` shows rows that the steps before did not keep"
        )


def _matched(asked: pl.DataFrame, rows: pl.DataFrame, inputs: Mapping[str, StepInput]) -> dict[str, dict[str, int]]:
    """For each guard how many of its verdicts are about the rows that were asked about, how many about others, and of how many rows it has none.

    Raises:
        InputError: a guard of which no verdict is about one of them.
    """
    found = rows.select("guard_model", pl.col("parent").is_in(asked["id"].implode()).alias("mine"))
    out = {}
    for guard, of, mine in found.group_by("guard_model", maintain_order=True).agg(pl.len(), pl.col("mine").sum()).iter_rows():
        if not mine:
            raise none_match(of, f"{inputs['rows'].step}, guard {guard}", asked.height)
        out[guard] = {"asked": asked.height, "verdicts": mine, "without": asked.height - mine, "of_other_rows": of - mine}
    return out
