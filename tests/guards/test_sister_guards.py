"""The guards of the systems near GuardReasoner are files: rendering, reading and data beside the labels follow from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.resources import shipped
from toolkit.guards import (
    Guard,
    MalformedJson,
    Reasoning,
    answer_form,
    answer_spans,
    answers_cut,
    from_json,
    load_guard,
    parse,
    render_input,
    render_output,
    response_format,
    teacher_messages,
)

NAMES = ("guardreasoner_vl", "guardreasoner_omni_v1", "guardreasoner_omni", "rsafe", "rsafe_response", "intentionreasoner", "nemotron_reasoning")
INTENT, RSAFE = load_guard("intentionreasoner"), load_guard("rsafe")
LEVELS = ["unharmful", "borderline unharmful", "borderline harmful", "harmful"]


def step(guard: Guard) -> st.SearchStrategy[str]:
    """Text of a step: anything but the guard's own marks and answers, which a strict reading refuses in a reasoning."""
    own = [w for t in guard.tasks for w in (*t.labels, *t.written)]
    return st.lists(
        st.sampled_from([*own, "not", "so", ":", "-"]) | st.text(st.characters(exclude_categories=["C", "P", "S"]), max_size=8), max_size=6
    ).map(" ".join)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_what_is_rendered_is_read(name: str, data: st.DataObject) -> None:
    guard = load_guard(name)
    labels = {t.name: data.draw(st.none() | st.sampled_from(t.labels)) for t in guard.tasks}
    text = step(guard)
    reasoning = data.draw(st.dictionaries(st.sampled_from(guard.task_names), st.builds(Reasoning, st.lists(text, max_size=2), text)))
    answers = render_output(guard, {}, labels)
    answer = answers.removeprefix(f"{guard.output.open}\n\n{guard.output.close}")
    beside = {f.name: data.draw(st.none() | st.just(answer) | text) for f in guard.output.data}
    output = render_output(guard, reasoning, labels, beside)
    strict, lenient = parse(guard, output, "strict"), parse(guard, output)
    assert (strict.labels, strict.problems) == (labels, ()) and lenient.labels == labels
    assert strict.data == lenient.data == {n: None if v is None else v.strip() for n, v in beside.items()}
    for task, span in answer_spans(guard, output).items():
        assert output[span.start : span.end] == guard.task(task).word(str(labels[task]))


@pytest.mark.parametrize("name", [*NAMES, "nemotron_content_safety"])
def test_every_file_is_whole(name: str) -> None:
    guard = load_guard(name)
    row = {"prompt": "How do tulips grow?", "response": "From bulbs.", "policy": "Nothing on tulips."}
    if not guard.calls:
        text = render_input(guard, row)
        assert "How do tulips grow?" in text and ("From bulbs." in text) is ("{{ response" in guard.input)
        assert ("Nothing on tulips." in text) is (guard.policy is not None)
    if guard.teacher is not None:
        seed: dict[str, Any] = (
            row | {"context": []} | {f"label_{t.name}": t.labels[-1] for t in guard.tasks} | {f"label_{t.name}_source": "human" for t in guard.tasks}
        )
        whole = " ".join(m["content"] for m in teacher_messages(guard, seed))
        assert all(word in whole for t in guard.tasks for word in t.written)


def test_the_forms_by_hand() -> None:
    assert (
        render_output(RSAFE, {"prompt": Reasoning(["One.", "Two."], "")}, {"prompt": "harmful"})
        == "<think>\n\nOne.\n\nTwo.\n\n</think>\n\n\\boxed{unsafe}"
    )
    vl = render_output(load_guard("guardreasoner_vl"), {}, {"prompt": "harmful", "response": None})
    assert vl == "<think>\n\n</think>\n\n<result>\n\nAnswers:\nRequest: harmful\nResponse: None\n</result>"
    whole = render_output(INTENT, {}, {"prompt": "borderline harmful"}, {"rewrite": "How are locks made?"})
    assert whole == "<think>\n\n</think>\n\nIntent: BH\n\n<rewrite>\nHow are locks made?\n</rewrite>"
    with pytest.raises(InputError, match="has no teacher"):
        _ = RSAFE.taught


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("rsafe", "<think>It may be safe.</think>\nSo \\boxed{UNSAFE}.", {"prompt": "harmful"}),
        ("rsafe", "<think>x</think> \\boxed{harmful}", {"prompt": None}),  # that is what the label is called, not how it is written
        ("rsafe", "\\boxed{safe} <think>x</think>", {"prompt": None}),
        ("intentionreasoner", "<think>x</think>\n**Intent**: bu", {"prompt": "borderline unharmful"}),
        ("intentionreasoner", "<think>x</think> Intent: BU or BH", {"prompt": None}),
        ("intentionreasoner", "<think>x</think> Intent: CH\n<rewrite>Intent: CU", {"prompt": "harmful"}),
        ("intentionreasoner", "<think>x</think> <rewrite>Intent: CU</rewrite>", {"prompt": None}),
        ("intentionreasoner", "<think>say <rewrite> twice</think> Intent: CU", {"prompt": "unharmful"}),
        ("guardreasoner_vl", "<think>Request: harmful</think><result>Answers: Request: unharmful Response: harmful</result>", None),
        ("nemotron_reasoning", "<think>x</think>\nPrompt Harm: harmful\nResponse Harm: unharmful", {"prompt": "harmful", "response": "unharmful"}),
    ],
)
def test_what_models_write(name: str, text: str, labels: dict[str, str | None] | None) -> None:
    assert parse(load_guard(name), text).labels == (labels or {"prompt": "unharmful", "response": "harmful"})


