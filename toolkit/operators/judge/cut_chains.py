"""Operator `cut_chains`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard, not_ours
from toolkit.judging import PROBES, Probe, chain_probes
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.records import Column, child_id, to_polars

_ADDED = (
    Column("row", "string", doc="id of the row that was judged"),
    Column("probe", "string", doc="what the guard is to answer behind: before, step, same, other"),
    Column("step", "int64", doc="steps of the chain that are there"),
    Column("steps", "int64", doc="steps of the row's own chain"),
    Column("swapped_by", "string", nullable=True, doc="of another row's chain, the task by whose verdict it was chosen"),
    Column("donor", "string", nullable=True, doc="then the id of that row"),
    Column("begun", "string", doc="the beginning of an output; empty for none"),
    Column("opened", "bool", doc="whether the row's own output opens its reasoning by itself"),
)
_LEFT = ("output", "output_key", "finish", "error", "tokens")
"""Columns of a generation that say nothing of a beginning."""


class CutChainsConfig(Config):
    """Options of `cut_chains`."""

    chains: bool = True
    """`false`: each row is asked once, without a chain, whether its own output has one or not: so a twin that was trained without reasoning."""
    swaps: bool = True
    """Whether a row is also given the whole chains of other rows: one of the same verdict and one of another, for each task."""


class CutChains(DatasetOperator):
    """From verdicts the beginnings of outputs behind which `force_answers` asks a guard: none, its own chain up to each step, other rows' chains.

    A conclusion counts as a step. Other rows' chains are drawn by the recipe's seed and the rows' ids: of the same verdict each chain is given once,
    and never to its own row. Only the first draw of a guard counts. A row whose output has no chain is set aside as `no_chain`, one without a verdict
    as `no_verdict`. Memory: all outputs.
    """

    name = "cut_chains"
    shape = "pick"
    own_guards = True
    uses = frozenset({"guard.tasks", "guard.output", "seed"})
    config_class = CutChainsConfig
    config: CutChainsConfig

    def used(self) -> frozenset[str]:
        return self.uses if self.config.swaps and self.config.chains else self.uses - {"seed"}

    def identity(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json", exclude={"chains"} if self.config.chains else None)

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "parent", "guard_model", "draw", "prompt", "response", "context", "output", *(f"verdict_{t}" for t in guard.task_names)]

    def writes(self, guard: Guard) -> list[Column]:
        return list(_ADDED)

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        if guard.grammar is not None:
            raise not_ours(guard, "has no reasoning of ours to cut")
        return {n: c for n, c in super().columns(inputs, guard).items() if not self._says_nothing(n)}

    def _says_nothing(self, column: str) -> bool:
        """Whether it is about the output, and not about a beginning or the verdict."""
        return column in _LEFT or (self.config.chains and column.startswith("unread_"))

    def factor(self, inputs: Any) -> float | None:
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        rows = pl.concat(list(inputs["rows"].blocks())) if inputs["rows"].rows != 0 else pl.DataFrame()
        if not rows.height:
            return
        out.set_aside(rows.filter(pl.col("draw") > 0), "further_draw")
        first = rows.filter(pl.col("draw") == 0)
        for _, mine in first.group_by("guard_model", maintain_order=True):
            if twice := mine.filter(pl.col("parent").is_duplicated())["parent"].to_list():
                raise InputError(f"two outputs of one guard on the row {twice[0]!r}", where=f"step {ctx.step}")
            self._cut(mine, out, ctx)

    def _cut(self, rows: pl.DataFrame, out: Output, ctx: Context) -> None:
        """The beginnings of one guard's outputs."""
        read = rows.select("response", "output", *(f"verdict_{t}" for t in ctx.guard.task_names), id="parent").iter_rows(named=True)
        seed = ctx.rng_seed("swaps") if "seed" in self.used() else 0
        if self.config.chains:
            probes, left = chain_probes(ctx.guard, read, swaps=self.config.swaps, seed=seed)
        else:
            probes, left = [Probe(row["id"], PROBES[0], "", opened=True, step=0, steps=0) for row in read], {}
        if left:
            gone = rows.filter(pl.col("parent").is_in(list(left)))
            out.set_aside(gone, pl.Series([left[i] for i in gone["parent"]], dtype=pl.String))
        made = pl.DataFrame(
            [(p.row, p.kind, p.step, p.steps, p.task, p.donor, p.begun, p.opened) for p in probes],
            schema=to_polars(_ADDED),
            orient="row",
        )
        own = rows.drop("parent", *(n for n in rows.columns if self._says_nothing(n))).with_columns(row=rows["parent"])
        whole = made.join(own, on="row", how="left", maintain_order="left").rename({"id": "parent"})
        number = pl.int_range(pl.len()).over("row")
        ids = [child_id(parent, "chain", n) for parent, n in zip(whole["parent"], whole.select(number).to_series(), strict=True)]
        out.stat("probes", {kind: int((made["probe"] == kind).sum()) for kind in PROBES})
        out.keep(whole.with_columns(id=pl.Series(ids, dtype=pl.String)))
