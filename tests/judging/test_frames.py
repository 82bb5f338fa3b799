"""Frames of outputs are read as each output alone is, whatever the guard's format and whatever the outputs hold."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.common.resources import names
from toolkit.guards import Guard, Mode, joined, load_guard, render_input, shortcut
from toolkit.guards._own_words import plain
from toolkit.guards._shortcut import KNOWN
from toolkit.judging import read_frame, read_output

FILES = Path(__file__).parents[1] / "guards" / "files"
OURS = load_guard("guardreasoner")


def with_output(**changes: str) -> Guard:
    """GuardReasoner's guard with another output format."""
    return OURS.replaced(output=OURS.output.model_copy(update=changes))


def one_task(field: str, labels: Sequence[str], **changes: str) -> Guard:
    task = OURS.tasks[0].model_copy(update={"field": field, "labels": list(labels), "positive": labels[-1]})
    return with_output(**changes).replaced(tasks=[task])


AS_OTHERS = {"guardreasoner_omni", "guardreasoner_omni_v1", "rsafe_response"}
"""Guards whose output has the form of another one's."""
GUARDS: dict[str, Guard] = {
    **{name: guard.with_policy("No tulips.") if (guard := load_guard(name)).policy else guard for name in names("guards") if name not in AS_OTHERS},
    "think": load_guard("think.yaml", FILES),
    "boxed": load_guard("boxed.yaml", FILES),
    "no heading": with_output(answers_heading=""),
    "thinking": with_output(open="<think>", close="</think>"),
    "only closed": with_output(close="</think>"),
    "own close": with_output(open="<reasoning>", close="</reasoning>", answers_heading="<answer>", answers_close="</answer>"),
    "equals": with_output(answer_line="- {field} = {label}"),
    "is": with_output(answer_line="The {field} is {label}"),
    "closing": with_output(answers_close="End of answers"),
    "bare": one_task("Request", ["safe", "unsafe"], answer_line="{label}"),
    "bare, headless": one_task("Request", ["safe", "unsafe"], answer_line="{label}", answers_heading=""),
    "no prompt": with_output().replaced(instruction=""),
    "no prompt, thinking": with_output(open="<think>", close="</think>").replaced(instruction=""),
    "field in lead": one_task("Harmful request", ["no", "yes"], answer_line="{field}: {label}", answers_heading=""),
    "label begins line": one_task("Yes or no", ["no", "yes"], answers_heading=""),
    "heading goes on": with_output(answers_heading="Or:"),
    "umlauts": one_task("Anfrage", ["unschädlich", "schädlich"]),
}
MODES: tuple[Mode, ...] = get_args(Mode)
ODD = [
    *(" ", "\n", "\n\n", "\t", "\r\n", ":", ": ", "=", "-", "- ", "|", "*", "**", "(", ")", "/", "?", ".", ",", "#", "_", "1. ", "<b>", "</b>", "not ", "isn't "),
    *(" or ", "\nor ", " and ", "No", "<think>", "</think>", "<|im_end|>", "<|im_start|>assistant\n", "<|im_start|>user\n", "user\n", "assistant\n", "[INST]"),
    *("[/INST]", "analysis", "assistantfinal", "<answer>", "x", "word ", "é", "\u200b", "\uff1a", "\u0131", "\u017f", "\u212a", "\x1f", "\x85", "\u00a0", "“", "…"),
]  # fmt: skip


def words_of(guard: Guard) -> list[str]:
    """What a guard's answers are made of, and more of the kind."""
    if guard.grammar is not None:
        found = [word for answer in guard.grammar.answers for word in (answer.field, answer.key, f"<{answer.tag}>", *answer.words)]
        return [w for w in found if w] + ["{", "}", '"', *(json.dumps({c.name: "unsafe"}) for c in guard.calls)]
    o = guard.output
    lines = [o.answer_line.format(field=t.field, label=label) for t in guard.tasks for label in (*t.written, o.missing_word)]
    pieces = [
        *(m for f in o.data for m in (f.open, f.close)),
        o.open,
        o.close,
        o.answers_heading,
        o.answers_close,
        o.missing_word,
        guard.instruction[:50],
    ]
    fields = [w for t in guard.tasks for w in (t.field, t.field.lower(), t.field.split()[-1], *t.written, t.labels[0].title())]
    return [w for w in (*pieces, *fields, *lines, *(f"\n{line}" for line in lines)) if w]


def block_of(guard: Guard, data: st.DataObject) -> str:
    """An answers block, or what is nearly one."""
    if guard.grammar is not None:
        return ""
    o = guard.output
    labels = [data.draw(st.sampled_from([*t.written, o.missing_word])) for t in guard.tasks]
    lines = [o.answer_line.format(field=t.field, label=label) for t, label in zip(guard.tasks, labels, strict=True)]
    heading = data.draw(st.sampled_from([o.answers_heading, o.answers_heading.rstrip(), ""]))
    return "\n".join([*([heading] if heading else []), *lines, *([o.answers_close] if o.answers_close else [])])


@st.composite
def outputs(draw: st.DrawFn, guard: Guard) -> str:
    """What such a guard may write: anything made of its words and of what could overturn an answer, mostly with a block at the end."""
    data = draw(st.data())
    junk = st.lists(st.sampled_from([*words_of(guard), *ODD]), max_size=10).map("".join)
    if data.draw(st.integers(0, 4)) == 0:
        return data.draw(junk)
    o = guard.output
    before = data.draw(junk) + data.draw(st.sampled_from(["\n", "\n\n", "", " ", "\n--\n"]))
    if o.close and data.draw(st.booleans()):
        before = o.open + before + o.close + data.draw(st.sampled_from(["\n", "\n\nIt is so.\n", ""]))
    return before + block_of(guard, data) + data.draw(st.sampled_from(["", "", "", "\n", " \n", "\x1f", data.draw(junk)]))


