"""Reading and writing the answers of a guard that was trained elsewhere, by its grammar (`toolkit.guards._grammar`).

An answer is a word of the grammar, whole and in any case, with whatever signs around it. What is no word is no answer: nothing is guessed, and the
last occurrence of a field, a tag or a JSON object decides, also where it holds none (an earlier one is in a reasoning, or is a draft). Words of
different meaning with nothing else in their line (``safe, unsafe``; ``safe or unsafe`` whatever follows) and a question (``safe?``) leave it open,
and a number is read whole (``0.9`` is not ``0``). The prompt before the answer, marks of a chat template and a reasoning that the
text marks are left out, as for any guard (`toolkit.guards._own_words`).

The answers to several calls about one row are one text, a JSON object of the calls' names and what came of each (`joined`), so that a generation is
one record whatever the guard. Texts are read in time linear in their length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from toolkit.common.jsontext import loads_once
from toolkit.common.shown import Sheet, Shown
from toolkit.common.thoughts import split
from toolkit.guards._calls import Call
from toolkit.guards._definition import Guard
from toolkit.guards._grammar import Answer, Categories
from toolkit.guards._lenient import Found, of_turns
from toolkit.guards._objects import as_word, objects
from toolkit.guards._own_words import own_parts, plain, without_tokens


@dataclass(frozen=True, repr=False)
class Parsed(Shown):
    """What was read.

    Attributes:
        labels: by task, the label.
        reasons: by task, why there is none; exactly one of the two is None for each.
        problems: of the text as a whole.
        categories: of harm that the answer names, as the guard calls them.
        probabilities: by task, of each of its labels, where the answer itself says so (`Answer.scores`); None for none.
        data: by name what the guard writes beside its labels (`Output.data`); None where an output has none.
    """

    labels: dict[str, str | None]
    reasons: dict[str, str | None]
    problems: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    probabilities: Mapping[str, Mapping[str, float]] | None = None
    data: Mapping[str, str | None] = field(default_factory=dict)

    def _sheet(self) -> Sheet:
        rows = [[task, label or f"unread ({self.reasons[task]})"] for task, label in self.labels.items()]
        notes = [f"{name}: {', '.join(found)}" for name, found in (("categories", self.categories), ("problems", self.problems)) if found]
        return Sheet("Parsed", ["task", "label"], rows, notes)


NOT_ASKED = "not_asked"

_SIGNS = r"(?:[^\w\n]|_){0,24}+"
"""Markup and brackets that may be around a word, in its line."""
_OR = r"[^\w\n/|]{0,4}+(?:/|\||\bor\b|\band\b|\bvs\b)[^\w\n]{0,8}+"
"""What makes a list of the words before and behind it."""
_END = r"(?![^\W_])"
"""Where a word ends; an underscore is emphasis."""
_WORD_END = rf"{_END}(?!-\w|[.,]\d|[ \t]?%)"
_FENCE = r"(?:```[A-Za-z]{0,12}\n\s*+)?+"
_BULLET = r"(?:\d{1,2}[.)][ \t]{0,4}+)?+"


def _words(words: tuple[str, ...]) -> str:
    return "|".join(re.escape(plain(w)) for w in sorted(words, key=len, reverse=True))


@lru_cache(maxsize=256)
def _word_pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    one = _words(words)
    return re.compile(rf"\s*+{_FENCE}{_SIGNS}(?P<word>{one}){_WORD_END}(?:{_OR}(?P<other>{one}){_WORD_END})?(?![ \t]?/[ \t]?\d)", re.IGNORECASE)


@lru_cache(maxsize=256)
def _listed_pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?:(?P<word>{_words(words)})|or|and|vs){_END}", re.IGNORECASE)


@lru_cache(maxsize=256)
def _field_pattern(field: str) -> re.Pattern[str]:
    return re.compile(rf"^{_SIGNS}{_BULLET}{_SIGNS}{re.escape(plain(field))}[*_`\"' \t]{{0,8}}+[:=]", re.IGNORECASE | re.MULTILINE)


@lru_cache(maxsize=256)
def _tag_pattern(tag: str) -> re.Pattern[str]:
    return re.compile(rf"<{tag}>", re.IGNORECASE)


def read_call(guard: Guard, call: Call, text: str | None) -> Parsed:
    """What one call's answer says of its tasks; the others are ``not_asked``."""
    labels: dict[str, str | None] = dict.fromkeys(guard.task_names)
    reasons: dict[str, str | None] = dict.fromkeys(guard.task_names, NOT_ASKED)
    if not text or not text.strip():
        return Parsed(labels, reasons | dict.fromkeys(call.tasks, "empty"), ("empty",))
    parts = _parts(guard, text)
    categories: dict[str, None] = {}
    probabilities: dict[str, dict[str, float]] = {}
    assert guard.grammar is not None  # noqa: S101  a guard with calls has one
    for task in call.tasks:
        answer = guard.grammar.answer(task)
        labels[task], reasons[task] = of_turns([_read(answer, part) for part in parts])
        if answer.scores and parts and (score := _score(answer, parts[-1])) is not None:
            probabilities[task] = _spread(guard, task, score)
    if guard.grammar.categories is not None:
        for part in parts:
            categories |= dict.fromkeys(_categories(guard.grammar.categories, part))
    return Parsed(labels, reasons, categories=tuple(categories), probabilities=probabilities or None)


