"""What a guard reads and writes, rendered from its definition."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.files import digest
from toolkit.guards._calls import Call
from toolkit.guards._data_fields import data_lines
from toolkit.guards._definition import Guard, not_ours
from toolkit.guards._grammar_answers import write_calls
from toolkit.guards._layout import answer_line
from toolkit.guards._policy import POLICY, texts_of, without_policy
from toolkit.guards._switch import THINKS
from toolkit.guards._teacher import Blind, Teacher
from toolkit.guards._templates import template


@dataclass(frozen=True)
class Reasoning:
    """The reasoning on one task."""

    steps: Sequence[str]
    conclusion: str


def render_input(guard: Guard, row: Mapping[str, Any]) -> str:
    """Instruction, earlier messages and the interaction: the user message of training and of inference alike.

    Args:
        guard: the definition.
        row: `prompt`, `response` (may be None) and, optionally, `context`, `policy` for a guard that is shown one, `thinks` for one with a switch.

    Raises:
        InputError: the guard is asked by `calls` (`render_call`), or is shown a policy, and there is none.
    """
    return (guard.instruction + "\n" if guard.instruction else "") + exchange(guard, row) + ("" if guard.switch is None else guard.switch.word(row))


def read_input(guard: Guard, text: str) -> tuple[str, str | None] | None:
    """Prompt and response out of what `render_input` made of a row without context; None where it is no such text.

    Example:
        >>> from toolkit.guards import load_guard, read_input, render_input
        >>> guard = load_guard("guardreasoner")
        >>> read_input(guard, render_input(guard, {"prompt": "How do bees fly?", "response": None}))
        ('How do bees fly?', None)
    """
    parts = input_parts(guard)
    if parts is None or not (text.startswith(parts[0]) and text.endswith(parts[2])):
        return None
    prompt, found, response = text[len(parts[0]) : len(text) - len(parts[2])].partition(parts[1])
    if not found:
        return None
    return prompt, None if render_input(guard, {"prompt": prompt, "response": None}) == text else response


@lru_cache(maxsize=32)
def input_parts(guard: Guard) -> tuple[str, str, str] | None:
    """The texts that `render_input` writes before a prompt, between it and a response, and after that, of a row without context.

    Returns:
        None where the guard's template does more with them than to write them once.
    """
    marks = ("\u2402prompt\u2403", "\u2402response\u2403")
    try:
        before, found, rest = render_input(guard, {"prompt": marks[0], "response": marks[1]}).partition(marks[0])
    except InputError:
        return None
    between, answered, after = rest.partition(marks[1])
    once = found and answered and between and not any(mark in before + between + after for mark in marks)
    return (before, between, after) if once else None


def input_columns(guard: Guard, columns: Collection[str]) -> list[str]:
    """Of some columns those that the guard's input is rendered from.

    Raises:
        InputError: the guard is shown a policy, and there is none.
    """
    if guard.policy is not None and POLICY not in columns and guard.policy.text is None:
        raise without_policy(guard.policy)
    further = [*([POLICY] if guard.policy is not None else []), *([THINKS] if guard.switch is not None else [])]
    return ["context", "prompt", "response", *(name for name in further if name in columns)]


def input_fingerprint(guard: Guard) -> str:
    """Digest of what shapes `render_input`, and of the kinds of media beside it: a model trained with another reads inputs that it does not know."""
    calls = [call.model_dump(mode="json") for call in guard.calls]
    marks = [] if guard.policy is None else [["policy", guard.policy.open, guard.policy.close]]
    marks += [] if guard.switch is None else [["switch", guard.switch.on, guard.switch.off]]
    return digest([guard.instruction, guard.input, guard.context, *([guard.media] if guard.media else []), *([calls] if calls else []), *marks])


def render_call(guard: Guard, call: Call, row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages of one call about a row; of a text its pieces (`Call.rendered`).

    Args:
        guard: the definition.
        call: one of its calls.
        row: `prompt`, `response` (may be None) and, optionally, `context`, and `policy` for a guard that is shown one.

    Raises:
        InputError: its template cannot be rendered for this row, or the guard is shown a policy, and there is none.
    """
    values = texts_of(guard.policy, row)
    context = values.pop("context")
    if context and call.earlier == "text":
        values["prompt"] = template(guard.context).render(context=context) + values["prompt"]
    earlier = [{"role": m["role"], "content": m["content"]} for m in context] if call.earlier == "turns" else []
    try:
        return call.rendered(values, earlier)
    except ValueError as e:
        raise InputError(f"the guard {guard.name!r} cannot be asked about a row: {e}", where=f"calls, {call.name}") from None


