"""Guards that were trained elsewhere: every shipped definition is asked and read as its model's interface says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.common.resources import names
from toolkit.guards import Guard, load_guard, parse, render_call, render_input, render_output, teacher_messages

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
        said = "".join(m["content"] for m in messages)
        about_response = load_guard(name).call(call).needs_response
        assert (prompt in said and "Hello!" in said) or about_response, call
        assert response in said or not about_response, call


@pytest.mark.parametrize("name", NAMES)
def test_it_is_neither_taught_nor_trained(name: str) -> None:
    guard = load_guard(name)
    row = {"prompt": "x", "response": None} | {f"label_{t}{s}": None for t in guard.task_names for s in ("", "_source")}
    for use in (render_input, teacher_messages):
        with pytest.raises(InputError, match="was trained elsewhere"):
            use(guard, row)
