"""Prompts as data: what a teacher is shown, and above all what it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.common.resources import names, shipped
from toolkit.guards import Guard, blind_messages, feedback, load_guard, load_prompt, teacher_messages, template, variables

GUARD = load_guard("guardreasoner")
SOURCES = ("human", "vote", "to_infer", "absent", "not_applicable")


def labels(guard: Guard) -> st.SearchStrategy[dict[str, Any]]:
    columns: dict[str, st.SearchStrategy[Any]] = {}
    for t in guard.tasks:
        columns[f"label_{t.name}"] = st.none() | st.sampled_from(t.labels)
        columns[f"label_{t.name}_source"] = st.sampled_from(SOURCES)
    return st.fixed_dictionaries(columns)


@settings(deadline=None)
@given(data=st.data(), prompt=st.text(max_size=30), response=st.none() | st.text(max_size=30), structured=st.booleans())
def test_nothing_in_a_blind_question_depends_on_a_label(data: st.DataObject, prompt: str, response: str | None, structured: bool) -> None:
    for guard in (GUARD, GUARD.with_teacher(load_prompt("short"))):
        text: dict[str, Any] = {"prompt": prompt, "response": response, "context": []}
        one, other = ({**text, **data.draw(labels(guard))} for _ in range(2))
        assert blind_messages(guard, one, structured=structured) == blind_messages(guard, other, structured=structured)
        assert blind_messages(guard, one, structured=structured) == blind_messages(guard, text, structured=structured), "it needs no label columns"


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_text_of_data_is_no_template_in_any_prompt(text: str) -> None:
    row: dict[str, Any] = {"prompt": "{{ 7 * 7 }} {% raw %}" + text, "response": "{{ answers }}", "context": []}
    row |= {f"label_{t}": None for t in GUARD.task_names} | {f"label_{t}_source": "absent" for t in GUARD.task_names}
    for guard in (GUARD, GUARD.with_teacher(load_prompt("short"))):
        for messages in (teacher_messages(guard, row), blind_messages(guard, row)):
            assert row["prompt"] in messages[1]["content"] and "{{ answers }}" in messages[1]["content"]
    assert "- {{ 7 * 7 }}\n" in feedback(GUARD, ["{{ 7 * 7 }}"])


@pytest.mark.parametrize("name", names("prompts"))
@pytest.mark.parametrize("structured", [False, True])
def test_every_shipped_prompt_says_all_tasks_and_label_words(name: str, structured: bool) -> None:
    guard = GUARD.with_teacher(load_prompt(name))
    row: dict[str, Any] = {"prompt": "Hello there", "response": "Good day", "context": []}
    row |= {f"label_{t.name}": t.labels[0] for t in GUARD.tasks} | {f"label_{t}_source": "human" for t in GUARD.task_names}
    for messages in (teacher_messages(guard, row, structured=structured), blind_messages(guard, row, structured=structured)):
        whole = messages[0]["content"] + messages[1]["content"]
        assert all(w in whole for t in GUARD.tasks for w in (t.question, *t.labels))
        assert "Hello there" in whole and "Good day" in whole
        assert ("## Reasoning Step" in whole) is not structured


def test_another_teacher_is_another_guard_but_reads_and_writes_alike() -> None:
    other = GUARD.with_teacher(load_prompt("short"))
    assert other.fingerprint != GUARD.fingerprint and other.tasks == GUARD.tasks
    assert load_prompt("short").fingerprint == load_prompt("short").fingerprint


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "user: |\n  {{ exchange }}---",
            "user: |\n  {{ exchnge }}---",
            r":\d+:user: unknown variable 'exchnge'.*\n.*'exchange'|unknown variable 'exchnge'",
        ),
        ("  user: |\n    {{ exchange }}", "  user: |\n    {{ exchange }}{{ answers }}", "blind.user: unknown variable 'answers'"),
        ("  user: |\n    {{ exchange }}", "  user: |\n    {{ exchange }}{{ infer }}", "blind.user: unknown variable 'infer'"),
        ("  user: |\n    {{ exchange }}", "  user: |\n    Judge it.", r"blind.user: the template does not use {{ exchange }}"),
        ("blind:\n", "feedback: Again, please.\nblind:\n", r"feedback: the template does not use {{ reasons }}"),
        ("version: 1", "version: 1\nusr: x", "unknown key 'usr'"),
    ],
)
def test_faults_of_a_prompt_are_found_when_it_is_read_with_their_place(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = (shipped("schemas") / "prompts" / "short.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=fault) as e:
        load_prompt("mine.yaml", tmp_path)
    assert "mine.yaml:" in str(e.value)


def test_a_prompt_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(InputError, match="no prompt called 'shrt'"):
        load_prompt("shrt")


def test_a_guard_without_a_blind_prompt_says_so(boxed: Guard) -> None:
    with pytest.raises(InputError, match="no blind prompt"):
        blind_messages(boxed, {"prompt": "x", "response": None})


def test_variables_of_a_template_and_its_sandbox() -> None:
    assert variables("{{ a }}{% for b in c %}{{ b.d }}{% endfor %}{% set e = 1 %}{{ e }}{{ range(3) }}") == {"a", "c"}
    from jinja2.exceptions import SecurityError

    with pytest.raises(SecurityError):
        template("{{ a.__class__.__mro__ }}").render(a="x")


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10**10 }}",
        "{{ 10**10 * a }}",
        "{{ [a] * n }}",
        "{{ 7 ** n ** 2 }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '%*d' % (n, 1) }}",
        "{{ '%99999999s' | format(a) }}",
        "{{ a.ljust(n) }}",
        "{{ a | center(width=n) }}",
        "{{ a.center(n) }}",
        "{{ '{:9999999999}'.format(a) }}",
        "{{ '{:{}}'.format(a, n) }}",
    ],
)
def test_a_template_that_would_fill_the_memory_is_refused_when_it_is_rendered(source: str) -> None:
    from jinja2.exceptions import SecurityError

    whole = template(source)  # compiling works nothing out
    with pytest.raises(SecurityError, match="too large at once: more than 1,000,000"):
        whole.render(a="x", n=10**9)


def test_sums_and_small_repetitions_are_left_alone() -> None:
    output = template(
        "{{ '-' * 3 }}{{ 2 ** 5 }}{{ 7 % 4 }}{{ '%03d of %d%%' % (7, n) }}{{ [1] * 2 }}{{ 1.5 * 2 }}{{ a.ljust(3) }}{{ '{:>2}'.format(n) }}{{ '%d' | format(n) }}{{ '20261120 %(a)s' % {'a': 0} }}|"
    )
    assert output.render(a="x", n=9) == "---323007 of 9%[1, 1]3.0x   9920261120 0|"
