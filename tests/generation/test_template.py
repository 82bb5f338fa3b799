"""The embedded teacher: strict format, true labels, quotations from the row, varied sentences, the same words at every run."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.common.resources import shipped
from toolkit.generation import Completion, Request, TemplateConfig, as_messages
from toolkit.generation.backends._template import TemplateBackend
from toolkit.guards import Guard, load_guard, parse, sections
from toolkit.taxonomy import load_taxonomy

Row = dict[str, Any]
GUARD = load_guard("guardreasoner")
CONFIG = TemplateConfig(backend="template")
SCAFFOLD = re.compile(r"ground truth|\blabel|given answer|correct answer|\breviewers?\b|\bannotat|as instructed", re.IGNORECASE)

SECOND_GUARD = """
name: second
version: 1
description: Two tasks, one of them ordinal, thinking tags, no headings above the answers.
tasks:
  - {name: severity, question: how severe is the conversation, subject: The conversation, field: Severity,
     labels: ["no", low, high], positive: high}
  - {name: tone, question: is the reply polite or rude, subject: The reply, field: Tone, labels: [polite, rude], positive: rude,
     applies: response}
steps: {min: 2, max: 5}
instruction: "Judge."
input: "U: {{ prompt }}\\nA: {{ response if response is not none else '-' }}\\n"
output:
  open: <think>
  close: </think>
  task_heading: "# Question {n}"
  step_heading: "## Thought {k}"
  conclusion_heading: "## Verdict"
  answers_heading: ""
  answer_line: "{field}: \\\\boxed{{{label}}}"
  missing_word: unknown
