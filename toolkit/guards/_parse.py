"""Reading the labels that a guard wrote, and why one could not be read.

Two modes. *Strict*: exactly one answers block, at the end, with the exact words; what training data must satisfy. *Lenient*: for each
task the last label word that follows its field in what the guard answers; what mining and evaluation use, so that a model is not scored by its
layout (spec E.8). Where a strict reading finds a label and no problem, the lenient one finds the same.

What a lenient reading tolerates: case, emphasis, quotes, brackets, headings and tables of Markdown, compatibility forms and invisible characters
of Unicode (`plain`), another sign than the guard's own between field and label (``Request - harmful`` alone on a line), the label on the next
line, a remark between field and sign (``Request (harmful or not): harmful``), tokens of a template around a label, the prompt before the answer.

What it does not take for an answer, and goes on to the last one before it: the missing word (``None``); a word that is no label; a list of labels
(``harmful or unharmful``) and a question (``harmful?``), which leave it open. A negated label (``not harmful``) says what the label is not: it is
none, and takes an equal one before it away. What is in a reasoning that the text itself marks (``<think>``) is a draft. Where a text has
several turns that differ, nothing is read.

Three-valued labels can be read as two: a task's `readings`.

A guard that was trained elsewhere is read by its grammar (`toolkit.guards._grammar_answers`); there is one way to do that, the same in both modes.

Problems of a text (strict; but for answer_line_malformed, none of its labels is read):
    empty: there is no text.
    no_answers_block: its heading, or without one the first task's answer, is nowhere.
    answers_repeated: an answer or the heading is outside the block at the end too, in a step's text say.
    text_after_answers: something follows the block.
    reasoning_unmarked: what opens or closes the reasoning (``<think>``) is missing or not there once; a reasoning is opened first and never closed.
    answer_line_malformed: a line of the block is not as it should be.
    data_malformed: of a guard with data (`Output.data`): one is there twice, or never closed.

Reasons of a task without a label: one of the problems above, or
    none: the missing word is there.
    several_labels: a list of labels, or a question, is there.
    negated: it says what the label is not.
    not_a_label: the field is there, but what follows is no label word.
    field_missing: the field is not there.
    only_reasoning: a reasoning, or a prompt, without an answer after it.
    several_turns: the text goes on with further turns, and they differ.
    not_asked: no call was made about the task, as the row has no response.
    not_json: the answer is in a JSON object, and the text has none, or the last one that has it is broken.
    not_joined: the text is not the JSON object that holds the answers to several calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards._data_fields import MALFORMED, data_of
from toolkit.guards._definition import Guard
from toolkit.guards._grammar_answers import NOT_ASKED, Parsed, read_call, read_calls
from toolkit.guards._layout import Layout, before_label, layout_of, split_lines
from toolkit.guards._lenient import ONLY_REASONING, last_label, of_turns
from toolkit.guards._own_words import never_closed, own_parts, plain

Mode = Literal["strict", "lenient"]
REASONS = (
    *("empty", "no_answers_block", "answers_repeated", "text_after_answers", "reasoning_unmarked", "answer_line_malformed", MALFORMED),
    *("none", "several_labels", "negated", "not_a_label", "field_missing", ONLY_REASONING, "several_turns", NOT_ASKED, "not_json", "not_joined"),
)
"""Why no label was read, of a text as a whole or of a task: what they mean is above."""


def parse(
    guard: Guard,
    text: str | None,
    mode: Mode = "lenient",
    *,
    reading: str | None = None,
    asked: str | None = None,
    call: str | None = None,
) -> Parsed:
    """Read the labels of one output.

    Args:
        guard: the definition.
        text: the output; None or blank reads as ``empty``.
        mode: see the module's docstring.
        reading: one of the guard's readings (`Task.readings`), by which labels stand for others.
        asked: the input that the guard was given, where it is known: a lenient reading leaves out what repeats it.
        call: of a guard with several `calls`, the one that the text answers; by default it holds the answers to all of them.

    Raises:
        InputError: the guard has no reading, or no call, of that name.

    Example:
        >>> guard = toolkit.load_guard("guardreasoner")
        >>> toolkit.parse(guard, "Request: harmful").labels["prompt"]
        'harmful'
        >>> toolkit.parse(guard, "Request: harmful or unharmful").reasons["prompt"]
        'several_labels'
    """
    if guard.grammar is not None:
        parsed = read_calls(guard, text) if call is None else read_call(guard, guard.call(call), text)
    elif not text or not text.strip():
        return _unread(guard, ("empty",))
    elif guard.output.data:
        parsed = _beside_data(guard, text, mode, asked)
    else:
        parsed = _strict(guard, text) if mode == "strict" else _lenient(guard, text, asked)
    return parsed if reading is None else in_reading(guard, parsed, reading)


def _beside_data(guard: Guard, text: str, mode: Mode, asked: str | None) -> Parsed:
    """What is read of an output beside its data, and these."""
    rest, data, sound = data_of(guard, text)
    if mode == "strict" and not sound:
        return replace(_unread(guard, (MALFORMED,)), data=data)
    if not rest.strip():
        return replace(_unread(guard, ("no_answers_block" if mode == "strict" else "field_missing",)), data=data)
    return replace(_strict(guard, rest) if mode == "strict" else _lenient(guard, rest, asked), data=data)


def in_reading(guard: Guard, parsed: Parsed, reading: str) -> Parsed:
    """What was read, its labels as a reading takes them (InputError: the guard has none of that name)."""
    check_reading(guard, reading)
    return replace(parsed, labels={t.name: t.read_as(parsed.labels[t.name], reading) for t in guard.tasks})


def check_reading(guard: Guard, reading: str) -> None:
    """Raise InputError where no task of the guard has a reading of that name."""
    if reading not in guard.readings:
        hint = did_you_mean(reading, guard.readings) if guard.readings else "its tasks declare none (`readings`)"
        raise InputError(f"the guard {guard.name!r} has no reading {reading!r}", hint=hint)


def _unread(guard: Guard, problems: tuple[str, ...]) -> Parsed:
    return Parsed(dict.fromkeys(guard.task_names), dict.fromkeys(guard.task_names, problems[0]), problems)


def _lenient(guard: Guard, text: str, asked: str | None) -> Parsed:
    whole = plain(text)
    if not whole.strip():
        return _unread(guard, ("empty",))
    parts = own_parts(guard, whole, asked)
    if parts != [whole]:
        strict = _strict(guard, text)
        if not strict.problems:
            return strict
    labels: dict[str, str | None] = {}
    reasons: dict[str, str | None] = {}
    for task in guard.tasks:
        found = [last_label(guard, task, part) for part in parts]
        labels[task.name], reasons[task.name] = of_turns(found)
    return Parsed(labels, reasons)


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
        label = reason = known.get(line)
        if label is None:
            before = before_label(guard, task)
            reason = "none" if line in known else "not_a_label" if before and line.startswith(before) else "field_missing"
        labels[task.name], reasons[task.name] = label, None if label else reason
        sound = sound and line in known
    return Parsed(labels, reasons, () if sound else ("answer_line_malformed",))


def _marked(guard: Guard, text: str) -> bool:
    """Whether the reasoning is opened and closed as the guard says, once."""
    o = guard.output
    if never_closed(guard, text):
        return False
    opened = not o.open or (text.lstrip().startswith(o.open) and text.count(o.open) == 1)
    return opened and (not o.close or text.count(o.close) == 1)
