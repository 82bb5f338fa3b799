"""The last label that a text gives for a task, however it is laid out. What is tolerated, and what is no answer: `toolkit.guards._parse`.

Every quantifier that may meet a long run is possessive or bounded: a text is read in time linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from toolkit.guards._definition import Guard
from toolkit.guards._layout import before_label
from toolkit.guards._own_words import plain
from toolkit.guards._tasks import Task

Found = tuple[str | None, str | None]
"""A label, or the reason that there is none."""
ONLY_REASONING = "only_reasoning"


class Answer(NamedTuple):
    """A label with its place in the text, or the reason that there is none."""

    label: str | None
    reason: str | None
    start: int = 0
    end: int = 0


TAG = r"</?(?:b|i|em|strong|u|code|span|p|br)[ ]?/?>"
WRAP = r"*_`\"'“”‘’«»„‚「」『』【】\[\](){}<>"
_SOFT = rf"(?:{TAG}|[\s{WRAP}])*+"
"""Emphasis, quotes and brackets that may be around a word; possessive, so that no text makes the search slow."""
_TIGHT = rf"(?:{TAG}|[{WRAP}])*+[ \t]*+"
"""The same behind a word, within its line."""
_STARTS, _ENDS = r"(?<![^\W_])", r"(?![-_]*+[^\W_])"
"""Where a word begins and ends; an underscore is emphasis, a hyphen binds ("harmful-looking" is no label)."""
_REMARK = r"(?:[ \t*_`]*+\([^()\n]{0,80}+\))?+"
"""What may be between a field and its sign."""
SIGNS = ":=|–—→-"
_BULLET = rf"(?:(?:[-•–]|\d[.)])[ \t]++{_SOFT})?+"
_NOT = r"(?:(?:is|are|was)\s+)?(?:not|never|non|no)(?:[\s*_]+|-)|(?:is|are|was)n['’]t\s+"
_OR = r"(?:[,;]?\s*\b(?:or|and/or|and|nor|vs|versus)\b\.?|[/|]|\n\s*(?:[-*•]|\d{1,2}[.)])(?=\s))"
"""What makes a list of the labels before and behind it."""
_BESIDE = r"[^\w\n.!?:={own}]{{0,8}}+"
_NEXT_TO = rf"{_BESIDE}(?:\.{{{{2,5}}}}[ \t]*)?(?:(?!(?:not|non|no)\b)\w{{{{1,3}}}}{_BESIDE})?"
"""What may be between two labels that stand side by side, a short word at most ("harmful (unharmful)", "harmful ou unharmful")."""
_CLOSED = r"(?![*_`\"'“”‘’]*+[ \t]++(?!(?:or|and|nor)\b)\w)"
"""Such a label is not the first word of more ("unharmful (harmful words are absent)")."""
_OPEN = r"(?P<asks>\(?\?)|(?P<open>(?:,\s*)?or\s+not\b|[/|]\s*not\b)"
_BEFORE_FIELD = re.compile(rf"[\s>#|•.\d{WRAP}+-]*")
_AFTER_LABEL = re.compile(rf"[ \t|.,;!{WRAP}]*(?:\Z|[\r\n]|<\|?[^<>\n]{{1,30}}>)")
_NEAR = 40
"""Characters before a field and after a label within which its line must begin and end, where it is to stand alone."""


@dataclass(frozen=True)
class _Patterns:
    """Of one task.

    Attributes:
        first: the word that an answer begins with, in lower case, by which they are found quickly; empty where it is not ASCII.
        answer: its field, or what else is before a label, and what follows.
        rest: of a list of labels, what follows the first one.
        word: a label or the missing word.
        labels: label as in the guard, by its plain form in lower case.
    """

    first: str
    answer: re.Pattern[str]
    rest: re.Pattern[str]
    word: re.Pattern[str]
    labels: dict[str, str]


def last_label(guard: Guard, task: Task, text: str) -> Found:
    """As `last_answer`, without the place."""
    return last_answer(guard, task, text)[:2]


def last_answer(guard: Guard, task: Task, text: str) -> Answer:
    """The label of the last answer in a text, or why there is none.

    Args:
        guard: the definition.
        task: one of its tasks.
        text: as `plain` gives it.
    """
    patterns = _patterns(guard)[task.name]
    label: str | None = None
    place = 0, 0
    reason, listed = "field_missing", 0
    for found in _answers(patterns, text):
        word = found["label"]
        rest = patterns.rest.match(text, found.end()) if word is not None else None
        if found.start() < listed or (found["odd"] is not None and not _alone(text, found, rest.end() if rest else found.end())):
            continue
        if word is None:
            reason = "none" if found["missing"] else "not_a_label"
            continue
        found_label = patterns.labels.get(word.lower()) or _folded(patterns.labels, word)
        if rest and (rest["asks"] or rest["open"] or any(w.lower() != word.lower() for w in patterns.word.findall(rest[0]))):
            reason, listed = "several_labels", rest.end()
        elif found["not"]:
            label, reason = None if found_label == label else label, "negated"
        else:
            label, place = found_label, found.span("label")
    return Answer(label, None, *place) if label else Answer(None, reason)


def _answers(patterns: _Patterns, text: str) -> Iterator[re.Match[str]]:
    """What may be answers, as a search with the pattern finds them."""
    if not patterns.first or not text.isascii():
        yield from patterns.answer.finditer(text)
        return
    folded, at = text.lower(), 0
    while (at := folded.find(patterns.first, at)) >= 0:
        if (found := patterns.answer.match(text, at)) is not None:
            yield found
        at = found.end() if found else at + 1


def _alone(text: str, found: re.Match[str], end: int) -> bool:
    """Whether field and label have a line, or two, to themselves: so where another sign than the guard's is between them, or none."""
    at = found.start()
    line = text.rfind("\n", max(0, at - _NEAR), at) + 1
    if not line and at > _NEAR:
        return False
    if not _BEFORE_FIELD.fullmatch(text, line, at) or not _AFTER_LABEL.match(text, end, end + _NEAR):
        return False
    return bool(found["odd"]) or "\n" in text[at : found.start("label")]


