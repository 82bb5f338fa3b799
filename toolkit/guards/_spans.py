"""Where in an output the labels stand that a lenient reading takes, and how each label of the task is written there.

Contract of `answer_spans`: a task is there exactly where `toolkit.guards.parse` reads a label of it, leniently and without a reading by which labels
stand for others, but for texts whose letters do not lie one for one under those of their plain form (`toolkit.guards._own_words.plain`: a letter and
an accent apart): there nothing is. What stands between start and end is a spelling of that label. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from toolkit.guards._answers import spellings, word_places
from toolkit.guards._calls import Call
from toolkit.guards._definition import Guard
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
    places = range(len(text) + 1) if whole == text else _places(text, whole)
    if places is None:
        return {}
    if call is not None:
        words = word_places(guard, call, whole)
        return {task: AnswerSpan(places[start], places[end - 1] + 1, spelled) for task, (start, end), spelled in words}
    labels = parse(guard, text, asked=asked).labels
    parts = own_parts(guard, whole, asked)
    if parts != [whole] and not parse(guard, text, "strict").problems:
        parts = [whole]
    out = {}
    for task in guard.tasks:
        if (label := labels[task.name]) is not None and (found := _last(guard, task, whole, parts, label)) is not None:
            start, end = found
            out[task.name] = AnswerSpan(places[start], places[end - 1] + 1, _spellings(guard, task))
    return out


@lru_cache(maxsize=32)
def label_words(guard: Guard) -> tuple[str, ...]:
    """All words that a label is written as, sorted; of what says that there is none only what goes on from one of them."""
    tables = [spellings(guard, t.name) if guard.grammar is not None else _spellings(guard, t) for t in guard.tasks]
    words = {word for table in tables for label, spelled in table.items() if label is not None for word in spelled}
    none = {word for table in tables for word in table.get(None, ()) if any(word.startswith(w) for w in words)}
    return tuple(sorted(words | none))


def _spellings(guard: Guard, task: Task) -> dict[str | None, tuple[str, ...]]:
    return {**{label: (plain(label).lower(),) for label in task.labels}, None: (plain(guard.output.missing_word).lower(),)}


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


def _places(text: str, whole: str) -> list[int] | None:
    """For each letter of the plain form, and its end, the letter of the text that it comes from."""
    each = [plain(c) for c in text]
    if "".join(each) != whole:
        return None
    return [n for n, letters in enumerate(each) for _ in letters] + [len(text)]
