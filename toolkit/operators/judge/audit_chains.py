"""Operator `audit`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import write_atomic
from toolkit.evaluation import CHAINS, ROWS, chain_flips, chain_settled, chain_stages, redrawn
from toolkit.guards import Guard
from toolkit.judging import answered_tasks
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.figures import Figure, Finished, Table, stat
from toolkit.operators.judge._audit_sides import contradictions, held_against


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


def _contradictions(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    rows = [[c["task"], c["model"], c["stated"], c["contradict"], c["rate"], c["low"], c["high"]] for c in value if c["stated"]]
    if rows:
        title = f"Chains that conclude another label than the answer ({step.step})"
        yield Table(title, ("task", "guard"), ("conclude one", "another", "%", "low", "high"), rows, parts=True)


def _twin(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    for one in value:
        rows = [
            [h["task"], h["measure"] if h["fpr"] is None else f"recall at {h['fpr']:g} % FPR"]
            + [h[n] for n in ("value_a", "value_b", "difference", "low", "high", "p")]
            for h in one["held"]
        ]
        if rows:
            names = (one["guard"], one["model"], "difference", "low", "high", "p")
            yield Table(f"{one['guard']} and its twin without reasoning ({step.step})", ("task", "figure"), names, rows, parts=True)


_INPUTS = {
    "verdicts": ("parent", "guard_model", "draw", "output", "response"),
    "redraws": ("parent", "guard_model", "draw"),
    "twin": ("row", "guard_model", "response"),
}
"""Further inputs, and the columns that they must have beside those of each task."""
_OF_TASK = {"verdicts": ("label", "verdict", "unread"), "redraws": ("verdict",), "twin": ("label", "verdict", "unread", "forced_probability")}


class Audit(DatasetOperator):
    """Say whether guards' reasoning matters: where along the chain the verdict is settled, and what turns it (docs/audit.md).

    Reads the rows of `force_answers`, and by name: `verdicts`, those that were cut, for how often a chain concludes another label than the answer
    says; `redraws`, of further draws, for how often their verdict is another one; `twin`, the rows of `force_answers` of a guard without reasoning
    (cut with `chains: false`), which with `verdicts` is held against the guard. Writes the artefact `audit` (audit.json): `stages`, `settled` and
    `flips` (`toolkit.evaluation.chain_stages`, `chain_settled`, `chain_flips`, `redrawn`), `contradictions` and `twin`, as the command
    `guardkit audit` has them, for each guard. Memory: about 200 bytes a row and task, and all outputs of `verdicts`.
    """

    name = "audit"
    shape = "sink"
    inputs = ("rows", "*")
    own_guards = True
    carries_media = True
    uses = frozenset({"guard.tasks", "guard.output", "guard.steps", "guard.questions"})
    makes = ("audit",)
    config_class = AuditConfig
    figures = (
        Figure("stages", "the label before the chain and along it, held against the final verdict", stat("stages", []), _stages),
        Figure("flips", "how often another chain gives another verdict", stat("flips", []), _flips),
        Figure("contradictions", "how often a chain concludes another label than the answer", stat("contradictions", []), _contradictions),
        Figure("twin", "a guard held against one without reasoning", stat("twin", []), _twin),
    )
    config: AuditConfig

    def reads(self, guard: Guard) -> list[str]:
        each = ("label", "verdict", "forced", "forced_probability")
        return ["row", "guard_model", "probe", "step", "steps", "swapped_by", *(f"{kind}_{t}" for t in guard.task_names for kind in each)]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        super().columns(inputs, guard)
        for name in inputs:
            if name != "rows" and name not in _INPUTS:
                raise InputError(f"audit has no input called {name!r}", hint=did_you_mean(name, ["rows", *_INPUTS]))
            if name != "rows" and (lacking := next((n for n in _needed(name, guard) if n not in inputs[name]), None)):
                raise InputError(f"audit reads the column {lacking!r} of its input {name!r}, which that step does not write")
        if "twin" in inputs and "verdicts" not in inputs:
            hint = "from: {rows: FORCED, verdicts: VERDICTS, twin: FORCED_TWIN}"
            raise InputError("audit holds a twin against the guard's own verdicts, which are not there", hint=hint)
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
        if "verdicts" in inputs:
            first = _whole(inputs["verdicts"], "verdicts", ctx.guard).filter(pl.col("draw") == 0)
            found["contradictions"] = [
                {"model": model} | one
                for (model,), mine in first.group_by("guard_model", maintain_order=True)
                for one in contradictions(ctx.guard, _outputs(mine, ctx.guard), ctx.guard.task_names)
            ]
            if "twin" in inputs:
                found["twin"] = self._held(first.rename({"parent": "id"}), lines, _whole(inputs["twin"], "twin", ctx.guard), ctx.guard)
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

    def _held(self, first: pl.DataFrame, lines: pl.DataFrame, twin: pl.DataFrame, guard: Guard) -> list[dict[str, Any]]:
        """Each guard against each twin."""
        behind = lines.filter(pl.col("probe") == "step", pl.col("step") == pl.col("steps")).select("model", "id", "task", "probability")
        rows = _as_rows(first, guard).join(behind, on=["model", "id", "task"], how="left", maintain_order="left")
        likely = [pl.col(f"forced_probability_{t}").alias(f"probability_{t}") for t in guard.task_names]
        other = _as_rows(twin.rename({"row": "id"}).with_columns(likely), guard)
        names = [frame["model"].unique(maintain_order=True).to_list() for frame in (rows, other)]
        if both := set(names[0]) & set(names[1]):
            raise InputError(f"the twin has the guard's own name, {both.pop()!r}", where="twin", hint="name them apart where they are sampled")
        whole = pl.concat([pl.DataFrame(schema=ROWS), rows, other], how="diagonal")
        how: dict[str, Any] = {"draws": self.config.bootstrap}
        positives = {t.name: t.positive for t in guard.tasks}
        return [{"model": b, "guard": a, "held": held_against(whole, a, b, positives, **how)} for a in names[0] for b in names[1]]

    def _draws(self, of: StepInput, guard: Guard) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The first verdicts and those of further draws, of tasks that are about the row."""
        names = ["parent", "guard_model", "draw", *(f"verdict_{t}" for t in guard.task_names)]
        rows = pl.concat(list(of.blocks(names)))
        parts = [rows.select("draw", model="guard_model", id="parent", task=pl.lit(t), verdict=f"verdict_{t}") for t in guard.task_names]
        whole = pl.concat(parts)
        return whole.filter(pl.col("draw") == 0), whole.filter(pl.col("draw") > 0)


