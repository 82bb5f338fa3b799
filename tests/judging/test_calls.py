"""Guards that are asked by calls: several requests are one question, one verdict and, in a recipe, one record."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from frames import rows_of
from pydantic import TypeAdapter
from server import Server, chat
from tiny import tiny_llama

import toolkit
from toolkit.common.errors import InputError, InputErrors, TooManyFailures
from toolkit.common.resources import names
from toolkit.generation import BackendConfig, Journal
from toolkit.guards import load_guard
from toolkit.judging import OpenGuard

SHIELD = load_guard("shieldgemma")
ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "How do tulips grow?", "response": "In the sun."},
    {"id": "b", "prompt": "Write an insult.", "response": "In the sun."},
    {"id": "c", "prompt": "Broken hate, please.", "response": None},
    {"id": "d", "prompt": "Broken hate and an insult.", "response": None},
    {"id": "e", "prompt": "Vague.", "response": None},
]


def policy(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """A model that says Yes to insults under the policy on harassment alone, fails on some under that on hate, and does not answer what is vague."""
    guideline = body["chat_template_kwargs"]["guideline"]
    if "Broken" in text and "Hate" in guideline:
        return 400, {}, {"error": {"message": "no"}}
    if text == "Vague.":
        return 200, {}, chat("It depends." if "Sexually" in guideline else "No")
    return 200, {}, chat("Yes, it does." if "insult" in text and "No Harassment" in guideline else "No")


def config(server: Server, **more: Any) -> Any:
    return TypeAdapter(BackendConfig).validate_python({"backend": "openai", "model": "m", "base_url": server.base_url, "retries": 0, **more})


def test_a_policy_each_is_one_verdict(server: Server, tmp_path: Path) -> None:
    server.script = policy
    with OpenGuard(SHIELD, config(server), name="shield") as one, Journal(tmp_path / "journal") as journal:
        found = {v.id: v for v in one.verdicts(ROWS, journal=journal)}
        assert list(found) == list("abcde")
        assert {i: v.labels["prompt"] for i, v in found.items()} == {"a": "unharmful", "b": "harmful", "c": None, "d": "harmful", "e": None}
        assert [found[i].unread["prompt"] for i in "ce"] == ["bad_request", "not_a_label"], (
            "one policy unread leaves it open, unless another is violated"
        )
        assert [(found[i].labels["response"], found[i].unread["response"]) for i in "ac"] == [("unharmful", None), (None, "not_asked")]
        assert found["c"].error == "bad_request" and found["a"].error is None
        assert len(json.loads(found["a"].output or "")) == 8 and len(json.loads(found["c"].output or "")) == 3
        assert found["a"].tokens == 24 and len((found["a"].key or "").split()) == 8
        assert {b["max_tokens"] for b in server.requests} == {4} and len({b["chat_template_kwargs"]["guideline"] for b in server.requests}) == 8
        asked = len(server.requests)
        assert asked == 2 * 8 + 3 * 4
        list(one.verdicts(ROWS[:2], journal=journal))
        assert len(server.requests) == asked, "every call is kept by itself"


def test_draws_of_several_calls_come_in_order(server: Server) -> None:
    server.script = policy
    with OpenGuard(SHIELD, config(server, temperature=1.0, max_tokens=9)) as one:
        found = list(one.verdicts(ROWS[:3], 2))
    assert [(v.id, v.draw) for v in found] == [(i, d) for i in "abc" for d in range(2)]
    assert [v.labels["prompt"] for v in found] == ["unharmful"] * 2 + ["harmful"] * 2 + [None] * 2
    assert {b["max_tokens"] for b in server.requests} == {9}, "what the backend's options say goes before the guard's own hint"


def test_calls_about_tasks_that_nobody_wants_are_not_made(server: Server) -> None:
    server.script = policy
    with OpenGuard(SHIELD, config(server)) as one:
        (found,) = one.verdicts([ROWS[0] | {"only_tasks": ["response"]}])
    assert len(server.requests) == 4 and found.labels == {"prompt": None, "response": "unharmful"} and found.unread["prompt"] == "not_asked"
    assert set(json.loads(found.output or "")) == {f"response_{p}" for p in ("dangerous", "hate", "sexual", "harassment")}


def test_an_own_guard_that_judges_responses_alone(server: Server, tmp_path: Path) -> None:
    """Rows about which no call is made have their verdict, too, in their place."""
    (tmp_path / "own.yaml").write_text(
        """\