def together(guard: Guard, found: Iterable[tuple[Call, Parsed]]) -> Parsed:
    """What several calls about one row say. A task that several judge has its positive label if any of them says so; no label if one of the others
    was not read; else the most severe one."""
    asked = list(found)
    if len(asked) == 1:
        return asked[0][1]
    labels: dict[str, str | None] = {}
    reasons: dict[str, str | None] = {}
    probabilities: dict[str, Mapping[str, float]] = {}
    for task in guard.tasks:
        mine = [parsed for call, parsed in asked if task.name in call.tasks]
        read = [parsed.labels[task.name] for parsed in mine]
        unread = next((parsed.reasons[task.name] for parsed in mine if parsed.labels[task.name] is None), None if mine else NOT_ASKED)
        if task.positive in read:
            labels[task.name], reasons[task.name] = task.positive, None
        elif unread is not None:
            labels[task.name], reasons[task.name] = None, unread
        else:
            labels[task.name], reasons[task.name] = max((s for s in read if s is not None), key=task.labels.index), None
        if mine and all(parsed.probabilities and task.name in parsed.probabilities for parsed in mine):
            known = [parsed.probabilities[task.name] for parsed in mine if parsed.probabilities]
            probabilities[task.name] = max(known, key=lambda p: p[task.positive])
    categories = dict.fromkeys(c for _, parsed in asked for c in parsed.categories)
    return Parsed(labels, reasons, categories=tuple(categories), probabilities=probabilities or None)


def read_calls(guard: Guard, text: str | None) -> Parsed:
    """What a whole output says: of the guard's only call, or the JSON object of several (`joined`)."""
    if len(guard.calls) == 1:
        return read_call(guard, guard.calls[0], text)
    unread = dict.fromkeys(guard.task_names)
    if not text or not text.strip():
        return Parsed(unread, dict.fromkeys(guard.task_names, "empty"), ("empty",))
    texts = _separate(guard, text)
    if texts is None:
        return Parsed(unread, dict.fromkeys(guard.task_names, "not_joined"), ("not_joined",))
    return together(guard, [(call, read_call(guard, call, texts[call.name])) for call in guard.calls if call.name in texts])


def joined(texts: Mapping[str, str | None]) -> str:
    """The answers to several calls as one text."""
    return json.dumps(texts, ensure_ascii=False)


def _separate(guard: Guard, text: str) -> dict[str, str | None] | None:
    """The answers by call; None for a text that is no such object."""
    try:
        texts = loads_once(text)
    except (ValueError, RecursionError):
        return None
    names = {call.name for call in guard.calls}
    if not isinstance(texts, dict) or not texts or not names.issuperset(texts) or not all(isinstance(v, str | None) for v in texts.values()):
        return None
    return texts


