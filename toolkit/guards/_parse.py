"""Reading the labels that a guard wrote, and why one could not be read.

Two modes. *Strict*: exactly one answers block, at the end, with the exact words; what training data must satisfy. *Lenient*: for each
task the last label word that follows its field anywhere in the text, case and markdown emphasis tolerated; what mining and
evaluation use, so that a model is not judged by its layout (spec E.8). In both an explicit ``None`` is not a label; the lenient search goes on
to the last label word before it. Where a strict reading finds a label and no problem, the lenient one finds the same.

Problems of a text (strict; but for the last, none of its labels is read):
    empty: there is no text.
    no_answers_block: its heading, or without one the first task's answer, stands nowhere.
    answers_repeated: an answer or the heading stands outside the block at the end too, in a step's text say.
    text_after_answers: something follows the block.
    reasoning_unmarked: what opens or closes the reasoning (``<think>``) is missing or not there once.
    answer_line_malformed: a line of the block is not as it should be.

Reasons of a task without a label: one of the problems above, or
    none: the missing word stands there.
    not_a_label: the field is there, but what follows is no label word.
    field_missing: the field is not there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from toolkit.guards._definition import Guard, Task
from toolkit.guards._layout import Layout, layout_of, split_lines

_SOFT = r"[\s*_`\"'\[\](){}<>]*+"
"""Emphasis, quotes and brackets that may stand around a word; possessive, so that no text makes the search slow."""
_STARTS, _ENDS = r"(?<![^\W_])", r"(?![-_]*+[^\W_])"
"""Where a word begins and ends; an underscore is emphasis, a hyphen binds ("harmful-looking" is no label)."""


@dataclass(frozen=True)
class Parsed:
    """What was read. `labels` and `reasons` have every task; exactly one of the two is None for each. `problems`: of the text as a whole."""

    labels: dict[str, str | None]
    reasons: dict[str, str | None]
    problems: tuple[str, ...] = ()


def parse(guard: Guard, text: str | None, mode: Literal["strict", "lenient"] = "lenient") -> Parsed:
    """Read the labels of one output.

    Args:
        guard: the definition.
        text: the output; None or blank reads as ``empty``.
        mode: see the module's docstring.

    Example:
        >>> guard = toolkit.load_guard("guardreasoner")
        >>> toolkit.parse(guard, "Request: harmful").labels["prompt"]
        'harmful'
    """
    if not text or not text.strip():
        return _unread(guard, ("empty",))
    return _strict(guard, text) if mode == "strict" else _lenient(guard, text)


def _unread(guard: Guard, problems: tuple[str, ...]) -> Parsed:
    return Parsed(dict.fromkeys(guard.task_names), dict.fromkeys(guard.task_names, problems[0]), problems)


def _lenient(guard: Guard, text: str) -> Parsed:
    labels: dict[str, str | None] = {}
    reasons: dict[str, str | None] = {}
    for task, pattern in zip(guard.tasks, _lenient_patterns(guard), strict=True):
        label, reason = None, "field_missing"
        for found in pattern.finditer(text):
            kind = found.lastgroup
            if kind is not None and kind != "missing":
                label = task.labels[int(kind.removeprefix("label"))]
            reason = "none" if kind == "missing" else "not_a_label"
        labels[task.name], reasons[task.name] = label, None if label else reason
    return Parsed(labels, reasons)


@lru_cache(maxsize=32)
def _lenient_patterns(guard: Guard) -> list[re.Pattern[str]]:
    return [_lenient_pattern(guard, task) for task in guard.tasks]


def _lenient_pattern(guard: Guard, task: Task) -> re.Pattern[str]:
    """What stands before the label in the answer line, any emphasis between its words; then a label word, the missing one, or neither."""
    before = _before_label(guard, task)
    words = [re.escape(w) for w in re.findall(r"\w+|[^\w\s]", before) if not re.fullmatch(_SOFT, w)]
    lead = "".join(_SOFT + w for w in words).removeprefix(_SOFT)
    start = rf"{_STARTS}(?<![^\W_]_)" if before[:1].isalnum() else ""
    longest_first = sorted(range(len(task.labels)), key=lambda i: -len(task.labels[i]))
    choices = [f"(?P<label{i}>{re.escape(task.labels[i])})" for i in longest_first] + [f"(?P<missing>{re.escape(guard.output.missing_word)})"]
    any_word = f"{_STARTS}(?:{'|'.join(choices)}){_ENDS}"
    return re.compile(f"{start}{lead}{_SOFT}(?:{any_word}|)" if lead else any_word, re.IGNORECASE)


def _before_label(guard: Guard, task: Task) -> str:
    return guard.output.answer_line.format(field=task.field, label="\0").partition("\0")[0].strip()


def _strict(guard: Guard, text: str) -> Parsed:
    layout = layout_of(guard)
    lines = split_lines(text)
    start = layout.start(lines)
    if start is None:
        return _unread(guard, ("no_answers_block",))
    problems = []
    if not layout.lines.isdisjoint(lines[:start]):
        problems.append("answers_repeated")
    if len(lines) > start + layout.size:
        problems.append("text_after_answers")
    if not _marked(guard, text):
        problems.append("reasoning_unmarked")
    return _unread(guard, tuple(problems)) if problems else _strict_block(guard, layout, lines[start + bool(layout.heading) :])


def _strict_block(guard: Guard, layout: Layout, block: Sequence[str]) -> Parsed:
    """The answers from the lines below the heading."""
    labels: dict[str, str | None] = {}
    reasons: dict[str, str | None] = {}
    sound = not layout.close or list(block[len(guard.tasks) :]) == [layout.close]
    for i, (task, known) in enumerate(zip(guard.tasks, layout.answers, strict=True)):
        line = block[i] if i < len(block) else ""
        label = known.get(line)
        before = _before_label(guard, task)
        reason = "none" if line in known else "not_a_label" if before and line.startswith(before) else "field_missing"
        labels[task.name], reasons[task.name] = label, None if label else reason
        sound = sound and line in known
    return Parsed(labels, reasons, () if sound else ("answer_line_malformed",))


def _marked(guard: Guard, text: str) -> bool:
    """Whether the reasoning is opened and closed as the guard says, once."""
    o = guard.output
    opened = not o.open or (text.lstrip().startswith(o.open) and text.count(o.open) == 1)
    return opened and (not o.close or text.count(o.close) == 1)
