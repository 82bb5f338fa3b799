"""`generate`: any question about a row's columns, its answer in a column."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server import running
from teachers import Done, Small, Teacher, openai

import toolkit
from toolkit.operators import describe_operator


@pytest.fixture
def model() -> Iterator[Teacher]:
    with running(Teacher(lambda body: body["messages"][-1]["content"].upper())) as served:
        assert isinstance(served, Teacher)
        yield served


def run(world: Small, options: dict[str, Any], *more: dict[str, Any]) -> Done:
    toolkit.run(world.recipe(options, *more, use="generate"), output=world.folder / "out" / "run")
    return Done(world.folder / "out" / "run")


def test_a_question_over_any_columns_writes_its_answer_beside_them(model: Teacher, tmp_path: Path) -> None:
    world = Small(tmp_path, [{}, {"prompt": "{{ 7 * 7 }}", "response": None, "label_refusal": None, "label_response": None}])
    user = "{{ prompt }} / {{ response or 'nothing' }} / {{ label_prompt }}{% for m in context %}{{ m.role }}{% endfor %}"
    again = {"id": "again", "use": "generate", "with": {"backend": openai(model, "second"), "user": "Shorter: {{ loud }}", "column": "short"}}
    done = run(world, {"backend": openai(model), "system": "About {{ source }}.", "user": user, "column": "loud"}, again)
    first, second = done.rows()
    assert first["loud"] == "WHAT GROWS IN GARDEN NUMBER 0? / ROSES. / UNHARMFUL"
    assert second["loud"] == "{{ 7 * 7 }} / NOTHING / UNHARMFUL", "text of a row is no template"
    assert (first["loud_model"], first["loud_finish"], len(first["loud_key"])) == ("first", "stop", 64)
    assert model.requests[0]["messages"][0] == {"role": "system", "content": "About tiny."}
    assert [r["short"] for r in done.rows("again")] == [f"SHORTER: {r['loud']}".upper() for r in (first, second)]
    assert [m["role"] for m in model.requests[-1]["messages"]] == ["user"]
    asked = len(model.requests)
    shutil.rmtree(world.folder / "out" / "run" / "asked")
    run(world, {"backend": openai(model), "system": "About {{ source }}.", "user": user, "column": "loud"}, again)
    assert len(model.requests) == asked, "the journal has the answers"


def test_a_failure_costs_its_own_row(model: Teacher, tmp_path: Path) -> None:
    model.say = lambda body: {"refusal": "No."} if body["messages"][0]["content"].endswith("1?") else "Yes."
    done = run(Small(tmp_path, [{}] * 3), {"backend": openai(model), "user": "{{ prompt }}"})
    assert [r["generated"] for r in done.rows()] == ["Yes.", "Yes."]
    assert [r["reason"] for r in done.rejects()] == ["refused"]


MODEL = {"backend": "openai", "model": "m", "base_url": "http://localhost:1/v1"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"user": "{{ promt }}"}, "generate reads the column 'promt', which no earlier step writes\n.*did you mean 'prompt'"),
        ({"user": "{{ prompt }}", "system": "{{ reasoning }}"}, "the column 'reasoning'"),
        ({"user": "{{ prompt"}, r"recipe.yaml:\d+:steps.1.with.user: not a valid template"),
        ({"user": "{{ prompt }}", "column": "response"}, "write over the column 'response'"),
        ({"user": "{{ prompt }}", "backend": {"backend": "template"}}, "the template teacher answers no questions"),
        ({"user": "{{ prompt }}", "backend": {**MODEL, "structured": "try"}}, "generate asks for text"),
        ({}, "the key 'user' is missing"),
    ],
)
def test_faults_are_found_before_anything_is_paid_for(tmp_path: Path, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(toolkit.GuardkitError, match=fault):
        toolkit.run(Small(tmp_path, [{}]).recipe({"backend": MODEL} | options, use="generate"), output=tmp_path / "out" / "run")


def test_a_template_reaches_no_python(model: Teacher, tmp_path: Path) -> None:
    done = run(Small(tmp_path, [{}]), {"backend": openai(model), "user": "{{ prompt.__class__.__mro__ }}"})
    assert [r["reason"] for r in done.rejects()] == ["operator_error"] and not model.requests


def test_it_is_listed_with_its_options_and_columns() -> None:
    found = describe_operator("generate")
    assert found["writes"] == ["plain", "plain_model", "plain_key", "plain_finish"]
    assert [o["name"] for o in found["options"]] == ["backend", "user", "system", "column", "stop_if"]
    assert all(o["doc"] for o in found["options"])
