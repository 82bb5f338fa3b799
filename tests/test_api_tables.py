"""The rows of a run's steps as tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from workspace import furnish

import toolkit
from toolkit.common.errors import InputError, Missing


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("workspace"))
        patch.delenv("GUARDKIT_WORKSPACE", raising=False)
        furnish(Path())
        yield toolkit.read_run(toolkit.run("small.yaml").folder)


def test_a_step_gives_the_table_that_one_works_with(steps: Any) -> None:
    seeds = steps["seeds"]
    frame = seeds.polars()
    assert frame.equals(pl.concat(list(seeds.blocks()))) and frame.height == 20
    assert list(seeds.pandas()["prompt"]) == seeds.datasets()["prompt"][:] == frame["prompt"].to_list()
    assert seeds.datasets().num_rows == 20 and set(seeds.pandas().columns) == set(frame.columns)
    assert seeds.polars("prompt").columns == seeds.polars(["prompt"]).columns == ["prompt"] == list(seeds.pandas("prompt"))


def test_a_step_that_wrote_shards_gives_their_rows(steps: Any) -> None:
    shards = steps["shards"]
    assert shards.polars().height == 11 and shards.polars("completion").columns == ["completion"]


def test_a_column_that_is_not_there_is_reported(steps: Any) -> None:
    with pytest.raises(InputError, match="did you mean 'prompt'"):
        steps["seeds"].polars("promt")


def test_a_step_that_ran_with_another_says_where_its_rows_are(steps: Any) -> None:
    assert "clean" not in steps and steps.get("clean") is None
    with pytest.raises(InputError, match="'clean' ran together with 'few'") as e:
        steps["clean"]
    assert e.value.where is not None and e.value.where.endswith("few") and "read 'few'" in str(e.value.hint) and "\\n" not in str(e.value)
    with pytest.raises(KeyError, match="did you mean 'seeds'"):
        steps["seds"]


def test_a_step_that_is_not_built_says_so(steps: Any) -> None:
    toolkit.run("small.yaml", output="outputs/part")
    folder = Path("outputs/part")
    (folder / "shards").rename("away")
    with pytest.raises(InputError, match="'shards' is not built yet"):
        toolkit.read_run(folder)["shards"]


@pytest.mark.parametrize("package", ["pandas", "datasets"])
def test_a_package_that_is_not_there_is_named(package: str, steps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Missing, match=package):
        getattr(steps["seeds"], package)()