name: own
version: 1
description: One question about the response.
tasks:
  - {name: response, labels: [unharmful, harmful], positive: harmful, applies: response}
calls:
  - name: only
    tasks: [response]
    needs_response: true
    messages: [{role: user, content: "Is this fine? {{ response }}"}]
grammar:
  answers: [{task: response, words: {fine: unharmful, "no": harmful}}]
"""
    )
    server.script = lambda text, body: (200, {}, chat("Fine." if "sun" in text else "No."))
    rows = [{"id": str(n), "prompt": "x", "response": r} for n, r in enumerate((None, "In the sun.", None, None, "Mean.", None))]
    with OpenGuard(load_guard(tmp_path / "own.yaml"), config(server, temperature=1.0)) as one:
        found = list(one.verdicts(rows, 2))
        assert [(v.id, v.draw) for v in found] == [(str(n), d) for n in range(6) for d in range(2)]
        labels = [v.labels["response"] or v.unread["response"] for v in found[::2]]
        assert labels == ["not_asked", "unharmful", "not_asked", "not_asked", "harmful", "not_asked"]
        assert [v.labels for v in one.verdicts([rows[0]])] == [{"response": None}]
        row, requests = one.ask(rows[0])
        assert requests == [] and one.read(row, []).unread == {"response": "not_asked"}


def recipe(folder: Path, guard: str, *steps: dict[str, Any]) -> Path:
    pl.DataFrame([{n: r[n] for n in ("id", "prompt", "response")} for r in ROWS]).write_ndjson(folder / "rows.jsonl")
    whole = {
        "files": ["rows.jsonl"],
        "columns": {"id": "id", "prompt": "prompt", "response": {"name": "response", "nullable": True}},
        "record": "seed",
    }
    read = {"id": "rows", "use": "read", "with": whole}
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({"recipe": "small", "seed": 5, "guard": guard, "steps": [read, *steps]}, sort_keys=False))
    return file


def test_a_recipe_makes_one_record_of_several_calls(server: Server, tmp_path: Path) -> None:
    server.script = policy
    model = {"backend": "openai", "model": "m", "base_url": server.base_url, "retries": 0}
    file = recipe(
        tmp_path,
        "shieldgemma",
        {"id": "samples", "use": "sample", "with": {"k": 1, "models": {"shield": model}}},
        {"id": "verdicts", "use": "verdicts"},
    )
    folder = tmp_path / "out" / "run"
    with pytest.raises(TooManyFailures, match="2 of 5 in step 'samples' failed"):
        toolkit.run(file, output=folder)
    made = toolkit.read_run(folder)
    read = rows_of(made["verdicts"])
    assert read["verdict_prompt"].to_list() == ["unharmful", "harmful", None] and read["unread_prompt"].to_list() == [None, None, "not_a_label"]
    assert read["verdict_response"].to_list() == ["unharmful", "unharmful", None] and read["unread_response"].to_list()[2] == "not_asked"
    assert (made["samples"].rows, made["samples"].failed) == (3, 2), "a record is whole, or it is rejected"
    asked = len(server.requests)
    server.script = lambda text, body: (200, {}, chat("No"))
    toolkit.run(file, output=folder)
    assert rows_of(toolkit.read_run(folder)["verdicts"])["verdict_prompt"].to_list() == ["unharmful", "harmful", "unharmful", "unharmful", None]
    assert len(server.requests) - asked == 2 * 3, "only what failed is asked again, and what was to follow it"


def test_a_recipe_that_would_train_it_is_refused_when_it_is_checked(server: Server, tmp_path: Path) -> None:
    model = {"backend": "openai", "model": "m", "base_url": server.base_url}
    steps: list[dict[str, Any]] = [
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "texts", "use": "render_sft", "from": "reasoning"},
        {"id": "shards", "use": "shards", "from": "texts"},
        {"id": "train", "use": "train_sft", "from": "shards", "with": {"model": "m"}},
        {
            "id": "samples",
            "use": "sample",
            "from": {"rows": "rows", "main": "train"},
            "with": {"k": 1, "backend": {"backend": "transformers"}, "models": {"a": model}},
        },
    ]
    with pytest.raises(InputErrors) as found:
        toolkit.check(recipe(tmp_path, "llama_guard_3", *steps))
    message = str(found.value)
    assert "'llama_guard_3' was trained elsewhere and cannot go through 'synthesise'" in message and "steps.1.use" in message


def test_a_model_that_cannot_be_asked_so_is_refused(server: Server, tmp_path: Path) -> None:
    batch = {"backend": "openai-batch", "model": "m", "base_url": server.base_url}
    with pytest.raises(InputError, match="sends messages, and the guard is asked by a text of its own"):
        OpenGuard(load_guard("wildguard"), TypeAdapter(BackendConfig).validate_python(batch))
    step = {"id": "samples", "use": "sample", "with": {"k": 1, "models": {"w": {"backend": "openai-moderation"}}}}
    with pytest.raises(InputError, match="one text and no instruction"):
        toolkit.check(recipe(tmp_path, "wildguard", step))


def test_a_text_goes_to_completions_as_it_is(server: Server) -> None:
    guard = load_guard("wildguard")
    words = "Harmful request: no\nResponse refusal: N/A\nHarmful response: N/A"
    server.script = lambda text, body: (200, {}, {"choices": [{"index": 0, "finish_reason": "stop", "text": words}], "model": "m"})
    with OpenGuard(guard, config(server)) as one:
        (found,) = one.verdicts([{"prompt": "How do tulips grow?"}])
    assert server.paths == ["/v1/completions"] and server.requests[0]["max_tokens"] == 128 and "messages" not in server.requests[0]
    prompt = server.requests[0]["prompt"]
    assert prompt.startswith("<|user|>\n[INST] You are a classifier") and prompt.endswith(
        "AI assistant:\n\n\n---\n\nAnswers: [/INST]\n<|assistant|>\n"
    )
    assert found.labels == {"prompt": "unharmful", "refusal": None, "response": None} and found.unread["refusal"] == "none"


def scored(*tokens: tuple[str, dict[str, float]]) -> dict[str, Any]:
    """An answer whose tokens have these alternatives, as chat completions have them."""
    content = [
        {"token": t, "logprob": math.log(tops[t]), "top_logprobs": [{"token": o, "logprob": math.log(p)} for o, p in tops.items()]}
        for t, tops in tokens
    ]
    body = chat("".join(t for t, _ in tokens))
    body["choices"][0]["logprobs"] = {"content": content}
    return body


def test_probabilities_are_those_of_the_words(server: Server) -> None:
    """Of several policies that of the one which is likeliest violated; of three levels all three, whatever their first tokens are."""
    server.script = lambda text, body: (
        200,
        {},
        scored(("No", {"No": 0.6, "Yes": 0.3 if "Hate" in body["chat_template_kwargs"]["guideline"] else 0.1, "Maybe": 0.05})),
    )
    with OpenGuard(SHIELD, config(server), probabilities=True) as one:
        (found,) = one.verdicts([{"prompt": "How do tulips grow?"}])
    assert found.labels["prompt"] == "unharmful" and found.probabilities == {
        "prompt": pytest.approx({"unharmful": 2 / 3, "harmful": 1 / 3}, abs=1e-4)
    }
    assert {b["max_tokens"] for b in server.requests} == {4}, "asking for them leaves the guard's own hints as they are"
    server.script = lambda text, body: (
        200,
        {},
        scored(
            ("Safety:", {"Safety:": 1.0}),
            (" Cont", {" Cont": 0.5, " Safe": 0.3, " Unsafe": 0.2}),
            ("roversial", {"roversial": 1.0}),
            ("\n", {"\n": 1.0}),
        ),
    )
    with OpenGuard(load_guard("qwen3guard"), config(server), probabilities=True) as one:
        (found,) = one.verdicts([{"prompt": "How do tulips grow?"}])
    assert found.probabilities["prompt"] == pytest.approx({"controversial": 0.5, "unharmful": 0.3, "harmful": 0.2}, abs=1e-4)


def test_a_local_model_without_a_chat_template_is_asked_by_a_text(tmp_path: Path) -> None:
    """What the row holds of control tokens is text to it; the whole prompt is one token for each of its bytes."""
    (tmp_path / "own.yaml").write_text(
        """\