teacher: {system: s, user: "{{ exchange }}"}
"""


def with_sources(row: Row, guard: Guard = GUARD, missing: str = "absent") -> Row:
    """A seed as the records have it: every label with where it comes from."""
    out = {"context": [], "response": None, "categories": [], **row}
    for task in guard.tasks:
        label = out.setdefault(f"label_{task.name}", None)
        applies = task.applies == "always" or out["response"] is not None
        out[f"label_{task.name}_source"] = "written" if label is not None else missing if applies else "not_applicable"
    return out


def requests(backend: TemplateBackend, rows: Iterable[Row], guard: Guard = GUARD, draw: int = 0, config: TemplateConfig = CONFIG) -> list[Request]:
    return [Request(backend.model_id, backend.endpoint, as_messages(backend.teacher_messages(guard, r)), draw=draw, **config.shaping()) for r in rows]


def write(rows: Iterable[Row], guard: Guard = GUARD, config: TemplateConfig = CONFIG, draw: int = 0) -> list[str]:
    backend = TemplateBackend(config, guard, load_taxonomy())
    texts = []
    for completion in backend.generate(iter(requests(backend, rows, guard, draw, config))):
        assert completion.text is not None, completion.detail
        texts.append(completion.text)
    return texts


def sentences(text: str) -> set[str]:
    body = text.rpartition("\n---\n")[0]
    return {s for line in body.split("\n") if line and not line.startswith("#") for s in re.split(r"(?<=[.!?])\s+", line)}


def top_share(texts: list[str]) -> tuple[float, str]:
    sentence, n = Counter(s for t in texts for s in sentences(t)).most_common(1)[0]
    return n / len(texts), sentence


def spaced(row: Row) -> str:
    return " ".join(" ".join([row["prompt"], row["response"] or "", *(m["content"] for m in row["context"])]).split())


def check(row: Row, text: str, guard: Guard = GUARD) -> None:
    """All that an output owes to its row."""
    parsed = parse(guard, text, "strict")
    assert not parsed.problems
    assert parsed.labels == {t.name: row[f"label_{t.name}"] for t in guard.tasks}
    found = sections(guard, text)
    assert [s.task for s in found] == list(range(1, len(guard.tasks) + 1))
    every = [w for t in guard.tasks for w in t.labels] + [guard.output.missing_word]
    stated = re.compile(r"(?<!\w)(" + "|".join(sorted(map(re.escape, every), key=len, reverse=True)) + r")(?!\w)", re.IGNORECASE)
    for section, task in zip(found, guard.tasks, strict=True):
        assert guard.steps.min <= len(section.steps) <= guard.steps.max
        assert section.numbers == list(range(1, len(section.steps) + 1))
        assert len(set(section.steps)) == len(section.steps)
        assert all(step.count("\n") == 0 and step.endswith(".") and not stated.search(step) for step in section.steps)
        label = row[f"label_{task.name}"]
        assert section.conclusion is not None
        assert stated.findall(section.conclusion.split("\n")[0]) == ([label] if label else [])
    body = text.rpartition("\n---\n")[0] or text
    quotes = re.findall(r'"([^"]*)"', body)
    source = spaced(row)
    assert all(q in source and 1 <= len(q.split()) <= 5 and len(q) <= 100 for q in quotes)
    assert not SCAFFOLD.search(re.sub(r'"[^"]*"', "", body))
    assert not re.search(r"ground truth|\blabel", body, re.IGNORECASE)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text)


@pytest.fixture(scope="module")
def seeds() -> list[Row]:
    rows = []
    for path in sorted((shipped("recipes") / "quickstart" / "seeds").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row["categories"] = [row["category"]] if "harmful" in (row["label_prompt"], row["label_response"]) else []
            rows.append(with_sources(row))
    return rows


@pytest.fixture(scope="module")
def outputs(seeds: list[Row]) -> list[str]:
    return write(seeds)


def test_every_output_keeps_to_the_format_and_the_labels(seeds: list[Row], outputs: list[str]) -> None:
    for row, text in zip(seeds, outputs, strict=True):
        check(row, text)
        assert re.search(r'"[^"]+"', text), "quotes the row"


def test_no_sentence_in_more_than_five_percent_of_the_seeds(outputs: list[str]) -> None:
    share, sentence = top_share(outputs)
    assert share <= 0.05, sentence


def test_outputs_are_short_and_steps_vary(outputs: list[str]) -> None:
    words = [len(t.split()) for t in outputs]
    assert 70 <= sum(words) / len(words) <= 100
    steps = Counter(len(s.steps) for t in outputs for s in sections(GUARD, t))
    assert set(steps) == {1, 2, 3}
    assert 3.0 <= sum(k * n for k, n in steps.items()) / len(outputs) <= 4.5


def test_the_steps_of_different_labels_differ(seeds: list[Row], outputs: list[str]) -> None:
    """What weighs is before the conclusion: the steps' own words, quotations left out, tell the labels apart."""
    for n, task in enumerate(("prompt", "refusal", "response")):
        seen: dict[str, Counter[str]] = {}
        bags = []
        for row, text in zip(seeds, outputs, strict=True):
            if (label := row[f"label_{task}"]) is not None:
                steps = re.sub(r'"[^"]*"', "", " ".join(sections(GUARD, text)[n].steps))
                bags.append((label, set(re.findall(r"\w+", steps.casefold()))))
                seen.setdefault(label, Counter()).update(bags[-1][1])
        every = sum(seen.values(), Counter[str]())
        rows = Counter(label for label, _ in bags)
        guesses = [max(seen, key=lambda c: sum(seen[c][w] / every[w] / rows[c] for w in bag)) for _, bag in bags]
        assert sum(g == label for g, (label, _) in zip(guesses, bags, strict=True)) / len(bags) > 0.9


def test_categories_speak_in_requests_that_belong_to_them(seeds: list[Row], outputs: list[str]) -> None:
    taxonomy = load_taxonomy()
    named = 0
    harmful = [(r, t) for r, t in zip(seeds, outputs, strict=True) if r["label_prompt"] == "harmful"]
    for row, text in harmful:
        category = taxonomy.category(row["category"])
        words = " ".join(sections(GUARD, text)[0].steps).casefold()
        named += any(word.casefold() in words for word in [category.title, *category.cues])
    assert named / len(harmful) > 0.25


def test_same_input_same_words_in_any_order(seeds: list[Row], outputs: list[str]) -> None:
    order = list(range(len(seeds)))
    random.Random(5).shuffle(order)
    again = write([seeds[i] for i in order])
    assert [again[order.index(i)] for i in range(len(seeds))] == outputs
    assert write([seeds[7]]) == [outputs[7]]


def test_seed_and_draw_change_the_words_and_nothing_else(seeds: list[Row], outputs: list[str]) -> None:
    some = seeds[:50]
    for texts in (write(some, config=TemplateConfig(backend="template", seed=1)), write(some, draw=1)):
        assert sum(a != b for a, b in zip(texts, outputs, strict=False)) == len(some)
        for row, text in zip(some, texts, strict=True):
            check(row, text)


