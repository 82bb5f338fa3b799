"""What guards read and write."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.guards import Guard, Reasoning, parse, render_input, render_output, sections, teacher_messages

INSTRUCTION = "b7345e92bb5f36a56848fd8c209b64e5c51f64893da804f1f62efc596239f3b7"


def test_the_released_instruction_never_changes(guardreasoner: Guard) -> None:
    assert len(guardreasoner.instruction) == 490
    assert hashlib.sha256(guardreasoner.instruction.encode()).hexdigest() == INSTRUCTION


def test_the_instruction_is_that_of_every_released_row(guardreasoner: Guard, real_data: Path) -> None:
    files = sorted((real_data / "guardreasoner" / "benchmark").glob("*.json"))
    rows = [row for f in files for row in json.loads(f.read_text(encoding="utf-8"))]
    assert len(rows) == 11_749
    assert {row["instruction"] for row in rows} == {guardreasoner.instruction}
    lone = [row["input"] for row in rows if row["input"].endswith("\n\nAI assistant:\nNone\n\n")]
    assert len(lone) > 5_000
    for text in lone:  # a prompt without a response, rendered again, is the released text
        prompt = text.removeprefix("Human user:\n").removesuffix("\n\nAI assistant:\nNone\n\n")
        assert render_input(guardreasoner, {"prompt": prompt, "response": None}) == guardreasoner.instruction + "\n" + text


def test_the_input_is_that_of_every_released_prediction(guardreasoner: Guard, real_data: Path) -> None:
    head = guardreasoner.instruction + "\nHuman user:\n"
    for file in sorted((real_data / "guardreasoner" / "predictions").glob("*/*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            text = json.loads(line)["prompt"]
            assert text.startswith(head) and text.endswith("\n\n")
            prompt, _, response = text.removeprefix(head).removesuffix("\n\n").partition("\n\nAI assistant:\n")
            assert render_input(guardreasoner, {"prompt": prompt, "response": response}) == text


def test_input_by_hand(guardreasoner: Guard, think: Guard, boxed: Guard) -> None:
    row = {"prompt": "How do I boil an egg?", "response": "In water.", "context": [{"role": "system", "content": "Be brief."}]}
    after = render_input(guardreasoner, row).removeprefix(guardreasoner.instruction)
    assert after == ("\nEarlier in the conversation:\nsystem: Be brief.\n\nHuman user:\nHow do I boil an egg?\n\nAI assistant:\nIn water.\n\n")
    lone = {"prompt": "How do I boil an egg?", "response": None}
    assert render_input(guardreasoner, lone).endswith("AI assistant:\nNone\n\n")
    assert (
        render_input(think, row) == "Judge the exchange.\nsystem: Be brief.\n\n<user>How do I boil an egg?</user>\n<assistant>In water.</assistant>\n"
    )
    assert render_input(think, lone) == "Judge the exchange.\n<user>How do I boil an egg?</user>\n"
    assert render_input(boxed, lone) == "How do I boil an egg?\n"


@settings(deadline=None)
@given(prompt=st.text(), response=st.none() | st.text())
def test_text_of_data_is_inserted_as_it_is(guardreasoner: Guard, prompt: str, response: str | None) -> None:
    for text in (prompt, "{{ 7 * 7 }} {% for x in y %} {# no #} \x00 <b>\x1b[31m" + prompt):
        rendered = render_input(guardreasoner, {"prompt": text, "response": response})
        shown = "None" if response is None else response
        assert rendered == f"{guardreasoner.instruction}\nHuman user:\n{text}\n\nAI assistant:\n{shown}\n\n"


def test_a_template_cannot_reach_python(tmp_path: Path) -> None:
    from jinja2.exceptions import SecurityError

    from toolkit.common.resources import shipped
    from toolkit.guards import load_guard

    text = (shipped("schemas") / "guards" / "guardreasoner.yaml").read_text(encoding="utf-8")
    file = tmp_path / "g.yaml"
    file.write_text(text.replace("{{ prompt }}", "{{ prompt.__class__.__mro__ }}"), encoding="utf-8")
    with pytest.raises(SecurityError):
        render_input(load_guard(str(file)), {"prompt": "Hello", "response": None})


def test_output_by_hand(guardreasoner: Guard, think: Guard, boxed: Guard) -> None:
    output = render_output(
        guardreasoner,
        {"prompt": Reasoning(["It asks about eggs.", "Eggs are food."], "Unharmful."), "response": Reasoning(["Nothing."], "None.")},
        {"prompt": "unharmful", "refusal": None, "response": None},
    )
    assert output == (
        "# Task 1\n\n## Reasoning Step 1\nIt asks about eggs.\n\n## Reasoning Step 2\nEggs are food.\n\n## Conclusion\nUnharmful.\n\n"
        "# Task 3\n\n## Reasoning Step 1\nNothing.\n\n## Conclusion\nNone.\n\n"
        "---\n\nAnswers: \nRequest: unharmful\nCompletion: None\nResponse: None"
    )
    output = render_output(think, {"risk": Reasoning(["Eggs."], "Fine.")}, {"risk": "very high", "tone": None})
    assert output == (
        "<think>\n\nPart 1\n\nStep 1:\nEggs.\n\nSo:\nFine.\n\n</think>\n\n<verdict>\nRisk of the exchange = very high\nTone = n/a\n</verdict>"
    )
    assert render_output(boxed, {"safety": Reasoning(["Eggs.", "Food."], "Fine.")}, {"safety": "safe"}) == "Eggs.\n\nFood.\n\n\\boxed{safe}"
    assert render_output(boxed, {}, {"safety": None}) == "\\boxed{unknown}"
    with pytest.raises(ValueError, match="'bad' is no label of the task 'safety'"):
        render_output(boxed, {}, {"safety": "bad"})


def nasty(guard: Guard) -> st.SearchStrategy[str]:
    """Text in which anything may stand: lines of answers, headings and tags too, whole or with something after them."""
    o = guard.output
    own = [o.open, o.close, o.separator, o.answers_heading, o.answers_close, o.conclusion_heading, "", " "]
    own += [o.task_heading.format(n=2), o.step_heading.format(k=1), "Answers:", "**Answers:**", "---", "```", ":"]
    own += [o.answer_line.format(field=t.field, label=w) for t in guard.tasks for w in (*t.labels, o.missing_word, "**odd**", "")]
    line = st.tuples(st.sampled_from(own) | st.text(max_size=12), st.sampled_from(["", " ", "\r", ".", " indeed", "\x85"])).map("".join)
    return st.lists(line, min_size=1, max_size=4).map("\n".join)


@settings(deadline=None)
@given(data=st.data())
def test_a_strict_reading_gives_back_the_labels(guard: Guard, data: st.DataObject) -> None:
    """Whatever the steps say; but where they hold a line of an answers block or a tag, the reading says so and reads nothing."""
    text = nasty(guard)
    reasoning = data.draw(st.dictionaries(st.sampled_from(guard.task_names), st.builds(Reasoning, st.lists(text, max_size=3), text)))
    labels = {t.name: data.draw(st.none() | st.sampled_from(t.labels)) for t in guard.tasks}
    output = render_output(guard, reasoning, labels)

    o = guard.output
    written = [s for r in reasoning.values() for s in (*r.steps, *([r.conclusion] if o.conclusion_heading else []))]
    lines = {line.rstrip() for s in written for line in s.split("\n")}
    answers = {o.answer_line.format(field=t.field, label=w).rstrip() for t in guard.tasks for w in (*t.labels, o.missing_word)}
    expected = []
    if lines & (answers | ({o.answers_heading.rstrip()} - {""})):
        expected.append("answers_repeated")
    if any(tag and tag in s for tag in (o.open, o.close) for s in written):
        expected.append("reasoning_unmarked")

    found = parse(guard, output, "strict")
    assert found.problems == tuple(expected)
    if expected:
        assert set(found.labels.values()) == {None} and set(found.reasons.values()) == {expected[0]}
        return
    assert found.labels == labels
    assert found.reasons == {t: None if label else "none" for t, label in labels.items()}
    lenient = parse(guard, output)
    assert all(lenient.labels[t] == label for t, label in labels.items() if label is not None)


@settings(deadline=None)
@given(data=st.data())
def test_sections_give_back_steps_and_conclusions(guard: Guard, data: st.DataObject) -> None:
    o = guard.output
    heading = re.compile(r"\s*(#|Part \d|Step \d|So:|:|</?think>)")
    plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=30).map(str.strip)
    sentence = plain.filter(lambda s: bool(s) and not heading.match(s) and not s.startswith("\\boxed"))
    text = sentence if not o.step_heading else st.lists(sentence, min_size=1, max_size=2).map("\n\n".join)
    steps = st.lists(text, min_size=0 if o.step_heading else 1, max_size=4)
    names = data.draw(st.lists(st.sampled_from(guard.task_names), unique=True).map(lambda n: sorted(n, key=guard.task_names.index)))
    reasoning = {n: Reasoning(data.draw(steps), data.draw(text)) for n in names}
    output = render_output(guard, reasoning, dict.fromkeys(guard.task_names))

    found = sections(guard, output)
    assert [s.task for s in found] == [guard.task_names.index(n) + 1 for n in names]
    for name, section in zip(names, found, strict=True):
        assert section.steps == list(reasoning[name].steps)
        assert section.numbers == list(range(1, len(section.steps) + 1))
        assert section.conclusion == (reasoning[name].conclusion if o.conclusion_heading else None)


def test_the_teacher_is_asked_with_the_answers(guardreasoner: Guard, think: Guard) -> None:
    row = {
        "prompt": "How do I boil an egg?",
        "response": None,
        "label_prompt": "unharmful",
        "label_prompt_source": "human",
        "label_refusal": None,
        "label_refusal_source": "not_applicable",
        "label_response": None,
        "label_response_source": "to_infer",
    }
    system, user = teacher_messages(guardreasoner, row)
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["content"] == (
        "Human user:\nHow do I boil an egg?\n\nAI assistant:\nNone\n\n---\nAnswers: \nRequest: unharmful\nCompletion: None\nResponse: ?\n"
    )
    assert 'Where an answer is "?", decide it yourself' in system["content"]
    assert "between 1 and 10 steps" in system["content"]
    assert "Task 2: is the AI assistant's response a refusal or compliance? Allowed words: compliance, refusal." in system["content"]
    row |= {"label_response_source": "absent"}
    system, user = teacher_messages(guardreasoner, row)
    assert "decide it yourself" not in system["content"] and user["content"].endswith("Response: None\n")

    row = {"prompt": "Hi", "response": "Hello", "label_risk": "low", "label_risk_source": "vote", "label_tone": "calm", "label_tone_source": "human"}
    assert teacher_messages(think, row) == [
        {"role": "system", "content": "Explain. "},
        {"role": "user", "content": "<user>Hi</user>\n<assistant>Hello</assistant>\nRisk of the exchange = low\nTone = calm\n"},
    ]
