"""Running a plan: each group of steps is built in a hidden folder that takes its name when it is whole, or reused.

One process a run folder (a second one is refused). kill -9 at any moment leaves whole steps and hidden leftovers, which the next run
clears up; what a teacher or guard had answered is in the journal. The journal is beside the run's folder, so that all runs of a workspace share
it and a run that is resumed finds it from wherever it is started.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, InputErrors, Missing, Stopped, TooManyFailures
from toolkit.common.folders import new_folder, remove_folder
from toolkit.common.interrupts import raise_swallowed
from toolkit.common.paths import at_door
from toolkit.common.resources import workspace
from toolkit.generation import Journal, Meter
from toolkit.operators import GenerationOperator, RowOperator
from toolkit.pipeline._build_step import build_step
from toolkit.pipeline._counts import Counts
from toolkit.pipeline._ended import after_step, settled
from toolkit.pipeline._failures import failures_of
from toolkit.pipeline._fingerprints import Standing, damage, reusable, stale, up_to_date
from toolkit.pipeline._finished import BLOCK, StepFolder
from toolkit.pipeline._folder import JOURNAL, check_places, log, owned
from toolkit.pipeline._former import write_down
from toolkit.pipeline._inputs import taken
from toolkit.pipeline._lineage import lineage
from toolkit.pipeline._models import check_prices
from toolkit.pipeline._planned import Plan, PlannedStep, as_planned
from toolkit.pipeline._progress import Progress
from toolkit.pipeline._row_engine import LOCAL, Engine
from toolkit.pipeline._row_steps import RowWork, Work
from toolkit.pipeline._selection import closure
from toolkit.pipeline._stop import stopping
from toolkit.pipeline._store import STEP, StepWriter


@dataclass
class Run:
    """A run that is complete.

    Attributes:
        folder: where it is.
        steps: for each step that has a folder of its own, that folder.
        built: ids of the steps that were built, `reused` of those that were up to date.
        damaged: for each step that was built anew because its files were not what its manifest says, what was wrong with them.
        seconds: wall time.
        failures: for each step with failed generations or operator errors, (failed, of how many).
        failed: set when a step has more failures than the recipe allows; the rest is as good as without.
    """

    folder: Path
    steps: dict[str, StepFolder] = field(default_factory=dict)
    built: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    failures: dict[str, tuple[int, int]] = field(default_factory=dict)
    failed: TooManyFailures | None = None


@dataclass
class _Job:
    plan: Plan
    run: Run
    block: int
    progress: Progress
    journal: Callable[[], Journal]
    meter: Meter
    engine: Engine = LOCAL
    damaged: Set[str] = frozenset()
    finished: Callable[[StepFolder], None] = lambda done: None
    """Called with each step that is built, or found up to date."""
    goes_on: Callable[[Plan], None] = lambda plan: None
    """Called with the plan that the run goes on with, where its rounds end otherwise than was known."""
    cut: list[str] = field(default_factory=list)
    """Where the next run goes on in the step that was cut short, in words."""


def run_plan(
    plan: Plan,
    *,
    output: Path | None = None,
    block_rows: int = BLOCK,
    progress: Progress | None = None,
    force: bool = False,
    budget: float | None = None,
    engine: Engine = LOCAL,
) -> Run:
    """Run a checked recipe, reusing every step that is up to date.

    Args:
        plan: the checked recipe.
        output: folder of the run (default: ``<workspace>/<recipe name>``).
        block_rows: rows held at a time; never changes the result.
        progress: where progress is shown.
        force: rebuild every step that is chosen.
        budget: dollars that the whole run may spend; None for no cap.
        engine: that carries row steps; never changes the result.

    Raises:
        InputError: the folder is in use, belongs to another recipe or to something else, or cannot be written; something that guardkit did not
            write is where a step is to be built; a budget is given, and the price
            of a model is not known; a step that is not chosen, and that a chosen one depends on, is not finished.
        Missing: the machine lacks something that a step to be built needs; nothing has been done then.
        Stopped: interrupted, terminated, the budget is used up, or the disk is full; all progress kept.
    """
    folder = at_door(output) if output is not None else workspace() / plan.recipe.spec.recipe
    plan = settled(plan, folder, plan.chosen if force else ())
    done, damaged = ({}, set[str]()) if force and len(plan.chosen) == len(plan.steps) else reusable(plan, folder)
    done = {s: f for s, f in done.items() if s not in plan.chosen} if force else done
    _check_given(plan, done)
    todo = [s for s in plan.chosen if s not in done]
    if needs := plan.needs(todo):
        raise Missing("not ready to run:\n  " + "\n  ".join(needs), hint=_without(plan, todo))
    plan.before_run(todo)
    if budget is not None:
        check_prices(plan, todo, done, folder)
    meter = Meter(cap=budget)
    run = Run(folder)
    started = time.monotonic()
    cut: list[str] = []
    with _going_on(cut), stopping(), owned(folder, plan, done) as current:
        progress = progress or Progress.silent()
        check_places(plan, folder, done)
        if todo:
            write_down(plan, folder, done)
        with _logged(folder), _journal_once(folder) as journal, progress:
            job = _Job(plan, run, block_rows, progress, journal, meter, engine, damaged, current.add, lambda new: current.goes_on(new.recipe), cut)
            _run_groups(job, force)
        run.seconds = time.monotonic() - started
        log(folder, "done", seconds=round(run.seconds, 2), built=run.built, reused=run.reused)
    run.failures, run.failed = failures_of(job.plan, run.steps, folder)
    return run


def _check_given(plan: Plan, done: Mapping[str, StepFolder]) -> None:
    """Whether all that the chosen steps depend on is finished (InputErrors)."""
    given = {c["step"] for s, folder in done.items() if s not in plan.chosen for c in folder.manifest["counts"]}
    faults = []
    for step in plan.steps.values():
        if step.id not in plan.chosen and step.id not in given:
            what = f"step {step.id!r}, which is not among those that are to run, is not finished, is damaged, or is no longer what the recipe says"
            faults.append(InputError(what, where=step.spec.where(), hint=f"build it first: {{--until {step.id}|until={step.id!r}}}"))
    if faults:
        raise InputErrors(faults)


def _without(plan: Plan, todo: Sequence[str]) -> str | None:
    """What to do where some steps cannot run here: the others alone, as far as there are any."""
    lacking = {s for s in todo if plan.needs([s])}
    reads = {s.id: list(s.inputs.values()) for s in plan.steps.values()}
    rest = [s for s in todo if not closure(reads, [s]) & lacking]
    last = [s for s in rest if not any(s in reads[other] for other in rest)]
    return f"what needs none of this runs by itself: {{{' '.join(f'--until {s}' for s in last)}|until={last!r}}}" if last else None


def _run_groups(job: _Job, force: bool) -> None:
    """Build or reuse each group of chosen steps in turn. One whose files are damaged is found when another that reads it is to be built: the run goes
    back to it."""
    plan, run, damaged = job.plan, job.run, set(job.damaged)
    standing = Standing(plan, run.steps.get)
    place = _places(plan)
    i = 0
    while i < len(plan.groups):
        group = plan.groups[i]
        last = group[-1]
        if last.id not in plan.chosen:
            if (given := up_to_date(run.folder / last.id, standing, job.block, again=False)) is not None:
                run.steps[last.id] = given
            i += 1
            continue
        done = None if (force and last.id not in run.built) or last.id in damaged else up_to_date(run.folder / last.id, standing, job.block)
        if done is None and (worse := _damaged_input(job, group)) is not None:
            if worse not in plan.chosen:
                raise InputError(
                    f"step {worse!r}, which is not among those that are to run, is damaged",
                    hint=f"build it anew: {{--until {worse}|until={worse!r}}}",
                )
            damaged.add(worse)
            standing = Standing(plan, run.steps.get)
            i = next(n for n, g in enumerate(plan.groups) if g[-1].id == worse)
            continue
        job.progress.start(f"[{place[last.id]}/{len(place)}] {_title(group)}")
        if done is None:
            done = _build_logged(job, group, standing, force)
            damaged.discard(last.id)
        else:
            run.reused += [s.id for s in group if s.id not in (*run.built, *run.reused)]
            equal = standing.by_inputs(done)
            if equal:
                log(run.folder, "reused", step=last.id, fingerprint=standing.fingerprint(last.id), made_as=done.manifest["fingerprint"])
            job.progress.finish(f"{_kept(done)}, up to date{', for what it reads came out equal' if equal else ''}")
        for path in stale(group, run.folder, standing):
            remove_folder(path, STEP, overwrite=True)
        run.steps[last.id] = done
        job.finished(done)
        if (new := after_step(plan, last.id, run.steps.get)) is not plan:
            plan = job.plan = new
            _say_end(job)
            standing, place = Standing(plan, run.steps.get), _places(plan)
        i = next(n for n, g in enumerate(plan.groups, 1) if g[-1].id == last.id)


def _places(plan: Plan) -> dict[str, int]:
    """Of the last step of each group that runs, which of them it is, from 1."""
    return {last: n for n, last in enumerate((s for s in (g[-1].id for g in plan.groups) if s in plan.chosen), 1)}


def _say_end(job: _Job) -> None:
    """How the rounds end, in the log and in the progress."""
    ended = job.plan.recipe.loop.ended if job.plan.recipe.loop is not None else None
    log(job.run.folder, "rounds", **({"ended": ended.round, "why": ended.why} if ended is not None else {"ended": None}))
    if ended is not None:
        job.progress.note(f"The rounds end here: {ended.why}.")
    job.goes_on(job.plan)


def _damaged_input(job: _Job, group: Sequence[PlannedStep]) -> str | None:
    """The id of a step that the group reads and that is not what its manifest says."""
    read = [job.run.steps[source] for step in group for source in step.inputs.values() if source in job.run.steps]
    return next((folder.step for folder in read if folder.faults()), None)


def _build_logged(job: _Job, group: Sequence[PlannedStep], standing: Standing, force: bool) -> StepFolder:
    """Build a group, and tell of it: to the log, and whoever watches."""
    run, last = job.run, group[-1]
    began = time.monotonic()
    anew = ""
    if not force and (wrong := damage(run.folder / last.id, standing)) is not None:
        run.damaged[last.id] = wrong
        log(run.folder, "damaged", step=last.id, what=wrong)
        anew = f"; built anew, what was there was damaged ({wrong})"
    header = standing.header(group)
    fingerprint = header["fingerprint"]
    assert fingerprint is not None  # noqa: S101  a step's inputs are built before it
    raise_swallowed()
    log(run.folder, "started", step=last.id, fingerprint=fingerprint)
    done, notes = _build(job, group, header)
    seconds = time.monotonic() - began
    log(run.folder, "built", step=last.id, fingerprint=fingerprint, seconds=round(seconds, 3), **notes)
    run.reused = [s for s in run.reused if s not in {g.id for g in group}]
    run.built += [s.id for s in group if s.id not in run.built]
    job.progress.finish(f"{_kept(done)} in {seconds:.1f} s{anew}")
    return done


def _title(group: Sequence[PlannedStep]) -> str:
    ids = [s.id for s in group]
    return " + ".join(ids) if len(ids) <= 8 else f"{ids[0]} + … + {ids[-1]} ({len(ids)} steps)"


def _kept(done: StepFolder) -> str:
    return f"{done.manifest['counts'][-1]['kept']:,} rows"


NOTED = 10.0
"""Seconds between two lines of a run's log about how far a step is."""


