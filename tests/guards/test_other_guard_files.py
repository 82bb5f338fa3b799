"""The file of a guard that was trained elsewhere: every fault has its place, and a sound one is asked and read as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolkit.common.errors import InputError
from toolkit.guards import Guard, input_fingerprint, load_guard, parse, render_call, render_output

GOOD = """\
name: own
version: 1
description: "Two questions in one call: JSON, and a text of its own."
context: "{% for m in context %}[{{ m.role }}] {{ m.content }}\\n{% endfor %}"
tasks:
  - {name: prompt, labels: [safe, doubtful, unsafe], positive: unsafe}
  - {name: tone, labels: [kind, rude], positive: rude, applies: response}
calls:
  - name: prompt
    tasks: [prompt]
    messages:
      - {role: system, content: Judge.}
      - {role: user, content: "Text: {{ prompt }}"}
    chat_template_kwargs: {mode: quick}
  - name: both
    tasks: [prompt, tone]
    needs_response: true
    messages:
      - {role: user, content: "{{ prompt }} / {{ response }}"}
grammar:
  answers:
    - {task: prompt, key: rating, words: {ok: safe, "0": safe, hmm: doubtful, bad: unsafe}}
    - {task: tone, key: tone, words: {"yes": rude, "no": kind, none: null}}
