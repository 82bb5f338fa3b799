"""`ask_guards`: guards of other definitions vote in the words of the recipe's guard, on rows or on texts beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import reasons, seeds
from server import running
from teachers import Teacher, openai

import toolkit
from toolkit.common.errors import InputError


def say(body: dict[str, Any]) -> str | int:
    """Llama Guard and Qwen3Guard: whatever has a bomb in it is unsafe, what has a knife controversial."""
    last = body["messages"][-1]["content"]
    if "gone" in last:
        return 400
    if body["model"] == "llama":
        return "unsafe\nS9" if "bomb" in last else "safe" if "blur" not in last else "well"
    word = "Unsafe" if "bomb" in last else "Controversial" if "knife" in last else "Safe"
    return f"Safety: {word}\nCategories: None" + ("\nRefusal: No" if body["messages"][-1]["role"] == "assistant" else "")


@pytest.fixture
def model() -> Iterator[Teacher]:
    with running(Teacher(say)) as served:
        assert isinstance(served, Teacher)
        yield served


def both(model: Teacher, **qwen: Any) -> dict[str, Any]:
    reading = {"reading": "strict"} if not qwen else {}
    return {
        "llama": {"guard": "llama_guard_3", "backend": openai(model, model="llama")},
        "qwen": {"guard": "qwen3guard", "backend": openai(model, model="qwen"), **reading, **qwen},
    }


def test_an_ensemble_of_other_guards_sets_and_settles_labels(model: Teacher, tmp_path: Path) -> None:
    rows = seeds(
        {"prompt": "a bomb", "label_prompt": "harmful"},
        {"prompt": "a knife", "response": "a bomb", "label_prompt": "harmful"},
        {"prompt": "bread", "response": "flour", "label_prompt_source": "to_infer"},
        {"prompt": "blur"},
        {"prompt": "gone"},
    )
    options: dict[str, Any] = {"guards": both(model), "work": tmp_path}
    votes, rest = toolkit.apply("ask_guards", rows, **options)
    assert reasons(rest) == {"bad_request": 2} and votes["id"].n_unique() == votes.height == 8
    found = {(r["prompt"], r["guard_model"]): r for r in votes.iter_rows(named=True)}
    assert found["a knife", "qwen"]["verdict_prompt"] == "harmful", "controversial, in the strict reading"
    assert (found["a knife", "llama"]["verdict_prompt"], found["a knife", "llama"]["verdict_response"]) == ("unharmful", "harmful")
    assert found["a knife", "qwen"]["verdict_refusal"] == "compliance" and found["bread", "llama"]["unread_refusal"] == "not_judged"
    assert found["blur", "llama"]["verdict_prompt"] is None and found["blur", "llama"]["unread_prompt"] not in (None, "not_judged")
    agreed = toolkit.apply("relabel", {"rows": rows, "verdicts": votes}, tasks=["prompt"], disputed="reject")
    assert agreed.kept.select("prompt", "label_prompt", "label_prompt_source").rows() == [
        ("a bomb", "harmful", "human"),
        ("bread", "unharmful", "consensus"),
    ]
    assert "prompt: harmful; llama: unharmful 1; qwen: harmful 1" in agreed.rejected["_detail"].to_list()
    asked = len(model.requests)
    again = toolkit.apply("ask_guards", rows[:4], **options)
    assert again.kept.equals(votes) and len(model.requests) == asked, "the journal has the answers, of several calls too"
    assert {"guard": "llama", "task": "prompt", "label": "(unread)", "rows": 1} in again.figures["verdicts"]
    assert not [line for line in again.figures["verdicts"] if (line["task"], line["label"]) == ("response", "(unread)")], "no response, no question"


def test_texts_beside_the_rows_are_judged_in_their_place(model: Teacher, tmp_path: Path) -> None:
    rows = seeds({"prompt": "a bomb", "response": "boom"}, {"prompt": "b"}).with_columns(rewrite=pl.Series(["a firework", " "]))
    kept, rest = toolkit.apply("ask_guards", rows, guards=both(model), of="rewrite", work=tmp_path)
    assert kept["parent"].to_list() == [rows["id"][0]] * 2 and set(kept["verdict_prompt"]) == {"unharmful"} and set(kept["prompt"]) == {"a bomb"}
    assert reasons(rest) == {"no_text": 2} and all(len(r["messages"]) == 1 for r in model.requests)
    reasoned = rows.with_columns(reasoning=pl.Series(["<think>x</think>Intent: BU\n<rewrite>\na knife\n</rewrite>", ""])).drop("rewrite")
    reasoned = reasoned.select(c for c in reasoned.columns if c == "response" or not {"refusal", "response"} & set(c.split("_")))
    kept, _ = toolkit.apply("ask_guards", reasoned, guards=both(model), of="rewrite", guard="intentionreasoner", work=tmp_path)
    assert kept.select("guard_model", "verdict_prompt").rows() == [("llama", "unharmful"), ("qwen", "harmful")]


@pytest.mark.parametrize(
    ("qwen", "options", "message"),
    [
        ({"labels": {}}, {}, r"'qwen3guard' may say 'controversial' of prompt.*\n?.*labels: \{prompt: \{controversial: unharmful\}\}"),
        ({"labels": {"prompt": {"grim": "harmful"}}}, {}, "says no 'grim'"),
        ({"labels": {"prompt": {"controversial": "bad"}}}, {}, "'bad' is none of unharmful, harmful"),
        ({"reading": "mild"}, {}, "mild"),
        ({}, {"of": "rewrit"}, "the rows have no 'rewrit'"),
    ],
)
def test_what_does_not_fit_is_found_before_anything_is_asked(
    model: Teacher, qwen: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        toolkit.apply("ask_guards", seeds({}), guards=both(model, **qwen), **options, work=tmp_path)
    assert not model.requests


def test_a_rule_may_name_a_guard_that_was_asked_beside_those_that_drew() -> None:
    one = {"backend": {"backend": "openai", "model": "m", "base_url": "http://localhost:9"}}

    def check(rule: dict[str, Any]) -> None:
        steps: list[dict[str, Any]] = [
            {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 2}},
            {"id": "others", "use": "ask_guards", "with": {"guards": {"llama": {"guard": "llama_guard_3", **one}}}},
            {"id": "samples", "use": "sample", "from": "seeds", "with": {"models": {"main": {**one["backend"], "temperature": 1.0}}}},
            {"id": "own", "use": "verdicts"},
            {"id": "hard", "use": "mine", "from": {"rows": "seeds", "own": "own", "others": "others"}, "with": {"rule": rule}},
        ]
        toolkit.check({"recipe": "small", "steps": steps})

    check({"guards": {"only": ["llama", "main"], "count": "each", "hard_for": 2}, "unread": {"not_judged": "left_out"}})
    with pytest.raises(InputError, match="names the guard 'lama', which is not asked"):
        check({"guards": {"only": ["lama"]}})
