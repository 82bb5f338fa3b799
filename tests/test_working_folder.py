"""Where things go does not depend on the working folder of the moment, nor on what a library makes of a name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

import toolkit
from toolkit.api import diff, overlaps
from toolkit.pipeline import Progress, load_recipe

ODD = ("file:o", "s3:o", "hf:o", "a[1]*", "x::y")
RECIPE = """
recipe: r
steps:
  - {id: seeds, use: load, with: {source: quickstart, parts: [home]}}
  - {id: unique, use: deduplicate}
  - {id: rows, use: read, with: {files: [data/*.jsonl], columns: {id: id, prompt: prompt}}}
  - {id: kept, use: select, with: {where: {prompt: not_null}}}
"""
OWN = """
name: own
version: 1
description: Ours.
licence: CC0-1.0
files: [own.jsonl]
columns: {prompt: question}
labels:
  prompt: {column: bad, map: {"yes": harmful, "no": unharmful}, source: human}
  refusal: {missing: to_infer}
  response: {missing: absent}
"""


def project(folder: Path, prompt: str = "question") -> Path:
    """A recipe with its data."""
    (folder / "data").mkdir(parents=True)
    for name in "ab":
        line = json.dumps({"id": name, "prompt": f"{prompt} {name}"})
        (folder / "data" / f"{name}.jsonl").write_text(line + "\n")
    (folder / "r.yaml").write_text(RECIPE)
    return folder


def prompts(run: Path) -> list[str]:
    return pl.read_parquet((run / "kept" / "rows" / "rows.parquet").read_bytes())["prompt"].to_list()


class Leaving(Progress):
    """Changes the working folder as each step begins."""

    def __init__(self, to: Path) -> None:
        super().__init__(quiet=True)
        self._to = to

    def start(self, name: str) -> None:
        os.chdir(self._to)
        super().start(name)


def test_a_run_goes_where_it_was_to_go_whatever_the_working_folder_is_by_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = project(tmp_path / "here"), project(tmp_path / "there", "another")
    monkeypatch.chdir(here)
    done = toolkit.run("r.yaml", output="o/r", progress=Leaving(there))
    assert Path.cwd() == there and done.folder == here / "o" / "r"
    assert prompts(done.folder) == ["question a", "question b"]
    assert sorted(p.name for p in there.iterdir()) == ["data", "r.yaml"]
    monkeypatch.chdir(here)
    loaded = load_recipe("r.yaml")
    monkeypatch.chdir(there)
    assert prompts(toolkit.run(loaded, output="o2").folder) == ["question a", "question b"]


def test_the_recipe_that_a_run_keeps_runs_again_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = project(tmp_path / "here[1]")
    (here / "recipes").mkdir()
    (here / "r.yaml").rename(here / "recipes" / "r.yaml")  # the data is found from the working folder, not beside the recipe
    steps = "recipe: s\nsteps:\n  - {id: own, use: load, with: {source: own.yaml}}\n"
    (here / "recipes" / "s.yaml").write_text(steps + "  - {id: kept, use: select, with: {where: {prompt: not_null}}}\n")
    (here / "recipes" / "own.yaml").write_text(OWN)
    (here / "recipes" / "own-1.jsonl").write_text(json.dumps({"question": "Are eggs round?", "bad": "no"}) + "\n")
    monkeypatch.chdir(here)
    runs = [toolkit.run("recipes/r.yaml", output="o/r"), toolkit.run("recipes/s.yaml", output="o/s", sources={"own": ["own-*.jsonl"]})]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for run in runs:
        again = toolkit.run(run.folder / "recipe.yaml", output=run.folder)
        assert again.built == [] and set(again.reused) == set(run.built)


def test_a_damaged_step_below_the_working_folder_is_reported_and_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project(tmp_path / "here"))
    file = toolkit.run("r.yaml", output="o/r").folder / "kept" / "rows" / "rows.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    toolkit.plan("r.yaml", output="o/r")
    assert toolkit.run("r.yaml", output="o/r").built == ["rows", "kept"] and file.read_bytes() == whole


@pytest.mark.parametrize("odd", ODD)
def test_no_library_makes_something_else_of_a_name(odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = project(tmp_path / odd)
    run = toolkit.run(f"{odd}/r.yaml", output=f"{odd}/out").folder
    assert run == folder / "out" and prompts(run) == ["question a", "question b"]
    assert (run / "unique" / "clusters" / "clusters.parquet").is_file()
    pl.DataFrame({"id": ["1"], "prompt": ["question a"]}).write_parquet(folder / "p.parquet")
    found = overlaps(rows={"a": f"{odd}/p.parquet", "b": f"{odd}/data/a.jsonl"}, output=f"{odd}/both.parquet")
    assert found["pairs"][0]["inputs"] == 1 and found["output"] == f"{odd}/both.parquet"
    assert diff(f"{odd}/out", f"{odd}/out", output=f"{odd}/diff.parquet")["equal"]
    assert {"both.parquet", "diff.parquet", "out"} <= {p.name for p in folder.iterdir()}
    assert sorted(p.name for p in tmp_path.iterdir()) == [odd]


def test_a_hub_set_is_not_read_from_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.guards import load_guard
    from toolkit.sources import load_source, read_source
    from toolkit.taxonomy import load_taxonomy

    source = load_source("toxicchat_train")
    assert source.hub is not None
    folder = tmp_path / source.hub.id
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(toolkit.GuardkitError, match="a folder of this name is in the working folder"):
        list(read_source(source, guard=load_guard("guardreasoner"), taxonomy=load_taxonomy()))
