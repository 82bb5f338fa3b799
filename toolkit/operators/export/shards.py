"""Operator `shards`."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.guards import Guard, input_fingerprint
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.records import Column
from toolkit.shards import ShardWriter, card


class ShardsConfig(Config):
    """Options of `shards`."""

    rows_per_shard: int = Field(50_000, ge=1)
    """Rows in one file at most."""
    title: str = "guardkit shards"
    """Heading of the data card."""
    empty: bool = False
    """Without any row make nothing, instead of stopping with an error."""


class Shards(DatasetOperator):
    """Write rendered rows as parquet shards that TRL and `datasets` read as they are (artefact `shards`), with a manifest and, beside them, a
    data card (artefact `card`). Rows without a split go to `train`.
    """

    name = "shards"
    shape = "sink"
    config_class = ShardsConfig
    example = {"title": "My guard's training data"}
    uses = frozenset({"guard"})
    makes = ("shards", "card")
    config: ShardsConfig
    _columns: tuple[Column, ...] = ()

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "source", "licence", "split"]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        self._columns = tuple(super().columns(inputs, guard).values())
        return {}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        if not inputs["rows"].rows:
            if not self.config.empty:
                hint = "the rejects of the steps before say why; empty: true goes on without shards"
                raise InputError("no rows to write", where=f"step {ctx.step}", hint=hint)
            out.stat("rows", 0)
            return
        writer = ShardWriter(out.folder("shards"), self._columns, self.config.rows_per_shard)
        done = 0
        for block in inputs["rows"].blocks():
            split = block.with_columns(pl.col("split").fill_null("train"))
            for (name,), part in split.group_by("split", maintain_order=True):
                writer.write(part, str(name))
            done += block.height
            out.use(block.height)
            ctx.progress(done, inputs["rows"].rows, "rows")
        guard = {"guard": f"{ctx.guard.name} {ctx.guard.version}", "guard_fingerprint": ctx.guard.fingerprint}
        manifest = writer.finish({**guard, "guard_input": input_fingerprint(ctx.guard), "step": ctx.step})
        (out.folder("card") / "README.md").write_text(card(manifest, self.config.title), encoding="utf-8")
        out.stat("rows", manifest["rows"])
