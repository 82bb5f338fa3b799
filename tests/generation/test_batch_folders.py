"""Among the batches' folders only those of batches are touched, and of them only a batch's own files."""

from __future__ import annotations

from pathlib import Path

from journals import ask

from toolkit.generation import Journal, purge_journal
from toolkit.generation.backends._batch_lines import line_of
from toolkit.generation.backends._batch_store import Draft, adopt


def test_somebodys_own_folders_among_the_batches_stay(tmp_path: Path) -> None:
    root = tmp_path / "batches"
    names = ("notes", ".notes", ".notes.old", "7-of-9", ".000001-diary.new")
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "requests.jsonl").write_text("mine")
    with Journal(tmp_path):
        assert adopt(root, "e", "m") == []
    purge_journal(tmp_path, rows=["row-1"])
    assert {p.parent.name: p.read_text() for p in root.glob("*/requests.jsonl")} == dict.fromkeys(names, "mine")
    assert not list(root.glob("*/lock"))


def test_a_batch_that_goes_takes_nothing_along(tmp_path: Path) -> None:
    root = tmp_path / "batches"
    draft = Draft(root)
    draft.add(ask(1), line_of(ask(1)))
    parcel = draft.seal("e", "m")
    assert {oct(p.stat().st_mode & 0o777) for p in root.rglob("*")} == {"0o700", "0o600"}
    (parcel.folder / "notes.txt").write_text("mine")
    parcel.discard()
    assert [p.read_text() for p in root.rglob("*") if p.is_file()] == ["mine"]
    empty = Draft(root)
    empty.drop()
    assert adopt(root, "e", "m") == [] and [p.name for p in root.rglob("*") if p.is_file()] == ["notes.txt"]
