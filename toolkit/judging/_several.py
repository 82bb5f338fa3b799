"""Several calls about one row as one question: what their answers say together, and how they are in one record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.guards import Call, Guard, Mode, Parsed, joined, read_call, together
from toolkit.judging._outputs import asked_of, read_output
from toolkit.judging._probabilities import label_probabilities

if TYPE_CHECKING:
    from toolkit.generation import Completion

T = TypeVar("T", int, float)


def parsed_of(guard: Guard, row: Mapping[str, Any], answers: Sequence[Completion], read: Callable[[Completion, Call | None], Parsed]) -> Parsed:
    """What the answers about a row say; a failed one leaves its tasks unread by the class of its failure.

    Args:
        guard: the definition.
        row: that they are about.
        answers: one for each call that is made about it, in their order; of a guard without calls one.
        read: reads one of them, which did not fail; its call is None for a guard without calls.
    """
    if guard.grammar is None:
        return _read(guard, answers[0], None, read)
    calls = zip(guard.calls_about(row), answers, strict=True)
    return together(guard, [(call, _read(guard, answer, call, read)) for call, answer in calls])


def _read(guard: Guard, answer: Completion, call: Call | None, read: Callable[[Completion, Call | None], Parsed]) -> Parsed:
    if answer.error is None:
        return read(answer, call)
    return Parsed(dict.fromkeys(guard.task_names), dict.fromkeys(guard.task_names, answer.error))


def read_plain(guard: Guard, row: Mapping[str, Any], mode: Mode, completion: Completion, call: Call | None) -> Parsed:
    """What one answer says."""
    return read_output(guard, completion.text, mode, row=row) if call is None else read_call(guard, call, completion.text)


def read_scored(guard: Guard, row: Mapping[str, Any], mode: Mode, completion: Completion, call: Call | None) -> Parsed:
    """The same, with the probabilities of its labels where they are known."""
    parsed = read_plain(guard, row, mode, completion, call)
    known = label_probabilities(guard, completion, asked=asked_of(guard, completion.text, row), call=call)
    probabilities = {t: p for t, p in known.items() if parsed.labels[t] is not None} | dict(parsed.probabilities or {})
    return replace(parsed, probabilities=probabilities)


def known_of(guard: Guard, row: Mapping[str, Any], answers: Sequence[Completion], *, probabilities: bool, seconds: bool = False) -> dict[str, Any]:
    """What a record of the kind ``generation`` may have besides: `tokens` and, with `probabilities`, ``probability_<task>``, with `seconds` these;
    null where not known.

    Args:
        guard: the definition.
        row: that they are about.
        answers: one for each call that is made about it, in their order; of a guard without calls one. Where one failed, nothing is known.
        probabilities: whether the record has them.
        seconds: likewise.
    """
    failed = failure(answers) is not None
    out: dict[str, Any] = {"tokens": None if failed else total(c.completion_tokens for c in answers)}
    if seconds:
        out["seconds"] = None if failed else total(c.seconds for c in answers)
    if not probabilities:
        return out
    parsed = None if failed else parsed_of(guard, row, answers, partial(read_scored, guard, row, "lenient"))
    found = (parsed and parsed.probabilities) or {}
    return out | {f"probability_{t.name}": found.get(t.name, {}).get(t.positive or "") for t in guard.tasks}


def output_of(guard: Guard, row: Mapping[str, Any], answers: Sequence[Completion]) -> str | None:
    """What a guard wrote about a row: its output, or the answers to its calls as one text (`toolkit.guards.joined`), as far as there are any."""
    if len(guard.calls) < 2:
        return answers[0].text if answers else None
    return _joined(guard.calls_about(row), answers)


def _joined(calls: Sequence[Call], answers: Sequence[Completion]) -> str | None:
    texts = {call.name: c.text for call, c in zip(calls, answers, strict=True) if c.text is not None}
    return joined(texts) if texts else None


def as_one(guard: Guard, row: Mapping[str, Any], answers: Sequence[Completion]) -> dict[str, Any]:
    """The columns of a record that differ where several answers, none of which failed, make it."""
    return {"output": output_of(guard, row, answers), "output_key": keys(answers), "finish": finish(answers)}


def failure(answers: Iterable[Completion]) -> Completion | None:
    """The first one that failed."""
    return next((c for c in answers if c.error is not None), None)


def finish(answers: Sequence[Completion]) -> str | None:
    """How they ended: as the first one that did not simply end."""
    return next((c.finish for c in answers if c.finish != "stop"), answers[0].finish) if answers else None


def keys(answers: Iterable[Completion]) -> str | None:
    """Their journal keys, with spaces between them."""
    return " ".join(c.key for c in answers) or None


def total(numbers: Iterable[T | None]) -> T | None:
    """The sum of what is known; None where nothing is."""
    known = [n for n in numbers if n is not None]
    return sum(known[1:], known[0]) if known else None