name: own
version: 1
description: A text of its own.
tasks: [{name: prompt, labels: [unharmful, harmful], positive: harmful}]
calls: [{name: all, tasks: [prompt], max_tokens: 3, text: "<|user|>Q: {{ prompt }}<|assistant|>"}]
grammar: {answers: [{task: prompt, words: {"yes": harmful, "no": unharmful}}]}
"""
    )
    folder = tiny_llama(tmp_path / "model", template=None)
    local = TypeAdapter(BackendConfig).validate_python({"backend": "transformers", "model": str(folder), "device": "cpu"})
    done: list[Any] = []
    with OpenGuard(load_guard(tmp_path / "own.yaml"), local) as one:
        found = list(one.verdicts([{"prompt": "a"}, {"prompt": "a<|end|>"}], on_done=done.append))
    assert sorted(c.prompt_tokens for c in done) == [6, 6 + len("<|end|>")] and all(c.completion_tokens <= 3 for c in done)
    assert [v.error for v in found] == [None, None]
    with OpenGuard(load_guard("guardreasoner"), local) as one, pytest.raises(InputError, match="no chat template"):
        list(one.verdicts([{"prompt": "a"}]))


def test_the_page_on_guards_is_so(server: Server, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guards.md").read_text(encoding="utf-8")
    named = {name for row in re.findall(r"^\| (`[a-z].*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert {name for name in names("guards") if load_guard(name).calls} <= named
    for name in names("guards"):
        if (guard := load_guard(name)).calls:
            (row,) = re.findall(rf"^\|[^|]*`{name}`[^|]*\|[^|]*\|([^|]*)\|", page, re.MULTILINE)
            assert row.strip() == ", ".join(guard.task_names)
    (own,) = re.findall(r"```yaml [^\n]*tone_check.yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "tone_check.yaml").write_text(own)
    server.script = lambda text, body: (200, {}, chat('```json\n{"rude": 1}\n```' if "insult" in text else '{"rude": 0}'))
    with OpenGuard(load_guard(tmp_path / "tone_check.yaml"), config(server)) as one:
        assert [v.labels for v in one.verdicts(ROWS[:2])] == [{"prompt": p, "response": "unharmful"} for p in ("unharmful", "harmful")]


def test_a_plan_counts_every_call(server: Server, tmp_path: Path) -> None:
    model = {"backend": "openai", "model": "m", "base_url": server.base_url}
    samples = {"id": "samples", "use": "sample", "with": {"k": 1, "models": {"shield": model}}}
    plain = toolkit.plan(recipe(tmp_path, "gpt4o", samples))
    several = toolkit.plan(recipe(tmp_path, "shieldgemma", samples))
    assert [p["total"]["calls"]["mid"] for p in (plain, several)] == [5, 2 * 8 + 3 * 4]
