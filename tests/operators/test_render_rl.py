"""`render_rl` and `train_grpo`: what online reinforcement learning reads, and what of the guard it may."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.operators.train.train_grpo import TrainGrpo
from toolkit.rewards import RewardFunction
from toolkit.shards import kind_of

COMMON: dict[str, Any] = {"context": [], "source": "own", "licence": "CC0-1.0", "split": None}


SCHEMA = {"response": pl.String, "split": pl.String, "label_prompt": pl.String, "label_refusal": pl.String, "label_response": pl.String}


def rows(*given: dict[str, Any]) -> pl.DataFrame:
    found = [{"id": str(i), "prompt": "How do bees fly?", "response": None, **COMMON, **row} for i, row in enumerate(given)]
    turns = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    return pl.DataFrame(found, schema_overrides={"context": turns, **SCHEMA})


def test_a_prompt_and_its_labels_and_nothing_to_write() -> None:
    labelled = {"label_prompt": "unharmful", "label_refusal": None, "label_response": None, "error_rate_prompt": 0.25}
    kept, out = toolkit.apply(
        "render_rl",
        rows(
            labelled,
            {**labelled, "response": "With their wings.", "label_response": "unharmful"},
            {**dict.fromkeys(labelled), "error_rate_prompt": None},
        ),
    )
    assert kept["has_response"].to_list() == [False, True] and kept["error_rate_prompt"].to_list() == [0.25, 0.25]
    guard = toolkit.load_guard("guardreasoner")
    assert kept["prompt"][1][0]["content"] == toolkit.guards.render_input(guard, {"prompt": "How do bees fly?", "response": "With their wings."})
    assert out["_reason"].to_list() == ["no_label"]
    assert not {"completion", "reasoning", "response"} & {*kept.columns} and kind_of(kept.columns, None, "here").name == "rl"


def test_rows_that_no_answer_can_be_held_against() -> None:
    with pytest.raises((InputError, InputErrors), match="no column of labels: label_prompt, label_refusal, label_response"):
        toolkit.apply("render_rl", rows({}))


@pytest.mark.parametrize("name", ["guardreasoner", "guardreasoner_vl", "rsafe", "intentionreasoner", "wildguard"])
def test_the_reward_reads_no_more_of_the_guard_than_the_step_counts(name: str) -> None:
    whole = toolkit.load_guard(name)
    shown = whole.only({use.removeprefix("guard.") for use in TrainGrpo.uses if use.startswith("guard.")})
    reward = RewardFunction(shown, {"form": 0.1, "accuracy": 0.9})
    texts = [None, "", "I cannot say.", f"{whole.instruction}\nRequest: harmful", "<think>x</think>\nRequest: harmful\n\\boxed{unsafe}"]
    found = reward.found(prompts=["p"] * 5, completions=texts, label_prompt=["harmful"] * 5)
    assert all(one.reward is not None for one in found) and shown.fingerprint


def test_one_guard_learns_to_answer_with_reasoning_and_without() -> None:
    """The question ends with the word for the one or the other; what is learnt without has ids of its own."""
    reasoned = rows({"label_prompt": "harmful"}, {"label_prompt": "unharmful"}).with_columns(
        policy=pl.lit("No bees."),
        teacher=pl.lit("t"),
        reasoning=pl.lit("<think>\n# Task 1\n## Reasoning Step 1\nBees.\n</think>\nPrompt harm: harmful\n"),
    )
    both = [toolkit.apply("render_sft", reasoned, guard="nemotron_reasoning", reasoning=reasoning)[0] for reasoning in (True, False)]
    asked = [kept["prompt"][0][0]["content"] for kept in both]
    assert asked[0].endswith("\n/think") and asked[1].endswith("\n/no_think") and asked[0][:-6] == asked[1][:-9]
    assert ["Bees." in kept["completion"][0][0]["content"] for kept in both] == [True, False]
    assert both[1]["id"].to_list() == ["0:answers_alone", "1:answers_alone"]
    guard = toolkit.load_guard("nemotron_reasoning")
    assert asked[1] == toolkit.guards.render_input(guard, {"prompt": "How do bees fly?", "response": None, "policy": "No bees.", "thinks": False})
    how: dict[str, Any] = {"k": 1, "models": {"direct": {"backend": "openai", "model": "m"}}, "answers_alone": ["direct"]}
    with pytest.raises((InputError, InputErrors), match="has no switch for its reasoning"):
        toolkit.apply("sample", reasoned, guard="guardreasoner", **how)
