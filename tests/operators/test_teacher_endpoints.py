"""`synthesise` and `validate` over endpoints that spell things their own way: filters, finish words, thoughts, models without a system role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from server import running
from teachers import Answer, Small, Teacher, number, openai, sound

import toolkit
from toolkit.common.errors import InputError, Missing


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with running(Teacher()) as served:
        assert isinstance(served, Teacher)
        yield served


def test_the_fallback_takes_over_whatever_a_filter_is_called(teacher: Teacher, tmp_path: Path) -> None:
    first: dict[int, Answer] = {
        0: {"error": {"message": "Content Exists Risk", "type": "invalid_request_error", "code": "invalid_request_error"}},
        1: {"error": {"message": "unsuitable", "code": "data_inspection_failed"}},
        2: {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"], "flagged_input": "…"}}},
        3: {"content": "Half of", "finish_reason": "SAFETY"},
        4: {"content": "Half of", "finish_reason": "refusal"},
    }
    teacher.say = lambda body: first[number(body)] if body["model"] == "first" else sound(body)
    done = Small(tmp_path, [{}] * 5).run({"backend": openai(teacher), "fallback": [openai(teacher, "second")]})
    assert [r["teacher"] for r in done.rows()] == ["second"] * 5
    assert done.stats()["teachers"] == {"second": 5}


def test_a_sound_text_that_did_not_end_as_a_whole_answer_is_rejected(teacher: Teacher, tmp_path: Path) -> None:
    words = ["stop", "end_turn", "MAX_TOKENS", "model_length", "a_word_of_tomorrow"]
    teacher.say = lambda body: {"content": sound(body), "finish_reason": words[number(body)]}
    done = Small(tmp_path, [{}] * 5).run({"backend": openai(teacher)}, {"id": "valid", "use": "validate"})
    assert [r["reasoning_finish"] for r in done.rows()] == ["stop", "stop", "length", "length", "a_word_of_tomorrow"]
    assert len(done.rows("valid")) == 2
    gone = [(r["reason"], r["detail"]) for r in done.rejects("valid")]
    assert [reason for reason, _ in gone] == ["truncated"] * 3
    assert "a_word_of_tomorrow" in gone[2][1]


def test_rows_that_an_earlier_guardkit_wrote_are_judged_by_the_same_words(teacher: Teacher, tmp_path: Path) -> None:
    done = Small(tmp_path, [{}] * 6).run({"backend": openai(teacher)})
    finishes = ["stop", "STOP", None, "max_tokens", "error", "SAFETY"]
    rows = pl.DataFrame(done.rows(), infer_schema_length=None).with_columns(reasoning_finish=pl.Series(finishes, dtype=pl.String))
    kept, rest = toolkit.apply("validate", rows, rules=["truncated"])
    assert (kept.height, rest["_reason"].to_list()) == (3, ["truncated"] * 3)


def test_a_teachers_thoughts_are_taken_off_its_answer(teacher: Teacher, tmp_path: Path) -> None:
    thought = "It is about a plant. Request: harmful? No.\n"
    forms = [
        "<think>\n{0}</think>\n\n{1}",
        "{0}</think>\n\n{1}",
        "<think>\n\n</think>\n\n{1}",
        "<|channel|>analysis<|message|>{0}<|end|><|start|>assistant<|channel|>final<|message|>{1}<|return|>",
    ]
    teacher.say = lambda body: forms[number(body)].format(thought, sound(body))
    world = Small(tmp_path, [{}] * 4)
    done = world.run({"backend": openai(teacher)}, {"id": "valid", "use": "validate"})
    assert len(done.rows("valid")) == 4
    assert not any("think" in r["reasoning"] or "<|" in r["reasoning"] for r in done.rows())
    kept = world.run({"backend": openai(teacher, reasoning="keep")}, {"id": "valid", "use": "validate"}, output="kept")
    assert len(teacher.requests) == 4, "the answers of the journal are read in another way"
    assert len(kept.rejects("valid")) == 4


def test_a_teacher_without_a_system_role_is_instructed_in_the_users_message(teacher: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        if any(m["role"] == "system" for m in body["messages"]):
            return {"error": {"message": "System role not supported", "code": 400}}
        return sound({"messages": [{}, body["messages"][0]]})

    teacher.say = say
    world = Small(tmp_path, [{}] * 30)
    with pytest.raises(InputError, match="System role not supported") as e:
        world.run({"backend": openai(teacher)})
    assert "system: merge" in (e.value.hint or "")
    assert len(teacher.requests) <= 16
    done = world.run({"backend": openai(teacher, system="merge")}, {"id": "valid", "use": "validate"}, output="merged")
    assert len(done.rows("valid")) == 30


def test_a_fallback_takes_over_a_teacher_that_refuses_every_request_alike(teacher: Teacher, tmp_path: Path) -> None:
    teacher.say = lambda body: 400 if body["model"] == "first" else sound(body)
    options = {"backend": openai(teacher), "fallback": [openai(teacher, "second")], "fallback_on": ["bad_request"]}
    done = Small(tmp_path, [{}] * 30).run(options)
    assert done.stats()["teachers"] == {"second": 30}
    with pytest.raises(Missing, match="refused the first 8 requests alike"):
        Small(tmp_path, [{}] * 30).run({**options, "fallback_on": ["refused"]}, output="other")
    teacher.say = lambda body: 400
    with pytest.raises(Missing, match="refused the first 8 requests alike"):  # nobody is behind the last one
        Small(tmp_path, [{}] * 40).run(options, output="both")


def test_the_summary_of_a_run_quotes_what_an_endpoint_wrote_of_its_failures(teacher: Teacher, tmp_path: Path) -> None:
    teacher.say = lambda body: {"error": {"message": "the plants are asleep\x1b[2J", "type": "x"}} if number(body) % 2 else sound(body)
    Small(tmp_path, [{}] * 6).run({"backend": openai(teacher)})
    result = toolkit.run(tmp_path / "recipe.yaml", output=tmp_path / "out" / "run", raise_failures=False)
    (asked,) = result.summary["generations"]
    assert asked["errors"] == {"bad_request": 3} and "the plants are asleep" in asked["messages"]["bad_request"]
    assert "Failed (asked, teacher), bad_request: 3 (HTTP 400: the plants are asleep" in repr(result) and "\x1b" not in repr(result)
