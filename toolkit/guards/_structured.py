"""A guard's output as JSON: the schema that an endpoint is asked to keep to, and its answers as the guard's text.

The schema keeps to what every endpoint's strict mode takes: each object closed and all its keys required, no bound on length or number (OpenAI's
strict mode began without them, and other endpoints refuse them). The bounds on steps are in a description; `validate` holds the answer to them.
Keys are in the order in which a model shall write them, the reasoning before the answers.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from toolkit.common.jsontext import loads_once
from toolkit.guards._definition import Guard
from toolkit.guards._render import Reasoning, render_output
from toolkit.guards._tasks import Task


class MalformedJson(ValueError):  # noqa: N818 (named by what it is)
    """A text that is not JSON of a guard's schema; the message says what was found, without the text."""


@lru_cache(maxsize=32)
def response_format(guard: Guard) -> str:
    """The ``response_format`` of a chat completions request, as JSON text whose keys are in the order to write them in."""
    o, bounds = guard.output, f"{guard.steps.min} to {guard.steps.max} steps, each one small observation"
    reasoning, answers = {}, {}
    for task in guard.tasks:
        parts: dict[str, Any] = {"steps": {"type": "array", "description": bounds, "items": {"type": "string"}}}
        if o.conclusion_heading:
            parts["conclusion"] = {"type": "string", "description": "one sentence that agrees with the answer"}
        reasoning[task.name] = _closed(parts, task.question)
        answers[task.name] = {"type": "string", "enum": [*task.written, o.missing_word]}
    whole_parts = {"reasoning": _closed(reasoning), "answers": _closed(answers)}
    if o.data:
        whole_parts["data"] = _closed({field.name: {"type": ["string", "null"]} for field in o.data})
    schema = _closed(whole_parts)
    whole = {"type": "json_schema", "json_schema": {"name": "judgement", "strict": True, "schema": schema}}
    return json.dumps(whole, ensure_ascii=True, separators=(",", ":"))


_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\s*```\s*", re.DOTALL)
"""What some models put around JSON all the same."""


def is_json(text: str) -> bool:
    """Whether a text sets out to be JSON, whatever comes of it."""
    return text.lstrip().startswith(("{", "```"))


def from_json(guard: Guard, text: str) -> str:
    """The guard's text (`render_output`) of an answer in JSON, also where it is in a Markdown fence.

    Raises:
        MalformedJson: it is not JSON, or not of the guard's schema.
    """
    try:
        data = loads_once(fenced[1] if (fenced := _FENCE.fullmatch(text)) else text)
    except ValueError as e:
        raise MalformedJson(f"not JSON: {e.msg} at character {e.pos}" if isinstance(e, json.JSONDecodeError) else str(e)) from None
    names = set(guard.task_names)
    fields = {field.name for field in guard.output.data}
    whole = _object(data, "the answer", {"reasoning", "answers", *(["data"] if fields else [])})
    whole_reasoning = _object(whole["reasoning"], "reasoning", names)
    answers = _object(whole["answers"], "answers", names)
    reasoning = {task: _reasoning(guard, task, whole_reasoning[task]) for task in guard.task_names}
    labels = {task.name: _label(guard, task, answers[task.name]) for task in guard.tasks}
    beside = _object(whole["data"], "data", fields) if fields else {}
    if not all(text is None or isinstance(text, str) for text in beside.values()):
        raise MalformedJson("data are texts, or null")
    try:
        output = render_output(guard, reasoning, labels, beside)
    except ValueError as e:
        raise MalformedJson(str(e)) from None
    try:
        output.encode()
    except UnicodeEncodeError:
        raise MalformedJson("half of a surrogate pair") from None
    return output


def _closed(properties: dict[str, Any], about: str = "") -> dict[str, Any]:
    described = {"description": about} if about else {}
    return {"type": "object", **described, "properties": properties, "required": list(properties), "additionalProperties": False}


def _object(value: Any, name: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        raise MalformedJson(f"{name} is not an object with the keys {', '.join(sorted(keys))}")
    return value


def _reasoning(guard: Guard, task: str, value: Any) -> Reasoning:
    ends = ("conclusion",) if guard.output.conclusion_heading else ()
    parts = _object(value, f"reasoning.{task}", {"steps", *ends})
    if not isinstance(parts["steps"], list) or not all(isinstance(s, str) for s in parts["steps"]):
        raise MalformedJson(f"reasoning.{task}.steps is not a list of texts")
    conclusion = parts.get("conclusion", "")
    if not isinstance(conclusion, str):
        raise MalformedJson(f"reasoning.{task}.conclusion is no text")
    return Reasoning([s.strip() for s in parts["steps"]], conclusion.strip())


def _label(guard: Guard, task: Task, value: Any) -> str | None:
    if value == guard.output.missing_word:
        return None
    if value not in task.written:
        raise MalformedJson(f"answers.{task.name} is no label of the task")
    return task.labels[task.written.index(value)]
