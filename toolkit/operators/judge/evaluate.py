"""Operator `evaluate`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import write_atomic
from toolkit.guards import Guard, check_reading
from toolkit.judging import records_parts, score_table, with_reading
from toolkit.operators._losses import with_losses
from toolkit.operators._words import check_words
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.judge._verdict_figures import EVALUATED
from toolkit.operators.judge._votes import check_draws, none_match


class EvaluateConfig(Config):
    """Options of `evaluate`."""

    names: dict[str, str] = Field(default_factory=dict)
    """What to call a guard in the table: {name in `sample`: title}."""
    reading: str | None = None
    """For labels of which some stand for others (`readings` of the guard's tasks): by which reading labels and verdicts are compared."""


class Evaluate(DatasetOperator):
    """Score the verdicts of each guard on each task: accuracy and F1 with 95 % intervals, beside the majority class and always-positive.

    An output that could not be read, or failed, counts once, as wrong; so that a row which every guard failed on counts too, name the rows that
    were asked about: `from: {rows: VERDICTS, asked: ROWS}`. That no verdict of a guard is about one of them is an error; how many ids match stands in
    the figures (`matched`). So is that there is no verdict or no label at all, and a label or verdict that is none of its task's. Writes the artefact
    `scores` (scores.json). Only the first draw of a guard counts. Memory: about 200 bytes per generation, for ids and verdicts.
    """

    name = "evaluate"
    version = 2
    shape = "sink"
    inputs = ("rows", "*")
    carries_media = True
    config_class = EvaluateConfig
    example = {"names": {"main": "R-SFT"}}
    uses = frozenset({"guard.tasks", "guard.readings"})
    makes = ("scores",)
    figures = EVALUATED
    config: EvaluateConfig

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
        return {}

    def identity(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json", exclude_none=True)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        there = next((block.columns for block in inputs["rows"].blocks()), [])
        columns = [*self.reads(ctx.guard), *(n for t in ctx.guard.task_names if (n := f"unread_{t}") in there)]
        types = dict.fromkeys(columns, pl.String) | {"draw": pl.Int64}
        rows = pl.concat([pl.DataFrame(schema=types), *inputs["rows"].blocks(columns)])
        check_words(rows, ctx.guard, f"rows of {inputs['rows'].step!r}")
        check_draws(rows, ctx.step)
        first, further = rows.filter(pl.col("draw") == 0), rows.filter(pl.col("draw") > 0)
        out.use(first.height)
        out.set_aside(further.select(pl.col("parent").alias("id")), "further_draw")
        labels = [f"label_{t}" for t in ctx.guard.task_names]
        if "asked" in inputs:
            known = {"id": pl.String, **dict.fromkeys(labels, pl.String)}
            asked = pl.concat([pl.DataFrame(schema=known), *inputs["asked"].blocks(list(known))])
            check_words(asked, ctx.guard, f"rows of {inputs['asked'].step!r}")
        else:
            asked = first.unique("parent", keep="first", maintain_order=True).select(pl.col("parent").alias("id"), *labels)
        _something(asked, first, further.height, labels, ctx)
        if "asked" in inputs:
            out.stat("matched", _matched(asked, first, inputs))
        parts = records_parts(first, ctx.guard, asked)
        if (reading := self.config.reading) is not None:
            parts = (with_reading(part, ctx.guard, reading) for part in parts)
        table = score_table(parts, ctx.guard, self.config.names)
        write_atomic(out.folder("scores") / "scores.json", json.dumps(table, indent=1, ensure_ascii=False) + "\n")
        out.stat("scores", table)


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
