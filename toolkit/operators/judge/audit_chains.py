"""Operator `audit`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import write_atomic
from toolkit.evaluation import CHAINS, chain_flips, chain_settled, chain_stages, redrawn
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.figures import Figure, Finished, Table, stat


class AuditConfig(Config):
    """Options of `audit`."""

    bootstrap: int = Field(1000, ge=100, le=1_000_000)
    """Draws behind each interval that has no formula."""


def _stages(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    shown = [s for s in value if not s["stage"].startswith("step")]
    rows = [
        [s["task"], s["model"], s["stage"], s["n"], *(s[n] for n in ("agree", "agree_low", "agree_high", "chance", "f1", "auroc"))] for s in shown
    ]
    names = ("rows", "as final", "low", "high", "chance", "F1", "AUROC")
    if rows:
        yield Table(f"The label along the chain ({step.step}): percent", ("task", "guard", "where"), names, rows, parts=True)


def _flips(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    rows = [[f["task"], f["model"], f["change"], f["read"], f["flips"], f["flip_rate"], f["flip_low"], f["flip_high"]] for f in value]
    if rows:
        title = f"Verdicts that are others with another chain ({step.step})"
        yield Table(title, ("task", "guard", "chain"), ("read", "flips", "%", "low", "high"), rows, parts=True)


class Audit(DatasetOperator):
    """Say whether guards' reasoning matters: where along the chain the verdict is settled, and what turns it (docs/audit.md).

    Reads the rows of `force_answers`; `from: {rows: FORCED, redraws: VERDICTS}` also counts how often verdicts of further draws differ from the first
    one. Writes the artefact `audit` (audit.json): `stages`, `settled` and `flips`, as `toolkit.evaluation.chain_stages`, `chain_settled`,
    `chain_flips` and `redrawn` make them. Memory: about 200 bytes a row and task.
    """

    name = "audit"
    shape = "sink"
    inputs = ("rows", "*")
    own_guards = True
    carries_media = True
    uses = frozenset({"guard.tasks"})
    makes = ("audit",)
    config_class = AuditConfig
    figures = (
        Figure("stages", "the label before the chain and along it, held against the final verdict", stat("stages", []), _stages),
        Figure("flips", "how often another chain gives another verdict", stat("flips", []), _flips),
    )
    config: AuditConfig

    def reads(self, guard: Guard) -> list[str]:
        each = ("label", "verdict", "forced", "forced_probability")
        return ["row", "guard_model", "probe", "step", "steps", "swapped_by", *(f"{kind}_{t}" for t in guard.task_names for kind in each)]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        super().columns(inputs, guard)
        for name in inputs:
            if name not in ("rows", "redraws"):
                raise InputError(f"audit has no input called {name!r}", hint=did_you_mean(name, ["rows", "redraws"]))
        needed = ("parent", "guard_model", "draw", *(f"verdict_{t}" for t in guard.task_names))
        if "redraws" in inputs and (lacking := next((n for n in needed if n not in inputs["redraws"]), None)):
            raise InputError(f"audit reads the column {lacking!r} of its input 'redraws', which that step does not write")
        return {}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        lines = pl.concat([pl.DataFrame(schema=CHAINS), *(self._lines(block, ctx.guard) for block in inputs["rows"].blocks(self.reads(ctx.guard)))])
        if not lines.height:
            raise InputError("no row to audit", where=f"step {ctx.step}", hint="`guardkit rejects RUN` shows rows that the steps before did not keep")
        out.use(inputs["rows"].rows or 0)
        positives = {t.name: t.positive for t in ctx.guard.tasks}
        how: dict[str, Any] = {"draws": self.config.bootstrap}
        found: dict[str, Any] = {
            "stages": chain_stages(lines, positives, **how),
            "settled": chain_settled(lines),
            "flips": chain_flips(lines, positives),
        }
        if "redraws" in inputs:
            found["flips"] += redrawn(*self._draws(inputs["redraws"], ctx.guard), positives, **how)
        write_atomic(out.folder("audit") / "audit.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        for name, value in found.items():
            out.stat(name, value)

    def _lines(self, rows: pl.DataFrame, guard: Guard) -> pl.DataFrame:
        """The lines of `CHAINS` in a block: of a swapped chain that of its task alone."""
        parts = []
        for task in guard.tasks:
            mine = rows.filter(pl.col("swapped_by").is_null() | (pl.col("swapped_by") == task.name))
            mine = mine.filter(pl.col(f"forced_{task.name}").is_not_null())
            parts.append(
                mine.select(
                    "probe",
                    "step",
                    "steps",
                    model="guard_model",
                    id="row",
                    task=pl.lit(task.name),
                    gold=f"label_{task.name}",
                    final=f"verdict_{task.name}",
                    label=f"forced_{task.name}",
                    probability=f"forced_probability_{task.name}",
                ).select(*CHAINS)
            )
        return pl.concat(parts).cast(CHAINS)  # type: ignore[arg-type]

    def _draws(self, of: StepInput, guard: Guard) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The first verdicts and those of further draws, of tasks that are about the row."""
        names = ["parent", "guard_model", "draw", *(f"verdict_{t}" for t in guard.task_names)]
        rows = pl.concat(list(of.blocks(names)))
        parts = [rows.select("draw", model="guard_model", id="parent", task=pl.lit(t), verdict=f"verdict_{t}") for t in guard.task_names]
        whole = pl.concat(parts)
        return whole.filter(pl.col("draw") == 0), whole.filter(pl.col("draw") > 0)
