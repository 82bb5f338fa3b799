"""`concat`: rows of several steps one after another, none lost, none twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import run_steps, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError

A, B = seeds({"prompt": "a"}, {"prompt": "b"}), seeds({"prompt": "c", "source": "other"})


def test_rows_come_in_the_order_of_the_inputs_with_where_they_come_from() -> None:
    kept, rest = toolkit.apply("concat", {"late": B, "early": A}, provenance="part")
    assert kept.select("prompt", "part").rows() == [("c", "late"), ("a", "early"), ("b", "early")] and not rest.height
    assert kept.drop("part").equals(pl.concat([B, A]))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sets(st.integers(0, 8)), min_size=2, max_size=3))
def test_rows_are_conserved(parts: list[set[int]]) -> None:
    every = seeds(*({"prompt": f"{n}"} for n in range(9)))
    inputs = {f"p{i}": every[sorted(p)] for i, p in enumerate(parts)}
    kept, rest = toolkit.apply("concat", inputs, repeated="first")
    assert set(kept["id"]) == set(every[sorted(set().union(*parts))]["id"]) and kept["id"].n_unique() == kept.height
    assert kept.height + rest.height == sum(map(len, parts)) and set(rest["_reason"] if rest.height else ()) <= {"repeated"}


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"x": A, "y": A}, {}, "2 ids of 4 rows are there twice: .* in 'x' and 'y'"),
        ({"x": A}, {}, "puts the rows of several steps together"),
        ({"x": A, "y": B.drop("language")}, {}, "'y' has no column 'language', which other inputs have"),
        ({"x": A, "y": B.with_columns(pl.lit(1, pl.Int64).alias("language"))}, {}, "not of one type: 'x' has string, 'y' has int64"),
        ({"x": A, "y": B}, {"provenance": "source"}, "a column 'source' already"),
        ({"x": A, "y": B}, {"provenance": "_p"}, "begins with _"),
    ],
)
def test_what_does_not_fit_is_refused(inputs: dict[str, pl.DataFrame], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        toolkit.apply("concat", inputs, **options)


def test_a_missing_column_is_null_where_asked_for() -> None:
    kept, _ = toolkit.apply("concat", {"x": A.with_columns(pl.lit("de").alias("language")), "y": B.drop("language")}, missing="null")
    assert kept["language"].to_list() == ["de", "de", None]


def test_in_a_recipe_all_inputs_count_as_rows_in(tmp_path: Path) -> None:
    """Also where its inputs are parts of one step, and in the plan."""
    everything = [{"prompt": str(n), "source": "ab"[n % 2]} for n in range(6)]
    seeds(*everything).write_parquet(tmp_path / "rows.parquet")
    steps: list[dict[str, Any]] = [
        {"id": "all", "use": "read", "with": {"files": [str(tmp_path / "rows.parquet")], "columns": {n: n for n in ("id", "prompt", "source")}}},
        {"id": "a", "use": "leave_out", "from": "all", "with": {"sources": ["b"]}},
        {"id": "b", "use": "leave_out", "from": "all", "with": {"sources": ["a"]}},
        {"id": "both", "use": "concat", "from": {"b": "b", "a": "a"}},
    ]
    made = run_steps(tmp_path, steps)
    counts = made["both"].manifest["counts"][-1]
    assert (counts["in"], counts["kept"]) == (6, 6) and made["both"].manifest["stats"] == {"rows_a": 3, "rows_b": 3}
    lines = {s["step"]: s["rows"] for s in toolkit.plan(tmp_path / "recipe.yaml", output=tmp_path / "out" / "run")["steps"]}
    assert lines["both"] == 6