def exchange(guard: Guard, row: Mapping[str, Any]) -> str:
    """The interaction without the instruction (InputError: as `render_input`)."""
    if guard.calls:
        raise not_ours(guard, "has no input of one text")
    values = texts_of(guard.policy, row)
    context = values.pop("context")
    before = template(guard.context).render(context=context) if context else ""
    return before + template(guard.input).render(values)


def render_output(
    guard: Guard, reasoning: Mapping[str, Reasoning], labels: Mapping[str, str | None], data: Mapping[str, str | None] | None = None
) -> str:
    """What the guard should write. A strict `parse` of it reads the labels back, unless a step holds a line of an answers block.

    Args:
        guard: the definition.
        reasoning: by task name; an empty mapping gives no reasoning. A conclusion is written where the guard has a heading for it.
        labels: by task name; None is written as the guard's missing word.
        data: by name what it writes beside its labels (`Output.data`); what is None or not there is not written.

    Raises:
        ValueError: a label that the task does not have, data that hold a mark or that it has no field for, or reasoning for a guard that was
            trained elsewhere.
    """
    if guard.grammar is not None:
        if reasoning or data:
            raise ValueError(f"the guard {guard.name!r} was trained elsewhere: its answers have no reasoning of ours")
        return write_calls(guard, labels)
    o = guard.output
    parts = [o.open] if o.open else []
    for n, task in enumerate(guard.tasks, 1):
        if task.name not in reasoning:
            continue
        r = reasoning[task.name]
        parts += [o.task_heading.format(n=n)] if o.task_heading else []
        parts += [f"{o.step_heading.format(k=k)}\n{text}" if o.step_heading else text for k, text in enumerate(r.steps, 1)]
        parts += [f"{o.conclusion_heading}\n{r.conclusion}"] if o.conclusion_heading else []
    parts += [mark for mark in (o.close, o.separator) if mark]
    return "\n\n".join([*parts, answers_block(guard, labels), *data_lines(guard, data or {})])


def answers_block(guard: Guard, labels: Mapping[str, str | None]) -> str:
    """The answers block alone. Raises as `render_output` does."""
    o = guard.output
    lines = [o.answers_heading] if o.answers_heading else []
    for task in guard.tasks:
        label = labels[task.name]
        if label is not None and label not in task.labels:
            raise ValueError(f"{label!r} is no label of the task {task.name!r}: {', '.join(task.labels)}")
        lines.append(answer_line(guard, task, label))
    return "\n".join([*lines, *([o.answers_close] if o.answers_close else [])])


def teacher_messages(guard: Guard, row: Mapping[str, Any], *, structured: bool = False) -> list[dict[str, str]]:
    """Messages that ask a teacher for reasoning with the labels given (paper, section 3.2).

    Args:
        guard: the definition.
        row: a seed; a label whose source is ``to_infer`` is shown as ``?`` for the teacher to decide.
        structured: the answer is to be JSON (`response_format`), not text.
    """
    sources = {t.name: row[f"label_{t.name}_source"] for t in guard.tasks}
    words = {t.name: None if (label := row[f"label_{t.name}"]) is None else t.word(label) for t in guard.tasks}
    answers = {name: "?" if sources[name] == "to_infer" else words[name] or guard.output.missing_word for name in words}
    given = {"infer": "to_infer" in sources.values(), "answers": answers}
    return _messages(guard.taught, _values(guard, row, structured) | given)


def blind_messages(guard: Guard, row: Mapping[str, Any], *, structured: bool = False) -> list[dict[str, str]]:
    """Messages that ask a teacher to judge by itself: nothing of them depends on the row's labels.

    Args:
        guard: the definition.
        row: `prompt`, `response` (may be None) and, optionally, `context`.
        structured: as in `teacher_messages`.

    Raises:
        InputError: the guard's teacher has no blind prompt.
    """
    if guard.taught.blind is None:
        raise InputError(f"the teacher of the guard {guard.name!r} has no blind prompt", hint="write one: teacher: {blind: {system: …, user: …}}")
    return _messages(guard.taught.blind, _values(guard, row, structured))


def feedback(guard: Guard, reasons: Sequence[str]) -> str:
    """The message to a teacher about an answer that was not taken."""
    return template(guard.taught.feedback).render(reasons=list(reasons))


def _values(guard: Guard, row: Mapping[str, Any], structured: bool) -> dict[str, Any]:
    """Variables of a teacher's prompt that no label shapes."""
    tasks = [t.replaced(labels=t.written) if t.words else t for t in guard.tasks]
    fixed = {"tasks": tasks, "steps": guard.steps, "missing_word": guard.output.missing_word, "structured": structured}
    return fixed | {"exchange": exchange(guard, row)}


def _messages(prompt: Teacher | Blind, values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"role": role, "content": template(source).render(values)} for role, source in (("system", prompt.system), ("user", prompt.user))]
