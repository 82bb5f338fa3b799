"""The door: a user's path is the same file from then on, whatever the working folder; names are looked up in one place, by one rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.common.errors import InputError
from toolkit.common.models import model_folder
from toolkit.common.paths import Roots, at_door
from toolkit.common.resources import find, find_recipe, workspace
from toolkit.common.yamlfile import load_yaml


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the user's, and a home folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_path_stays_what_it_was_at_the_door(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [at_door(p) for p in ("a/b", Path("s3:x.parquet"), "file:x", "x::y", "*?[1].jsonl", ".", "../up", "/abs")]
    monkeypatch.chdir(here.parent)
    assert known == [here / "a/b", here / "s3:x.parquet", here / "file:x", here / "x::y", here / "*?[1].jsonl", here, here / "../up", Path("/abs")]


def test_a_home_folder_is_spelt_out_wherever_a_path_is_given(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = here.parent / "home"
    put(home / "g.yaml"), put(home / "r" / "recipe.yaml"), put(home / "m" / "config.json")
    assert at_door("~/x") == home / "x" and at_door(Path("~")) == home
    assert find("guards", "~/g.yaml") == home / "g.yaml"
    assert find_recipe("~/r") == home / "r" / "recipe.yaml"
    assert model_folder("~/m") == home / "m"
    assert Roots.of(None).settled("~/none.jsonl") == home / "none.jsonl"
    monkeypatch.setenv("GUARDKIT_WORKSPACE", "~/w")
    assert workspace() == home / "w"
    with pytest.raises(InputError, match="nobody here has that home folder"):
        at_door("~nobody-of-that-name/x")


@pytest.mark.parametrize("name", ["s3://bucket/x", "hf://datasets/a/b", "file:///etc/x", "https://example.org/x.jsonl"])
def test_a_url_is_no_path(here: Path, name: str) -> None:
    for given in (name, Path(name)):
        with pytest.raises(InputError, match="a URL where a path of this machine is expected"):
            at_door(given)
        with pytest.raises(InputError, match="a URL where a path of this machine is expected"):
            Roots.of(None).file(given)
    with pytest.raises(InputError, match="a URL, not a model folder nor a hub model"):
        model_folder(name)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_no_system_call_takes_is_no_path(here: Path, name: str) -> None:
    with pytest.raises(InputError, match="no path"):
        at_door(name)
    with pytest.raises(InputError, match="no such file"):
        Roots.of(None).file("x" * 5000)


def test_names_are_looked_up_here_and_then_beside_whatever_the_working_folder_is_by_then(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = put(here / "recipes" / "both.jsonl").parent
    put(beside / "one.jsonl"), put(here / "both.jsonl")
    roots = Roots.of(beside)
    monkeypatch.chdir(here.parent)
    assert roots.file("both.jsonl") == here / "both.jsonl" and roots.file("one.jsonl") == beside / "one.jsonl"
    assert list(roots.read) == [here / "both.jsonl", beside / "one.jsonl"]
    with pytest.raises(InputError, match=r"^absent\.jsonl: no such file\n  looked in: work, work/recipes$"):
        roots.file("absent.jsonl")


def test_a_pattern_means_the_same_files_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "a[1]*"
    put(odd / "data" / "b.jsonl"), put(odd / "data" / "a.jsonl"), put(odd / "x[1].jsonl")
    monkeypatch.chdir(odd)
    settled = {name: Roots.of(None).settled(name) for name in ("data/*.jsonl", "x[1].jsonl", "data")}
    monkeypatch.chdir(tmp_path)
    roots = Roots.of(None)
    assert roots.matching(settled["data/*.jsonl"]) == [odd / "data" / "a.jsonl", odd / "data" / "b.jsonl"]
    assert settled["x[1].jsonl"] == odd / "x[1].jsonl" and settled["data"] == odd / "data"


def test_messages_show_paths_as_people_write_them(here: Path) -> None:
    assert InputError("odd", where=str(here / "a.yaml") + ":3:b").where == "a.yaml:3:b"
    assert InputError("odd", where=str(here.parent / "a.yaml")).where == str(here.parent / "a.yaml")
    assert load_yaml(put(here / "a.yaml", "x: 1")).where(("x",)) == "a.yaml:1:x"


# Models ----------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_there_comes_first_and_then_an_id(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = here / "recipes"
    for folder in (here / "owner" / "name", beside / "other" / "name", beside / "bare"):
        put(folder / "config.json", "{}")
    roots = Roots.of(beside)
    monkeypatch.chdir(here.parent)
    assert [model_folder(n, roots) for n in ("owner/name", "./owner/name", "other/name", "bare", "hub/id")] == [
        here / "owner" / "name",
        here / "owner" / "name",
        beside / "other" / "name",
        beside / "bare",
        None,
    ]
    assert model_folder("bare-1", short=True) is None


@pytest.mark.parametrize("name", ["./none", "/none", "~/none", "a/b/c", "bare", "s3:x/y", "a b/c", ""])
def test_what_is_no_folder_and_could_be_no_id_is_refused(here: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no such model folder, nor a hub model|no path"):
        model_folder(name)


def test_a_folder_with_a_model_comes_before_one_without(here: Path) -> None:
    (here / "guard").mkdir()
    put(here / "recipes" / "guard" / "config.json", "{}")
    assert model_folder("guard", here / "recipes") == here / "recipes" / "guard"
    assert model_folder("guard") == here / "guard"


def test_an_adapter_counts_the_same_base_as_it_is_opened_with(here: Path) -> None:
    from toolkit.common.models import model_hash

    recipe = here / "recipes"
    for where, answer in ((recipe / "base", "one"), (recipe / "adapter", None)):
        put(where / ("config.json" if answer else "adapter_config.json"), "{}" if answer else json.dumps({"base_model_name_or_path": "base"}))
        put(where / "w.safetensors", answer or "adapter")
    before = model_hash(recipe / "adapter", beside=recipe)
    put(recipe / "base" / "w.safetensors", "retrained")
    assert model_hash(recipe / "adapter", beside=recipe) != before
