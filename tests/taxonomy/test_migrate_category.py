"""A category renamed, merged or removed: the file keeps all else, shards that use it are named first, and written anew where that is asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file
from toolkit.shards import verify
from toolkit.taxonomy import change_category, load_taxonomy, parse_taxonomy

sys.path.insert(0, str(Path(__file__).parents[1] / "shards"))
from shardrows import make, rows

FILE = """\
# mine
name: mine
version: 1
categories:
  # the first
  - name: salad   # stands in the column
    title: Salad
    definition: Of leaves.
    policy: |
      Text

  # the second
  - name: cake
    title: Cake
    definition: Of flour.
    parent: salad
    aliases:
      - pie
  - {name: soup, title: Soup, definition: In bowls., parent: salad}
maps:
  menu: {green: salad, sweet: cake, "salad": null}
"""
PATH = Path("schemas/taxonomies/mine.yaml")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    PATH.parent.mkdir(parents=True)
    PATH.write_text(FILE)
    return tmp_path


def lines(old: str, new: str) -> tuple[list[str], list[str]]:
    """Lines that are gone, and that are new."""
    gone = [line for line in old.splitlines() if line not in new.splitlines()]
    return gone, [line for line in new.splitlines() if line not in old.splitlines()]


@pytest.mark.parametrize(
    ("name", "to", "new"),
    [
        ("salad", "greens", ["  - name: greens   # stands in the column", "    aliases: [salad]", "    parent: greens",
                             "  - {name: soup, title: Soup, definition: In bowls., parent: greens}", '  menu: {green: greens, sweet: cake, "salad": null}']),
        ("pie", "tart", ["  - name: tart", "      [cake, pie]", '  menu: {green: salad, sweet: tart, "salad": null}']),
        ("soup", "salad", ["    aliases: [soup]"]),
        ("soup", None, []),
        ("salad", "cake", ["    parent: null", "      [pie, salad]", "  - {name: soup, title: Soup, definition: In bowls., parent: cake}",
                           '  menu: {green: cake, sweet: cake, "salad": null}']),
        ("salad", None, ["    parent: null", "  - {name: soup, title: Soup, definition: In bowls., parent: null}",
                         '  menu: {green: null, sweet: cake, "salad": null}']),
    ],
)  # fmt: skip
def test_the_file_changes_where_it_says_so_alone(name: str, to: str | None, new: list[str]) -> None:
    text = change_category(FILE, PATH, name, to)
    after, before = parse_taxonomy(text, PATH), parse_taxonomy(FILE, PATH)
    assert lines(FILE, text)[1] == new
    assert {line for line in lines(FILE, text)[0] if line.lstrip().startswith("#")} == set(), "no comment is lost"
    if to is not None:
        assert {after.category(word).name for word in (name, to)} == {after.category(to).name}, "the old name is another name of it"
    else:
        assert after.names == tuple(n for n in before.names if n != name)


def test_shards_that_use_it_are_named_before_anything_changes(here: Path) -> None:
    make(here / "outputs" / "run" / "step" / "shards", {"train": rows(30)})
    make(here / "elsewhere", {"train": rows(7)})
    (here / "outputs" / "run" / "recipe.yaml").write_text("recipe: run\ntaxonomy: mine\n")
    for change in ({"to": "greens"}, {"drop": True}):
        with pytest.raises(InputErrors) as e:
            toolkit.migrate_category("salad", shards=["elsewhere"], **change)
        words = str(e.value)
        assert "outputs/run/step/shards: 20 rows are of 'salad'" in words and "elsewhere: 5 rows" in words and "rewrite=True writes" in words
    assert PATH.read_text() == FILE
    found = toolkit.migrate_category("soup", to="broth")
    assert found["shards"] == [] and found["runs"] == ["outputs/run"], "no shards use this one"
    assert load_taxonomy("mine").category("soup").name == "broth"


def test_on_request_they_are_written_anew_and_keep_their_lineage(here: Path) -> None:
    folder = here / "outputs" / "run" / "step" / "shards"
    about: dict[str, Any] = {"guard": "guardreasoner 1", "title": "Eggs", "step": "step"}
    make(folder, {"train": rows(30), "test": rows(4, 30)}, per_shard=20, about=about)
    held = {p: sha256_file(p) for p in folder.rglob("*") if p.is_file()}
    (line,) = toolkit.migrate_category("salad", to="cake", rewrite=True)["shards"]
    assert line["new"] == "outputs/salad-to-cake/run-step" and {p: sha256_file(p) for p in held} == held
    manifest = verify(Path(line["new"]))
    again = manifest["rewritten"]
    assert again["categories"] == {"salad": "cake"} and again["manifest"]["title"] == manifest["title"] == "Eggs"
    assert again["manifest_sha256"] == sha256_file(folder / "manifest.json")
    assert [f["rows"] for f in manifest["files"].values()] == [f["rows"] for f in again["manifest"]["files"].values()]
    old, new = (pl.concat([pl.read_parquet(p) for p in sorted((place / "data").glob("*.parquet"))]) for place in (folder, Path(line["new"])))
    assert new.drop("categories").equals(old.drop("categories"))
    assert new["categories"].to_list()[:3] == [["cake"], [], ["cake"]], "a row that had both has it once"
    assert "salad → cake" in (Path(line["new"]) / "README.md").read_text()
    with pytest.raises(InputError, match="is there already"):
        toolkit.migrate_category("cake", drop=True, rewrite=True, output="outputs/salad-to-cake")
    without = toolkit.migrate_category("cake", drop=True, rewrite=True)["shards"]
    assert {line["folder"]: line["rows"] for line in without} == {"outputs/run/step/shards": 23, "outputs/salad-to-cake/run-step": 23}
    assert all("categories" not in verify(Path(line["new"]))["counts"] for line in without)


def test_what_cannot_be_migrated_is_refused(here: Path) -> None:
    with pytest.raises(InputError, match="is a category of guardkit's, which stays as it is"):
        toolkit.migrate_category("violence", to="harm")
    with pytest.raises(InputError, match=r"no file of yours has a category 'salat'\n.*did you mean 'salad'"):
        toolkit.migrate_category("salat", to="greens")
    with pytest.raises(InputError, match="nothing says what becomes of the category"):
        toolkit.migrate_category("salad")
    with pytest.raises(InputErrors, match="name"):
        toolkit.migrate_category("salad", to="Not A Name")
    assert PATH.read_text() == FILE
    toolkit.new_category("noise", definition="Wanting to rob others of their sleep.")
    gone = toolkit.migrate_category("noise", to="harassment")
    assert (gone["file"], gone["became"]) == ("schemas/taxonomies/noise.yaml.removed", "harassment"), "nothing was left in the file"
