"""The tasks whose positive label says that a row is harmful."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard


def harm_tasks(guard: Guard, named: Sequence[str] | None) -> list[str]:
    """The tasks that are named; none: those that say that a prompt or a response is harmful (`toolkit.guards.Task.says`), or all of a guard
    that has neither.

    Raises:
        InputError: one that the guard does not have.
    """
    for task in named or ():
        if task not in guard.task_names:
            raise InputError(f"the guard {guard.name!r} has no task {task!r}", hint=did_you_mean(task, guard.task_names))
    return list(named or [t.name for t in guard.tasks if t.says in ("prompt", "response")] or guard.task_names)
