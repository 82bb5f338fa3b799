"""Conditions over measures: on a hand-made table, in words, and what is refused before a run."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import load_guard
from toolkit.mining import MEASURES, apply_rule, load_rule, measures, settled

GUARD = load_guard("guardreasoner")
ROWS = {  # label harmful on prompt; h right, u wrong, ? unread
    "agreed": {"a": "hhhh", "b": "hhhh"},
    "one off": {"a": "hhhh", "b": "hhhu"},
    "each wavers": {"a": "hhuu", "b": "huhu"},
    "they differ": {"a": "hhhh", "b": "uuuu"},
    "unread": {"a": "????", "b": "????"},
    "half read": {"a": "hu??", "b": "????"},
}
WORDS = {"h": "harmful", "u": "unharmful", "?": None}


def table() -> pl.DataFrame:
    lines = [
        {"parent": row, "guard_model": g, "draw": n, "label_prompt": "harmful", "verdict_prompt": WORDS[sign]}
        for row, guards in ROWS.items()
        for g, signs in guards.items()
        for n, sign in enumerate(signs)
    ]
    none = [pl.lit(None, pl.String).alias(f"{kind}_{t}") for t in ("refusal", "response") for kind in ("label", "verdict")]
    return pl.DataFrame(lines).with_columns(none)


def hard(rule: dict[str, Any]) -> set[str]:
    found = apply_rule(table(), load_rule(rule), GUARD)
    return set(found.filter(pl.col("status") == "hard")["parent"])


@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        ({"hard": "entropy >= 0.5"}, {"one off", "each wavers", "they differ", "half read"}),  # 1 of 8: 0.544 bits
        ({"hard": "entropy > 0.55"}, {"each wavers", "they differ", "half read"}),
        ({"hard": "entropy == 1"}, {"each wavers", "they differ", "half read"}),
        ({"hard": "entropy != 1"}, {"agreed", "one off"}),
        ({"hard": "0.2 < error_rate < 0.8"}, {"each wavers", "they differ", "half read"}),
        ({"hard": "error_rate = 0.125"}, {"one off"}),
        ({"hard": "margin <= 0.75"}, {"one off", "each wavers", "they differ", "half read"}),
        ({"hard": "divergence > 0.5"}, {"they differ"}),
        ({"hard": "entropy >= 0.5 and divergence < 0.2"}, {"one off", "each wavers"}),
        ({"hard": "wrong >= 4 and divergence = 0"}, {"each wavers"}),
        ({"hard": "wrong == 1 or divergence == 1"}, {"one off", "they differ", "half read"}),
        ({"hard": "entropy > 0.9", "guards": {"count": "each"}}, {"each wavers", "half read"}),
        ({"hard": "entropy > 0.9", "guards": {"count": "each", "hard_for": "all"}}, {"each wavers"}),
        ({"hard": "entropy > 0.9", "guards": {"only": ["a"]}}, {"each wavers", "half read"}),
        ({"hard": "error_rate > 0.4", "unread": "wrong"}, {"each wavers", "they differ", "half read"}),  # what could not be read has no vote
    ],
)
def test_a_rule_by_measures(rule: dict[str, Any], rows: set[str]) -> None:
    assert hard(rule) == rows


@pytest.mark.parametrize("name", MEASURES)
def test_they_are_the_measures_that_mine_writes(name: str) -> None:
    known = measures(table(), GUARD)
    for at in (0.1, 0.5, 0.75):
        assert hard({"hard": f"{name} >= {at}"}) == set(known.filter(pl.col(f"{name}_prompt").round(9) >= at)["parent"])


def test_rows_in_doubt_by_a_measure_are_set_aside() -> None:
    found = apply_rule(table(), load_rule({"hard": "wrong == 1", "suspect": "divergence > 0.9"}), GUARD)
    assert dict(found.select("parent", "status").iter_rows())["they differ"] == "suspect"


def test_a_rule_by_measures_in_words() -> None:
    words = load_rule({"hard": "0.2 < error_rate < 0.8 and wrong >= 1 or entropy >= 0.5"}).explain(GUARD, 4, 2)
    assert words.startswith(
        "A row is hard on a task when, of the 8 outputs of all guards together, at least 1 is wrong and "
        "the error rate is above 0.2 and below 0.8, or the entropy of the votes is at least 0.5."
    )
    assert "Where the divergence between guards is above 0.5, the label" in load_rule({"suspect": "0.5 < divergence"}).explain(GUARD)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"hard": "entrpy > 0.5"}, "did you mean 'entropy'"),
        ({"hard": "error_rat > 0.5"}, "did you mean 'error_rate'"),
        ({"hard": "error_rate > 20"}, "'error_rate' lies between 0 and 1"),
        ({"hard": "1.5 > margin"}, "'margin' lies between 0 and 1"),
        ({"hard": "entropy > k"}, "something else than a number"),
        ({"hard": "entropy > margin"}, "something else than a number"),
        ({"hard": "wrong < entropy"}, "something else than a number"),
        ({"hard": "entropy > 50%"}, "something else than a number"),
        ({"hard": "entropy"}, "compares nothing"),
        ({"hard": "wrong > 0.5"}, "0.5 in the condition .* is no number of outputs"),
        ({"hard": "0 < 0.5"}, "looks at no count"),
        ({"hard": "entropy > 0.5", "right_on": "row"}, "right_on: task"),
        ({"suspect": "divergence > 0.5", "guards": {"count": "each"}}, "count: pooled"),
    ],
)
def test_a_faulty_condition_is_refused_in_words(rule: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, InputErrors), match=message):
        load_rule(rule)


@pytest.mark.parametrize(
    ("rule", "draws", "message"),
    [
        ({"hard": "entropy > 1.5"}, None, "over 2 labels the entropy is 1 at most"),
        ({"hard": "0.1 < divergence < 3"}, None, "reaches to 3, and over 2 labels the divergence is 1 at most"),
        ({"hard": "0.1 < error_rate < 0.2"}, {"a": 4}, "no row of which there are 4 outputs"),
        ({"hard": "entropy <= 1 or wrong < 1"}, {"a": 1}, "every row of which there are 1 outputs"),
        ({"hard": "divergence > 0.1"}, {"a": 4}, "one guard is asked"),
        ({"hard": "wrong > 9 and entropy > 0.1"}, {"a": 4}, "reaches to 9, and there are 4 outputs"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_before_a_run(rule: dict[str, Any], draws: dict[str, int] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_rule(rule).check(GUARD, draws)


def test_what_can_be_is_not_refused() -> None:
    assert load_rule({"hard": "entropy > 0.5 and divergence < 0.2"}).check(GUARD, {"a": 4, "b": 4}) == []
    assert load_rule({"hard": "0.2 < error_rate < 0.8"}).check(GUARD, {"a": 4, "b": 4}) == []


def test_a_table_without_verdicts_and_drawing_until_settled_are_refused() -> None:
    rule = load_rule({"hard": "entropy > 0.5"})
    with pytest.raises(InputError, match="no column 'verdict_prompt'"):
        apply_rule(table().with_columns(outcome_prompt=pl.lit("right")).drop("verdict_prompt"), rule, GUARD, tasks=["prompt"])
    with pytest.raises(InputError, match="follows from counts alone"):
        settled(table(), rule, GUARD, {"a": 4, "b": 4})