def _parts(guard: Guard, text: str) -> list[str]:
    """What of a text answers."""
    whole = plain(text)
    assert guard.grammar is not None  # noqa: S101  a guard with calls has one
    if not guard.grammar.harmony:
        return own_parts(guard, whole)
    if marks := [at for mark in ("<|channel|>", "<|start|>") if (at := whole.find(mark)) >= 0]:
        found = split(whole[min(marks) :], "harmony")
        return [found[1]] if found and found[1].strip() else []
    parts = own_parts(guard, whole)
    return [part for part in parts if not part.lstrip().startswith("analysis")]  # harmony without its special tokens, and no final channel


def _read(answer: Answer, text: str) -> Found:
    if answer.key:
        return _value(answer, text)
    found = _behind(answer, text)
    if found is None:
        return None, "field_missing"
    start, end = found
    match = _word_pattern(tuple(answer.words)).match(text, start, end)
    if match is None or (answer.tag and text[match.end() : end].strip(" \t\r\n.*_`\"'")):
        return None, "not_a_label"
    label = _label(answer, match["word"])
    if (match["other"] is not None and _label(answer, match["other"]) != label) or _left_open(answer, label, text[match.end() : end]):
        return None, "several_labels"
    return label, None if label else "none"


def _left_open(answer: Answer, label: str | None, rest: str) -> bool:
    """Whether what follows a word in its line asks, or is nothing but further words, not all of one meaning."""
    line = without_tokens(rest.partition("\n")[0])
    if line.lstrip(" \t*_`\"')").startswith("?"):
        return True
    listed = _listed_pattern(tuple(answer.words))
    if re.search(r"[^\W_]", listed.sub("", line)):
        return False
    return any(_label(answer, found["word"]) != label for found in listed.finditer(line) if found["word"])


def _behind(place: Answer | Categories, text: str) -> tuple[int, int] | None:
    """Where the last of a place begins and ends; None where it is not there."""
    if place.field:
        found = _last(_field_pattern(place.field), text)
        return None if found is None else (found.end(), len(text))
    if place.tag:
        found = _last(_tag_pattern(place.tag), text)
        if found is None:
            return None
        close = re.compile(rf"</{place.tag}\s*>", re.IGNORECASE).search(text, found.end())
        return found.end(), close.start() if close else len(text)
    return 0, len(text)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for found in pattern.finditer(text):
        last = found
    return last


def _label(answer: Answer, word: str) -> str | None:
    return next(label for known, label in answer.words.items() if plain(known).casefold() == word.casefold())


def _value(answer: Answer, text: str) -> Found:
    """The label under a key of the last JSON object."""
    found = _objects(answer, text)
    if not found:
        return None, "not_json"
    if not any(answer.key in o for o in found):
        return None, "field_missing"
    value = found[-1].get(answer.key, _ABSENT)
    word = as_word(value)
    known = {plain(w).casefold(): label for w, label in answer.words.items()}
    if word is None or word not in known:
        return None, "field_missing" if value is _ABSENT else "not_a_label"
    return known[word], None if known[word] else "none"


_ABSENT = object()


def _objects(answer: Answer, text: str) -> list[dict[str, Any]]:
    """The JSON objects of a text; none where a broken one with the answer's key comes last."""
    found, end = objects(text)
    return [] if re.compile(rf'"{re.escape(answer.key)}"\s*+:').search(text, end) else found


def _score(answer: Answer, text: str) -> float | None:
    """The probability that the last JSON object states."""
    score = found[-1].get(answer.scores) if (found := _objects(answer, text)) else None
    values = list(score.values()) if isinstance(score, dict) else [score]
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1]
    return max(numbers) if numbers and len(numbers) == len(values) else None


def _spread(guard: Guard, task: str, score: float) -> dict[str, float]:
    """A probability of the positive label as one of each label; the others share what is left."""
    of = guard.task(task)
    rest = (1 - score) / (len(of.labels) - 1)
    return {label: score if label == of.positive else rest for label in of.labels}


def _categories(place: Categories, text: str) -> list[str]:
    """The categories that a text names, in the order of the definition."""
    if place.key:
        value = whole[-1].get(place.key) if (whole := objects(text)[0]) else None
        if isinstance(value, dict):
            return [w for w in place.words if value.get(w) is True]
        text = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value or "")
    elif (found := _behind(place, text)) is None:
        return []
    else:
        text = text[found[0] : found[1]].lstrip()
        text = text.partition("\n")[0] if place.field else text
    named = {found.group().casefold() for found in _category_pattern(tuple(place.words)).finditer(text)}
    return [w for w in place.words if plain(w).casefold() in named]