def _watched(job: _Job, step: str) -> Callable[[int, int | None, str], None]:
    """Shows how far a step is, and notes it in the log from time to time, for whoever looks on from elsewhere."""
    noted = time.monotonic()

    def update(done: int, total: int | None, words: str) -> None:
        nonlocal noted
        job.progress.update(done, total, words)
        if (now := time.monotonic()) - noted >= NOTED:
            noted = now
            with suppress(OSError, InputError):  # what is wrong with the folder is found where the step's rows are written
                log(job.run.folder, "progress", step=step, done=done, total=total, words=words)

    return update


def _build(job: _Job, group: Sequence[PlannedStep], header: Mapping[str, Any]) -> tuple[StepFolder, dict[str, Any]]:
    """Build a group in a hidden folder; the folder of its last step, and what goes to the log. `header`: what its manifest says of what made it."""
    plan, last = job.plan, group[-1]
    final = job.run.folder / last.id
    counts = [Counts(s.id, s.operator.name, s.operator.shape) for s in group]
    lineage_of = partial(lineage, plan, last.id, job.run.steps, counts[:-1])
    contexts = [plan.context(s.id, _watched(job, last.id), job.run.folder.parent / JOURNAL, lineage_of) for s in group]
    work = [Work(s.operator, ctx, s.columns, n) for s, ctx, n in zip(group, contexts, counts, strict=True)]
    if isinstance(op := last.operator, GenerationOperator):
        came = op.asked_columns({name: plan.steps[source].handed for name, source in last.inputs.items()})
        work = [replace(work[0], came=came, after=_validating(plan, last))]
    with new_folder(final, STEP, overwrite=True) as new, StepWriter(new, last.columns, counts) as writer:
        with as_planned(plan, group):
            made = [(s, name, job.run.steps[source]) for s in group for name, source in s.inputs.items() if source in job.run.steps]
            try:
                build_step(job.engine, work, {n: taken(plan, s, n, f) for s, n, f in made}, writer, journal=job.journal, meter=job.meter)
            except BaseException:
                job.cut += [words] if (words := writer.goes_on()) else []
                raise
        for _, _, folder in made:
            folder.still()
        writer.close({"step": last.id, "use": op.name, "version": op.version, **header})
    return StepFolder.open(final, job.block), writer.notes


