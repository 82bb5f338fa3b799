"""Recipes of systems near GuardReasoner: checks and plans at the published size, and their small twins from seeds to scores."""

from __future__ import annotations

from pathlib import Path

import pytest

import toolkit
from toolkit.common.resources import shipped

RECIPES = shipped("recipes")
PLANNED = {
    "nemotron": {"seeds": 86_759 + 30_007, "few": 5_000, "reasoning": 5_000, "samples": 4 * 5_000},
}
"""Rows out of steps, as the papers have them."""


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", PLANNED)
def test_the_published_numbers_of_rows_are_planned(name: str) -> None:
    rows = {line["step"]: line["rows"] for line in toolkit.plan(name)["steps"]}
    assert {step: rows[step] for step in PLANNED[name]} == PLANNED[name]


@pytest.mark.parametrize("name", PLANNED)
def test_the_page_says_where_recipe_and_paper_part(name: str) -> None:
    page = (RECIPES / name / "README.md").read_text(encoding="utf-8")
    assert f"guardkit run {name}/mini" in page and "| point | paper |" in page and "Faults left out" in page


def test_nemotron_from_seeds_to_scores(tmp_path: Path) -> None:
    run = toolkit.read_run(toolkit.run("nemotron/mini", output=tmp_path / "run").folder)
    found = run["difficult"].polars()
    right = [unit["right"] for units in found["hard_of"] for unit in units]
    assert right and set(right) <= {2, 3}
    assert run["difficult-sft"].rows == found.height, "each difficult row has the teacher's reasoning again"
    scored = {line["guard"]: line["n"] for line in run["scores"].manifest["stats"]["scores"] if line["task"] == "prompt"}
    assert scored["sft"] == scored["continued"] == run["test-rows"].rows
