"""The rows that a guard is audited on, and whether a twin has the same tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.api._evaluate_plan import Places, benchmark_sets, data_set
from toolkit.api._judge import given_rows
from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.paths import Roots
from toolkit.common.reading import Files
from toolkit.common.several import several
from toolkit.evaluation import RowSet
from toolkit.guards import Guard, unknown_label
from toolkit.judging import to_ask
from toolkit.records import content_id

ROWS = "name benchmarks ({--benchmark NAME|benchmarks=[NAME]}), files of theirs ({--data|data}), or the task of the labels in files of your own"
"""What to do where no rows are named."""


def same_tasks(guard: Guard, other: Guard, place: str) -> None:
    """Raise InputError where a twin was trained for other tasks or labels than its guard."""
    for task in guard.tasks:
        theirs = next((t for t in other.tasks if t.name == task.name), None)
        if theirs is None or list(theirs.labels) != list(task.labels) or theirs.positive != task.positive:
            what = "no such task" if theirs is None else f"the labels {', '.join(theirs.labels)}, of which {theirs.positive} is the positive one"
            message = f"the twin's guard {other.name!r} has {what} for {task.name!r}, the guard {guard.name!r} has {', '.join(task.labels)}"
            raise InputError(message, where=place, hint="train the twin on the same shards, for the same guard")


def audited_rows(
    guard: Guard,
    rows: Any,
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None,
    data: Places,
    tasks: Sequence[str],
    columns: Mapping[str, str] | None,
    limit: int | None,
    seed: int,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The rows by id, and the tasks that are audited.

    Raises:
        InputError: no rows, an unknown task, a label that the guard does not have, two rows of one id.
    """
    if odd := next((t for t in tasks if t not in guard.task_names), None):
        raise InputError(f"the guard {guard.name!r} has no task {odd!r}", where="{--task|task}", hint=did_you_mean(odd, guard.task_names))
    if rows is not None:
        if benchmarks or several(data):
            raise InputError("rows, and benchmarks or files beside them", hint="give the one or the other")
        found, known = list(_whole(given_rows(rows))), list(tasks or guard.task_names)
        return _by_id(found, guard, known, limit), known
    roots, held = Roots.of(None), Files()
    if benchmarks or (several(data) and not tasks):
        sets = benchmark_sets(benchmarks or None, data, tasks, roots, held).sets
    elif several(data):
        sets = [data_set(data, tasks, guard, dict(columns or {}), roots, held, asked=True)]
    else:
        raise InputError("audit on which rows?", hint=ROWS)
    if limit is not None:
        sets = [one.sample(one.drawn(limit, seed), seed) for one in sets]
    known = [t for t in guard.task_names if any(t in one.tasks for one in sets)]
    if not known:
        raise InputError(f"the guard {guard.name!r} has none of the tasks of {sets[0].name}: {', '.join(sets[0].tasks)}", hint="see {--guard|guard}")
    return _by_id(_of_sets(guard, sets), guard, known, None), known


def _of_sets(guard: Guard, sets: Sequence[RowSet]) -> Iterable[dict[str, Any]]:
    for one in sets:
        for row in to_ask(guard, one).iter_rows(named=True):
            yield {**row, "id": row["id"] if len(sets) == 1 else f"{one.name}:{row['id']}"}


def _whole(rows: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for number, row in enumerate(rows):
        if not isinstance(row.get("prompt"), str):
            raise InputError("a row without a prompt", where=f"rows[{number}]")
        whole = {"response": None, "context": [], **row}
        if whole.get("id") is None:
            whole["id"] = content_id([(m["role"], m["content"]) for m in whole["context"] or []], whole["prompt"], whole["response"], [])
        yield whole


def _by_id(rows: Iterable[dict[str, Any]], guard: Guard, tasks: Sequence[str], limit: int | None) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        for task in tasks:
            label = row.get(f"label_{task}")
            if label is not None and label not in guard.task(task).labels:
                raise InputError(unknown_label(str(label), guard.task(task).labels), where=f"rows[{number}].label_{task}")
        if row["id"] in out:
            raise InputError(f"two rows have the id {row['id']!r}", where=f"rows[{number}]")
        out[row["id"]] = row
        if limit is not None and len(out) == limit:
            break
    if not out:
        raise InputError("no rows to audit")
    return out