def _validating(plan: Plan, asking: PlannedStep) -> list[RowWork]:
    """The row steps from one that asks a model on, as far as the nearest that validates; none where there is none, or it does not run."""
    paths = deque([[s] for s in asking.consumers])
    while paths:
        path = paths.popleft()
        if path[-1] not in plan.chosen or not isinstance(op := plan.steps[path[-1]].operator, RowOperator):
            continue
        if op.validates:
            found = [plan.steps[s] for s in path]
            return [Work(s.operator, plan.context(s.id), s.columns, Counts(s.id, s.operator.name, s.operator.shape)) for s in found]  # type: ignore[arg-type]
        paths += [[*path, s] for s in plan.steps[path[-1]].consumers]
    return []


@contextmanager
def _going_on(cut: Sequence[str]) -> Iterator[None]:
    """Whoever stops a run also learns where it goes on inside the step that was cut short."""
    try:
        yield
    except Stopped as e:
        raise Stopped(e.message, hint="; ".join(filter(None, (e.hint, *cut)))) from e


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Whatever ends a run early is named in its log (by its class alone: a message may hold rows)."""
    try:
        yield
    except BaseException as e:
        with suppress(OSError):  # the disk may be what is full
            log(folder, "stopped", error=type(e).__name__)
        raise


@contextmanager
def _journal_once(folder: Path) -> Iterator[Callable[[], Journal]]:
    """Opens the workspace's journal when a step first needs it."""
    held: list[Journal] = []

    def get() -> Journal:
        if not held:
            held.append(Journal(folder.parent / JOURNAL))
        return held[0]

    try:
        yield get
    finally:
        for journal in held:
            journal.close()
