"""Operator `render_sft`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from toolkit.guards import THINKS, Guard, input_columns, parse, render_input, render_output, sections
from toolkit.operators.base import Columns, Config, Context, RowOperator
from toolkit.operators.export._messages import MESSAGES, assistant, carried, shown_fault, user, with_known_media, with_policy
from toolkit.records import Column, child_id, to_polars

COUNTS = (
    Column("steps", "int64", doc="reasoning steps over all tasks"),
    Column("step_chars", "int64", doc="their characters (Unicode code points), headings left out"),
)


class RenderSftConfig(Config):
    """Options of `render_sft`."""

    format: Literal["messages", "text"] = "messages"
    """Chat messages, which the model's chat template turns into text, or plain text."""
    reasoning: bool = True
    """Whether a completion has its reasoning; without, it is the answers alone, in the guard's form, for a twin that is trained on labels only. Of a
    guard with a `switch` the input then ends with the word that asks for this, and rows have ids of their own: one guard learns both."""
    keep: list[str] = []
    """Further columns that the rendered rows keep: `[group]` for shards that later ones extend, so that a group stays in its split."""


class RenderSft(RowOperator):
    """Rows as a supervised trainer reads them: `prompt` (instruction and interaction) and `completion` (reasoning and answers), in TRL's
    prompt-completion format. The same input is rendered for sampling, so training and inference cannot differ. Labels with their origin,
    categories and language are kept, and the reasoning's steps and their characters counted, for the tables of the data card.
    """

    name = "render_sft"
    version = 2
    row_local = True
    uses = frozenset({"guard.tasks", "guard.input", "guard.output"})
    own_guards = True
    config_class = RenderSftConfig
    config: RenderSftConfig

    def identity(self) -> dict[str, Any]:
        return {n: v for n, v in super().identity().items() if (n != "reasoning" or not v) and (n != "keep" or v)}

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "context", "prompt", "response", "reasoning", "teacher", "source", "licence", "split"]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = super().columns(inputs, guard)
        input_columns(guard, have)
        kind = MESSAGES if self.config.format == "messages" else "string"
        new = [Column("prompt", kind), Column("completion", kind)]
        kept = [*(have[n] for n in ("source", "licence", "split", "teacher")), *carried(have, guard, self.config.keep)]
        return {c.name: c for c in [have["id"], *new, *kept, *COUNTS]}

    def media_fault(self, guard: Guard) -> str | None:
        return shown_fault(guard, self.config.format)

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        guard = ctx.guard
        chat = self.config.format == "messages"
        kind = MESSAGES if chat else "string"
        types = to_polars((Column("prompt", kind), Column("completion", kind), *COUNTS))

        alone = {} if self.config.reasoning else {THINKS: False}

        def render(row: dict[str, Any]) -> dict[str, Any]:
            asked, completion = render_input(guard, row | alone), row["reasoning"]
            if not self.config.reasoning:
                read = parse(guard, completion)
                completion = render_output(guard, {}, read.labels, read.data)
            steps = [step for part in sections(guard, completion) for step in part.steps]
            counts = {"steps": len(steps), "step_chars": sum(map(len, steps))}
            return (
                {"prompt": user(asked), "completion": assistant(completion), **counts}
                if chat
                else {"prompt": asked, "completion": completion, **counts}
            )

        rows, texts = with_policy(rows, guard)
        done = pl.struct(*texts, "reasoning").map_elements(render, return_dtype=pl.Struct(types))
        rows = with_known_media(rows, guard)
        if alone and guard.switch is not None:
            rows = rows.with_columns(pl.format(child_id("{}", "answers_alone"), "id").alias("id"))
        return rows.with_columns(done.alias("_done")).with_columns(pl.col("_done").struct.field(n).alias(n) for n in types).drop("_done")