@lru_cache(maxsize=64)
def _category_pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{_words(words)})(?![\w-])", re.IGNORECASE)


def spellings(guard: Guard, task: str) -> dict[str | None, tuple[str, ...]]:
    """How each label of a task may be written, in plain letters; under None what says that there is none."""
    assert guard.grammar is not None  # noqa: S101  a guard with calls has one
    words = guard.grammar.answer(task).words
    found = {label: tuple(plain(w).lower() for w, of in words.items() if of == label) for label in words.values()}
    return {None: (), **found}


def word_places(guard: Guard, call: Call, whole: str) -> Iterator[tuple[str, tuple[int, int], dict[str | None, tuple[str, ...]]]]:
    """For each task of a call whose label is read: the task, where its word begins and ends, and the spellings of its labels.

    Args:
        guard: the definition.
        call: the call.
        whole: its answer, as `plain` gives it.
    """
    parsed, parts = read_call(guard, call, whole), _parts(guard, whole)
    assert guard.grammar is not None  # noqa: S101  a guard with calls has one
    for task in call.tasks:
        answer, behind = guard.grammar.answer(task), len(whole)
        for part in reversed(parts if parsed.labels[task] is not None else []):
            if (behind := whole.rfind(part, 0, behind)) < 0:
                break
            if (found := _place_of(answer, part)) is not None and _label(answer, part[found[0] : found[1]]) == parsed.labels[task]:
                yield task, (behind + found[0], behind + found[1]), spellings(guard, task)
                break


def _place_of(answer: Answer, text: str) -> tuple[int, int] | None:
    """Where the word of an answer stands."""
    if answer.key:
        value = re.compile(rf'"{re.escape(answer.key)}"\s*:\s*"?(?P<word>{_words(tuple(answer.words))}){_END}', re.IGNORECASE)
        found = _last(value, text)
    else:
        behind = _behind(answer, text)
        found = _word_pattern(tuple(answer.words)).match(text, *behind) if behind else None
    return found.span("word") if found else None


# Writing --------------------------------------------------------------------------------------------------------------


def write_calls(guard: Guard, labels: Mapping[str, str | None]) -> str:
    """An output that says these labels, as `read_calls` reads it. Of a guard with several calls: those that say a label.

    Raises:
        ValueError: a label that the task does not have.
    """
    for task in guard.tasks:
        if (label := labels[task.name]) is not None and label not in task.labels:
            raise ValueError(f"{label!r} is no label of the task {task.name!r}: {', '.join(task.labels)}")
    if len(guard.calls) == 1:
        return write_call(guard, guard.calls[0], labels)
    return joined({call.name: write_call(guard, call, labels) for call in guard.calls if any(labels[t] for t in call.tasks)})


def write_call(guard: Guard, call: Call, labels: Mapping[str, str | None]) -> str:
    """The answer to one call; a task without a label has the word for that, or none."""
    assert guard.grammar is not None  # noqa: S101  a guard with calls has one
    first, lines, keys = "", [], dict[str, Any]()
    for task in call.tasks:
        answer = guard.grammar.answer(task)
        word = next((w for w, label in answer.words.items() if label == labels[task]), None)
        if word is None:
            continue
        if answer.key:
            keys[answer.key] = _as_value(word)
        elif answer.tag:
            lines.append(f"<{answer.tag}> {word} </{answer.tag}>")
        elif answer.field:
            lines.append(f"{answer.field}: {word}")
        else:
            first = word
    written = "\n".join([*([first] if first else []), *lines, *([json.dumps(keys)] if keys else [])])
    return f"<|channel|>final<|message|>{written}" if guard.grammar.harmony and written else written


def _as_value(word: str) -> Any:
    """A word as the value of JSON that it is written as."""
    try:
        value = json.loads(word)
    except ValueError:
        return word
    return value if isinstance(value, bool | int | None) else word
