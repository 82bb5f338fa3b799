"""Operator `render_dpo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from toolkit.guards import Guard, input_columns, render_input
from toolkit.operators.base import Columns, Config, Context, RowOperator
from toolkit.operators.export._messages import MESSAGES, assistant, carried, shown_fault, user, with_known_media, with_policy
from toolkit.records import Column, to_polars


class RenderDpoConfig(Config):
    """Options of `render_dpo`."""

    format: Literal["messages", "text"] = "messages"
    """Chat messages, which the model's chat template turns into text, or plain text."""
    keep: list[str] = []
    """Further columns that the rendered rows keep: `[group]` for shards that later ones extend, so that a group stays in its split."""


class RenderDpo(RowOperator):
    """Preference pairs as a DPO trainer reads them: `prompt`, `chosen`, `rejected` in TRL's preference format, and `weight`.

    The guards that wrote them are kept, and labels and categories where the rows have them. TRL itself drops the weight without a word;
    guardkit's `train_dpo` uses it.
    """

    name = "render_dpo"
    version = 2
    row_local = True
    uses = frozenset({"guard.tasks", "guard.input"})
    own_guards = True
    config_class = RenderDpoConfig
    config: RenderDpoConfig

    def identity(self) -> dict[str, Any]:
        return {n: v for n, v in super().identity().items() if n != "keep" or v}

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "context", "prompt", "response", "chosen", "rejected", "weight", "task", "source", "licence", "split"]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        input_columns(guard, have)
        kind = MESSAGES if self.config.format == "messages" else "string"
        new = [Column(n, kind) for n in ("prompt", "chosen", "rejected")]
        kept = [*(have[n] for n in ("weight", "task", "source", "licence", "split")), *carried(have, guard, self.config.keep)]
        kept += [have[n] for n in ("chosen_model", "rejected_model") if n in have]
        return {c.name: c for c in [have["id"], *new, *kept]}

    def media_fault(self, guard: Guard) -> str | None:
        return shown_fault(guard, self.config.format)

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        guard = ctx.guard
        chat = self.config.format == "messages"
        names = ("prompt", "chosen", "rejected")
        types = to_polars(tuple(Column(n, MESSAGES if chat else "string") for n in names))

        def render(row: dict[str, Any]) -> dict[str, Any]:
            asked = render_input(guard, row)
            if not chat:
                return {"prompt": asked, "chosen": row["chosen"], "rejected": row["rejected"]}
            return {"prompt": user(asked), "chosen": assistant(row["chosen"]), "rejected": assistant(row["rejected"])}

        rows, texts = with_policy(rows, guard)
        done = pl.struct(*texts, "chosen", "rejected").map_elements(render, return_dtype=pl.Struct(types))
        rows = with_known_media(rows, guard)
        return rows.with_columns(done.alias("_done")).with_columns(pl.col("_done").struct.field(n).alias(n) for n in types).drop("_done")
