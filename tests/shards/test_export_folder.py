"""The folder of an export: what takes its place, what is kept of it, and how `verify` finds each change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exports import sft

from toolkit import api
from toolkit.common.errors import InputError, InputErrors, Stopped
from toolkit.common.files import tree_digests
from toolkit.shards.exporters import _output_files, export, read_export, verify_export


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sft(tmp_path / "shards")
    export(folder, "openai", tmp_path / "out")
    before = tree_digests(tmp_path / "out")

    def full(self: Any, rows: Any, lines: Any = None) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(_output_files.Sink, "write", full)
        with pytest.raises(Stopped, match="the disk is full"):
            export(folder, "trl", tmp_path / "out")
    assert tree_digests(tmp_path / "out") == before and sorted(p.name for p in tmp_path.iterdir()) == ["out", "shards"]
    export(folder, "trl", tmp_path / "out")
    assert read_export(tmp_path / "out")["to"] == "trl"


def test_what_somebody_put_into_an_export_is_not_replaced_with_it(tmp_path: Path) -> None:
    folder = sft(tmp_path / "shards")
    export(folder, "openai", tmp_path / "out")
    (tmp_path / "out" / "checkpoint").mkdir()
    (tmp_path / "out" / "checkpoint" / "model.bin").write_text("a day's work")
    with pytest.raises(
        InputError,
        match=r"something else is in this export: checkpoint/model.bin\n  move what is yours elsewhere, or give another folder with output",
    ):
        export(folder, "openai", tmp_path / "out")
    assert (tmp_path / "out" / "checkpoint" / "model.bin").read_text() == "a day's work"


def test_an_export_that_somebody_edited_is_not_replaced_in_silence(tmp_path: Path) -> None:
    folder = sft(tmp_path / "shards")
    export(folder, "openai", tmp_path / "out")
    for name, text in (("train.jsonl", '{"corrected": "by hand"}\n'), ("README.md", "# My own words\n")):
        (tmp_path / "out" / name).write_text(text)
    edited = tree_digests(tmp_path / "out")
    for to in ("openai", "trl"):
        with pytest.raises(InputError, match=r"changed since guardkit wrote them: README\.md, train\.jsonl\n.*with output, or say overwrite=True"):
            export(folder, to, tmp_path / "out")
    assert tree_digests(tmp_path / "out") == edited
    with pytest.raises(InputError, match=r"README\.md"):
        api.export(folder, "trl", output=tmp_path / "out")
    assert tree_digests(tmp_path / "out") == edited
    found = api.export(folder, "trl", output=tmp_path / "out", overwrite=True)
    assert found["export"]["to"] == "trl" and verify_export(tmp_path / "out") == found["export"]


def test_two_exports_to_one_place_do_not_mix(tmp_path: Path) -> None:
    folder, refused = sft(tmp_path / "shards"), []

    def another(done: int, rows: int) -> None:
        with pytest.raises(InputError, match="in use by process"):
            export(folder, "trl", tmp_path / "out")
        refused.append(done)

    record = export(folder, "openai", tmp_path / "out", progress=another)
    assert refused and verify_export(tmp_path / "out") == record and record["to"] == "openai"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "shards"]
    assert export(folder, "trl", tmp_path / "out")["to"] == "trl"


def test_verify_finds_every_change(tmp_path: Path) -> None:
    export(sft(tmp_path / "shards"), "openai", tmp_path / "out")
    (tmp_path / "out" / "train.jsonl").write_text("{}\n")
    (tmp_path / "out" / "more.txt").write_text("")
    (tmp_path / "out" / "test.jsonl").unlink()
    with pytest.raises(InputErrors) as e:
        verify_export(tmp_path / "out")
    stated = {Path(str(error.where)).name: error.message for error in e.value.errors}
    assert stated == {
        "more.txt": "not in the export's record",
        "train.jsonl": "its bytes are not those of the record (sha256)",
        "test.jsonl": "missing",
    }
    for words in ("", "[]", '{"made_by": "guardkit", "format": 9}', '{"made_by": "guardkit", "format": 1}'):
        (tmp_path / "out" / "export.json").write_text(words)
        with pytest.raises(InputError, match="export again"):
            verify_export(tmp_path / "out")