def same(guard: Guard, rows: pl.DataFrame, mode: Mode, reading: str | None = None) -> None:
    """Each row is read as it is alone."""
    found = read_frame(guard, rows, mode, reading=reading)
    assert found.height == rows.height
    for row, answer in zip(rows.iter_rows(named=True), found.iter_rows(named=True), strict=True):
        alone = read_output(guard, row["output"], mode, reading=reading, row=row if "prompt" in row else None)
        assert answer == {k: v for t in guard.task_names for k, v in ((f"verdict_{t}", alone.labels[t]), (f"unread_{t}", alone.reasons[t]))}, row


@pytest.mark.parametrize("name", GUARDS)
@settings(max_examples=8)
@given(data=st.data())
def test_a_frame_is_read_as_each_of_its_texts_alone(name: str, data: st.DataObject) -> None:
    guard = GUARDS[name]
    texts = [*data.draw(st.lists(outputs(guard), min_size=1, max_size=8)), None, "", " \n"]
    mode = data.draw(st.sampled_from(MODES))
    same(guard, pl.DataFrame({"output": texts}, schema={"output": pl.String}), mode, data.draw(st.sampled_from([None, *guard.readings])))


@pytest.mark.parametrize("name", [n for n in GUARDS if GUARDS[n].grammar is None])
@settings(max_examples=5)
@given(data=st.data())
def test_what_repeats_its_input_is_read_behind_it_in_a_frame_too(name: str, data: st.DataObject) -> None:
    guard = GUARDS[name]
    rows: list[dict[str, Any]] = []
    for text in data.draw(st.lists(outputs(guard), min_size=1, max_size=8)):
        row: dict[str, Any] = {"context": [], "response": data.draw(st.sampled_from([None, "Sure."]))}
        row["prompt"] = data.draw(st.sampled_from([None, "", "What?", "Request: harmful", text[:45], text[-20:]]))
        asked = render_input(guard, {**row, "prompt": row["prompt"] or ""}) if data.draw(st.booleans()) else ""
        rows.append({**row, "output": asked + text if data.draw(st.booleans()) else text.replace("\n", f"\n{asked}", 1)})
    types: dict[str, Any] = {
        "output": pl.String,
        "prompt": pl.String,
        "response": pl.String,
        "context": pl.List(pl.Struct({"role": pl.String, "content": pl.String})),
    }
    frame = pl.DataFrame(rows, schema_overrides=types)
    frame = frame.filter(pl.col("prompt").is_not_null() | ~pl.col("output").str.contains(r"\A\s*(?:[<\[]|user|system|You|Judge|\x00)"))
    same(guard, frame, data.draw(st.sampled_from(MODES)))


def test_what_the_released_models_wrote_is_read_alike_and_nearly_all_of_it_by_columns(real_data: Path) -> None:
    found = [json.loads(line)["predict"] for file in sorted(real_data.glob("guardreasoner/predictions/*/*.jsonl")) for line in file.open()]
    rows = pl.DataFrame({"output": found})
    for mode in MODES:
        same(OURS, rows, mode)
    short = shortcut(OURS, "lenient")
    assert short is not None and rows.filter(pl.col("output").str.contains(short.block)).height > 0.97 * rows.height


def test_answers_to_several_calls_are_read_in_a_frame() -> None:
    guard = GUARDS["qwen3guard"]
    texts = [
        joined({"prompt": f"Safety: {a}", "response": f"Safety: {b}\nRefusal: No"}) for a, b in product(("Safe", "Controversial", "Unsafe"), repeat=2)
    ]
    for reading in (None, *guard.readings):
        same(guard, pl.DataFrame({"output": [*texts, *texts]}), "lenient", reading)


def test_which_formats_have_a_shortcut() -> None:
    """All but those whose block may go on with what is before it, or whose words are beyond ASCII, others' guards, which have a grammar, and outputs with data."""
    without = {name for name, guard in GUARDS.items() if not shortcut(guard, "lenient")}
    assert without == {name for name, guard in GUARDS.items() if guard.grammar or guard.output.data} | {
        "bare, headless",
        "label begins line",
        "umlauts",
    }
    assert {name for name, guard in GUARDS.items() if not shortcut(guard, "strict")} == without - {"bare, headless", "label begins line"}


def test_known_characters_are_their_own_plain_form_and_no_case_of_an_ascii_letter() -> None:
    letters = re.sub(r"\\u\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), KNOWN)
    known = re.compile(f"[{letters}]")
    every = [c for c in map(chr, range(0x80, sys.maxunicode + 1)) if known.match(c)]
    assert len(every) > 30_000
    assert all(plain(c) == c and not unicodedata.combining(c) for c in every)
    assert not any(re.search("[a-z]", c, re.IGNORECASE) for c in every)
    joins = {unicodedata.normalize("NFD", c)[1] for c in map(chr, range(0x80, sys.maxunicode + 1)) if len(unicodedata.normalize("NFD", c)) == 2}
    assert not joins & set(every), "none goes together with the one before it"


def test_a_reading_that_the_guard_has_not() -> None:
    with pytest.raises(InputError, match="no reading 'strict'"):
        read_frame(OURS, pl.DataFrame({"output": ["x"]}), reading="strict")
