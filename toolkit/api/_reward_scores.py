"""Scores of outputs by a model: a guard of its own is asked about each output, or about what is in it, and its answer is a number from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.api._judge import judge
from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard, load_guard, parse
from toolkit.judging import Verdict
from toolkit.rewards import closeness

_KEYS = ("guard", "backend", "task", "of", "best", "absent")


def scores_of(guard: Guard, lines: Sequence[Mapping[str, Any]], name: str, how: Mapping[str, Any], **asked: Any) -> list[float | None]:
    """The score of each output; None where the model's answer could not be read.

    Args:
        guard: the definition of the outputs.
        lines: `output` each, and `prompt`.
        name: of the score.
        how: `guard` and `backend`, the model that is asked, as for `toolkit.judge`; `task` of it (default: its first) and `best`, the label of which
            1 is the score (default: the least severe), others by their distance, or by probabilities where its answer has them; `of`, a name of the
            outputs' data (default: the whole output); `absent`, the score of an output without it (default: none).
        asked: as for `toolkit.judge`.

    Raises:
        InputError: a key that there is not, a guard, task, label or data field that there is not, and as `toolkit.judge`.
    """
    where = f"scores.{name}"
    if odd := next((key for key in how if key not in _KEYS), None):
        raise InputError(f"unknown key {odd!r}", where=where, hint=did_you_mean(odd, _KEYS))
    if lost := next((key for key in ("guard", "backend") if key not in how), None):
        raise InputError(f"the key {lost!r} is missing: which model is asked", where=where)
    model, of = load_guard(how["guard"]), how.get("of")
    task_name = how.get("task", model.task_names[0])
    if task_name not in model.task_names:
        raise InputError(f"the guard {model.name!r} has no task {task_name!r}", where=where, hint=did_you_mean(task_name, model.task_names))
    task = model.task(task_name)
    best = how.get("best", task.labels[0])
    if best not in task.labels:
        raise InputError(f"{best!r} is none of the labels {', '.join(task.labels)}", where=where)
    if of is not None and of not in (known := [field.name for field in guard.output.data]):
        raise InputError(f"the guard {guard.name!r} writes no {of!r}", where=where, hint=f"it writes {', '.join(known) or 'no data'}")
    texts = [line.get("output") if of is None else parse(guard, line.get("output")).data.get(of) for line in lines]
    places = [i for i, text in enumerate(texts) if text]
    rows = [{"prompt": texts[i]} if task.applies == "always" else {"prompt": lines[i].get("prompt") or "", "response": texts[i]} for i in places]
    found: list[float | None] = [how.get("absent")] * len(lines)
    if rows:
        for i, verdict in zip(places, judge(rows, how["backend"], guard=how["guard"], name=name, **asked), strict=True):
            found[i] = _score(verdict, task.name, best, task.labels)
    return found


def _score(verdict: Verdict, task: str, best: str, labels: Sequence[str]) -> float | None:
    if (known := (verdict.probabilities or {}).get(task)) is not None:
        return min(1.0, sum(share * closeness(best, label, labels) for label, share in known.items()))
    label = verdict.labels[task]
    return None if label is None else closeness(best, label, labels)
