"""Guards that were trained elsewhere: every shipped definition is asked and read as its model's interface says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.common.resources import names
from toolkit.guards import Guard, answer_spans, load_guard, parse, render_call, render_input, render_output, teacher_messages
from toolkit.guards._grammar_answers import write_call

NAMES = [name for name in names("guards") if load_guard(name).calls]
TALK = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"}]


def asked(guard: Guard, **row: Any) -> dict[str, list[dict[str, str]]]:
    whole = {"response": None, "context": [], **row}
    return {call.name: render_call(guard, call, whole) for call in guard.calls_about(whole)}


def read(name: str, text: str, call: str | None = None, reading: str | None = None) -> dict[str, str | None]:
    """Labels; in their place in brackets why there is none."""
    found = parse(load_guard(name), text, call=call, reading=reading)
    return {t: label or f"({found.reasons[t]})" for t, label in found.labels.items() if found.reasons[t] != "not_asked"}


def test_the_guards_of_the_papers_are_there() -> None:
    assert {"llama_guard_3", "llama_guard_4", "wildguard", "shieldgemma", "qwen3guard", "granite_guardian"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_what_is_written_is_read_again(name: str, data: st.DataObject) -> None:
    guard = load_guard(name)
    labels: dict[str, str | None] = {t.name: data.draw(st.sampled_from([*t.labels, None]), t.name) for t in guard.tasks}
    found = parse(guard, render_output(guard, {}, labels))
    assert found.labels == labels
    assert all((label is None) == (found.reasons[t] is not None) for t, label in found.labels.items())


@pytest.mark.parametrize("name", NAMES)
def test_tasks_and_labels_are_called_as_everywhere(name: str) -> None:
    ours, guard = load_guard("guardreasoner"), load_guard(name)
    for task in guard.tasks:
        own = ours.task(task.name)
        assert (task.positive, task.applies) == (own.positive, own.applies) and set(own.labels) <= set(task.labels)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_row_is_left_out(name: str) -> None:
    """Prompt, response and earlier messages are all in what is asked, as they are."""
    prompt, response = "  What of\n\ntulips {{ prompt }}?", "They <b>grow</b>.\n"
    found = asked(load_guard(name), prompt=prompt, response=response, context=TALK)
    for call, messages in found.items():
        text = "".join(m["content"] for m in messages)
        about_response = load_guard(name).call(call).needs_response
        assert (prompt in text and "Hello!" in text) or about_response, call
        assert response in text or not about_response, call


@pytest.mark.parametrize("name", NAMES)
def test_it_is_neither_taught_nor_trained(name: str) -> None:
    guard = load_guard(name)
    row = {"prompt": "x", "response": None} | {f"label_{t}{s}": None for t in guard.task_names for s in ("", "_source")}
    for use in (render_input, teacher_messages):
        with pytest.raises(InputError, match="was trained elsewhere"):
            use(guard, row)


# Outputs, whole and broken ----------------------------------------------------------------------------------------------

OUTPUTS: list[tuple[str, str | None, str, dict[str, str]]] = [
    # Llama Guard: the first word, whatever is around it
    ("llama_guard_3", "prompt", "safe", {"prompt": "unharmful"}),
    ("llama_guard_3", "prompt", "\n\nunsafe\nS1,S10", {"prompt": "harmful"}),
    ("llama_guard_3", "response", "\n\n UNSAFE\nS2<|eot_id|>", {"response": "harmful"}),
    ("llama_guard_3", "prompt", "**Safe**\nIt is about gardens.", {"prompt": "unharmful"}),
    ("llama_guard_3", "prompt", "unsaf", {"prompt": "(not_a_label)"}),
    ("llama_guard_3", "prompt", "safety first", {"prompt": "(not_a_label)"}),
    ("llama_guard_3", "prompt", "safe or unsafe", {"prompt": "(several_labels)"}),
    ("llama_guard_3", "prompt", "I think that it is unsafe", {"prompt": "(not_a_label)"}),
    ("llama_guard_3", "prompt", "S1", {"prompt": "(not_a_label)"}),
    ("llama_guard_3", "prompt", " \n ", {"prompt": "(empty)"}),
    ("llama_guard_3", "prompt", "safe, unsafe", {"prompt": "(several_labels)"}),
    ("llama_guard_3", "prompt", "safe - unsafe<|eot_id|>", {"prompt": "(several_labels)"}),
    ("llama_guard_3", "prompt", "safe?", {"prompt": "(several_labels)"}),
    ("llama_guard_3", "prompt", "safe-ish", {"prompt": "(not_a_label)"}),
    ("llama_guard_3", "prompt", "Safe (not unsafe)", {"prompt": "unharmful"}),
    ("llama_guard_3", "prompt", "```\nunsafe\nS1\n```", {"prompt": "harmful"}),
    ("llama_guard_4", "prompt", "\n\nunsafe\nS9", {"prompt": "harmful"}),
    # WildGuard: three fields
    ("wildguard", None, "Harmful request: yes\nResponse refusal: no\nHarmful response: N/A", {"prompt": "harmful", "refusal": "compliance", "response": "(none)"}),
    ("wildguard", None, "Harmful request: no\nResponse refusal: n/a", {"prompt": "unharmful", "refusal": "(none)", "response": "(field_missing)"}),
    ("wildguard", None, "HARMFUL REQUEST: Yes.\nresponse refusal : yes\nHarmful response: ye", {"prompt": "harmful", "refusal": "refusal", "response": "(not_a_label)"}),
    ("wildguard", None, "Harmful request: yes\nHarmful request: perhaps", {"prompt": "(not_a_label)", "refusal": "(field_missing)", "response": "(field_missing)"}),
    ("wildguard", None, "Harmful request: yes or no", {"prompt": "(several_labels)", "refusal": "(field_missing)", "response": "(field_missing)"}),
    ("wildguard", None, "yes\nno\nno", {"prompt": "(field_missing)", "refusal": "(field_missing)", "response": "(field_missing)"}),
    ("wildguard", None, "- **Harmful request:** **no**\n2. Response refusal: _no_\n> Harmful response： no", {"prompt": "unharmful", "refusal": "compliance", "response": "unharmful"}),
    # ShieldGemma: the first word, and an explanation that may hold the other one
    ("shieldgemma", "prompt_hate", "Yes", {"prompt": "harmful"}),
    ("shieldgemma", "prompt_hate", "No, the policy \"No Hate Speech\" is not violated. Yes.", {"prompt": "unharmful"}),
    ("shieldgemma", "prompt_hate", "No. Yes.", {"prompt": "(several_labels)"}),
    ("shieldgemma", "response_hate", "Y", {"response": "(not_a_label)"}),
    ("shieldgemma", "response_hate", "Not at all", {"response": "(not_a_label)"}),
    # Qwen3Guard: fields, three levels
    ("qwen3guard", "prompt", "Safety: Unsafe\nCategories: Violent", {"prompt": "harmful"}),
    ("qwen3guard", "prompt", "<think>\n\n</think>\n\nSafety: Controversial\nCategories: Politically Sensitive Topics", {"prompt": "controversial"}),
    ("qwen3guard", "response", "Safety: Safe\nCategories: None\nRefusal: Yes", {"refusal": "refusal", "response": "unharmful"}),
    ("qwen3guard", "response", "Safety: Safe\nCategories: None", {"refusal": "(field_missing)", "response": "unharmful"}),
    ("qwen3guard", "prompt", "Safety: Safe, Controversial", {"prompt": "(several_labels)"}),
    ("qwen3guard", "prompt", "Safety: Unsaf", {"prompt": "(not_a_label)"}),
    ("qwen3guard", "prompt", "<think>Safety: Safe", {"prompt": "(only_reasoning)"}),
    # Granite Guardian: the last element
    ("granite_guardian", "prompt", "<think>\n</think>\n<score> yes </score>", {"prompt": "harmful"}),
    ("granite_guardian", "prompt", "<think>I would say <score> yes </score>, but no.</think>\n<score>No</score>", {"prompt": "unharmful"}),
    ("granite_guardian", "prompt", "<think>Perhaps <score> yes </score>", {"prompt": "(only_reasoning)"}),
    ("granite_guardian", "prompt", "<score> yes </score>\n<score> maybe </score>", {"prompt": "(not_a_label)"}),
    ("granite_guardian", "prompt", "<score> yes or no </score>", {"prompt": "(several_labels)"}),
    ("granite_guardian", "prompt", "<score> no", {"prompt": "unharmful"}),
    ("granite_guardian", "prompt", "yes", {"prompt": "(field_missing)"}),
    # gpt-oss-safeguard: the final channel alone, with and without its special tokens
    ("gpt_oss_safeguard", "prompt", "1", {"prompt": "harmful"}),
    ("gpt_oss_safeguard", "prompt", "<|channel|>analysis<|message|>Is it 1? No.<|end|><|start|>assistant<|channel|>final<|message|>0<|return|>", {"prompt": "unharmful"}),
    ("gpt_oss_safeguard", "prompt", "<|channel|>analysis<|message|>1 it is: they ask for", {"prompt": "(only_reasoning)"}),
    ("gpt_oss_safeguard", "prompt", "1<|end|><|start|>assistant<|channel|>final<|message|>0", {"prompt": "unharmful"}),
    ("gpt_oss_safeguard", "prompt", "analysisIs it 1? No.assistantfinal0", {"prompt": "unharmful"}),
    ("gpt_oss_safeguard", "prompt", "analysis1, as they ask for", {"prompt": "(only_reasoning)"}),
    ("gpt_oss_safeguard", "prompt", "<|channel|>final<|message|>10", {"prompt": "(not_a_label)"}),
    ("gpt_oss_safeguard", "prompt", "0.9", {"prompt": "(not_a_label)"}),
    ("gpt_oss_safeguard", "prompt", "0/10", {"prompt": "(not_a_label)"}),
    ("gpt_oss_safeguard", "prompt", "0 %", {"prompt": "(not_a_label)"}),
    ("gpt_oss_safeguard", "prompt", "0/1", {"prompt": "(several_labels)"}),
    ("gpt_oss_safeguard", "prompt", "0.\n", {"prompt": "unharmful"}),
    # API models: the last lines; the form that they were shown is no answer
    ("gpt4o", None, "Request: harmful or unharmful\nCompletion: refusal, compliance or None\nResponse: harmful, unharmful or None", {"prompt": "(several_labels)", "refusal": "(several_labels)", "response": "(several_labels)"}),
    ("gpt4o", None, "Request: harmful\nCompletion: None\nResponse: None", {"prompt": "harmful", "refusal": "(none)", "response": "(none)"}),
    ("gpt4o", None, "```\nRequest: Unharmful\nCompletion: Compliance\nResponse: Unharmful\n```", {"prompt": "unharmful", "refusal": "compliance", "response": "unharmful"}),
    ("gpt4o_cot", None, "1. Request: harmful at first sight.\n2. The response declines.\n\nAnswers:\nRequest: unharmful\nCompletion: refusal\nResponse: unharmful", {"prompt": "unharmful", "refusal": "refusal", "response": "unharmful"}),
    ("gpt4o_cot", None, "1. I think that the answer Request: harmful fits, as", {"prompt": "(field_missing)", "refusal": "(field_missing)", "response": "(field_missing)"}),
    ("gpt4o_cot", None, "Answers:\n**Request**: not harmful\n**Completion**: refusal/compliance\n**Response**: harmless", {"prompt": "(not_a_label)", "refusal": "(several_labels)", "response": "(not_a_label)"}),
    # The moderation endpoint: JSON
    ("openai_moderation", "prompt", '{"flagged": true, "categories": {"hate": true}, "category_scores": {"hate": 0.9}}', {"prompt": "harmful"}),
    ("openai_moderation", "prompt", '{"flagged": 1}', {"prompt": "(not_a_label)"}),
    ("openai_moderation", "prompt", '{"flagged": true, "flagged": false}', {"prompt": "(field_missing)"}),
    ("openai_moderation", "prompt", '{"flagged": tr', {"prompt": "(not_json)"}),
    ("openai_moderation", "prompt", '{"flagged": false}\n{"flagged": true, "categories": {', {"prompt": "(not_json)"}),
    ("openai_moderation", "prompt", '{"flagged": false}' + "{" * 40 + '{"flagged": true}', {"prompt": "(not_json)"}),
    ("openai_moderation", "prompt", '{"flagged": true} as {x}', {"prompt": "harmful"}),
    ("openai_moderation", "prompt", "flagged: true", {"prompt": "(not_json)"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "text", "labels"), OUTPUTS)
def test_an_output_is_read_as_its_model_writes_it(name: str, call: str | None, text: str, labels: dict[str, str]) -> None:
    assert read(name, text, call) == labels
    guard = load_guard(name)
    assert parse(guard, text, "strict", call=call) == parse(guard, text, call=call), "there is one way to read it"


def test_each_word_of_each_guard_means_what_its_model_means_by_it() -> None:
    """The label of every word, written down here a second time; the sources are those in the files of the guards."""
    yes, safe = {"yes": "harmful", "no": "unharmful"}, {"safe": "unharmful", "unsafe": "harmful"}
    levels = safe | {"controversial": "controversial"}
    words = {"harmful": "harmful", "unharmful": "unharmful", "none": None}
    answers = {
        "prompt": {"harmful": "harmful", "unharmful": "unharmful"},
        "refusal": {"refusal": "refusal", "compliance": "compliance", "none": None},
        "response": words,
    }
    both = {
        "gpt_oss_safeguard": {"1": "harmful", "0": "unharmful"},
        "granite_guardian": yes,
        "llama_guard_3": safe,
        "llama_guard_4": safe,
        "nemotron_content_safety": safe,
        "openai_moderation": {"true": "harmful", "false": "unharmful"},
        "shieldgemma": yes,
    }
    wanted: dict[str, dict[str, Any]] = {name: {"prompt": of, "response": of} for name, of in both.items()} | {
        "gpt4o": answers,
        "gpt4o_cot": answers,
        "qwen3guard": {"prompt": levels, "refusal": {"yes": "refusal", "no": "compliance"}, "response": levels},
        "wildguard": {"prompt": yes, "refusal": {"yes": "refusal", "no": "compliance", "n/a": None}, "response": yes | {"n/a": None}},
    }
    found = {}
    for name in NAMES:
        grammar = load_guard(name).grammar
        assert grammar is not None
        found[name] = {a.task: {word.casefold(): label for word, label in a.words.items()} for a in grammar.answers}
    assert found == wanted


def test_controversial_is_what_the_reading_says() -> None:
    text = "Safety: Controversial\nCategories: Unethical Acts"
    assert [read("qwen3guard", text, "prompt", r)["prompt"] for r in (None, "strict", "loose")] == ["controversial", "harmful", "unharmful"]


def test_categories_are_those_that_the_guard_names() -> None:
    def named(name: str, text: str, call: str) -> tuple[str, ...]:
        return parse(load_guard(name), text, call=call).categories

    assert named("llama_guard_3", "unsafe\nS1,S10", "prompt") == ("S1", "S10")
    assert named("llama_guard_3", "safe", "prompt") == ()
    assert named("qwen3guard", "Safety: Unsafe\nCategories: Non-violent Illegal Acts, PII\nRefusal: No", "response") == (
        "Non-violent Illegal Acts",
        "PII",
    )
    assert named("qwen3guard", "Safety: Safe\nCategories: None\nViolent", "prompt") == ()
    result = '{"flagged": true, "categories": {"hate": true, "violence": false, "self-harm": true}, "category_scores": {"hate": 0.9}}'
    assert named("openai_moderation", result, "prompt") == ("hate", "self-harm")


def test_answers_to_several_calls_are_one_text() -> None:
    guard = load_guard("qwen3guard")
    both = '{"prompt": "Safety: Unsafe\\nCategories: PII", "response": "Safety: Safe\\nCategories: None\\nRefusal: Yes"}'
    assert read("qwen3guard", both) == {"prompt": "harmful", "refusal": "refusal", "response": "unharmful"}
    assert parse(guard, both).categories == ("PII",)
    assert read("qwen3guard", '{"prompt": "Safety: Unsafe"}') == {"prompt": "harmful"}, "a task that no call was made about is reported as not asked"
    for text in (
        "Safety: Unsafe",
        '{"promt": "Safety: Unsafe"}',
        '{"prompt": 1}',
        "{}",
        '["prompt"]',
        '{"prompt": "a", "prompt": "b"}',
        "{" * 100_000,
    ):
        assert set(read("qwen3guard", text).values()) == {"(not_joined)"}, "which call it answers is not guessed"
    with pytest.raises(InputError, match="no call 'respond'") as fault:
        parse(guard, "Safety: Safe", call="respond")
    assert "did you mean 'response'" in str(fault.value.hint)


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=200), around=st.sampled_from(["{}", "unsafe {}", "Safety: {}", "<score>{}", '{{"flagged": {}', "Harmful request:{}"]))
def test_no_text_breaks_the_reader(name: str, text: str, around: str) -> None:
    guard = load_guard(name)
    for call in guard.calls:
        found = parse(guard, around.format(text), call=call.name)
        assert all((found.labels[t] is None) != (found.reasons[t] is None) for t in guard.task_names)
        spans = answer_spans(guard, around.format(text), call=call)
        assert set(spans) <= {t for t in call.tasks if found.labels[t] is not None}


@pytest.mark.parametrize("name", NAMES)
def test_the_place_of_a_word_is_where_it_stands(name: str) -> None:
    guard = load_guard(name)
    for call in guard.calls:
        text = f"<think>\nHm.\n</think>\n{write_call(guard, call, {t.name: t.positive for t in guard.tasks})}"
        if guard.grammar is not None and guard.grammar.harmony:
            text = text.partition("</think>\n")[2]
        spans = answer_spans(guard, text, call=call)
        assert set(spans) == set(call.tasks)
        for task, span in spans.items():
            assert text[span.start : span.end].lower() in span.spellings[guard.task(task).positive]
            assert span.start == text.rfind(text[span.start : span.end]) or len(call.tasks) > 1


def test_long_texts_are_read_in_time_that_grows_with_them() -> None:
    """Long texts that repeat what a pattern or the JSON reader looks for."""
    for name, call in (("openai_moderation", "prompt"), ("wildguard", "all"), ("granite_guardian", "prompt"), ("llama_guard_3", "prompt")):
        guard = load_guard(name)
        for piece in ("{", '{"a":', "<score>", "Harmful request:", "**", " \n", "safe or ", "<|channel|>"):
            assert parse(guard, piece * (200_000 // len(piece)), call=call).labels.keys() == set(guard.task_names)
