"""The operator `item_response`: what it writes about rows, and what is chosen by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import seed, seeds, verdict, verdicts

import toolkit
from toolkit.common.errors import InputError
from toolkit.mining import judged

H, U = "harmful", "unharmful"


def world(rows: int = 120, guards: int = 5, flipped: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows with labels for the prompt, the harder the later, and verdicts of guards, the abler the later; the first rows' labels may be flipped."""
    rng = np.random.default_rng(0)
    some, found = [], []
    for i in range(rows):
        true, other = (H, U) if i % 2 else (U, H)
        row = seed(i, source="x" if i % 3 else "y", label_prompt=other if i < flipped else true)
        some.append(row)
        for g in range(guards):
            for draw in range(2):
                p = 1 / (1 + np.exp(-(3.5 * g / guards + 1 - 4 * i / rows)))
                found.append(verdict(row, f"g{g}", draw, "…", prompt=true if rng.random() < p else other))
    return seeds(*some), verdicts(*found)


def applied(rows: pl.DataFrame, verdicts: pl.DataFrame, **options: Any) -> pl.DataFrame:
    kept, rest = toolkit.apply("item_response", {"rows": rows, "verdicts": verdicts}, **options)
    assert rest.height == 0 and kept.select(rows.columns).equals(rows), "it drops and changes nothing"
    return kept


def test_harder_rows_are_harder() -> None:
    rows, result = world()
    kept = applied(rows, result)
    found = kept["difficulty_prompt"].to_numpy()
    assert np.corrcoef(found, np.arange(len(found)))[0, 1] > 0.6
    assert kept["difficulty_response"].null_count() == kept.height and "condensed" not in kept.columns
    hard, rest = toolkit.apply("select", kept, at_least={"difficulty_prompt": 0.5})
    assert 0 < hard.height < kept.height and hard.height + rest.height == kept.height


def test_flipped_labels_come_first_by_reversed() -> None:
    kept = applied(*world(100, guards=10, flipped=6), tasks=["prompt"], parameters=2)
    order = kept["reversed_prompt"].arg_sort(descending=True).to_list()
    assert len(set(order[:8]) & set(range(6))) >= 5


def test_a_condensed_benchmark_is_chosen_by_select() -> None:
    rows, result = world()
    kept = applied(rows, result, tasks=["prompt"], condense=0.25)
    chosen, _ = toolkit.apply("select", kept, where={"condensed": True})
    assert chosen.height == 30
    assert chosen["source"].value_counts().sort("source")["count"].to_list() == [20, 10]
    assert applied(rows, result.sample(fraction=1, shuffle=True, seed=3), tasks=["prompt"], condense=0.25).equals(kept)


def test_of_verdicts_alone_each_row_once() -> None:
    rows, result = world(40, 3)
    kept, _ = toolkit.apply("item_response", result, tasks=["prompt"])
    assert kept["id"].to_list() == rows["id"].to_list() and "output" not in kept.columns
    assert kept["difficulty_prompt"].to_list() == applied(rows, result, tasks=["prompt"])["difficulty_prompt"].to_list()
    bare, _ = toolkit.apply("item_response", judged(result, toolkit.load_guard("guardreasoner")), tasks=["prompt"], condense=0.5)
    assert bare["difficulty_prompt"].to_list() == kept["difficulty_prompt"].to_list() and bare["condensed"].sum() == 20


def test_bad_input_is_reported() -> None:
    rows, result = world(10, 2)
    with pytest.raises(InputError, match="no verdicts to go by"):
        toolkit.apply("item_response", rows)
    with pytest.raises(InputError, match="no task 'promt'"):
        toolkit.apply("item_response", {"rows": rows, "verdicts": result}, tasks=["promt"])
    with pytest.raises(InputError, match="no row has a label and a verdict"):
        toolkit.apply("item_response", {"rows": rows.with_columns(pl.lit(None, pl.String).alias("label_prompt")), "verdicts": result})
    with pytest.raises(InputError, match="two parameters take the answers of two guards"):
        toolkit.apply("item_response", {"rows": rows, "verdicts": result.filter(pl.col("guard_model") == "g0")}, parameters=2)