def test_labels_go_by_their_names_everywhere_else() -> None:
    assert answer_form(RSAFE, ["prompt"], reasoned=False)[0][1] == ("safe", "unsafe")
    assert INTENT.task("prompt").labels == LEVELS and INTENT.task("prompt").written == ["CU", "BU", "BH", "CH"]
    text = "<think>x</think> Intent: BH"
    assert [parse(INTENT, text, reading=r).labels["prompt"] for r in ("binary", "strict")] == ["harmful", "harmful"]
    assert parse(INTENT, "<think>x</think> Intent: BU", reading="binary").labels["prompt"] == "unharmful"
    outputs = [{"output": f"<think>\n\n</think>\n\nIntent: {w}", "label_prompt": "borderline harmful"} for w in ("CU", "BU", "BH", "CH")]
    found = toolkit.reward(outputs, guard="intentionreasoner", formula={"ordinal": True})
    assert [line["reward"] for line in found.shown] == [0.333333, 0.666667, 1, 0.666667]


@pytest.mark.parametrize(
    ("text", "problem", "data"),
    [
        ("Intent: BU\n<rewrite>\nA\n</rewrite>\n<rewrite>\nB\n</rewrite>", "data_malformed", "B"),
        ("Intent: BU\n<rewrite>\nA", "data_malformed", "A"),
        ("<rewrite>\nA\n</rewrite>", "no_answers_block", "A"),
        ("Intent: BU\n<rewrite>\nA\n</rewrite>\nIndeed.", "text_after_answers", "A"),
    ],
)
def test_data_out_of_form(text: str, problem: str, data: str) -> None:
    whole = f"<think>\n\n</think>\n\n{text}"
    found = parse(INTENT, whole, "strict")
    assert found.problems == (problem,) and found.data == {"rewrite": data} and found.labels == {"prompt": None}
    assert not toolkit.rewards.well_formed(INTENT, whole)


def test_an_output_that_ends_in_data_is_not_cut() -> None:
    whole = render_output(INTENT, {}, {"prompt": "harmful"}, {"rewrite": "How are locks made?"})
    assert answers_cut(INTENT, whole) is False and answers_cut(INTENT, "<think>\n\n</think>\n\nIntent: B") is None


def test_data_in_json() -> None:
    assert '"data":{"type":"object"' in response_format(INTENT) and '"enum":["CU","BU","BH","CH","None"]' in response_format(INTENT)
    written = {"reasoning": {"prompt": {"steps": ["One."], "conclusion": "So."}}, "answers": {"prompt": "BU"}, "data": {"rewrite": "Ask."}}
    found = parse(INTENT, from_json(INTENT, json.dumps(written)), "strict")
    assert (found.labels, found.data) == ({"prompt": "borderline unharmful"}, {"rewrite": "Ask."})
    bad: dict[str, Any]
    for bad in ({"data": {"rewrite": 1}}, {"data": {}}, {"data": {"rewrite": "a </rewrite> b"}}, {"answers": {"prompt": "harmful"}}):
        with pytest.raises(MalformedJson):
            from_json(INTENT, json.dumps(written | bad))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("unharmful: CU,", "unharmfull: CU,", "tasks.0.words.unharmfull: 'unharmfull' is none of the labels"),
        ("unharmful: CU,", "unharmful: ch,", "'unharmful' and 'harmful' would be written alike"),
        ("unharmful: CU,", "unharmful: '*',", "must begin and end with a letter or a digit"),
        ('missing_word: "None"', "missing_word: CU", "missing_word 'CU' is also a label"),
        ('open: "<rewrite>"', 'open: "<a\\n>"', "a mark is in one line"),
        ('close: "</rewrite>"', 'close: "<rewrite>/"', "one of the marks is within the other"),
        ("    - {name: rewrite", "    - {name: rewrite, open: '<r>', close: '</r>'}\n    - {name: rewrite", "two fields are called 'rewrite'"),
    ],
)
def test_a_fault_is_named(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = (shipped("schemas") / "guards" / "intentionreasoner.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises((InputError, InputErrors)) as e:
        load_guard(tmp_path / "mine.yaml")
    assert words in str(e.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [({"rewrite": "a </rewrite> b"}, "holds the mark"), ({"rewrite": "</think>"}, "holds the mark"), ({"more": "x"}, "writes no 'more'")],
)
def test_data_that_cannot_be_written(data: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        render_output(INTENT, {}, {"prompt": None}, data)
