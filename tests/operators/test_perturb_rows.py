"""Operator `perturb`: a row for each row and change, all accounted for, the same however the rows are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import reasons, rows_of, run_steps, seed, seeds

import toolkit
from toolkit.common.errors import InputErrors
from toolkit.records import content_id


def test_rows_under_changes_and_what_stays_as_it_is() -> None:
    rows = seeds({"prompt": "Hello there", "label_prompt": "unharmful"}, {"prompt": "1+1", "response": "2", "label_prompt": "unharmful"})
    kept, rest = toolkit.apply("perturb", rows, changes=["case", "bold"], original=True)
    assert kept["change"].to_list() == ["original", "upper", "lower", "bold", "original", "bold"]
    assert kept["id"].to_list() == [f"{p}:{c}" for p, c in kept.select("parent", "change").iter_rows()]
    assert set(kept["label_prompt"]) == {"unharmful"} and kept["content_id"][1] == content_id([], "HELLO THERE", None)
    assert reasons(rest) == {"unchanged": 2} and rest["_detail"].to_list() == ["upper leaves it as it is", "lower leaves it as it is"]
    assert rest["change"].to_list() == ["upper", "lower"] and set(rest["_outcome"]) == {"set_aside"}


def test_in_a_recipe_every_row_and_change_is_accounted_for(tmp_path: Path) -> None:
    load = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "parts": ["home"]}}
    step = {"id": "changed", "use": "perturb", "with": {"changes": "all"}}
    done = run_steps(tmp_path, [load, step])
    counts = done["changed"].manifest["counts"][-1]
    assert counts["in"] * counts["factor"] == counts["kept"] + counts["set_aside"]["unchanged"]
    assert counts["set_aside"]["unchanged"] >= counts["in"], "no seed has earlier turns"
    assert sum(done["changed"].manifest["stats"]["changed"].values()) == counts["kept"]
    rows = rows_of(done["changed"])
    parts = [toolkit.apply("perturb", part, seed=5).kept for part in pl.concat(done["seeds"].blocks()).iter_slices(37)]
    assert pl.concat(parts).select(rows.columns).equals(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"changes": ["uper"]}, "did you mean 'upper'"), ({"changes": []}, "changes"), ({"changes": "cse"}, "did you mean 'case'")],
)
def test_an_unknown_change_is_a_fault_of_the_recipe(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputErrors, match=message):
        toolkit.apply("perturb", pl.DataFrame([seed()]), **options)
