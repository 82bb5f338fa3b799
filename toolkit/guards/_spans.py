"""Where in an output the labels stand that a lenient reading takes, and how each label of the task is written there.

Contract of `answer_spans`: a task is there exactly where `toolkit.guards.parse` reads a label of it, leniently and without a reading by which labels
stand for others, but for one in a line whose letters do not lie one for one under those of their plain form (`toolkit.guards._own_words.plain`: a
letter and an accent apart). What is between start and end is a spelling of that label. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from toolkit.guards._calls import Call
from toolkit.guards._data_fields import without_data
from toolkit.guards._definition import Guard
from toolkit.guards._grammar_answers import spellings, word_places
from toolkit.guards._lenient import last_answer
from toolkit.guards._own_words import own_parts, plain
from toolkit.guards._parse import parse
from toolkit.guards._tasks import Task


class AnswerSpan(NamedTuple):
    """The label that was read for a task.

    Attributes:
        start: its first letter in the output.
        end: behind its last.
        spellings: how each label of the task may be written in its place, in plain letters; under None what says that there is none.
    """

    start: int
    end: int
    spellings: Mapping[str | None, tuple[str, ...]]


def answer_spans(guard: Guard, text: str | None, asked: str | None = None, call: Call | None = None) -> dict[str, AnswerSpan]:
    """The places of the labels that were read, by task.

    Args:
        guard: the definition.
        text: an output.
        asked: as for `toolkit.guards.parse`.
        call: of a guard with calls, the one that the output answers.
    """
    if not text or not (whole := plain(text)).strip():
        return {}
    places: Sequence[int | None] | None = range(len(text) + 1) if whole == text else _places(text, whole)
    if places is None:
        return {}
    if call is not None:
        words = word_places(guard, call, whole)
        return {task: span for task, (start, end), spelled in words if (span := _span(places, start, end, spelled)) is not None}
    if guard.output.data:
        whole = without_data(guard, whole)
    labels = parse(guard, text, asked=asked).labels
    parts = own_parts(guard, whole, asked)
    if parts != [whole] and not parse(guard, text, "strict").problems:
        parts = [whole]
    read = [(task, label) for task in guard.tasks if (label := labels[task.name]) is not None]
    found = {task.name: (task, place) for task, label in read if (place := _last(guard, task, whole, parts, label)) is not None}
    return {name: span for name, (task, place) in found.items() if (span := _span(places, *place, _spellings(guard, task))) is not None}


@lru_cache(maxsize=32)
def label_words(guard: Guard) -> tuple[str, ...]:
    """All words that a label is written as, sorted; of what says that there is none only what goes on from one of them."""
    tables = [spellings(guard, t.name) if guard.grammar is not None else _spellings(guard, t) for t in guard.tasks]
    words = {word for table in tables for label, spelled in table.items() if label is not None for word in spelled}
    none = {word for table in tables for word in table.get(None, ()) if any(word.startswith(w) for w in words)}
    return tuple(sorted(words | none))


def _spellings(guard: Guard, task: Task) -> dict[str | None, tuple[str, ...]]:
    return {**{label: (plain(task.word(label)).lower(),) for label in task.labels}, None: (plain(guard.output.missing_word).lower(),)}


def _last(guard: Guard, task: Task, whole: str, parts: list[str], label: str) -> tuple[int, int] | None:
    """Start and end of a label in the last part of a text that gives it."""
    behind = len(whole)
    for part in reversed(parts):
        if (at := whole.rfind(part, 0, behind)) < 0:
            return None
        behind = at
        found = last_answer(guard, task, part)
        if found.label == label:
            return at + found.start, at + found.end
    return None


def _span(places: Sequence[int | None], start: int, end: int, spelled: Mapping[str | None, tuple[str, ...]]) -> AnswerSpan | None:
    first, last = places[start], places[end - 1]
    return None if first is None or last is None else AnswerSpan(first, last + 1, spelled)


def _places(text: str, whole: str) -> list[int | None] | None:
    """For each letter of the plain form the letter of the text that it comes from; None for those of a line where that is not known."""
    out: list[int | None] = []
    at = 0
    for line in text.split("\n"):
        each, together = [plain(c) for c in line], plain(line)
        known = "".join(each) == together
        out += [at + n for n, letters in enumerate(each) for _ in letters] if known else [None] * len(together)
        at += len(line)
        out.append(at)
        at += 1
    return out if len(out) == len(whole) + 1 else None
