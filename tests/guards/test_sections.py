"""Headings that share a line, look alike, or begin with no `#`."""

from __future__ import annotations

import pytest

from toolkit.guards import Guard, Section, load_guard, preamble, sections, step_heading

GUARD = load_guard("guardreasoner")


def written(**output: str) -> Guard:
    """The guard with other headings."""
    data = GUARD.model_dump()
    return Guard.model_validate(data | {"output": data["output"] | output})


def test_a_step_may_follow_its_tasks_heading_on_the_line() -> None:
    (only,) = sections(GUARD, "before\n# Task 1  ## Reasoning Step 1: Seeds.\nMore.\n## Conclusion mild")
    assert only == Section(1, [1], ["Seeds.\nMore."], "mild")
    assert preamble(GUARD, "before\n# Task 1 ## Reasoning Step 1: Seeds.") == "before"


def test_a_tasks_conclusion_is_no_task() -> None:
    first, second = sections(GUARD, "# Task 1\n## Reasoning Step 1\nA.\n# Task 1 Conclusion: mild\n# Task 2\n## Reasoning Step 1\nB.")
    assert (first.task, first.conclusion, second.task, second.conclusion) == (1, "mild", 2, None)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"task_heading": "{n})", "step_heading": "{k}."}, "1)\n1. A.\n2. B.\n## Conclusion\nmild"),
        ({"task_heading": "Part {n}", "step_heading": "Step {k}:", "conclusion_heading": "So:"}, "PART 1\n  ſtep 1: A.\nstep 2: B.\n# so:\nmild"),
        ({"step_heading": ""}, "# Task 1\nA.\n\nB.\n\n## Conclusion\nmild"),
    ],
)
def test_headings_are_known_by_whatever_they_begin_with(output: dict[str, str], text: str) -> None:
    assert sections(written(**output), text) == [Section(1, [1, 2], ["A.", "B."], "mild")]


def test_the_first_step_of_a_text_is_named_as_it_is_written() -> None:
    assert step_heading(GUARD, "x\n  ## reasoning step 3: Seeds.") == "## reasoning step 3"
    assert step_heading(written(step_heading=""), "x\n## Conclusion") is None
