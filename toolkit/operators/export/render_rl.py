"""Operator `render_rl`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard, input_columns, render_input
from toolkit.operators.base import Columns, Config, Context, RowOperator, mark
from toolkit.operators.export._messages import MESSAGES, carried, shown_fault, user, with_known_media, with_policy
from toolkit.records import Column, to_polars

HAS_RESPONSE = Column("has_response", "bool", doc="whether the row has a response; a task about one needs no answer without")


class RenderRlConfig(Config):
    """Options of `render_rl`."""

    keep: list[str] = []
    """Further columns that the rendered rows keep."""


class RenderRl(RowOperator):
    """Rows as online reinforcement learning reads them: `prompt` (instruction and interaction, in TRL's conversational format) and the labels that
    `train_grpo` holds what the guard writes against; no answer is there to be learnt. The same input is rendered for sampling, so that training
    and inference cannot differ. After `mine` the tasks' error rates are kept, for a curriculum. A row without a label is rejected (`no_label`).
    """

    name = "render_rl"
    row_local = True
    uses = frozenset({"guard.tasks", "guard.input"})
    own_guards = True
    config_class = RenderRlConfig
    config: RenderRlConfig

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "context", "prompt", "response", "source", "licence", "split"]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        input_columns(guard, have)
        if not self._labels(have, guard):
            needed = ", ".join(f"label_{t}" for t in guard.task_names)
            raise InputError(f"render_rl: no column of labels: {needed}", hint="an answer is held against them")
        rates = [have[n] for t in guard.task_names if (n := f"error_rate_{t}") in have and n not in self.config.keep]
        kept = [*(have[n] for n in ("source", "licence", "split")), *carried(have, guard, self.config.keep), *rates]
        return {c.name: c for c in [have["id"], Column("prompt", MESSAGES), HAS_RESPONSE, *kept]}

    def media_fault(self, guard: Guard) -> str | None:
        return shown_fault(guard, "messages")

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        guard = ctx.guard
        types = to_polars((Column("prompt", MESSAGES),))
        labels = self._labels(rows.collect_schema().names(), guard)
        rows = mark(rows, pl.all_horizontal(pl.col(n).is_null() for n in labels), "no_label", "no task of the row has a label")
        rows, texts = with_policy(rows, guard)
        done = pl.struct(*texts).map_elements(lambda row: user(render_input(guard, row)), return_dtype=types["prompt"])
        rows = with_known_media(rows, guard)
        return rows.with_columns(done.alias("prompt"), pl.col("response").is_not_null().alias("has_response"))

    @staticmethod
    def _labels(columns: Any, guard: Guard) -> list[str]:
        return [n for t in guard.task_names if (n := f"label_{t}") in columns]