def _folded(labels: dict[str, str], word: str) -> str | None:
    """The label of a word in which the regular expression's idea of case and Python's differ (dotless i, long s, Kelvin)."""
    return next((label for folded, label in labels.items() if re.fullmatch(re.escape(folded), word, re.IGNORECASE)), None)


@lru_cache(maxsize=32)
def _patterns(guard: Guard) -> dict[str, _Patterns]:
    return {task.name: _of_task(guard, task) for task in guard.tasks}


def lead_of(guard: Guard, task: Task) -> tuple[list[str], str]:
    """The words before the label in the answer line, any emphasis left out, and the sign behind them (empty for none)."""
    lead = [w for w in re.findall(r"\w+|[^\w\s]", plain(before_label(guard, task))) if not re.fullmatch(_SOFT, w)]
    return (lead[:-1], lead[-1]) if lead and lead[-1] in SIGNS else (lead, "")


def _of_task(guard: Guard, task: Task) -> _Patterns:
    """What is before the label in the answer line, any emphasis between its words; then a label word, the missing one, or neither."""
    before = plain(before_label(guard, task))
    labels = {plain(task.word(label)).lower(): label for label in task.labels}
    words = sorted(map(re.escape, labels), key=len, reverse=True)
    missing = re.escape(plain(guard.output.missing_word))
    label = f"{_STARTS}(?P<label>{'|'.join(words)}){_ENDS}"
    negation = f"(?P<not>(?!(?:{'|'.join(words)}){_ENDS})(?:{_NOT}))?+"
    any_word = f"{negation}{_SOFT}(?:{label}|{_STARTS}(?P<missing>{missing}){_ENDS})"
    lead, sign_of = lead_of(guard, task)
    first = lead[0].lower() if lead and lead[0].isascii() and lead[0].isalnum() else ""
    bare, own = not lead and not sign_of, re.escape(sign_of)
    if sign_of:
        others = "".join(re.escape(s) for s in SIGNS if re.escape(s) != own)
        sign = rf"{_REMARK}{_SOFT}(?:{own}|(?P<odd>(?:[{others}]{{1,2}}>?|(?={label.replace('?P<label>', '?:')}))))"
    else:
        sign = "(?P<odd>(?!))?"
    start = rf"{_STARTS}(?<![^\W_]_)" if before[:1].isalnum() else ""
    led = "".join(_SOFT + re.escape(w) for w in lead).removeprefix(_SOFT)
    answer = any_word + sign if bare else f"{start}{led}{sign}{_SOFT}{_BULLET}(?:{any_word}|)"
    word = rf"{_STARTS}(?:{'|'.join([*words, missing])}){_ENDS}"
    more = rf"(?:{_OR}{_SOFT}{word}|{_NEXT_TO.format(own=own)}{word}{_CLOSED})"
    rest = rf"{_TIGHT}(?:{_OPEN}|{more}(?:{_TIGHT}{more})*)"
    flags = re.IGNORECASE
    return _Patterns(first, re.compile(answer, flags), re.compile(rest, flags), re.compile(word, flags), labels)


def of_turns(found: Sequence[Found]) -> Found:
    """The label of several turns, or why there is none."""
    labels = {label for label, _ in found if label is not None}
    if len(labels) == 1:
        return labels.pop(), None
    if labels:
        return None, "several_turns"
    reasons = [reason for _, reason in found if reason != "field_missing"]
    return None, reasons[-1] if reasons else "field_missing" if found else ONLY_REASONING
