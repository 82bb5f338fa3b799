"""Operator `mine`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard
from toolkit.operators._words import check_words
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.judge._verdict_figures import MINED
from toolkit.operators.judge._votes import check_draws
from toolkit.records import MEDIA, has_media, load_record


class MineConfig(Config):
    """Options of `mine`."""

    tasks: list[str] | None = Field(None, min_length=1)
    """Tasks to look at (default: all of the guard's)."""


STATUSES = ("hard", "always_right", "always_wrong", "undecided", "no_label")


class Mine(DatasetOperator):
    """Find the hard samples: rows on whose generations the guards disagree with the label and with each other (paper, section 3.3).

    For a task that the row has a label for: *hard* means at least one right and one wrong verdict; *always_right* and *always_wrong* that every
    generation was read and all are so; *undecided* the rest. A row is hard if any task is; else always_wrong if any task is; else undecided if any
    task is; else always_right; without any label `no_label`. All but the hard ones are set aside under these names: always wrong means a
    doubtful label rather than a lesson. A generation that failed, and so is missing, counts as unread. Generations merge into their row. Memory:
    about 200 bytes per generation, for ids and verdicts.
    """

    name = "mine"
    shape = "merge"
    carries_media = True
    config_class = MineConfig
    example = {"tasks": ["prompt"]}
    uses = frozenset({"guard.tasks"})
    figures = MINED
    config: MineConfig
    _media: Sequence[str] = ()
    """Its column, where the rows have it (`columns`)."""

    def reads(self, guard: Guard) -> list[str]:
        return [*load_record("seed", guard.task_names).names, "parent", "guard_model", "draw", *(f"verdict_{t}" for t in guard.task_names)]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        for task in self.config.tasks or []:
            if task not in guard.task_names:
                raise InputError(f"the guard {guard.name!r} has no task {task!r}", hint=did_you_mean(task, guard.task_names))
        have = super().columns(inputs, guard)
        self._media = [MEDIA] if has_media(have) else []
        return {c.name: c for c in load_record("hard", guard.task_names).with_optional(self._media)}

    def factor(self, inputs: Sequence[str]) -> float | None:
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        every = ctx.guard.task_names
        tasks = [t for t in every if t in (self.config.tasks or every)]
        verdicts = inputs["rows"]
        needed = ["parent", "guard_model", "draw", *(f"{kind}_{t}" for t in every for kind in ("label", "verdict"))]
        types = dict.fromkeys(needed, pl.String) | {"draw": pl.Int64}
        rows = pl.concat([pl.DataFrame(schema=types), *verdicts.blocks(needed)])
        check_words(rows, ctx.guard, f"rows of {verdicts.step!r}")
        check_draws(rows, ctx.step)
        table = count_verdicts(rows, every, tasks)
        del rows
        self._write(verdicts, table, every, out)
        for status in STATUSES:
            out.stat(status, table.filter(pl.col("status") == status).height)
        out.stat("rows", table.height)
        out.stat("with_unread", table.filter(pl.any_horizontal(pl.col(f"n_unread_{t}") > 0 for t in tasks)).height)
        out.stat("hard_by_task", {t: table.filter(pl.col(f"status_{t}") == "hard").height for t in tasks})

    def _write(self, verdicts: StepInput, table: pl.DataFrame, every: Sequence[str], out: Output) -> None:
        """Each row once, as the first of its generations has it, with its counts."""
        seeds = load_record("seed", tuple(every)).names
        left = table["parent"]
        for block in verdicts.blocks([*seeds, *self._media, "parent"]):
            if left.is_empty():
                break
            first = block.unique("parent", keep="first", maintain_order=True).filter(pl.col("parent").is_in(left.implode()))
            left = left.filter(~left.is_in(first["parent"].implode()))
            rows = first.with_columns(pl.col("parent").alias("id")).drop("parent").join(table, left_on="id", right_on="parent", maintain_order="left")
            out.keep(rows.filter(pl.col("status") == "hard").drop("status"))
            rest = rows.filter(pl.col("status") != "hard")
            out.set_aside(rest.drop("status"), rest["status"])
        out.merge_count((verdicts.rows or 0) - table.height)


def count_verdicts(rows: pl.DataFrame, every: Sequence[str], tasks: Sequence[str]) -> pl.DataFrame:
    """For each parent, in order of first appearance: counts and status of each task, and the row's own `status`.

    Every row is taken to have been asked of every guard as often as any row was: a generation that is not there counts as unread.

    Args:
        rows: `parent`, `guard_model`, `draw`, and ``label_<task>`` and ``verdict_<task>`` for each task.
        every: all tasks of the guard.
        tasks: those to look at; the others count as having no label.
    """
    asked = rows.select(pl.struct("guard_model", "draw").n_unique()).item() if rows.height else 0
    aggregates = []
    for t in every:
        label, verdict = pl.col(f"label_{t}"), pl.col(f"verdict_{t}")
        known = label.is_not_null() & pl.lit(t in tasks)
        aggregates += [
            (known & (verdict == label)).fill_null(False).sum().cast(pl.Int64).alias(f"n_right_{t}"),
            (known & (verdict != label)).fill_null(False).sum().cast(pl.Int64).alias(f"n_wrong_{t}"),
            known.any().alias(f"_known_{t}"),
        ]
    table = rows.group_by("parent", maintain_order=True).agg(aggregates)
    for t in every:
        right, wrong = pl.col(f"n_right_{t}"), pl.col(f"n_wrong_{t}")
        unread = pl.when(pl.col(f"_known_{t}")).then(asked - right - wrong).otherwise(0).cast(pl.Int64)
        status = (
            pl.when(~pl.col(f"_known_{t}"))
            .then(pl.lit("no_label"))
            .when((right > 0) & (wrong > 0))
            .then(pl.lit("hard"))
            .when(right == asked)
            .then(pl.lit("always_right"))
            .when(wrong == asked)
            .then(pl.lit("always_wrong"))
            .otherwise(pl.lit("undecided"))
        )
        table = table.with_columns(unread.alias(f"n_unread_{t}"), status.alias(f"status_{t}"))
    own: pl.Expr = pl.lit("no_label")
    for kind in ("always_right", "undecided", "always_wrong", "hard"):  # the last that holds wins
        own = pl.when(pl.any_horizontal(pl.col(f"status_{t}") == kind for t in tasks)).then(pl.lit(kind)).otherwise(own)
    return table.with_columns(own.alias("status")).drop(f"_known_{t}" for t in every)
