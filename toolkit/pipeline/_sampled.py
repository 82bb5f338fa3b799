"""Some rows of a step, before it is built: what `plan` looks at.

Rows of a finished step come from its folder. Else the steps before it are run on a sample, in a temporary folder: sources that are on this
machine are read whole, every other step sees the sample only. No model is asked or trained, no network is used, nothing in the run's folder
or the workspace is touched. What depends on a model's answers, on training or on data that is not here cannot be sampled: `NotSampled` says why.

The rows are spread evenly over the step, not its first. A step that compares rows (duplicates) finds fewer of them in a sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.common.errors import GuardkitError
from toolkit.common.folders import new_folder
from toolkit.operators import Context, GenerationOperator
from toolkit.operators.base import StepInput
from toolkit.pipeline._build_step import build_step
from toolkit.pipeline._counts import Counts
from toolkit.pipeline._finished import StepFolder
from toolkit.pipeline._in_memory import FrameInput, FrameOutput
from toolkit.pipeline._inputs import whole_rows
from toolkit.pipeline._models import Unbuilt
from toolkit.pipeline._planned import Plan, PlannedStep, as_planned
from toolkit.pipeline._row_engine import LOCAL
from toolkit.pipeline._row_steps import Work
from toolkit.pipeline._store import STEP, StepWriter


class NotSampled(Exception):  # noqa: N818 (named by what happened)
    """Why there are no rows to look at."""


class SampledRows(FrameInput):
    """Some rows of a step.

    Attributes:
        step: its id.
        drawn: rows of an earlier step that were looked at, `of` of which there are: what became of them is here.
        of: likewise; equal to `drawn` where nothing was left out.
        whole: all rows, where they are those of a finished step or are made without one; None where they were made for the sample.
    """

    def __init__(self, step: str, frame: pl.DataFrame, drawn: int, of: int, whole: StepInput | None = None) -> None:
        super().__init__(step, frame)
        self.drawn, self.of, self.whole = drawn, of, whole

    def artefact(self, name: str) -> Path:
        """A folder that the finished step made (InputError where it is not finished)."""
        return super().artefact(name) if self.whole is None else self.whole.artefact(name)


class Sampler:
    """Rows of a plan's steps.

    Args:
        plan: the checked recipe.
        done: its finished steps, as `toolkit.pipeline.finished` gives them.
        n: rows of a sample, at most.
        folder: an empty temporary folder.
    """

    def __init__(self, plan: Plan, done: Mapping[str, StepFolder], n: int, folder: Path) -> None:
        self._plan, self._done, self._n, self.folder = plan, done, n, folder
        self._known: dict[str, SampledRows | NotSampled] = {}

    def of(self, step: str) -> SampledRows:
        """Some rows of a step.

        Raises:
            NotSampled: there are none to look at.
        """
        waiting = [step]
        while waiting:  # no recursion: a chain of steps may be long
            planned = self._plan.steps[waiting[-1]]
            try:
                if before := [s for s in self._before(planned) if s not in self._known]:
                    waiting += before
                    continue
                self._known[planned.id] = self._known.get(planned.id) or self._make(planned)
            except NotSampled as e:
                self._known[planned.id] = e
            waiting.pop()
        found = self._known[step]
        if isinstance(found, NotSampled):
            raise found
        return found

    def own(self, step: str, rows: StepInput) -> SampledRows:
        """Some of the rows that a step which asks a model makes itself, to ask about."""
        frame = spread(rows, self._n)
        return SampledRows(step, frame, frame.height, rows.rows or 0, rows)

    def inputs(self, step: str) -> dict[str, StepInput]:
        """Inputs of a step that asks a model: rows as `of` gives them; an artefact where it is, or would be.

        Raises:
            NotSampled: there are no rows to look at.
        """
        planned = self._plan.steps[step]
        op = planned.operator
        out: dict[str, StepInput] = {}
        for name, source in planned.inputs.items():
            made = op.takes.get(name if name in op.inputs else "*") is not None
            out[name] = (self._done.get(source) or Unbuilt(source, self.folder)) if made else self.of(source)
        return out

    def _whole(self, step: str) -> StepFolder | None:
        done = self._done.get(step)
        return done if done is not None and done.step == step else None

    def _before(self, planned: PlannedStep) -> list[str]:
        """The steps whose rows make a step's."""
        if self._whole(planned.id) is not None:
            return []
        op = planned.operator
        if isinstance(op, GenerationOperator):
            raise NotSampled(f"the rows depend on what the step {planned.id!r} gets from a model")
        if not op.deterministic:
            raise NotSampled(f"the rows depend on the step {planned.id!r} ({op.name}), which is not run for a plan")
        if op.shape == "source" and not _is_here(op, self._plan.context(planned.id)):
            raise NotSampled(f"the data of the step {planned.id!r} is not on this machine")
        if needs := self._plan.needs([planned.id]):
            raise NotSampled(needs[0])
        return list(planned.inputs.values())

    def _make(self, planned: PlannedStep) -> SampledRows:
        if (done := self._whole(planned.id)) is not None:
            return self._drawn(planned.id, done, done)
        op, made = planned.operator, {source: self.of(source) for source in planned.inputs.values()}
        try:
            built = self._built(planned, made)
        except GuardkitError as e:
            raise NotSampled(f"the step {planned.id!r} does not run on a sample: {e.message}") from e
        if isinstance(built, StepFolder):
            return self._drawn(planned.id, built)
        came = made[next(iter(planned.inputs.values()))]
        if op.all_inputs:
            every = made.values()
            return SampledRows(planned.id, built, sum(m.drawn for m in every), sum(m.of for m in every))
        if op.shape not in ("expand", "pick"):
            return SampledRows(planned.id, built, came.drawn, came.of)
        of = round(came.of * built.height / came.drawn) if came.drawn else 0  # its rows are others than those that came
        frame = spread(FrameInput(planned.id, built), self._n)
        return SampledRows(planned.id, frame, frame.height, max(of, frame.height))

    def _drawn(self, step: str, rows: StepFolder, whole: StepFolder | None = None) -> SampledRows:
        frame = whole_rows(self._plan, step, spread(rows, self._n))
        return SampledRows(step, frame, frame.height, rows.rows, whole)

    def _built(self, planned: PlannedStep, made: Mapping[str, SampledRows]) -> StepFolder | pl.DataFrame:
        """Its rows on those of the samples; those of a source, which are all that it has, in a folder."""
        op, folder = planned.operator, self.folder / planned.id
        counts = Counts(planned.id, op.name, op.shape)
        work = Work(op, self._plan.context(planned.id), planned.columns, counts)
        inputs = {name: made[source] for name, source in planned.inputs.items()}
        with as_planned(self._plan, [planned]):
            if inputs:
                out = FrameOutput([counts], planned.columns, folder)
                build_step(LOCAL, [work], inputs, out)
                out.check()
                return out.kept
            with new_folder(folder, STEP) as new, StepWriter(new, planned.columns, [counts]) as writer:
                build_step(LOCAL, [work], {}, writer)
                writer.close({"step": planned.id, "use": op.name, "version": op.version, "fingerprint": "sample"})
        return StepFolder.open(folder)


def spread(rows: StepInput, n: int) -> pl.DataFrame:
    """`n` rows (all, where there are fewer), spread evenly over a step: row floor((i + 0.5) R / n) of its R rows for each i."""
    total = rows.rows or 0
    wanted = pl.Series([(2 * i + 1) * total // (2 * n) for i in range(n)] if total > n else range(total), dtype=pl.Int64)
    kept, start = [], 0
    for block in rows.blocks():
        here = wanted.filter((wanted >= start) & (wanted < start + block.height)) - start
        kept.append(block[here])
        start += block.height
    return pl.concat(kept) if kept else pl.DataFrame()


def _is_here(op: Any, ctx: Context) -> bool:
    """Whether a source's files are on this machine: one that can name its files has some for each source."""
    if not hasattr(op, "paths"):
        return True
    try:
        return all(op.paths(source, ctx) for source in op.sources(ctx))
    except GuardkitError:
        return False
