"""`synthesise` against scripted teachers: fallbacks, further attempts, blind judgement, JSON, other prompts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server import running
from teachers import GUARD, MILD, Answer, Small, Teacher, as_json, number, openai, shown, sound, text

import toolkit
from toolkit.generation import FAILURES, Completion, Request
from toolkit.operators.base import Context
from toolkit.operators.reason._feedback import SENTENCES, sentences
from toolkit.operators.reason._path import Ask, Policy
from toolkit.operators.reason.synthesise import Outcome, Synthesise, SynthesiseConfig
from toolkit.operators.reason.validate import RULES, all_faults
from toolkit.taxonomy import load_taxonomy

TASKS = GUARD.task_names
HARMFUL = {"label_prompt": "harmful"}
SORRY = "I would rather not talk about gardens."


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with running(Teacher()) as served:
        assert isinstance(served, Teacher)
        yield served


def trail(row: dict[str, Any]) -> list[dict[str, Any]]:
    return json.loads(row["trail"]) if row["trail"] else []


# Fallbacks ------------------------------------------------------------------------------------------------------------


def test_what_the_first_teacher_does_not_answer_the_next_takes_over_and_each_row_says_who_answered(teacher: Teacher, tmp_path: Path) -> None:
    first: dict[int, Answer] = {
        1: {"refusal": "No."},
        2: {"content": "Half of", "finish_reason": "content_filter"},
        3: SORRY,
        4: {"content": ""},
        5: {"refusal": "No."},
    }

    def say(body: dict[str, Any]) -> Answer:
        n = number(body)
        if body["model"] == "first":
            return first.get(n, sound(body))
        return SORRY if n == 5 else sound(body)

    teacher.say = say
    world = Small(tmp_path, [{}] * 6)
    options = {"backend": openai(teacher), "fallback": [openai(teacher, "second")]}
    done = world.run(options, {"id": "valid", "use": "validate"})
    rows = {number({"messages": [{}, {"content": r["prompt"]}]}): r for r in done.rows()}
    assert {n: r["teacher"] for n, r in rows.items()} == {0: "first", 1: "second", 2: "second", 3: "second"}
    assert [e["outcome"] for n in (0, 1, 2, 3) for e in trail(rows[n])] == ["refused", "content_filter", "invalid"]
    assert trail(rows[3])[0] | {"key": ""} == {
        "teacher": "first",
        "key": "",
        "attempt": 0,
        "outcome": "invalid",
        "reasons": ["no_answers_block: no_answers_block", "structure: task sections [], expected 1 to 3"],
    }
    assert rows[0]["trail"] is None and rows[0]["suspect"] is None and rows[0]["blind_prompt"] is None
    gone = {r["row"]["prompt"][-2:-1]: (r["reason"], [(e["teacher"], e["outcome"], e.get("text")) for e in trail(r["row"])]) for r in done.rejects()}
    assert gone == {
        "4": ("empty", [("first", "empty", None)]),
        "5": ("no_answers_block", [("first", "refused", None), ("second", "invalid", SORRY)]),
    }
    assert len(done.rows("valid")) == 4
    used = {model: {"answers": n, "prompt_tokens": 7 * n, "completion_tokens": 3 * n, "dollars": None} for model, n in (("first", 2), ("second", 4))}
    assert done.stats() == {"teachers": {"first": 1, "second": 3}, "questions": {"1": 1, "2": 3}, "usage": used}

    asked = len(teacher.requests)
    again = world.run(options, {"id": "valid", "use": "validate"}, output="again")
    assert len(teacher.requests) == asked, "every answer and refusal is served from the journal"
    assert again.rows() == done.rows() and again.rejects() == done.rejects()


def test_a_local_model_takes_over_from_an_endpoint(teacher: Teacher, tmp_path: Path) -> None:
    from tiny import tiny_llama

    from toolkit.common.models import model_hash

    folder = tiny_llama(tmp_path / "llama", positions=4096)
    teacher.say = lambda body: {"refusal": "No."} if number(body) else sound(body)
    local = {"backend": "transformers", "model": "llama", "max_tokens": 8, "device": "cpu"}
    done = Small(tmp_path, [{}] * 3).run({"backend": openai(teacher), "fallback": [local], "fallback_on": ["refused"]})
    assert [r["teacher"] for r in done.rows()] == ["first", model_hash(folder), model_hash(folder)]
    assert [len(trail(r)) for r in done.rows()] == [0, 1, 1]


def test_a_run_that_an_outage_cut_short_ends_as_one_that_was_not(teacher: Teacher, tmp_path: Path) -> None:
    down = {"first": {0, 1, 4}, "second": {1, 2}}

    def say(body: dict[str, Any]) -> Answer:
        n = number(body)
        if n in down[body["model"]]:
            return 500
        if body["model"] == "first" and n in (1, 2, 3):
            return {"refusal": "No."}
        return sound(body)

    teacher.say = say
    options = {"backend": openai(teacher), "fallback": [openai(teacher, "second")], "attempts": 2}
    cut = Small(tmp_path, [{}] * 6).run(options)
    assert Counter(r["reason"] for r in cut.rejects()) == {"server_error": 4}
    down = {"first": set(), "second": set()}
    before = len(teacher.requests)
    mended = Small(tmp_path, [{}] * 6).run(options)
    assert len(teacher.requests) - before == 5, "three rows of the first teacher, of which one goes on to the second, and one of the second's"
    (tmp_path / "other").mkdir()
    whole = Small(tmp_path / "other", [{}] * 6).run(options)
    assert mended.rows() == whole.rows() and len(mended.rows()) == 6 and not mended.rejects()
    assert mended.stats() == whole.stats()


# Further attempts -----------------------------------------------------------------------------------------------------


def test_an_answer_that_fails_is_shown_to_the_teacher_again_with_the_reasons(teacher: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        n, turn = number(body), len(body["messages"]) // 2 - 1
        if n == 1 and turn == 0:
            return sound(body).replace("## Conclusion\n", "", 1)
        if n == 2 and turn == 0:
            return text({**MILD, "prompt": "harmful"})
        return f"{SORRY} {turn}" if n == 3 else sound(body)

    teacher.say = say
    done = Small(tmp_path, [{}] * 4).run({"backend": openai(teacher), "attempts": 3}, {"id": "valid", "use": "validate"})
    assert len(done.rows("valid")) == 3
    assert [len(trail(r)) for r in done.rows()] == [0, 1, 1]
    assert "text" not in trail(done.rows()[1])[0]
    (gone,) = done.rejects()
    assert gone["reason"] == "no_answers_block"
    assert [(e["attempt"], e["outcome"], e["text"]) for e in trail(gone["row"])] == [(i, "invalid", f"{SORRY} {i and 1}") for i in range(3)]
    assert len({e["key"] for e in trail(gone["row"])}) == 3, "each attempt has its own key"

    second = next(b for b in teacher.requests if number(b) == 1 and len(b["messages"]) == 4)
    assert [m["role"] for m in second["messages"]] == ["system", "user", "assistant", "user"]
    assert second["messages"][2]["content"].startswith("# Task 1")
    assert "- A conclusion is missing: task 1." in second["messages"][3]["content"]
    found = next(b for b in teacher.requests if number(b) == 2 and len(b["messages"]) == 4)["messages"][3]["content"]
    assert "- The answers are not those that were given." in found and "harmful" not in found
    assert max(len(b["messages"]) for b in teacher.requests) == 4, "the last answer alone is shown again"


def test_without_attempts_and_fallbacks_an_answer_is_taken_as_it_is_for_validate_to_judge(teacher: Teacher, tmp_path: Path) -> None:
    teacher.say = lambda body: SORRY
    done = Small(tmp_path, [{}]).run({"backend": openai(teacher)}, {"id": "valid", "use": "validate"})
    assert done.rows()[0]["reasoning"] == SORRY and done.rows()[0]["trail"] is None
    assert [r["reason"] for r in done.rejects("valid")] == ["no_answers_block"]


def test_every_reason_has_a_sentence_and_none_holds_a_label() -> None:
    words = {w for t in GUARD.tasks for w in t.labels} - {"refusal"}
    sample = "# Task 1\n\n## Reasoning Step 2\n\n## Conclusion\nharmful\n\x1b ground truth\n"
    row = {f"label_{t}{s}": "x" if not s else "human" for t in TASKS for s in ("", "_source")}
    texts = [sample, SORRY, "", sound_with("harmful"), sound_with("unharmful").replace("Conclusion\nThe answer is unharmful", "Conclusion\nharmful")]
    found = [f for body in texts for f in all_faults(GUARD, {**row, "reasoning": body, "reasoning_finish": "length"}, RULES)]
    assert {"label_changed", "truncated", "conclusion_contradicts", "steps_misnumbered"} <= {reason for reason, _ in found} <= set(SENTENCES)
    for sentence in sentences(found):
        assert not words & set(sentence.replace(",", " ").replace(".", " ").split()), sentence


def sound_with(label: str) -> str:
    return text({**MILD, "prompt": label})


def test_the_outcomes_are_those_that_there_are() -> None:
    from typing import get_args

    assert set(get_args(Outcome)) == set(FAILURES) - {"budget", "unanswered"} | {"invalid"}


# Nothing of the labels reaches a blind teacher ------------------------------------------------------------------------


def label_columns() -> st.SearchStrategy[dict[str, Any]]:
    sources = st.sampled_from(["human", "vote", "to_infer", "absent", "not_applicable"])
    columns: dict[str, st.SearchStrategy[Any]] = {f"label_{t.name}": st.none() | st.sampled_from(t.labels) for t in GUARD.tasks}
    return st.fixed_dictionaries(columns | {f"label_{t}_source": sources for t in TASKS})


def answers() -> st.SearchStrategy[Completion]:
    """What a teacher may write, sound or not, or how it may fail."""
    verdicts = st.fixed_dictionaries({t.name: st.none() | st.sampled_from(t.labels) for t in GUARD.tasks})
    good = verdicts.map(text)
    bent = st.tuples(good, st.sampled_from(["# Task 2", "## Conclusion\n", "Answers: ", "Step 1", "compliance", "unharmful"])).map(
        lambda p: p[0].replace(p[1], "", 1)
    )
    found = st.one_of(good, bent, verdicts.map(as_json), st.sampled_from([SORRY, "{", "{}", ""]))
    texts = st.builds(lambda t, f: Completion("0" * 64, t, finish=f), found, st.sampled_from(["stop", "length"]))
    return texts | st.sampled_from(["refused", "content_filter", "empty", "timeout"]).map(lambda e: Completion("0" * 64, None, error=e))


def asked_for(op: Synthesise, ctx: Context, row: dict[str, Any], script: list[Completion]) -> list[Request]:
    """All requests for a row, whose answers are those of the script."""
    from dataclasses import replace

    backend = op.open(ctx, {})[0][1]()
    for opener in op.fallbacks("teacher", ctx):
        opener()
    requests = op.requests(row, "teacher", backend, ctx)
    done: list[Completion] = []
    for completion in script:
        done.append(replace(completion, key=requests[-1].key, asked=requests[-1]))
        following = op.again(row, "teacher", requests[-1], done[-1], tuple(done[:-1]), ctx)
        if following is None:
            break
        requests.append(following)
    last = len(done) - 1
    written = op.answer(row, "teacher", 0, requests[last], replace(done[-1], trail=tuple(done[:-1])))
    assert {t: written[f"label_{t}"] for t in TASKS} == {t: row[f"label_{t}"] for t in TASKS}, "labels are never changed"
    return requests


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_a_blind_teacher_is_asked_is_the_same_whatever_the_labels(data: st.DataObject) -> None:
    first = {
        "backend": "openai",
        "model": "a",
        "base_url": "http://localhost:1/v1",
        "structured": data.draw(st.sampled_from(["off", "try", "require"])),
    }
    config = SynthesiseConfig.model_validate(
        {
            "backend": first,
            "fallback": [first | {"model": "b"}],
            "fallback_on": data.draw(st.lists(st.sampled_from(["refused", "empty", "invalid"]), min_size=1)),
            "attempts": data.draw(st.integers(1, 3)),
            "labels": "blind",
        }
    )
    ctx = Context(GUARD, load_taxonomy("guardkit"), 0, "s", Path())
    seed: dict[str, Any] = {"id": "x", "prompt": "Which roses?", "response": data.draw(st.none() | st.just("Red ones.")), "context": []}
    script = data.draw(st.lists(answers(), min_size=8, max_size=8))
    one, other = data.draw(label_columns()), data.draw(label_columns())
    assert asked_for(Synthesise(config), ctx, {**seed, **one}, script) == asked_for(Synthesise(config), ctx, {**seed, **other}, script)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_path_ends_and_asks_no_teacher_more_often_than_allowed(data: st.DataObject) -> None:
    mode: Any = data.draw(st.sampled_from(["given", "blind", "blind_then_given"]))
    n, attempts = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    structured = tuple(data.draw(st.lists(st.sampled_from(["off", "try", "require"]), min_size=n, max_size=n)))
    policy = Policy(structured, attempts, frozenset(["refused", "invalid"]), RULES, mode)
    row = {"prompt": "x", "response": None} | data.draw(label_columns())
    completions: list[Completion] = []
    seen: set[Ask] = set()
    ask: Ask | None = policy.first()
    while ask is not None:
        assert ask not in seen, "the same question twice"
        seen.add(ask)
        completions.append(data.draw(answers()))
        turns = policy.turns(GUARD, row, completions)
        assert turns[-1].ask == ask, "worked out from the beginning, the path is the one that was gone"
        ask = policy.after(GUARD, row, turns[-1])
    assert len(seen) <= n * attempts * 2
    phases = [t.ask.blind for t in policy.turns(GUARD, row, completions)]
    assert phases == sorted(phases, reverse=True), "never blind again once the labels were shown"


# Blind judgement ------------------------------------------------------------------------------------------------------


def test_blind_verdicts_are_kept_and_what_they_contradict_is_suspect(teacher: Teacher, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{}, HARMFUL, {"label_prompt": None}, {"response": None, "label_refusal": None, "label_response": None}]

    def say(body: dict[str, Any]) -> Answer:
        assert not shown(body), "no label in the question"
        return text({**MILD, "refusal": None, "response": None} if number(body) == 3 else MILD)

    teacher.say = say
    more: list[dict[str, Any]] = [
        {"id": "valid", "use": "validate"},
        {"id": "firm", "use": "select", "from": "asked", "with": {"where": {"suspect": "null"}}},
    ]
    done = Small(tmp_path, rows).run({"backend": openai(teacher), "labels": "blind"}, *more)
    kept = done.rows()
    assert [(r["suspect"], r["blind_prompt"], r["blind_refusal"], r["label_prompt"]) for r in kept] == [
        (None, "unharmful", "compliance", "unharmful"),
        ("prompt", "unharmful", "compliance", "harmful"),
        (None, "unharmful", "compliance", None),
        (None, "unharmful", None, "unharmful"),
    ]
    assert [r["row"]["label_prompt"] for r in done.rejects("valid")] == ["harmful", None], "a verdict that the row does not have"
    assert len(done.rows("firm")) == 3
    assert done.stats()["blind"] == {
        "prompt": {"compared": 3, "agreed": 2},
        "refusal": {"compared": 3, "agreed": 3},
        "response": {"compared": 3, "agreed": 3},
    }


def test_where_the_blind_verdict_differs_the_labels_are_given_and_the_row_is_marked(teacher: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        n, given = number(body), bool(shown(body))
        if not given and n == 2:
            return SORRY
        if not given and n == 3:
            return {"refusal": "No."}
        return sound(body)

    teacher.say = say
    options = {"backend": openai(teacher), "labels": "blind_then_given"}
    done = Small(tmp_path, [{}, HARMFUL, {}, {}]).run(options, {"id": "valid", "use": "validate"})
    asked = Counter((number(b), bool(shown(b))) for b in teacher.requests)
    assert asked == {(0, False): 1, (1, False): 1, (1, True): 1, (2, False): 1, (2, True): 1, (3, False): 1, (3, True): 1}
    assert [(r["suspect"], r["blind_prompt"], [e["outcome"] for e in trail(r)]) for r in done.rows()] == [
        (None, "unharmful", []),
        ("prompt", "unharmful", ["differs"]),
        (None, None, ["differs"]),
        (None, None, ["refused"]),
    ]
    assert [e["reasons"] for e in trail(done.rows()[1])] == [["label_changed: prompt: the row says harmful, the reasoning unharmful"]]
    assert len(done.rows("valid")) == 4 and done.rows("valid")[1]["label_prompt"] == "harmful"


# JSON -----------------------------------------------------------------------------------------------------------------

NO_SCHEMA = {"error": {"message": "response_format is not supported", "type": "invalid_request_error", "param": "response_format", "code": None}}


def test_json_is_asked_for_by_the_guards_schema_and_written_as_its_text(teacher: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        form = body["response_format"]["json_schema"]
        assert form["strict"] is True and "JSON" in body["messages"][0]["content"]
        assert list(form["schema"]["properties"]) == ["reasoning", "answers"], "models write in the order of the schema as it is sent"
        n, turn = number(body), len(body["messages"]) // 2 - 1
        if n == 1 and turn == 0:
            return as_json(MILD).replace('"compliance"', '"perhaps"')
        if n == 2:
            return {"content": as_json(MILD)[:40], "finish_reason": "length"}
        return sound(body) if n == 3 else as_json(MILD)

    teacher.say = say
    done = Small(tmp_path, [{}] * 4).run({"backend": openai(teacher, structured="require"), "attempts": 2}, {"id": "valid", "use": "validate"})
    assert [r["reasoning"] for r in done.rows()] == [text(MILD)] * 2
    assert len(done.rows("valid")) == 2
    assert [e["reasons"] for e in trail(done.rows()[1])] == [["malformed_json: answers.refusal is no label of the task"]]
    assert {r["row"]["prompt"][-2]: r["reason"] for r in done.rejects()} == {"2": "truncated", "3": "malformed_json"}


def test_an_endpoint_without_schemas_is_asked_for_text(teacher: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        return NO_SCHEMA if "response_format" in body else sound(body)

    teacher.say = say
    world = Small(tmp_path, [{}] * 3)
    done = world.run({"backend": openai(teacher, structured="try", concurrency=1)})
    assert [r["reasoning"] for r in done.rows()] == [text(MILD)] * 3
    assert [r["trail"] for r in done.rows()] == [None] * 3
    assert sum("response_format" not in b for b in teacher.requests) == 3
    assert "## Reasoning Step" in teacher.requests[-1]["messages"][0]["content"], "the text's form is asked for then"
    refused = world.run({"backend": openai(teacher, structured="require")})
    assert [r["reason"] for r in refused.rejects()] == ["no_schema"] * 3


@pytest.mark.parametrize("rows", [60, 600])
def test_what_takes_no_schema_is_asked_for_one_in_the_first_block_at_most_and_never_by_a_later_run(
    teacher: Teacher, tmp_path: Path, rows: int
) -> None:
    def say(body: dict[str, Any]) -> Answer:
        if "response_format" in body:
            return NO_SCHEMA
        return {"refusal": "No."} if body["model"] == "first" and number(body) % 3 == 0 else sound(body)

    teacher.say = say
    first, second = (openai(teacher, name, structured="try", concurrency=16) for name in ("first", "second"))
    options: dict[str, Any] = {"backend": first, "fallback": [second]}
    world = Small(tmp_path, [{}] * rows)
    done = world.run(options)
    with_schema = Counter(b["model"] for b in teacher.requests if "response_format" in b)
    assert with_schema == {"first": min(rows, 256), "second": 1}, "all rows that come to a fallback wait for one small question"
    assert len(teacher.requests) - with_schema.total() == rows + rows // 3
    stated = {"teachers": {"first": rows - rows // 3, "second": rows // 3}, "questions": {"1": rows - rows // 3, "2": rows // 3}}
    assert {name: done.stats()[name] for name in stated} == stated
    assert {len(trail(r)) for r in done.rows()} == {0, 1}
    asked = len(teacher.requests)
    again = world.run(options, output="again")
    assert len(teacher.requests) == asked, "that it takes none is in the journal"
    assert again.rows() == done.rows() and again.stats() == done.stats()


def test_a_fallback_that_takes_a_schema_is_asked_for_json_after_one_small_question(teacher: Teacher, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Answer:
        if body["model"] == "first":
            return {"refusal": "No."}
        return "{}" if len(body["messages"]) == 1 else as_json(MILD)

    teacher.say = say
    world = Small(tmp_path, [{}] * 5)
    options = {"backend": openai(teacher), "fallback": [openai(teacher, "second", structured="try")]}
    done = world.run(options)
    assert [r["reasoning"] for r in done.rows()] == [text(MILD)] * 5
    assert [[e["teacher"] for e in trail(r)] for r in done.rows()] == [["first"]] * 5, "the small question is no attempt at any row"
    assert Counter((b["model"], "response_format" in b) for b in teacher.requests) == {("first", False): 5, ("second", True): 6}
    world.run(options, output="again")
    assert len(teacher.requests) == 11


def test_an_endpoint_that_writes_text_all_the_same_is_taken_at_its_word_where_that_is_allowed(teacher: Teacher, tmp_path: Path) -> None:
    done = Small(tmp_path, [{}]).run({"backend": openai(teacher, structured="try"), "attempts": 2})
    assert done.rows()[0]["reasoning"] == text(MILD) and len(teacher.requests) == 1


# Prompts --------------------------------------------------------------------------------------------------------------


def test_another_prompt_is_asked_and_a_changed_one_asks_again(teacher: Teacher, tmp_path: Path) -> None:
    world = Small(tmp_path, [{}])
    (tmp_path / "mine.yaml").write_text("name: mine\nversion: 1\nsystem: Explain kindly.\nuser: |-\n  {{ exchange }}{{ answers.prompt }}\n")
    teacher.say = lambda body: text(MILD)
    options = {"backend": openai(teacher), "prompt": "mine.yaml"}
    world.run(options)
    assert teacher.requests[0]["messages"][0]["content"] == "Explain kindly."
    assert teacher.requests[0]["messages"][1]["content"].endswith("Roses.\n\nunharmful")
    (tmp_path / "mine.yaml").write_text("name: mine\nversion: 2\nsystem: Explain.\nuser: |-\n  {{ exchange }}{{ answers.prompt }}\n")
    world.run(options)
    assert [b["messages"][0]["content"] for b in teacher.requests] == ["Explain kindly.", "Explain."]


def test_what_shapes_the_answers_is_part_of_the_steps_identity_and_nothing_else() -> None:
    ctx = Context(GUARD, load_taxonomy("guardkit"), 0, "s", Path())

    def identity(**options: Any) -> str:
        op = Synthesise(SynthesiseConfig.model_validate({"backend": MODEL, "fallback": [MODEL | {"model": "other"}], "attempts": 2} | options))
        return json.dumps([op.identity(), op.files(ctx)], sort_keys=True)

    plain = identity()
    changed: dict[str, Any] = {
        "backend": MODEL | {"structured": "try"},
        "fallback": [MODEL | {"model": "other", "temperature": 1.0}],
        "fallback_on": ["refused"],
        "attempts": 3,
        "rules": ["answers"],
        "labels": "blind",
        "prompt": "short",
        "definitions": "row",
    }
    assert {*changed, "stop_if"} == set(SynthesiseConfig.model_fields)
    assert identity(stop_if=None) == plain
    assert len({plain, *(identity(**{name: value}) for name, value in changed.items())}) == 1 + len(changed)
    assert identity(backend=MODEL | {"timeout": 5, "retries": 1, "concurrency": 9, "price": {"input": 1, "output": 2}}) == plain


def test_a_teacher_can_be_shown_what_the_categories_mean(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        "extends: guardkit\nname: mine\nversion: 1\ncategories:\n"
        "- {name: noise, title: Noise, definition: Loud at night., includes: [{rule: Parties., examples: [Wake them.]}], aliases: [din]}\n"
    )
    seeds = toolkit.apply("load", source="quickstart", limit=1).kept.head(1).with_columns(categories=pl.Series([["din", "a word of its own"]]))

    def system(**options: Any) -> str:
        toolkit.apply("synthesise", seeds, backend=openai(teacher), taxonomy="mine.yaml", work=tmp_path / str(len(teacher.requests)), **options)
        return str(teacher.requests[-1]["messages"][0]["content"])

    plain, shown, every = system(), system(definitions="row"), system(labels="blind", definitions="all")
    assert shown == f'{plain}\n\nWhat the harm categories mean:\n\nNoise: Loud at night.\nIncludes:\n- Parties. For example: "Wake them."\n'
    assert every.count("Includes:") == len(load_taxonomy().names) + 1 and "What the harm categories mean" not in plain


TEMPLATE = {"backend": "template"}
MODEL = {"backend": "openai", "model": "m", "base_url": "http://localhost:1/v1"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"backend": TEMPLATE, "labels": "blind"}, r"recipe.yaml:\d+:steps.1.with.labels: the template teacher"),
        ({"backend": TEMPLATE, "prompt": "short"}, r"with.prompt: the template teacher"),
        ({"backend": TEMPLATE, "definitions": "row"}, r"with.definitions: the template teacher"),
        ({"backend": MODEL, "labels": "blind", "definitions": "row"}, r"with.definitions: the row's categories would give its label away"),
        ({"backend": TEMPLATE, "attempts": 2}, r"with.attempts: the template teacher"),
        ({"backend": MODEL, "fallback": [TEMPLATE]}, r"with.fallback.0: the template teacher is no model"),
        ({"backend": MODEL, "fallback": [MODEL | {"temperature": 1.0}]}, r"with.fallback.0: this model is asked already"),
        ({"backend": MODEL, "prompt": "shrt"}, "no prompt called 'shrt'"),
        ({"backend": MODEL, "prompt": "plain.yaml", "labels": "blind"}, "labels: blind, but the prompt has no `blind` part"),
        ({"backend": MODEL, "prompt": "bad.yaml"}, r"bad.yaml:4:user: unknown variable 'labels'"),
        ({"backend": MODEL, "fallback_on": ["invald"]}, "fallback_on"),
    ],
)
def test_faults_are_found_before_anything_is_paid_for(tmp_path: Path, options: dict[str, Any], fault: str) -> None:
    (tmp_path / "plain.yaml").write_text("name: plain\nversion: 1\nsystem: Explain.\nuser: '{{ exchange }}'\n")
    (tmp_path / "bad.yaml").write_text("name: bad\nversion: 1\nsystem: Explain.\nuser: '{{ exchange }}{{ labels }}'\n")
    with pytest.raises(toolkit.GuardkitError, match=fault):
        toolkit.run(Small(tmp_path, [{}]).recipe(options), output=tmp_path / "out" / "run")
