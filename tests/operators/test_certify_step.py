"""`certify` ends a recipe: what it says of two guards, and a run that fails on it once all is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import run_steps, seed, seeds, verdict, verdicts

import toolkit
from toolkit.common.errors import InputError, TooManyFailures

H, U = "harmful", "unharmful"
GOLD = [H if n % 2 else U for n in range(160)]
OTHER = {H: U, U: H}
WRONG = {"old": range(2), "same": range(2), "worse": range(0, 160, 3)}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that were asked about, written for a category, and the verdicts of three guards on them."""
    folder = tmp_path_factory.mktemp("rows")
    asked = seeds(*(seed(n, label_prompt=v) for n, v in enumerate(GOLD)))
    asked.drop("categories", "votes", "context").with_columns(seed_category=pl.lit("fraud_theft")).write_parquet(folder / "asked.parquet")
    every = [
        verdict(row, g, 0, prompt=OTHER[v] if n in WRONG[g] else v)
        for g in WRONG
        for n, (row, v) in enumerate(zip(asked.to_dicts(), GOLD, strict=True))
    ]
    verdicts(*every).drop("categories", "votes", "context").write_parquet(folder / "said.parquet")
    return folder


def steps(rows: Path, **options: Any) -> list[dict[str, Any]]:
    def read(name: str) -> dict[str, Any]:
        schema = pl.read_parquet_schema(rows / f"{name}.parquet")
        columns = {c: {"name": c, "type": "int64"} if t == pl.Int64 else c for c, t in schema.items()}
        return {"id": name, "use": "read", "with": {"files": [str(rows / f"{name}.parquet")], "columns": columns}}

    scores = {"id": "scores", "use": "evaluate", "from": {"rows": "said", "asked": "asked"}, "with": {"policies": ["clean"]}}
    return [read("asked"), read("said"), scores, {"id": "proof", "use": "certify", "from": "scores", "with": {"draws": 1000, **options}}]


def test_a_guard_that_is_the_same_passes(rows: Path, tmp_path: Path) -> None:
    made = run_steps(tmp_path, steps(rows, before="old", after="same", margin=5, fail="unless_pass"))["proof"]
    document = json.loads((made.artefact("certificate") / "certificate.json").read_text())
    assert document["verdict"] == made.manifest["stats"]["verdict"] == "pass" and document["words"].startswith("pass: none of 5 figures")
    whole = {("benchmark", "f1", 160), ("benchmark", "fpr", 80), ("category", "f1", 160), ("category", "fpr", 80), ("look-alikes", "fpr", 80)}
    assert {(x["area"], x["figure"], x["n"]) for x in document["lines"]} == whole, "a benign seed counts in the category that it looks like"
    assert str(tmp_path) not in json.dumps(document), "the place of a run is no part of what it says"


def test_a_run_fails_on_it_once_all_is_written(rows: Path, tmp_path: Path) -> None:
    what = steps(rows, before="old", after="worse", fail=True)
    with pytest.raises(TooManyFailures, match="the run is complete, but step 'proof': its certificate did not pass: fail: ") as e:
        run_steps(tmp_path, what)
    assert e.value.exit_code == 1
    step = toolkit.read_run(tmp_path / "out" / "run")["proof"]
    assert step.manifest["stats"]["verdict"] == "fail"
    what[-1]["with"]["fail"] = False
    assert run_steps(tmp_path, what)["proof"].manifest == step.manifest, "whether it may fail shapes nothing that is made"
    what[-1]["with"]["fail"] = True
    with pytest.raises(TooManyFailures):
        run_steps(tmp_path, what)
    assert toolkit.run(tmp_path / "recipe.yaml", output=tmp_path / "out" / "run", raise_failures=False).failed is not None


def test_a_guard_that_is_not_there_is_reported(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no guard called 'smae' to certify(.|\n)*did you mean 'same'"):
        run_steps(tmp_path, steps(rows, before="old", after="smae"))
    with pytest.raises(InputError, match="a certificate is of two guards, before and after, not of 3"):
        run_steps(tmp_path, steps(rows))