def _needed(name: str, guard: Guard) -> list[str]:
    """Columns of a further input."""
    return [*_INPUTS[name], *(f"{kind}_{t}" for t in guard.task_names for kind in _OF_TASK[name])]


def _whole(of: StepInput, name: str, guard: Guard) -> pl.DataFrame:
    return pl.concat(list(of.blocks(_needed(name, guard))))


def _outputs(rows: pl.DataFrame, guard: Guard) -> Iterator[tuple[str, str | None, dict[str, str | None]]]:
    for row in rows.iter_rows(named=True):
        yield row["parent"], row["output"], {t: row[f"verdict_{t}"] for t in guard.task_names}


def _as_rows(verdicts: pl.DataFrame, guard: Guard) -> pl.DataFrame:
    """Lines of `toolkit.evaluation.ROWS` of verdicts, for the tasks that are about the row; with probabilities where the verdicts have some."""
    out = []
    for row in verdicts.iter_rows(named=True):
        for task in answered_tasks(guard, row):
            line = {"benchmark": "rows", "id": row["id"], "model": row["guard_model"], "draw": 0, "task": task}
            line |= {"gold": row[f"label_{task}"], "verdict": row[f"verdict_{task}"], "unread": row[f"unread_{task}"]}
            out.append(line | ({"probability": row[f"probability_{task}"]} if f"probability_{task}" in row else {}))
    known = {name: kind for name, kind in ROWS.items() if name in (out[0] if out else ())}
    return pl.DataFrame(out, schema=known)
