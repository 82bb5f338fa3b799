"""A guard's file: what it says is checked when it is read, and every fault has its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.resources import shipped
from toolkit.guards import Guard, load_guard
from toolkit.taxonomy import load_taxonomy

GOOD = (shipped("schemas") / "guards" / "guardreasoner.yaml").read_text(encoding="utf-8")


def faults(folder: Path, text: str) -> str:
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as e:
        load_guard(str(file))
    assert e.value.exit_code == 2
    return str(e.value).replace(str(file), "mine.yaml")


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ("  separator:", "  seperator:", "output.seperator", ["unknown key 'seperator'", "did you mean 'separator'?"]),
        ("instruction:", "instructions:", "instructions", ["unknown key 'instructions'", "did you mean 'instruction'?"]),
        ("    positive: refusal", "    positive: refused", "tasks.1.positive", ["none of the labels compliance, refusal", "'refused'"]),
        ("  - name: refusal\n", "  - name: prompt\n", "tasks.1.name", ["two tasks are called 'prompt'"]),
        ("  - name: refusal\n", "  - name: prompt_source\n", "tasks.1.name", ["'prompt' has a column of that name"]),
        ("    field: Response", "    field: Request", "tasks.0.field", ["could not be distinguished"]),
        ("    field: Response", "    field: The Request", "tasks.0.field", ["'The Request' ends in 'Request'"]),
        ("labels: [compliance, refusal]", "labels: [compliance]", "tasks.1.labels", ["at least 2"]),
        ("labels: [compliance, refusal]", "labels: [refusal, Refusal]", "tasks.1.labels.1", ["the same but for case"]),
        ("labels: [compliance, refusal]", "labels: [true, refusal]", "tasks.1.labels.0", ["valid string (got True)", "put it in quotes"]),
        ("labels: [compliance, refusal]", 'labels: ["*", refusal]', "tasks.1.labels.0", ["begin and end with a letter or a digit"]),
        ("labels: [compliance, refusal]", "labels: {taxonomy: guardkid}", "tasks.1.labels.taxonomy", ["did you mean 'guardkit'"]),
        ("labels: [compliance, refusal]", "labels: {taxonomy: guardkit, only: [threat]}", "tasks.1.labels.only.0", ["did you mean 'threats'"]),
        ("labels: [compliance, refusal]", "labels: {taxonomy: guardkit, none: None}", "tasks.1.positive", ["none of the labels None, violence"]),
        ("labels: [compliance, refusal]", "labels: {scheme: aegis}", "tasks.1.labels.scheme", ["unknown key 'scheme'"]),
        ("applies: always", "applies: sometimes", "tasks.0.applies", ["'always' or 'response'", "'sometimes'"]),
        ("steps: {min: 1, max: 10}", "steps: {min: 5, max: 4}", "steps.max", ["max is below min"]),
        ('"# Task {n}"', '"# Task {m}"', "output.task_heading", ["unknown placeholder {m}"]),
        ('"# Task {n}"', '"# Task"', "output.task_heading", ["must hold {n} once"]),
        ('"# Task {n}"', '""', "output.task_heading", ["several tasks needs task headings"]),
        ('"{field}: {label}"', '"{field}:"', "output.answer_line", ["must hold {label} once"]),
        ('"{field}: {label}"', '"{label}"', "output.answer_line", ["several tasks needs {field}"]),
        ('"{field}: {label}"', '"{field}:\\n{label}"', "output.answer_line", ["must be one line"]),
        ('missing_word: "None"', "missing_word: Harmful", "output.missing_word", ["also a label"]),
        ("{{ prompt }}\\n\\nAI", "{{ promt }}\\n\\nAI", "input", ["unknown variable 'promt'", "did you mean 'prompt'?"]),
        ("{{ prompt }}\\n\\nAI", "{{ prompt \\n\\nAI", "input", ["not a valid template"]),
        ("{{ response if response is not none else 'None' }}", "", "input", ["does not use {{ response }}"]),
        ("{% for m in context %}{{ m.role }}: {{ m.content }}\\n{% endfor %}", "", "context", ["what it holds would be lost"]),
        ("{{ answers[task.name] }}", "{{ answer }}", "teacher.user", ["unknown variable 'answer'"]),
    ],
)
def test_a_fault_is_named_with_file_line_and_key(tmp_path: Path, old: str, new: str, key: str, expected: list[str]) -> None:
    text = GOOD.replace(old, new, -1 if old.startswith("labels") else 1)
    assert text != GOOD
    message = faults(tmp_path, text)
    place = re.search(rf"^mine\.yaml:(\d+):{re.escape(key)}: ", message, re.MULTILINE)
    assert place, message
    name = next(part for part in reversed(key.split(".")) if not part.isdigit())
    assert f"{name}:" in text.splitlines()[int(place[1]) - 1]
    for words in expected:
        assert words in message


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("positive: refusal", "positive: none").replace("version: 1", "version: one").replace("  separator:", "  sep:")
    file = tmp_path / "g.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputErrors) as e:
        load_guard(str(file))
    assert len(e.value.errors) == 3


def test_a_key_given_twice_names_both_lines(tmp_path: Path) -> None:
    message = faults(tmp_path, GOOD.replace('  separator: "---"', '  separator: "---"\n  separator: "***"'))
    second = GOOD[: GOOD.index("  separator:")].count("\n") + 2
    assert message.startswith(f"mine.yaml:{second}:output.separator: the key 'separator' is given twice")
    assert f"first given in line {second - 1}" in message


def test_missing_keys_and_an_empty_file(tmp_path: Path) -> None:
    assert "the key 'teacher' is missing" in faults(tmp_path, GOOD[: GOOD.index("teacher:")])
    assert "expected keys with values, got nothing" in faults(tmp_path, "")
    assert "not valid YAML" in faults(tmp_path, "name: [a")


def test_an_unknown_guard_has_the_nearest_name() -> None:
    with pytest.raises(InputError, match="no guard called 'guardreasonr'\n  did you mean 'guardreasoner'"):
        load_guard("guardreasonr")


def test_equal_definitions_are_one(guardreasoner: Guard, think: Guard, tmp_path: Path) -> None:
    again = load_guard("guardreasoner")
    assert again == guardreasoner and hash(again) == hash(guardreasoner) and again.fingerprint == guardreasoner.fingerprint
    assert think.fingerprint != guardreasoner.fingerprint
    file = tmp_path / "g.yaml"
    file.write_text(GOOD.replace('description: "The three', 'description: "Three'), encoding="utf-8")
    assert load_guard(str(file)).fingerprint == guardreasoner.fingerprint  # nothing is rebuilt for a word of documentation
    file.write_text(GOOD.replace("Keep consistency", "Keep a consistency"), encoding="utf-8")
    assert load_guard(str(file)).fingerprint != guardreasoner.fingerprint


def test_the_three_tasks(guardreasoner: Guard) -> None:
    tasks = {t.name: (t.field, t.labels, t.positive, t.applies, t.missing) for t in guardreasoner.tasks}
    assert tasks == {
        "prompt": ("Request", ["unharmful", "harmful"], "harmful", "always", "absent"),
        "refusal": ("Completion", ["compliance", "refusal"], "refusal", "response", "absent"),
        "response": ("Response", ["unharmful", "harmful"], "harmful", "response", "absent"),
    }
    assert (guardreasoner.steps.min, guardreasoner.steps.max) == (1, 10)
    assert guardreasoner.task("refusal").field == "Completion"
    with pytest.raises(KeyError):
        guardreasoner.task("tone")


def test_a_task_may_have_the_categories_of_a_taxonomy_as_its_labels(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "extends: guardkit\nname: mine\nversion: 1\ncategories: [{name: late-noise, title: Noise, definition: Loud.}]\n"
    )
    task = "  - {name: kind, question: which kind of harm is it, subject: The harm, field: Kind, positive: late-noise, labels: LABELS}\n"
    text = GOOD.replace("tasks:\n", "tasks:\n" + task, 1)
    (tmp_path / "guard.yaml").write_text(text.replace("LABELS", "{taxonomy: mine.yaml}"))
    labels = load_guard(tmp_path / "guard.yaml").task("kind").labels
    assert labels == ["benign", *load_taxonomy("guardkit").names, "late-noise"]
    few = "{taxonomy: mine.yaml, none: fine, only: [violence, late-noise]}"
    (tmp_path / "guard.yaml").write_text(text.replace("LABELS", few))
    found = load_guard(tmp_path / "guard.yaml")
    assert found.task("kind").labels == ["fine", "violence", "late-noise"]
    (tmp_path / "guard.yaml").write_text(text.replace("LABELS", "[fine, violence, late-noise]"))
    assert load_guard(tmp_path / "guard.yaml").fingerprint == found.fingerprint, "as if they were written by hand"
