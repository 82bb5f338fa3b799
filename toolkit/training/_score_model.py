"""A model that gives outputs a score, as data: a guard that judges a text, and the backend through which it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ConfigDict, Field

from toolkit.common.documented import Documented
from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.paths import Beside
from toolkit.generation import BackendConfig
from toolkit.guards import Guard, Task, load_guard
from toolkit.rewards import Formula


class ScoreModel(Documented):
    """Who gives a score, and of what."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    guard: str
    """What the model is asked, and how its answer is read: a guard definition, by name or file. Its labels are the grades."""
    backend: BackendConfig
    """The model that is asked."""
    task: str | None = None
    """The task of it whose label is the score; default: its first."""
    best: str | None = None
    """The label that is worth 1; others by their distance to it on the scale of the task's labels, or, where the answer has probabilities, the mean
    by these. Default: the first label, which is the least severe."""
    of: str | None = None
    """What is judged: a name of the `data` that the rewarded guard writes, `rewrite` say. Default: the whole output."""
    absent: float | None = Field(None, ge=0, le=1)
    """Score of an output that has nothing to judge; default: none, and no reward."""
    unread: float | None = Field(None, ge=0, le=1)
    """Score where the model's answer cannot be read; default: none, and no reward, which stops a training."""


class Grader(NamedTuple):
    """A score model whose names have been looked up: `guard` asks, the label of `task` is the grade, `best` the best one."""

    guard: Guard
    task: Task
    best: str


def grader_of(guard: Guard, name: str, how: ScoreModel, beside: Beside = None) -> Grader:
    """Look up what a score model names.

    Args:
        guard: whose outputs are scored.
        name: of the score.
        how: the model.
        beside: folder that a file's name is also looked up from.

    Raises:
        InputError: a guard, task, label or data field that there is not.
    """
    where = f"scores.{name}"
    asked = load_guard(how.guard, beside)
    task_name = how.task or asked.task_names[0]
    if task_name not in asked.task_names:
        raise InputError(f"the guard {asked.name!r} has no task {task_name!r}", where=where, hint=did_you_mean(task_name, asked.task_names))
    task = asked.task(task_name)
    best = how.best or task.labels[0]
    if best not in task.labels:
        raise InputError(f"{best!r} is none of the labels {', '.join(task.labels)}", where=where)
    if how.of is not None and how.of not in (known := [field.name for field in guard.output.data]):
        hint = f"it writes {', '.join(known) or 'no data'}"
        raise InputError(f"the guard {guard.name!r} writes no {how.of!r}", where=where, hint=hint)
    return Grader(asked, task, best)


def check_scores(guard: Guard, formula: Formula, scores: Mapping[str, ScoreModel], beside: Beside = None) -> dict[str, Grader]:
    """The graders of a formula's scores (InputError: as `grader_of`, and a score that the formula does not weigh)."""
    if odd := next((name for name in scores if name not in formula.scores), None):
        raise InputError(f"the formula {formula.name!r} weighs no score {odd!r}", where=f"scores.{odd}", hint=did_you_mean(odd, formula.scores))
    return {name: grader_of(guard, name, how, beside) for name, how in scores.items()}
