"""The recipes in recipes/policy: what the guard is trained on never shows the category that it is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

import toolkit
from toolkit.taxonomy import load_taxonomy

CATEGORY = "privacy"


def test_a_guard_is_trained_without_the_category_that_it_is_tested_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {"overrides": [f"category={CATEGORY}", "others.distractors=3"], "output": tmp_path / "run"}
    done = toolkit.read_run(toolkit.run("policy/leave-category-out", until=["sft-rows", "left-out", "claims"], **options).folder)
    steps = {name: pl.concat(list(done[name].blocks())) for name in ("sft-rows", "left-out", "claims", "others")}
    title, policy = load_taxonomy().category(CATEGORY).title, load_taxonomy().category(CATEGORY).policy_text()
    asked = [messages[0]["content"] for messages in steps["sft-rows"]["prompt"]]
    assert len(asked) > 400 and not any(f": {title}\n" in text or policy in text for text in asked)
    assert not any(CATEGORY in c for c in steps["sft-rows"]["categories"].to_list())
    tested = steps["left-out"]
    assert all(CATEGORY in c for c in tested["categories"].to_list()) and set(tested["policy_rules"]) == {"present", "absent"}
    assert [policy in text for text in tested["policy"]] == [CATEGORY in c for c in tested["policy_categories"].to_list()]
    harmful = tested.filter(pl.col("policy_rules") == "absent").filter(
        (pl.col("label_prompt") == "harmful") | (pl.col("label_response") == "harmful")
    )
    assert harmful.height == 0
    assert set(steps["claims"]["change"]) == {"policy_sentence", "policy_block"} and steps["claims"].height == 2 * steps["others"].height


def test_the_whole_recipe_runs_to_its_scores(tmp_path: Path) -> None:
    """With a guard that is hardly trained: every set of rows is judged and scored, beside guards that take no notice of the policy."""
    asked = ["samples-left-out", "samples-others", "samples-claims"]
    short = [f"{step}.backend.max_tokens=4" for step in asked]
    small = ["guard.trainer.max_steps=1", "guard.model.scratch.layers=1", "guard.model.scratch.width=32", "guard.model.scratch.heads=2"]
    done = toolkit.run("policy/leave-category-out", overrides=[f"category={CATEGORY}", *small, *short], output=tmp_path / "run")
    run = toolkit.read_run(done.folder)
    assert done.failed is None and done.reused == []
    judged = {"left-out": run["left-out"].rows, **dict.fromkeys(("others", "policy_sentence", "policy_block"), run["others"].rows)}
    for step, rows in judged.items():
        found = {line["guard"]: line["n"] for line in run[f"scores-{step}"].manifest["stats"]["scores"] if line["task"] == "prompt"}
        assert found["guard"] == found["majority class"] == rows, step
    assert run["verdicts-left-out"].rows == run["left-out"].rows and run["verdicts-claims"].rows == 2 * run["others"].rows


def test_categories_are_measured_without_a_key() -> None:
    assert toolkit.check("policy/known-categories")["needs"] == []