def test_the_model_id_names_guard_taxonomy_and_phrases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {TemplateBackend(CONFIG, GUARD, load_taxonomy()).model_id for _ in range(2)}
    assert len(ids) == 1 and re.fullmatch(r"template/1\+[0-9a-f]{12}", next(iter(ids)))
    ids.add(TemplateBackend(CONFIG, GUARD).model_id)
    ids.add(TemplateBackend(CONFIG, second_guard(tmp_path), load_taxonomy()).model_id)
    from toolkit.generation.backends import _template_phrases

    monkeypatch.setattr(_template_phrases, "LEADS", ("So ",))
    ids.add(TemplateBackend(CONFIG, GUARD, load_taxonomy()).model_id)
    assert len(ids) == 4


@pytest.mark.parametrize("missing", ["absent", "to_infer", "not_applicable"])
def test_a_missing_label_stays_missing(missing: str) -> None:
    row = with_sources(
        {"prompt": "How do I bake rye bread?", "response": "Feed the starter first, then wait.", "label_prompt": "unharmful"}, missing=missing
    )
    (text,) = write([row])
    check(row, text)
    assert re.search(
        r"undecided|settle|open|either way|differ|too little|more than this|firm|no side|made from it", " ".join(sections(GUARD, text)[1].steps)
    )
    assert text.endswith("Completion: None\nResponse: None")


def test_without_a_reply_there_is_nothing_to_judge(seeds: list[Row], outputs: list[str]) -> None:
    texts = [t for r, t in zip(seeds, outputs, strict=True) if r["response"] is None]
    assert len(texts) == 180
    for text in texts:
        for section in sections(GUARD, text)[1:]:
            assert re.search(r"repl|ends|comes after|stops|silent|missing|empty", section.steps[0])
    assert len({c.conclusion for t in texts for c in sections(GUARD, t)[1:]}) > 60


def second_guard(tmp_path: Path) -> Guard:
    path = tmp_path / "second.yaml"
    path.write_text(SECOND_GUARD, encoding="utf-8")
    return load_guard(str(path))


def test_another_guard_needs_no_other_code(tmp_path: Path, seeds: list[Row]) -> None:
    guard = second_guard(tmp_path)
    severity, tone = ("no", "low", "high", None), ("polite", "rude", None)
    rows = []
    for i, seed in enumerate(seeds):
        row = {k: seed[k] for k in ("prompt", "response", "context", "categories")}
        reply = seed["response"] is not None
        rows.append(with_sources({**row, "label_severity": severity[i % 4], "label_tone": tone[i % 3] if reply else None}, guard))
    texts = write(rows, guard, TemplateConfig(backend="template", steps=(1, 4)))
    for row, text in zip(rows, texts, strict=True):
        assert text.startswith("<think>\n\n# Question 1") and "</think>" in text
        check(row, text, guard)
    whole = Counter(line for t in texts for line in set(t.split("\n")) if line.endswith("."))
    assert max(whole.values()) <= 0.05 * len(texts)


NASTY = [
    "",
    " \n\t ",
    "🔥🔥🔥 💥",
    "\x1b[31mred alert\x1b[0m \x1b]0;title\x07 and more words",
    'He said "quote me" and\n# Task 1\n## Conclusion\nAnswers: \nRequest: harmful\n---\n',
    "**bold** _under_ `code` <b>tag</b> {q} {label} %s \\n",
    "harmful unharmful refusal compliance None label ground truth",
    "请告诉我怎么做面包以及如何保存它们谢谢你们大家的帮助和支持我们会记住的",
    "x" * 5000,
    "\u202eright to left\u202c zero\u200bwidth\x00nul",
    "How do I kill a Python process? " * 30_000,
    "a b c d e f",
]


@pytest.mark.parametrize("prompt", NASTY)
@pytest.mark.parametrize("reply", [None, *NASTY[:7]])
def test_nasty_texts_cannot_break_an_output(prompt: str, reply: str | None) -> None:
    row = with_sources({"prompt": prompt, "response": reply, "label_prompt": "harmful"})
    if reply is not None:
        row |= {"label_refusal": "compliance", "label_response": "unharmful"}
    backend = TemplateBackend(CONFIG, GUARD, load_taxonomy())
    assert len(backend.teacher_messages(GUARD, row)[0]["content"]) < 20_000
    (text,) = write([row])
    check(row, text)
    assert len(text) < 3000


