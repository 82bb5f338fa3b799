"""The table over which hard samples are mined: the same lines from either record, and from the operator."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "operators"))

from frames import TASKS, seed, verdict, verdicts

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import joined, load_guard
from toolkit.mining import judged
from toolkit.records import load_record, to_polars

GUARD = load_guard("guardreasoner")
RIGHT = "Answers: \nRequest: harmful\nCompletion: None\nResponse: None\n"
WRONG = RIGHT.replace("harmful", "unharmful")


def generations() -> pl.DataFrame:
    row = seed(label_prompt="harmful")
    return verdicts(*(verdict(row, "m", draw, output=text) for draw, text in enumerate([RIGHT, WRONG, "Request: perhaps é", None])))


def test_a_generation_is_right_wrong_unread_or_not_applicable() -> None:
    read, _ = toolkit.apply("verdicts", generations())
    found = judged(read, GUARD)
    assert found.schema == pl.Schema(to_polars(load_record("judged", TASKS).columns))
    assert found["outcome_prompt"].to_list() == ["right", "wrong", "unread", "unread"]
    assert found["outcome_response"].to_list() == ["not_applicable"] * 4
    assert found["length"].to_list() == [len(RIGHT), len(WRONG), 18, None]
    assert found["unread_prompt"].to_list() == [None, None, "not_a_label", "empty"]
    assert found["tokens"].null_count() == found["probability_prompt"].null_count() == 4


def test_the_operator_writes_what_the_helper_makes_and_the_helper_leaves_that_as_it_is() -> None:
    read, _ = toolkit.apply("verdicts", generations())
    lines, rest = toolkit.apply("verdicts", generations(), texts=False)
    assert not rest.height
    assert lines.equals(judged(read, GUARD))
    assert judged(lines, GUARD).equals(lines)


def test_what_is_known_of_a_generation_stays() -> None:
    rows = generations().with_columns(tokens=pl.lit(7), seconds=pl.lit(0.5), probability_prompt=pl.lit(0.9))
    lines, _ = toolkit.apply("verdicts", rows, texts=False)
    assert lines.select("tokens", "seconds", "probability_prompt").row(0) == (7, 0.5, 0.9)


def test_ids_and_draws_that_a_table_lacks_are_made_of_what_it_has() -> None:
    read, _ = toolkit.apply("verdicts", generations()[:1])
    assert judged(read.drop("id", "draw", "model_id", "output"), GUARD).row(0)[1:7] == (read["parent"][0], "m", None, 0, "", None)
    assert judged(read.drop("id"), GUARD)["id"].to_list() == read["id"].to_list()


def test_labels_are_held_against_verdicts_in_the_reading_that_those_are_in() -> None:
    text = joined({"prompt": "Safety: Controversial\nCategories: None"})
    row = generations()[:1].with_columns(output=pl.lit(text))
    given = row.with_columns(label_prompt=pl.Series(["controversial"]))
    strict, _ = toolkit.apply("verdicts", row, guard="qwen3guard", reading="strict", texts=False)
    loose, _ = toolkit.apply("verdicts", given, guard="qwen3guard", reading="loose", texts=False)
    columns = ["label_prompt", "verdict_prompt", "outcome_prompt"]
    assert strict.select(columns).row(0) == ("harmful", "harmful", "right")
    assert loose.select(columns).row(0) == ("unharmful", "unharmful", "right")


def test_without_texts_the_operator_asks_for_what_names_a_generation() -> None:
    with pytest.raises(InputError, match="verdicts reads the column 'parent'"):
        toolkit.apply("verdicts", generations().drop("parent"), texts=False)
