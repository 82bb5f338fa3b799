"""Operator `item_response`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.mining import ItemResponse, TaskVotes, Votes, condense, fit_item_response
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.judge._votes import Ballots, Rows, are_verdicts, check_inputs, generation_columns
from toolkit.operators.mining._item_response_figures import FITTED
from toolkit.records import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONE = {
    "difficulty": "how hard the row is, on the scale of the guards' abilities; 0 is the mean row, null where it has no label or no verdict",
    "difficulty_se": "standard error of the difficulty",
}
_TWO = _ONE | {
    "discrimination": "how well the row tells guards apart, 1 is the mean row; below 0 better guards are wrong more often",
    "discrimination_se": "standard error of the discrimination",
    "reversed": "probability that the discrimination is below 0: that the label, not the guards, is wrong",
}


class ItemResponseConfig(Config):
    """Options of `item_response`."""

    tasks: list[str] | None = Field(None, min_length=1)
    """Tasks to look at (default: all of the guard's)."""
    parameters: Literal[1, 2] = 1
    """1: a difficulty for each row; 2: also how well it tells guards apart, and how likely its label is reversed, which takes two guards and better
    six or more."""
    draws: Literal["each", "one"] = "each"
    """Whether each draw is an answer, or a guard's share of right draws its one answer, as fits draws that are much alike."""
    condense: float | None = Field(None, gt=0, lt=1)
    """Share of the rows that make a condensed benchmark: they have true in the column `condensed`. The step says how nearly guards that were held
    out come out on them as on all rows."""


class ItemResponseStep(DatasetOperator):
    """Say how hard each row is, how well it tells guards apart, and how able each guard is, all from verdicts (a logistic model with one or two
    parameters a row). Drops nothing.

    Verdicts come from steps beside the rows (`from: {rows: STEP, verdicts: STEP}`, further ones under any name), or the rows are themselves
    verdicts. A `select` step after it takes what it is for: hard rows (`at_least: {difficulty_prompt: 1}`), suspects of label noise
    (`at_least: {reversed_prompt: 0.5}`), the rows of a condensed benchmark (`where: {condensed: true}`). Memory: about 200 bytes a row and task with
    four guards, and 60 bytes a verdict while it reads.
    """

    name = "item_response"
    shape = "merge"
    inputs = ("rows", "*")
    carries_media = True
    config_class = ItemResponseConfig
    example = {"tasks": ["prompt"], "condense": 0.1}
    uses = frozenset({"guard.tasks", "seed"})
    figures = FITTED
    config: ItemResponseConfig

    def used(self) -> frozenset[str]:
        return self.uses if self.config.condense else self.uses - {"seed"}

    def reads(self, guard: Guard) -> list[str]:
        return ["id", *(f"label_{t}" for t in self._tasks(guard))]

    def writes(self, guard: Guard) -> list[Column]:
        docs = _ONE if self.config.parameters == 1 else _TWO
        out = [Column(f"{name}_{t}", "float64", nullable=True, doc=doc) for t in self._tasks(guard) for name, doc in docs.items()]
        return [*out, Column("condensed", "bool", doc="whether the row is in the condensed benchmark")] if self.config.condense else out

    def _tasks(self, guard: Guard) -> list[str]:
        return [t for t in guard.task_names if t in (self.config.tasks or guard.task_names)]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_inputs(self.name, inputs, self.config.tasks, guard)
        rows = inputs.get("rows", {})
        if len(inputs) < 2 and not are_verdicts(rows, guard):
            raise InputError("item_response has no verdicts to go by", hint="name a step of verdicts: from: {rows: STEP, verdicts: VERDICTS_STEP}")
        out = super().columns(inputs, guard)
        gone = set(generation_columns(guard)) - {"id"} if are_verdicts(rows, guard) else set()
        return {n: c for n, c in out.items() if n not in gone}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        tasks = self._tasks(ctx.guard)
        rows = Rows(inputs["rows"], ctx.guard, ["source"])
        ballots = Ballots(rows, ctx.guard, tasks)
        for source in [i for n, i in inputs.items() if n != "rows"] + ([inputs["rows"]] if rows.of_verdicts else []):
            ballots.read(source)
        votes = _votes(rows, ballots)
        found = {t: self._fit(votes, t) for t in tasks}
        if not any(found.values()):
            raise InputError(
                "no row has a label and a verdict that could be read", where=f"step {ctx.step}", hint="are the verdicts about these rows?"
            )
        scores = self._scores(found, rows.height)
        if self.config.condense:
            positive = {t: ctx.guard.task(t).positive for t in tasks}
            where = rows.table["source"] if "source" in rows.table.columns else None
            made = condense(votes, positive, self.config.condense, ctx.rng_seed("condense"), where)
            scores = scores.with_columns(pl.Series("condensed", made.chosen))
            out.stat("condensed", made.checks)
        at = 0
        for block in rows.blocks():
            new = scores[at : at + block.height]
            out.keep(block.drop(new.columns, strict=False).hstack(new))
            at += block.height
            ctx.progress(at, rows.height, "rows")
        out.merge_count(rows.read - rows.height)
        out.stat("rows", rows.height)
        out.stat("verdicts_of_other_rows", ballots.strangers)
        out.stat("item_response", {t: _figures(f) for t, f in found.items() if f})
        out.stat("remarks", [f"{t}: no row has a label and a verdict" for t, f in found.items() if not f] + _remarks(found))

    def _fit(self, votes: Votes, task: str) -> ItemResponse | None:
        task_votes = votes.tasks[task]
        answers = task_votes.right + task_votes.wrong
        if not answers.any():
            return None
        return fit_item_response(votes.parents, votes.guards, task_votes.right, answers, task, self.config.parameters, draws=self.config.draws)

    def _scores(self, found: Mapping[str, ItemResponse | None], height: int) -> pl.DataFrame:
        names = list(_ONE if self.config.parameters == 1 else _TWO)
        unknown = pl.repeat(None, height, dtype=pl.Float64, eager=True)
        # Rounded: the last bits may depend on the number of threads.
        return pl.DataFrame({f"{n}_{t}": f.rows[n].round(9) if f else unknown for t, f in found.items() for n in names})


def _votes(rows: Rows, ballots: Ballots) -> Votes:
    """Ballots as votes; what is right is the row's own label."""
    import numpy as np

    tasks = {}
    for task, labels in ballots.labels.items():
        gold = rows.codes(task, labels)
        none: NDArray[Any] = np.zeros((rows.height, len(labels) + 1), np.uint16)
        whole = np.stack([ballots.counts[task].get(v, none) for v in ballots.voters], axis=1).astype(np.int32) if ballots.voters else none[:, None]
        counts = whole[..., :-1]
        known = gold >= 0
        right = np.where(known[:, None], np.take_along_axis(counts, np.maximum(gold, 0)[:, None, None], axis=2)[..., 0], 0)
        wrong = np.where(known[:, None], counts.sum(axis=2) - right, 0)
        tasks[task] = TaskVotes(labels, counts, right, wrong, gold.astype(np.int8), whole[..., -1])
    return Votes(rows.table["id"], ballots.voters or ["none"], tasks)


def _figures(found: ItemResponse) -> dict[str, Any]:
    able = [{n: round(v, 6) if isinstance(v, float) else v for n, v in line.items()} for line in found.guards.iter_rows(named=True)]
    fitted = {"spread": found.spread, "spread_se": found.spread_se, "log_likelihood": found.log_likelihood}
    rows = found.rows["difficulty"].count()
    return {"rows": rows, "guards": able, **{n: round(v, 6) for n, v in fitted.items()}, "steps": found.steps, "converged": found.converged}


def _remarks(found: Mapping[str, ItemResponse | None]) -> list[str]:
    return [f"{t}: the fit did not converge in {f.steps} steps; its figures are where it stood" for t, f in found.items() if f and not f.converged]