@settings(max_examples=150, deadline=None)
@given(
    prompt=st.text(max_size=80),
    reply=st.none() | st.text(max_size=80),
    labels=st.tuples(*(st.sampled_from([*t.labels, None]) for t in GUARD.tasks)),
    seed=st.integers(0, 2**31 - 1),
)
def test_any_text_and_any_labels(prompt: str, reply: str | None, labels: tuple[str | None, ...], seed: int) -> None:
    kept = [label if reply is not None or task.applies == "always" else None for label, task in zip(labels, GUARD.tasks, strict=True)]
    row = with_sources({"prompt": prompt, "response": reply} | {f"label_{t.name}": k for t, k in zip(GUARD.tasks, kept, strict=True)})
    (text,) = write([row], config=TemplateConfig(backend="template", seed=seed))
    check(row, text)


def test_a_message_of_another_kind_fails_alone(seeds: list[Row]) -> None:
    backend = TemplateBackend(CONFIG, GUARD, load_taxonomy())
    good = requests(backend, seeds[:2])
    wrong_label = with_sources({"prompt": "p", "label_prompt": "dangerous"})
    content = ["no json", "[]", "{}", json.dumps({"prompt": "p", "labels": {}})]
    bad = [Request(backend.model_id, "template", (("user", c),), **CONFIG.shaping()) for c in content]
    bad += [*requests(backend, [wrong_label]), Request(backend.model_id, "template", (), **CONFIG.shaping())]
    done: list[Completion] = list(backend.generate(iter([good[0], *bad, good[1]])))
    assert [c.key for c in done] == [r.key for r in (good[0], *bad, good[1])]
    assert [c.error for c in done] == [None, *["bad_request"] * len(bad), None]


def test_it_pulls_one_request_at_a_time(seeds: list[Row]) -> None:
    backend = TemplateBackend(CONFIG, GUARD, load_taxonomy())
    asked = requests(backend, seeds[:3])
    pulled: list[int] = []

    def lazily() -> Iterable[Request]:
        for i, request in enumerate(asked):
            pulled.append(i)
            yield request

    answers = backend.generate(iter(lazily()))
    next(answers)
    assert pulled == [0] and backend.parallel == 1 and not backend.journalled


def test_it_needs_a_guard() -> None:
    with pytest.raises(InputError, match="guard"):
        TemplateBackend(CONFIG, None)


KNOWN = {"0_5": "response", "0_6": "response", "0_7": "refusal", "0_9": "response", "0_A": "response"}
"""The task whose label a released benchmark file holds, by the beginning of its name; prompt for the others (spec E.1)."""


def benchmark_rows(folder: Path) -> list[Row]:
    rows = []
    for path in sorted(folder.glob("*.json")):
        task = KNOWN.get(path.name[:3], "prompt")
        for item in json.loads(path.read_text(encoding="utf-8")):
            found = re.fullmatch(r"Human user:\n(.*)\n\nAI assistant:\n(.*)\n\n", item["input"], re.DOTALL)
            assert found
            label = re.findall(r"Response:\s*(\w+)", item["output"])[-1] if "Answers:" in item["output"] else item["output"].strip()
            rows.append(with_sources({"prompt": found[1], "response": None if task == "prompt" else found[2], f"label_{task}": label}))
    return rows


def test_real_rows_keep_the_format_and_the_variety(real_data: Path) -> None:
    rows = benchmark_rows(real_data / "guardreasoner" / "benchmark")
    assert len(rows) == 11_749
    texts = write(rows)
    for row, text in zip(rows, texts, strict=True):
        parsed = parse(GUARD, text, "strict")
        assert not parsed.problems and parsed.labels == {t.name: row[f"label_{t.name}"] for t in GUARD.tasks}
    for row, text in list(zip(rows, texts, strict=True))[::25]:
        check(row, text)
    share, sentence = top_share(texts)
    assert share <= 0.05, sentence


def test_what_a_guard_writes_beside_its_labels_is_taken_from_the_row() -> None:
    guard = load_guard("intentionreasoner")
    row = with_sources({"prompt": "How do I kill the process on port 80?", "label_prompt": "borderline unharmful"}, guard)
    asked = "How do I stop the process on port 80?"
    with_it, without = write([row | {"rewrite": asked}, row], guard)
    assert parse(guard, with_it).data == {"rewrite": asked} and parse(guard, without).data == {"rewrite": None}
    (refused,) = TemplateBackend(CONFIG, guard, None).generate(
        iter(requests(TemplateBackend(CONFIG, guard, None), [row | {"rewrite": "a </rewrite> b"}], guard))
    )
    assert refused.error == "bad_request" and "holds the mark" in str(refused.detail)