"""


def load(folder: Path, text: str = GOOD) -> Guard:
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    return load_guard(folder / "own.yaml")


def test_a_sound_file(tmp_path: Path) -> None:
    guard = load(tmp_path)
    row = {"prompt": "Hi", "response": "Go away", "context": [{"role": "user", "content": "Hello"}]}
    assert [c.name for c in guard.calls_about(row)] == ["prompt", "both"] and [c.name for c in guard.calls_about({"response": None})] == ["prompt"]
    assert render_call(guard, guard.call("prompt"), row) == [
        {"role": "system", "content": "Judge."},
        {"role": "user", "content": "Text: [user] Hello\nHi"},
    ]
    assert parse(guard, '{"rating": 0}', call="prompt").labels["prompt"] == "safe"
    stated = {"prompt": "doubtful", "tone": None}
    assert render_output(guard, {}, stated) == '{"prompt": "{\\"rating\\": \\"hmm\\"}", "both": "{\\"rating\\": \\"hmm\\", \\"tone\\": \\"none\\"}"}'
    assert parse(guard, render_output(guard, {}, stated)).labels == stated


@pytest.mark.parametrize(
    ("prompt", "both", "label", "reason"),
    [
        ("ok", "hmm", "doubtful", None),
        ("hmm", "ok", "doubtful", None),
        ("?", "bad", "unsafe", None),
        ("bad", "?", "unsafe", None),
        ("ok", "?", None, "not_a_label"),
        ("ok", "ok", "safe", None),
    ],
)
def test_of_several_calls_the_positive_label_counts_then_what_is_unread_then_the_most_severe(
    prompt: str, both: str, label: str | None, reason: str | None, tmp_path: Path
) -> None:
    guard = load(tmp_path)
    text = f'{{"prompt": "{{\\"rating\\": \\"{prompt}\\"}}", "both": "{{\\"rating\\": \\"{both}\\"}}"}}'
    found = parse(guard, text)
    assert (found.labels["prompt"], found.reasons["prompt"]) == (label, reason)


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("grammar:\n", "gramar:\n", "gramar", "unknown key 'gramar'"),
        (GOOD[GOOD.index("grammar:") :], "", "grammar", "the key 'grammar' is missing"),
        (GOOD[GOOD.index("calls:") : GOOD.index("grammar:")], "", "grammar", "a grammar reads the answers to `calls`, and there are none"),
        ("version: 1\n", "version: 1\ninstruction: Judge.\n", "instruction", "has no 'instruction'"),
        ("version: 1\n", "version: 1\nteacher: {system: a, user: '{{ exchange }}'}\n", "teacher", "neither taught nor trained here"),
        ("version: 1\n", "version: 1\noutput: {separator: x}\n", "output", "has no 'output'"),
        ("  - name: both\n", "  - name: prompt\n", "calls.1.name", "two calls are called 'prompt'"),
        ("tasks: [prompt, tone]", "tasks: [prompt, tones]", "calls.1.tasks.1", "did you mean 'tone'"),
        ("tasks: [prompt, tone]", "tasks: [prompt]", "tasks.1.name", "no call judges the task 'tone'"),
        (", applies: response", "", "tasks.1.applies", "only calls that need a response judge the task 'tone'"),
        ("task: tone, key", "task: prompt, key", "grammar.answers", "2 answers for the task 'prompt'"),
        ("ok: safe, ", "ok: save, ", "grammar.answers.0.words.ok", "'save' is none of the labels"),
        ("hmm: doubtful, ", "", "grammar.answers.0.words", "no word means the label 'doubtful'"),
        ("ok: safe, ", "Bad: safe, ", "grammar.answers.0.words.bad", "the same but for case"),
        ("key: tone,", "key: tone, field: Tone,", "grammar.answers.1.key", "one place only: field or key"),
        ("key: tone,", "tag: <tone>,", "grammar.answers.1.tag", "without its brackets"),
        ("key: tone,", "tag: tone, scores: s,", "grammar.answers.1.scores", "JSON object"),
        ("{{ prompt }} /", "{{ promt }} /", "calls.1.messages.0.content", "did you mean 'prompt'"),
        ("role: system", "role: tool", "calls.0.messages.0.role", "'system', 'user' or 'assistant'"),
        ('    messages:\n      - {role: user, content: "{{ prompt }} /', '    text: "{{ prompt }}"\n    messages:\n      - {role: user, content: "{{ prompt }} /', "calls.1.messages", "either `messages` or a `text`"),
        ("mode: quick", "tools: quick", "calls.0.chat_template_kwargs", "may not hold ['tools']"),
        ('content: "Text: {{ prompt }}"', 'content: "Text."', "calls.0.messages", "no message holds {{ prompt }}"),
        ('"Text: {{ prompt }}"', '"{{ prompt }}{{ response.upper() }}"', "calls.0.messages.1.content", "for a row without a response"),
        ('"Text: {{ prompt }}"', '"{{ prompt * 99999999 }}"', "calls.0.messages.1.content", "too large at once"),
        ('"Text: {{ prompt }}"', '"{{ prompt.__class__ }}"', "calls.0.messages.1.content", "unsafe"),
        ("needs_response: true", "max_tokens: 0", "calls.1.max_tokens", "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_place(tmp_path: Path, old: str, new: str, key: str, words: str) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(InputError) as fault:
        load(tmp_path, text)
    message = str(fault.value)
    assert re.search(rf"own\.yaml:\d+:{re.escape(key)}: ", message), message
    assert words in message


@pytest.mark.parametrize(
    "text",
    [
        "{{ prompt | upper }}",
        "{{ prompt[:9] }}",
        "{{ prompt * 99999999 }}",
        "{{ response or '' }}",
        "{% if prompt == 'x' %}{% endif %}{{ response }}",
    ],
)
def test_a_text_holds_prompt_and_response_as_they_are(text: str, tmp_path: Path) -> None:
    head = "name: own\nversion: 1\ndescription: x\ntasks: [{name: prompt, labels: [safe, unsafe], positive: unsafe}]\n"
    tail = "grammar: {answers: [{task: prompt, words: {safe: safe, unsafe: unsafe}}]}\n"
    with pytest.raises(InputError, match=r"calls\.0\.text: .*(as they are|does not use|cannot be rendered)"):
        load(tmp_path, head + f"calls: [{{name: all, tasks: [prompt], text: {text!r}}}]\n" + tail)


def test_a_text_carries_no_media(tmp_path: Path) -> None:
    head = "name: own\nversion: 1\ndescription: x\ninputs: [prompt, image]\ntasks: [{name: prompt, labels: [safe, unsafe], positive: unsafe}]\n"
    tail = "grammar: {answers: [{task: prompt, words: {safe: safe, unsafe: unsafe}}]}\n"
    with pytest.raises(InputError, match="inputs: a `text` cannot carry media: image"):
        load(tmp_path, head + "calls: [{name: all, tasks: [prompt], text: '{{ prompt }}'}]\n" + tail)


def test_another_call_is_another_guard(tmp_path: Path) -> None:
    guard = load(tmp_path)
    same = load(tmp_path, GOOD.replace("Two questions", "Questions"))
    other = load(tmp_path, GOOD.replace("Text: ", "A text: "))
    assert guard.fingerprint == same.fingerprint != other.fingerprint
    assert input_fingerprint(guard) == input_fingerprint(same) != input_fingerprint(other)
    digests = [{name: g.digests(list(g.facets))[name] for name in ("input", "output", "tasks")} for g in (guard, other)]
    assert {name for name in digests[0] if digests[0][name] != digests[1][name]} == {"input"}
    read = load(tmp_path, GOOD.replace("hmm: doubtful", "um: doubtful"))
    assert input_fingerprint(read) == input_fingerprint(guard) and read.digests(["output"]) != guard.digests(["output"])
