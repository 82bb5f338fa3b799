"""A guard's output as JSON: what is asked for, and that its text comes out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.generation import Request
from toolkit.guards import Guard, MalformedJson, Reasoning, from_json, parse, render_output, response_format

PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(str.strip)


def to_json(guard: Guard, reasoning: dict[str, Reasoning], labels: dict[str, str | None]) -> dict[str, Any]:
    """What a teacher that keeps to the schema would write."""
    ends = bool(guard.output.conclusion_heading)
    return {
        "reasoning": {t: {"steps": list(r.steps)} | ({"conclusion": r.conclusion} if ends else {}) for t, r in reasoning.items()},
        "answers": {t: guard.output.missing_word if label is None else label for t, label in labels.items()},
    }


@settings(deadline=None)
@given(data=st.data())
def test_an_answer_in_json_becomes_the_text_that_the_guard_writes(guard: Guard, data: st.DataObject) -> None:
    reasoning = {t: Reasoning(data.draw(st.lists(PLAIN, max_size=3)), data.draw(PLAIN)) for t in guard.task_names}
    labels = {t.name: data.draw(st.none() | st.sampled_from(t.labels)) for t in guard.tasks}
    written = to_json(guard, reasoning, labels)
    assert from_json(guard, json.dumps(written, ensure_ascii=data.draw(st.booleans()))) == render_output(guard, reasoning, labels)


def sound(guard: Guard) -> dict[str, Any]:
    return to_json(guard, {t: Reasoning(["One.", "Two."], "So.") for t in guard.task_names}, {t.name: t.labels[0] for t in guard.tasks})


def test_the_text_is_read_as_its_answers(guard: Guard) -> None:
    text = from_json(guard, json.dumps(sound(guard)))
    assert parse(guard, text, "strict").labels == {t.name: t.labels[0] for t in guard.tasks}
    for fenced in ("```json\n{}\n```", "```\n{}```\n", "  \n{}\n"):
        assert from_json(guard, fenced.format(json.dumps(sound(guard), indent=1))) == text


def broken(guard: Guard) -> Iterator[str]:
    task = guard.task_names[0]
    good = sound(guard)
    edits: list[dict[str, Any]] = [
        {"answers": {**good["answers"], task: "dangerous"}},
        {"answers": {**good["answers"], task: None}},
        {"answers": {**good["answers"], task: ["x"]}},
        {"answers": {**good["answers"], "more": "x"}},
        {"reasoning": {}},
        {"reasoning": {**good["reasoning"], task: "text"}},
        {"reasoning": {**good["reasoning"], task: {**good["reasoning"][task], "steps": "text"}}},
        {"reasoning": {**good["reasoning"], task: {**good["reasoning"][task], "steps": ["a", 1]}}},
        {"reasoning": {**good["reasoning"], task: {**good["reasoning"][task], "note": ""}}},
        {"reasoning": {**good["reasoning"], task: {**good["reasoning"][task], "steps": ["\ud83d"]}}},
        {"more": 1},
    ]
    yield from (json.dumps(good | edit) for edit in edits)
    yield from ("", "I would rather not.", json.dumps(good)[:-5], json.dumps(good) + "!", "null", "[]", "7", "[" * 100_000, "9" * 10_000, "{}")


def test_whatever_is_not_of_the_schema_is_named_and_nothing_else_is_raised(guard: Guard) -> None:
    for text in broken(guard):
        with pytest.raises(MalformedJson) as e:
            from_json(guard, text)
        words = {w for t in guard.tasks for w in t.labels} - set(guard.task_names)  # "refusal" is a task, and so a key, too
        assert not words & set(re.findall(r"\w+", str(e.value))), "what the teacher reads about its fault holds no label"


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects(inner)


def test_the_schema_keeps_to_what_every_strict_mode_takes(guard: Guard) -> None:
    whole = json.loads(response_format(guard))
    assert whole["type"] == "json_schema" and whole["json_schema"]["strict"] is True
    schema = whole["json_schema"]["schema"]
    found = list(objects(schema))
    assert len(found) == 3 + len(guard.tasks)
    for one in found:
        assert one["additionalProperties"] is False and one["required"] == list(one["properties"])
    words = {"type", "description", "properties", "required", "additionalProperties", "items", "enum"}

    def keywords(node: Any) -> set[str]:
        inner = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]
        return set(node) | {k for i in inner for k in keywords(i)}

    assert keywords(schema) <= words
    for task in guard.tasks:
        assert schema["properties"]["answers"]["properties"][task.name]["enum"] == [*task.labels, guard.output.missing_word]


def test_the_reasoning_is_asked_for_before_the_answers_also_in_the_payload(guard: Guard) -> None:
    request = Request("m", "e", (("user", "x"),), 0.0, 1.0, 10, schema=response_format(guard))
    schema = request.payload()["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["reasoning", "answers"]
    assert list(schema["properties"]["reasoning"]["properties"]) == list(guard.task_names)
