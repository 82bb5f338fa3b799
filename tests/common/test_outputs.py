"""No output takes the place of what is read or kept: by device and inode, through links, and where nothing is there yet."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from toolkit.common.errors import InputError
from toolkit.common.outputs import MARKS, check_output, marked, part_below


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(output: Path, *named: str, **kept: object) -> None:
    before = sorted(output.parent.rglob("*")) if output.parent.is_dir() else []
    with pytest.raises(InputError) as e:
        check_output(output, **kept)  # type: ignore[arg-type]
    assert all(name in str(e.value) for name in (str(output), *named)), str(e.value)
    assert before == (sorted(output.parent.rglob("*")) if output.parent.is_dir() else [])


def test_an_input_by_any_of_its_names(tmp_path: Path) -> None:
    data = put(tmp_path / "data.jsonl")
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "folder").symlink_to(tmp_path)
    os.link(data, tmp_path / "twin")
    for name in ("data.jsonl", "link", "folder/data.jsonl", "twin", "none/../data.jsonl"):
        refused(tmp_path / name, str(data), reads=[data])
        refused(data, str(tmp_path / name), reads=[tmp_path / name])
    check_output(tmp_path / "other.jsonl", reads=[data, tmp_path / "link"])


def test_the_hidden_name_under_which_an_output_is_written_is_an_output_too(tmp_path: Path) -> None:
    refused(tmp_path / "out", reads=[put(tmp_path / ".out.guardkit")])


def test_what_lies_in_a_folder_that_is_read(tmp_path: Path) -> None:
    model = put(tmp_path / "model" / "config.json").parent
    put(model / "w.safetensors")
    (tmp_path / "link").symlink_to(model)
    os.link(model / "w.safetensors", tmp_path / "twin")
    for name in ("model", "model/new/deep.jsonl", "link/x", "twin"):
        refused(tmp_path / name, str(model), reads=[model])
    check_output(tmp_path / "model2", reads=[model])


def test_a_folder_that_is_replaced_whole_may_not_hold_what_is_read(tmp_path: Path) -> None:
    data = put(tmp_path / "out" / "in" / "data.jsonl")
    refused(tmp_path / "out", str(data), reads=[data], whole=True)
    check_output(tmp_path / "out", reads=[data])


def test_a_journal_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "w")
    refused(tmp_path / "link" / "journal" / "out.jsonl", str(tmp_path / "w" / "journal"), journal=tmp_path / "w" / "journal")


@pytest.mark.parametrize(
    ("kind", "file", "says"),
    [
        ("journal", "journal.sqlite", "anything"),
        ("run", "run.json", json.dumps({"recipe": "r", "version": 1})),
        ("step", "manifest.json", json.dumps({"step": "s", "fingerprint": "f"})),
        ("shards", "manifest.json", json.dumps({"made_by": "guardkit", "files": {}})),
        ("export", "export.json", json.dumps({"made_by": "guardkit", "files": {}})),
        ("evaluation", "evaluation.json", json.dumps({"guardkit": "0", "kind": "evaluation", "rows": {}})),
        ("model", "guardkit.json", "{}"),
    ],
)
def test_folders_that_guardkit_keeps(tmp_path: Path, kind: str, file: str, says: str) -> None:
    folder = put(tmp_path / "kept" / file, says).parent
    assert marked(folder) == kind and set(MARKS) == {"journal", "run", "step", "shards", "export", "evaluation", "model"}
    for output in (folder / "out.jsonl", folder / "deep" / "er", folder):
        refused(output, str(folder))
    check_output(folder, own=kind)
    refused(folder / "in", own=kind)


@pytest.mark.parametrize("says", ["{", "[]", "null", "[" * 100_000, json.dumps({"made_by": "others", "files": {}})])
def test_a_folder_of_others_is_none(tmp_path: Path, says: str) -> None:
    for file in ("manifest.json", "export.json", "run.json"):
        put(tmp_path / "theirs" / file, says)
        assert marked(tmp_path / "theirs") is None, file
    check_output(tmp_path / "theirs" / "out.jsonl")


def test_where_in_a_folder_a_path_lies(tmp_path: Path) -> None:
    put(tmp_path / "run" / "step" / "rows.parquet")
    (tmp_path / "link").symlink_to(tmp_path / "run" / "step")
    assert part_below(tmp_path / "run", tmp_path / "link" / "rows.parquet") == "step"
    assert part_below(tmp_path / "run", tmp_path / "run") is None and part_below(tmp_path / "run", tmp_path) is None
    with pytest.raises(InputError, match="no name that could be written"):
        check_output(Path("/"))
