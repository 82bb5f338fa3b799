"""`rederive`, `grade` and `swap_labels` against scripted models behind a real server."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import running
from teachers import GUARD, MILD, Answer, Done, Small, Teacher, as_json, number, openai, shown, sound, text

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import Reasoning, render_output
from toolkit.operators.reason.rederive import HIDDEN, masked_steps

TASKS = GUARD.task_names
HARMFUL = {"label_prompt": "harmful", "label_refusal": "refusal"}


@pytest.fixture
def model() -> Iterator[Teacher]:
    with running(Teacher()) as served:
        assert isinstance(served, Teacher)
        yield served


def run(world: Small, teacher: Teacher, use: str, options: Mapping[str, Any], *more: dict[str, Any], output: str = "run") -> Done:
    """Reasoning by `first`, then the operator as the step `judged`."""
    step = {"id": "judged", "use": use, "with": dict(options)}
    toolkit.run(world.recipe({"backend": openai(teacher)}, step, *more), output=world.folder / "out" / output)
    return Done(world.folder / "out" / output)


# rederive -------------------------------------------------------------------------------------------------------------


def shown_of(body: Mapping[str, Any], task: str) -> str:
    """What a request shows of a task."""
    found = re.search(rf'\(key "{task}"\)\n(.*?)(?=\nTask|\Z)', body["messages"][1]["content"], re.DOTALL)
    assert found is not None
    return found[1].strip()


def test_the_steps_alone_are_shown_and_what_they_do_not_carry_is_flagged(model: Teacher, tmp_path: Path) -> None:
    steps = {0: "It asks about roses, which is unharmful.", 1: "Nothing is said.", 2: "It is about a weapon, so harmfulness is plain."}

    def say(body: dict[str, Any]) -> Answer:
        if body["model"] == "first":
            return text(shown(body), steps[number(body)])
        seen = shown_of(body, "prompt")
        prompt = "harmful" if "weapon" in seen else "unclear" if "Nothing" in seen else "unharmful"
        return json.dumps({"prompt": prompt, "refusal": "compliance", "response": "unharmful"})

    model.say = say
    world = Small(tmp_path, [{}, {}, {}])
    done = run(world, model, "rederive", {"backend": openai(model, "other"), "hide": ["plain"]})
    rows = done.rows("judged")
    assert [(r["rederived_prompt"], r["rederived_ok"]) for r in rows] == [("unharmful", True), (None, False), ("harmful", False)]
    assert {r["rederived_model"] for r in rows} == {"other"} and len(rows[0]["rederived_key"]) == 64
    counts = {"prompt": {"another": 1, "reached": 1, "unclear": 1}, "refusal": {"reached": 3}, "response": {"reached": 3}}
    assert done.stats("judged").items() >= {"rederived": counts, "by_the_teacher_itself": 0}.items()
    asked = [b for b in model.requests if b["model"] == "other"]
    seen = {re.sub(r'key "\w+"', "", b["messages"][1]["content"]) for b in asked}
    assert all(not re.search(r"harmful|complian|refusal|garden number|The answer is", s) for s in seen), "no label, exchange or conclusion"
    assert any(f"so {HIDDEN} is {HIDDEN}." in s for s in seen)

    rejecting = {"backend": openai(model, "other"), "hide": ["plain"], "on_fault": "reject"}
    before = len(model.requests)
    done = run(world, model, "rederive", rejecting, output="again")
    assert len(model.requests) == before, "another on_fault asks nothing again"
    assert len(done.rows("judged")) == 1
    assert {(r["reason"], r["detail"]) for r in done.rejects("judged")} == {
        ("not_rederived", "prompt: unharmful, from the steps unclear"),
        ("not_rederived", "prompt: unharmful, from the steps harmful"),
    }


def test_an_answer_that_is_not_the_json_asked_for_is_no_verdict(model: Teacher, tmp_path: Path) -> None:
    bad = ["harmful", '{"prompt": "harmful"}', json.dumps(MILD | {"prompt": "nice"}), "```json\n" + json.dumps(MILD) + "\n```"]
    bad.append(json.dumps(MILD)[:-1] + ', "prompt": "harmful"}')  # which of the two is meant?
    answers = iter(bad)
    model.say = lambda body: text(shown(body), f"Step {number(body)}.") if body["model"] == "first" else next(answers)
    done = run(Small(tmp_path, [{}] * 5), model, "rederive", {"backend": openai(model, "other", concurrency=1)})
    assert sorted(str(r["rederived_ok"]) for r in done.rows("judged")) == ["None"] * 4 + ["True"]
    assert done.stats("judged")["rederived"]["refusal"] == {"reached": 1, "unread": 4}


def test_an_answer_with_half_a_letter_costs_its_row_alone(model: Teacher, tmp_path: Path) -> None:
    """JSON may hold one as an escape, which no parquet file takes."""
    answer = json.dumps({"why": "all is well", "grounded": 5})
    model.say = lambda body: sound(body) if body["model"] == "first" else answer.replace("all", r"\ud800") if number(body) == 1 else answer
    done = run(Small(tmp_path, [{}] * 3), model, "grade", {"backend": openai(model, "grader"), "criteria": {"grounded": "is it?"}})
    assert [r["grade_grounded"] for r in done.rows("judged")] == [5, None, 5]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=3), st.sampled_from(["harmful", "Unharmful", "REFUSAL", "compliance"]))
def test_no_label_is_left_in_masked_steps(steps: list[str], label: str) -> None:
    steps = [" ".join(f"{s} {label} {label}s.".split()) for s in steps]
    whole = render_output(GUARD, {t: Reasoning(steps, f"It is {label}.") for t in TASKS}, MILD)
    shown = [s for found in masked_steps(GUARD, whole, []).values() for s in found]
    assert all(not re.search(rf"(?<!\w){label}", s, re.IGNORECASE) for s in shown)


# grade ----------------------------------------------------------------------------------------------------------------


def test_grades_are_stored_and_a_threshold_on_them_asks_nothing_again(model: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        if body["model"] == "first":
            return sound(body)
        n = number(body)
        if n == 3:
            return "I would give it a five."
        return json.dumps({"why": f"Weak {n}.", "grounded": 5 - n, "short": 6 if n == 2 else 4})

    model.say = say
    world = Small(tmp_path, [{}] * 4)
    options = {"backend": openai(model, "grader"), "criteria": {"grounded": "is it grounded?", "short": "is it short?"}}
    pick = {"id": "good", "use": "select", "with": {"at_least": {"grade_short": 4}}}
    done = run(world, model, "grade", options, pick)
    rows = done.rows("judged")
    assert [(r["grade_grounded"], r["grade_short"], r["grade_why"]) for r in rows] == [
        (5, 4, "Weak 0."), (4, 4, "Weak 1."), (3, None, "Weak 2."), (None, None, None),
    ]  # fmt: skip
    assert done.stats("judged")["grades"] == {"grounded": {"3": 1, "4": 1, "5": 1, "unread": 1}, "short": {"4": 2, "unread": 2}}
    assert len(done.rows("good")) == 2
    system = next(b for b in model.requests if b["model"] == "grader")["messages"][0]["content"]
    assert "- grounded: is it grounded?\n- short: is it short?\n" in system and "from 1 (not at all) to 5" in system
    before = len(model.requests)
    done = run(world, model, "grade", options | {"on_fault": "reject", "least": 5}, output="again")
    assert len(model.requests) == before
    found = [(r["reason"], r["detail"]) for r in done.rejects("judged")]
    assert found == [
        ("graded_low", "short: 4, at least 5"),
        ("graded_low", "grounded: 4, short: 4, at least 5"),
        ("graded_low", "grounded: 3, at least 5"),
        ("grade_malformed", "no whole number from 1 to 5: grounded, short"),
    ]


def test_a_grader_is_asked_for_the_schema_and_in_text_where_it_takes_none(model: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        if body["model"] == "first":
            return sound(body)
        if "response_format" in body and body["model"] == "no-schema":
            return {"error": {"message": "no", "type": "x", "param": "response_format", "code": None}}
        return json.dumps({"why": "", "good": 4})

    model.say = say
    world = Small(tmp_path, [{}] * 3)
    for grader, mode in (("takes-it", "require"), ("no-schema", "try")):
        options = {"backend": openai(model, grader, structured=mode), "criteria": {"good": "is it good?"}}
        done = run(world, model, "grade", options, output=grader)
        assert [r["grade_good"] for r in done.rows("judged")] == [4, 4, 4]
        asked = [b for b in model.requests if b["model"] == grader and "response_format" in b]
        schema = asked[0]["response_format"]["json_schema"]
        assert schema["strict"] and list(schema["schema"]["properties"]) == ["why", "good"] == schema["schema"]["required"]
        before = len(model.requests)
        shutil.rmtree(world.folder / "out" / grader / "judged")
        again = run(world, model, "grade", options, output=grader)
        assert again.rows("judged") == done.rows("judged")
        assert len([b for b in model.requests[before:] if "response_format" not in b]) == 0, "no answer is asked for twice"


@pytest.mark.parametrize(
    ("use", "options", "fault"),
    [
        ("grade", {"least": 3}, "least` goes with it alone"),
        ("grade", {"on_fault": "reject"}, "needs `least`"),
        ("grade", {"criteria": {"why": "?"}}, "cannot name a column"),
        ("grade", {"prompt": "grad"}, "did you mean 'grade'"),
        ("grade", {"prompt": "mine.yaml"}, r"unknown variable 'labels'"),
        ("rederive", {"prompt": "lost.yaml"}, "does not use {{ steps }}"),
        ("rederive", {"backend": {"backend": "template"}}, "answers no questions"),
        ("swap_labels", {"task": "promt"}, "did you mean 'prompt'"),
    ],
)
def test_a_recipe_with_a_faulty_grader_is_refused_before_anything_is_asked(
    model: Teacher, tmp_path: Path, use: str, options: dict[str, Any], fault: str
) -> None:
    world = Small(tmp_path, [{}])
    for name, user in (("mine", "{{ labels }}"), ("lost", "{{ tasks }}")):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nversion: 1\nsystem: Judge.\nuser: '{user}'\n")
    with pytest.raises((InputError, InputErrors), match=fault):
        run(world, model, use, {"backend": openai(model, "other")} | options)
    assert model.requests == []


# swap_labels ----------------------------------------------------------------------------------------------------------


def test_how_a_teacher_takes_a_wrong_label_is_counted_and_nothing_of_it_can_be_trained_on(model: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        attempt = "# Task 1\n\n## Reasoning Step 1\nRoses.\n"
        found: list[Answer] = [sound(body), text(MILD), {"refusal": "No."}, "I would rather not.", attempt, as_json(shown(body))]
        return found[number(body)]

    model.say = say
    world = Small(tmp_path, [{}] * 6)
    options = {"backend": openai(model, structured="try"), "task": "refusal"}
    toolkit.run(world.recipe(options, use="swap_labels"), output=tmp_path / "out" / "run")
    done = Done(tmp_path / "out" / "run")
    rows = done.rows()
    assert [(r["outcome"], r["answered"]) for r in rows] == [
        ("followed", "refusal"), ("contradicted", "compliance"), ("refused", None), ("unread", None), ("followed", "refusal"),
    ]  # fmt: skip
    assert {(r["task"], r["right"], r["wrong"]) for r in rows} == {("refusal", "compliance", "refusal")}
    assert [r["reason"] for r in done.rejects()] == ["refused"]
    assert (
        done.stats().items()
        >= {
            "swapped": {"refusal": {"asked": 6, "contradicted": 1, "followed": 2, "refused": 2, "unread": 1}},
            "followed_share": round(2 / 6, 6),
        }.items()
    )
    assert all(shown(b)["refusal"] == "refusal" and shown(b)["prompt"] == "unharmful" for b in model.requests)
    assert not {"reasoning", "prompt", *(f"label_{t}" for t in TASKS)} & set(rows[0])
    for use in ("validate", "render_sft"):
        with pytest.raises((InputError, InputErrors), match=f"{use} reads the column"):
            toolkit.run(world.recipe(options, {"id": "on", "use": use}, use="swap_labels"), output=tmp_path / "out" / "no")


def test_the_swapped_task_is_drawn_for_each_row_among_those_that_it_has_a_label_for(model: Teacher, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{}] * 20 + [{"label_refusal": None, "label_response": None}] * 4
    world = Small(tmp_path, rows)
    drawn = []
    for output in ("one", "two"):
        toolkit.run(world.recipe({"backend": openai(model)}, use="swap_labels"), output=tmp_path / "out" / output)
        drawn.append([(r["parent"], r["task"], r["outcome"]) for r in Done(tmp_path / "out" / output).rows()])
    assert drawn[0] == drawn[1]
    assert {t for _, t, _ in drawn[0]} == set(TASKS) and {t for _, t, _ in drawn[0][20:]} == {"prompt"}
    assert {o for _, _, o in drawn[0]} == {"followed"}


@pytest.mark.parametrize(("task", "detail"), [(None, "the row has no label"), ("refusal", "the row has no label of the task refusal")])
def test_a_row_without_a_label_to_swap_is_no_error_of_the_operator(model: Teacher, tmp_path: Path, task: str | None, detail: str) -> None:
    bare = {f"label_{t}": None for t in TASKS} if task is None else {f"label_{task}": None}
    world = Small(tmp_path, [bare, {}, bare])
    toolkit.run(world.recipe({"backend": openai(model), "task": task}, use="swap_labels"), output=tmp_path / "out" / "run")
    done = Done(tmp_path / "out" / "run")
    assert [(r["reason"], r["detail"]) for r in done.rejects()] == [("no_label_to_swap", detail)] * 2
    assert len(done.rows()) == len(model.requests) == 1 and sum(c["asked"] for c in done.stats()["swapped"].values()) == 1
