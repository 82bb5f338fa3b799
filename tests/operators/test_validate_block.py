"""`validate` over a block of rows finds what it finds row by row: on real outputs and edits of them, on texts made of a guard's own parts, at any block."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.guards import Guard, Reasoning, Section, load_guard, render_output
from toolkit.operators.reason import _text
from toolkit.operators.reason._blocks import Checker
from toolkit.operators.reason._reading import Reading
from toolkit.operators.reason._rule_limits import RULES, Limits
from toolkit.operators.reason._rules import CHECKS, all_faults, check_reasoning

FILES = Path(__file__).parents[1] / "guards" / "files"
GUARDS = [load_guard("guardreasoner"), load_guard(str(FILES / "think.yaml")), load_guard(str(FILES / "boxed.yaml"))]
LIMITS = Limits(min_chars=0)
CHOICES: list[tuple[str, ...]] = [RULES, ("answers", "labels", "structure"), ("steps",), ("truncated",), ("labels", "structure"), tuple(r for r in RULES if r != "answers")]  # fmt: skip


def block(guard: Guard, texts: Sequence[str | None], labels: Sequence[dict[str, str | None]], source: str) -> pl.DataFrame:
    """Rows of these texts."""
    names = [f"label_{t}" for t in guard.task_names]
    data: dict[str, Any] = {"reasoning": texts, "reasoning_finish": ["stop"] * len(texts), "prompt": ["Tell me of gardens."] * len(texts)}
    schema = {"reasoning": pl.String, "reasoning_finish": pl.String, "prompt": pl.String}
    for task, name in zip(guard.task_names, names, strict=True):
        data |= {name: [answer[task] for answer in labels], f"{name}_source": [source] * len(texts)}
        schema |= {name: pl.String, f"{name}_source": pl.String}
    return pl.DataFrame(data, schema=schema)


def same(guard: Guard, rows: pl.DataFrame, rules: Sequence[str], limits: Limits = LIMITS) -> pl.DataFrame:
    """Hold a block against its rows; what the block found."""
    got = Checker(guard, rules, limits, every=False)(rows.to_struct("rows")).struct.unnest()
    for row, found in zip(rows.iter_rows(named=True), got.iter_rows(named=True), strict=True):
        want = check_reasoning(guard, row, rules, limits)
        assert (found["reasons"], found["details"]) == ([want["reason"]] * bool(want["reason"]), [want["detail"]] * bool(want["reason"])), row
        assert {n: v for n, v in found.items() if n not in ("reasons", "details")} == {
            n: v for n, v in want.items() if n not in ("reason", "detail")
        }, row
    every = Checker(guard, rules, limits, every=True)(rows.to_struct("rows")).struct.unnest()
    for row, found in zip(rows.iter_rows(named=True), every.iter_rows(named=True), strict=True):
        assert list(zip(found["reasons"], found["details"], strict=True)) == all_faults(guard, row, rules, limits), row
    return got


# Texts made of a guard's own parts ------------------------------------------------------------------------------------


def parts(guard: Guard) -> list[str]:
    """What a text of a guard may be made of, well and badly."""
    o = guard.output
    heads = [h.format(n=n, k=n) for h in (o.task_heading, o.step_heading, o.conclusion_heading) if h for n in (1, 2, 3, 12, 1234567, 12345678)]
    answers = [o.answer_line.format(field=t.field, label=w) for t in guard.tasks for w in (*t.labels, o.missing_word)]
    found = [f"{t.subject} is {w}." for t in guard.tasks for w in t.labels] + [
        f"{t.subject} is not {w} as it is calm." for t in guard.tasks for w in t.labels
    ]
    odd = [
        "#",
        " ",
        "  ",
        "\t",
        "\r",
        ":",
        "\xa0",
        "\x85",
        "\x1c",
        "\u2028",
        "\x00",
        "ſ",
        "ı",
        "K",
        "İ",
        "ß",
        "١",
        "—",
        ".",
        "a",
        "same",
        "Same",
        "I'm sorry, but I can't.",
    ]
    more = [h.upper() for h in heads] + [h.lower() for h in heads] + [f"#{h}" for h in heads] + [h.replace("i", "ı").replace("s", "ſ") for h in heads]
    return [
        x
        for x in [*heads, *more, *answers, *found, *odd, o.open, o.close, o.separator, o.answers_heading, o.answers_heading.rstrip(), o.answers_close]
        if x
    ]


def text_of(guard: Guard) -> st.SearchStrategy[str]:
    """Texts: parts with line ends between, and sound ones with a part put in."""
    ends = st.sampled_from(["\n", "\n\n", "\n\n", " \n", "", "\n \n"])
    free = st.lists(st.tuples(st.sampled_from(parts(guard)), ends), max_size=14).map(lambda ps: "".join(a + b for a, b in ps))
    step = st.sampled_from([*parts(guard), "The words are mild and ask for a plain thing.", "Nothing in it points to harm.", "x"])

    @st.composite
    def sound(draw: st.DrawFn) -> str:
        stated = {t.name: Reasoning(draw(st.lists(step, min_size=1, max_size=3)), draw(step)) for t in guard.tasks}
        return render_output(guard, stated, {t.name: draw(st.sampled_from([*t.labels, None])) for t in guard.tasks})

    @st.composite
    def edited(draw: st.DrawFn) -> str:
        text = draw(sound())
        for _ in range(draw(st.integers(0, 2))):
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.sampled_from([*parts(guard), "\n"])) + text[at + draw(st.integers(0, 3)) :]
        return text

    return st.one_of(free, sound(), edited())


@pytest.mark.parametrize("guard", GUARDS, ids=[g.name for g in GUARDS])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_block_is_judged_as_its_rows_are(guard: Guard, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.one_of(st.none(), text_of(guard)), min_size=1, max_size=6))
    labels = [{t.name: data.draw(st.sampled_from([*t.labels, None])) for t in guard.tasks} for _ in texts]
    rows = block(guard, texts, labels, data.draw(st.sampled_from(["human", "to_infer", "absent"])))
    for rules in CHOICES:
        same(guard, rows, rules)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "cd", "e.", "f,", ".", "g"]), max_size=60),
    st.lists(st.sampled_from(["a", "b", "cd", "e", "\xa0"]), max_size=60),
    st.data(),
)
def test_what_only_looks_first_misses_nothing(words: list[str], others: list[str], data: st.DataObject) -> None:
    n, times = data.draw(st.integers(2, 6)), data.draw(st.integers(2, 7))
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    if max(counts.values(), default=0) >= times:
        assert _text._may_repeat(words, Limits(ngram=n, ngram_times=times))
    given_words = others[:10] + words[: data.draw(st.integers(0, 60))] + others[10:]
    pieces = set(zip(*(given_words[i:] for i in range(_text._PIECE)), strict=False))
    if pieces & set(zip(*(words[i:] for i in range(_text._PIECE)), strict=False)):
        assert _text._touches(words, " ".join(given_words))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "cd", "e.", "f,", "g"]), max_size=24), st.data())
def test_near_equal_steps_are_found_as_if_every_word_was_compared(words: list[str], data: st.DataObject) -> None:
    edited = [w if data.draw(st.integers(0, 9)) else "x" for w in words]
    limits = Limits(similarity=data.draw(st.sampled_from([0.6, 0.9])))
    first, second = " ".join(words), " ".join(edited)
    reading = Reading(GUARDS[0], {"reasoning": ""}, strict=False)
    reading.parts = [Section(1, [1, 2], [first, second], None)]
    one, other = (t.replace(".", "").replace(",", "").split() for t in (first, second))
    expected = _text._near(len(first), len(second), limits.similarity) and _text._alike(one, other, limits.similarity)
    assert (_text.similar(reading, limits) is not None) == expected


def test_rows_that_differ_in_their_sentences_alone_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = GUARDS[0]
    stated = {t.name: Reasoning(["The words are mild and ask for a plain thing."], f"{t.subject} is {t.labels[0]}.") for t in guard.tasks}
    labels: dict[str, str | None] = {t.name: t.labels[0] for t in guard.tasks}
    text = render_output(guard, stated, labels)
    texts = [text, text.replace("# Task 2", "# Task 5"), text.replace("\n\n#", "\n#").replace("mild", "short") + "  \n", text + "\nmore"]
    rows = block(guard, texts, [labels] * 4, "human")
    read = []
    monkeypatch.setattr(Checker, "_faults", lambda self, reading, checks: read.append(reading.text) or [])  # type: ignore[func-returns-value]
    Checker(guard, ("answers", "labels", "structure"), LIMITS, every=False)(rows.to_struct("rows"))
    assert read == [rows["reasoning"][1], rows["reasoning"][3]], "the others were not read one by one"


def test_what_may_hold_a_fault_is_never_passed_over() -> None:
    guard = GUARDS[0]
    listed = [
        "The ground truth is mild.",
        "I'd rather not judge.",
        "Since the answer is harmful, it is.",
        "You must think step by step.",
        "." * 60,
        "\x07",
        "mild",
    ]
    texts = [f"{a} {b}" for a in listed for b in listed]
    for limits in (LIMITS, Limits(run=4)):
        for check in CHECKS:
            if check.may:
                may = pl.DataFrame({"t": texts}).select(check.may(guard, limits, pl.col("t"))).to_series().to_list()
                found = [check.find(Reading(guard, {"reasoning": t}, strict=False), limits) is not None for t in texts]
                assert all(m for m, f in zip(may, found, strict=True) if f), check.rule
                assert any(found) and not all(may), check.rule


# Real outputs ---------------------------------------------------------------------------------------------------------


def test_real_outputs_and_edits_of_them_are_judged_as_their_rows_are(real_data: Path) -> None:
    guard, draw = GUARDS[0], random.Random(3)
    files = sorted((real_data / "guardreasoner" / "predictions").glob("*/*.jsonl"))
    texts = [json.loads(line)["predict"] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    texts = draw.sample(texts, 700)
    words = parts(guard)
    for text in draw.sample(texts, 500):
        at = draw.randrange(len(text) + 1)
        texts += [text[:at], text[:at] + draw.choice(words) + text[at:], text[:at] + "\n" + draw.choice(words) + "\n" + text[at:], text.replace("harmful", "unharmful", 1)]  # fmt: skip
    labels = [{t.name: draw.choice([*t.labels, None]) for t in guard.tasks} for _ in texts]
    got = same(guard, block(guard, texts, labels, "to_infer"), RULES)
    assert got["reasons"].list.len().sum() > 300


@pytest.mark.parametrize(
    "words", ["İ was told that the answer is harmful", "\N{KELVIN SIGN}nowing the answer", "Sınce the answer is harmful", "the label ſays harmful"]
)
def test_odd_letters_do_not_part_the_columns_from_the_rules(words: str) -> None:
    guard = GUARDS[0]
    labels: dict[str, str | None] = {t.name: t.labels[0] for t in guard.tasks}
    stated = {t.name: Reasoning([f"It is mild. {words}.", f"{words}, we cannot help with this."], "") for t in guard.tasks}
    rows = block(guard, [render_output(guard, stated, labels)], [labels], "human")
    found = Checker(guard, RULES, LIMITS, every=True)(rows.to_struct("rows"))
    assert found.struct.field("reasons")[0].to_list() == [code for code, _ in all_faults(guard, rows.row(0, named=True), RULES)]
