"""Texts with the same outline are judged once, whatever the headings of a guard: what is found is what is found row by row."""

from __future__ import annotations

import random

import pytest
from test_validate_block import LIMITS, block, same

from toolkit.guards import Guard, Reasoning, load_guard, render_output
from toolkit.operators.reason._blocks import Checker
from toolkit.operators.reason._outline import outlines_of
from toolkit.operators.reason._rule_limits import RULES

GUARD = load_guard("guardreasoner")
SENTENCES = ("The words are mild.", "It asks for a plain thing.", "Step 2: seeds", "Task one is short.", "Answers: none", "# of seeds")
EDITS = (
    "\n",
    "\n# Task 2",
    "</think>",
    "<think>",
    " ",
    "\nRequest: harmful\n",
    "\x1c",
    "\x0b",
    "#",
    "1",
    "\n# Task 1" + " " * 80 + "Conclusion\n",
    "\nPart 2",
)


def written(**output: str) -> Guard:
    """The guard with another output."""
    data = GUARD.model_dump()
    return Guard.model_validate(data | {"output": data["output"] | output})


GUARDS = {
    "as it is": written(),
    "without hashes": written(task_heading="Part {n}", step_heading="Step {k}:", conclusion_heading="So:"),
    "alike": written(task_heading="Task {n}", step_heading="Task {k}"),
    "marked": written(open="<think>", close="</think>"),
    "with words behind": written(step_heading="## Reasoning Step {k} of it"),
    "answers under a heading": written(answers_heading="## Answers"),
    "answers without a heading": written(answers_heading="", separator="***"),
}


def texts_of(guard: Guard, draw: random.Random) -> tuple[str, dict[str, str | None]]:
    """A text, sound or edited, and its labels."""
    stated = {
        t.name: Reasoning(draw.choices(SENTENCES, k=draw.randint(1, 3)), draw.choice([f"{t.subject} is {t.labels[0]}.", "fine"])) for t in guard.tasks
    }
    labels = {t.name: draw.choice([*t.labels, None]) for t in guard.tasks}
    text = render_output(guard, stated, labels)
    if draw.random() < 0.6:
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(EDITS) + text[at + draw.randint(0, 2) :]
    return text, labels


@pytest.mark.parametrize("guard", GUARDS.values(), ids=list(GUARDS))
def test_an_outline_stands_for_its_texts(guard: Guard) -> None:
    draw = random.Random(7)
    texts, labels = zip(*[texts_of(guard, draw) for _ in range(250)] * 2, strict=True)
    assert outlines_of(guard)
    for rules in (RULES, ("answers", "labels", "structure"), ("structure", "steps")):
        same(guard, block(guard, texts, labels, "human"), rules)


@pytest.mark.parametrize("output", [{"step_heading": ""}, {"step_heading": "{k}."}, {"task_heading": "Teil2 {n}"}, {"step_heading": "Étape {k}"}])
def test_a_guard_whose_headings_cannot_be_known_from_a_line_has_no_outlines(output: dict[str, str]) -> None:
    assert outlines_of(written(**output)) is None


def test_a_label_of_another_row_is_held_against_the_same_outline() -> None:
    draw = random.Random(1)
    labels: dict[str, str | None] = {t.name: t.labels[0] for t in GUARD.tasks}
    text = render_output(GUARD, {t.name: Reasoning([draw.choice(SENTENCES[:2])], "fine") for t in GUARD.tasks}, labels)
    rows = block(GUARD, [text] * 4, [labels, {**labels, "prompt": "harmful"}] * 2, "human")
    found = Checker(GUARD, ("answers", "labels"), LIMITS, every=False)(rows.to_struct("rows")).struct.field("reasons").to_list()
    assert found == [[], ["label_changed"]] * 2
