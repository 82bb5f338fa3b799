"""`verify` trusts nothing that a forger, or a careless editor, would set: a sound folder is changed in one place at a time and sealed anew (digests,
card), as a forger would. Either verify refuses it, or what was changed is on the list of what no folder can prove about itself."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from exports import sft
from shardrows import COLUMNS, make, rows

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file
from toolkit.common.manifests import sealed
from toolkit.records import Column, to_arrow
from toolkit.shards import card, licence_section, load_licences, models_section, read_manifest, unproven, verify

STEPS = [
    {"step": "load", "use": "load", "version": 3, "options": {"files": ["a"]}, "shape": "source", "in": 14, "kept": 13, "rejected": {"no_text": 1}, "merged": 0, "set_aside": {}},
    {"step": "pick", "use": "select", "version": 1, "options": {}, "shape": "select", "in": 13, "kept": 12, "rejected": {}, "merged": 0, "set_aside": {"not_here": 1}},
]  # fmt: skip
UNPROVABLE = ("title", "step", "guard", "guard_fingerprint", "guard_input", "licence.target", "made_from", "new")
"""Fields that a forger may set: `unproven` names each, or the part of the manifest that it belongs to."""
Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = load_licences()

    def about(counts: dict[str, dict[str, int]]) -> dict[str, Any]:
        out: dict[str, Any] = {"title": "Eggs", "guard": "another 1", "guard_fingerprint": "0" * 64, "guard_input": "1" * 64, "step": "shards"}
        out |= {"licence": licence_section(counts["licence"], None, table), "models": models_section(counts, table)}
        return out | {"made_from": {"recipe": "eggs", "version": 2, "seed": 1, "digest": "2" * 64, "steps": STEPS}}

    frame = rows(12).with_columns(teacher=pl.lit("gpt-4o"), licence=pl.Series(["CC0-1.0", "CC-BY-4.0"] * 6))
    folder = tmp_path_factory.mktemp("sound") / "s"
    make(folder, {"train": frame[:9], "test": frame[9:]}, per_shard=6, about=about)
    verify(folder)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "s")


def seal(folder: Path, manifest: dict[str, Any], text: str | None = None) -> None:
    """Write a manifest, and the card that goes with it."""
    if "card" in manifest and text is None:
        try:
            text = card(manifest)
        except Exception:  # noqa: BLE001  a manifest of no form: the old card stays
            text = (folder / "README.md").read_text()
    if "card" in manifest and isinstance(manifest["card"], dict):
        (folder / "README.md").write_text(str(text))
        raw = str(text).encode()
        manifest["card"] |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest) if "seal" in manifest else manifest))


def changes(value: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every place below a value, with other values for it; `...` for none at all."""
    if at:
        yield at, ...
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from changes(inner, (*at, key))
        yield (*at, "new"), 1
    elif isinstance(value, list):
        for i, inner in enumerate(value[:2]):
            yield from changes(inner, (*at, i))
        yield at, [*value, *value[:1], *([] if value else ["new"])]
    elif isinstance(value, bool | None):
        yield from ((at, "new"), (at, not value))
    elif isinstance(value, int):
        yield from ((at, value + 1), (at, -1), (at, str(value)))
    elif isinstance(value, str):
        yield from ((at, f"{value}x"), (at, ""), (at, None))


def changed(value: Any, at: Place, new: Any) -> Any:
    value = copy.deepcopy(value)
    below = value
    for part in at[:-1]:
        below = below[part]
    if new is ...:
        del below[at[-1]]
    else:
        below[at[-1]] = new
    return value


def accepted(folder: Path) -> bool:
    try:
        verify(folder)
    except InputError:
        return False
    return True


def test_no_field_of_the_manifest_is_trusted(folder: Path) -> None:
    whole = read_manifest(folder)
    passed: set[str] = set()
    tried = 0
    for at, new in changes(whole):
        manifest = changed(whole, at, new)
        if at[0] == "card":  # sealing would mend it
            seal(folder, copy.deepcopy(whole))
            (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))
        elif at[0] == "seal":
            (folder / "manifest.json").write_text(json.dumps(manifest))
            assert accepted(folder) == (new is ...), "without one it may be an earlier guardkit's"
            continue
        else:
            seal(folder, manifest)
        tried += 1
        if accepted(folder):
            passed.add(".".join(map(str, at)))
        elif at[0] in UNPROVABLE and new is not ... and isinstance(new, str) and at[0] != "made_from" and new:
            pytest.fail(f"{at} {new!r} was refused, and is listed as unprovable")
    assert tried > 300
    assert not {p for p in passed if not p.startswith(UNPROVABLE)}
    found = unproven(whole | {"new": 1})
    assert set(found) == {"rows", "splits", "guard", "title", "step", "licence.target", "made_from", "others"} and all(found.values())


def test_sums_of_the_steps_before_are_held_against_each_other(folder: Path) -> None:
    whole = read_manifest(folder)
    for step in (0, 1):
        for key in ("in", "kept", "merged"):
            seal(folder, changed(whole, ("made_from", "steps", step, key), whole["made_from"]["steps"][step][key] + 1))
            assert not accepted(folder)
    seal(folder, changed(whole, ("made_from", "steps", 0, "rejected", "no_text"), 5))
    assert not accepted(folder)
    old = copy.deepcopy(whole)
    for s in old["made_from"]["steps"]:
        del s["shape"]  # a manifest of an earlier guardkit
    seal(folder, old)
    assert accepted(folder)
    seal(folder, changed(old, ("made_from", "steps", 0, "in"), 99))
    assert not accepted(folder), "rows went lost"


def test_no_line_of_the_card_is_trusted(folder: Path) -> None:
    manifest, lines = read_manifest(folder), (folder / "README.md").read_text().split("\n")
    for i, line in enumerate(lines):
        other = ([line + "."], [], [line, "Reviewed by people."])[i % 3]
        seal(folder, manifest, "\n".join([*lines[:i], *other, *lines[i + 1 :]]))
        assert not accepted(folder), (i, line, other)
    seal(folder, manifest, "\n".join(lines))
    assert accepted(folder)


OTHER = {
    "id": f"{1:024x}", "source": "gold", "licence": "MIT", "teacher": "people", "label_fresh": "stale", "label_fresh_source": "vote",
    "categories": ["cake"], "steps": 3, "step_chars": 99,
}  # fmt: skip
"""Another value for the first row, in each column that the check covers; `id` is the second row's."""


@pytest.mark.parametrize("column", [c.name for c in COLUMNS])
def test_a_changed_row_is_found_by_what_is_recorded_of_it(folder: Path, column: str) -> None:
    """Texts and weights are the rows' own: nothing but the sha256 speaks of them."""
    name = "data/train-00000-of-00002.parquet"
    frame = pl.read_parquet(folder / name)
    new = {"prompt": frame["prompt"][1], "completion": frame["completion"][1], "weight": 0.5}.get(column, OTHER.get(column))
    one = frame[:1].with_columns(pl.Series(column, [new], dtype=frame.schema[column], strict=False))
    table = pl.concat([one, frame[1:]]).to_arrow().cast(to_arrow(COLUMNS))
    pq.write_table(table, folder / name, write_page_index=True)
    manifest = read_manifest(folder)
    manifest["files"][name] |= {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
    seal(folder, manifest)
    assert accepted(folder) == (column in ("prompt", "completion", "weight"))


def test_every_file_is_accounted_for(folder: Path) -> None:
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    manifest = read_manifest(folder)
    for name in names:
        raw = (folder / name).read_bytes()
        (folder / name).unlink()
        assert not accepted(folder), name
        (folder / name).write_bytes(raw)
        (folder / f"{name}.more").write_bytes(raw)
        assert not accepted(folder), name
        (folder / f"{name}.more").unlink()
    assert accepted(folder)
    files = manifest["files"]
    for old, new in (
        ("data/test-00000-of-00001.parquet", "data/extra-00000-of-00001.parquet"),
        ("data/train-00001-of-00002.parquet", "data/x.parquet"),
    ):
        (folder / old).rename(folder / new)
        seal(folder, manifest | {"files": {new if n == old else n: f for n, f in files.items()}})
        assert not accepted(folder), "files are called after their splits"
        (folder / new).rename(folder / old)


def test_rows_say_their_split_themselves(tmp_path: Path) -> None:
    """A split that rows name in a column is not the manifest's to say."""
    from toolkit.shards import ShardWriter

    for answer, fine in ((None, True), ("train", True), ("test", False)):
        frame = pl.DataFrame({"id": ["a", "b"], "split": ["train", answer]}, schema={"id": pl.String, "split": pl.String})
        writer = ShardWriter(tmp_path / str(answer), (Column("id", "string"), Column("split", "string", nullable=True)), 10)
        writer.write(frame, "train")
        writer.finish({})
        assert accepted(tmp_path / str(answer)) == fine


@pytest.mark.parametrize("strip", [False, True])
def test_a_folder_of_format_2_does_not_become_one_of_format_1(folder: Path, strip: bool) -> None:
    """It had no more checks then than sizes and digests."""
    manifest = read_manifest(folder) | {"format": 1}
    if strip:
        (folder / "README.md").unlink()
        manifest = {k: manifest[k] for k in ("format", "made_by", "rows", "columns", "files", "counts", "guard")}
    manifest["counts"]["source"] = {"gold": 12}
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest) if "seal" in manifest else manifest))
    with pytest.raises(InputErrors, match="it says format 1, and has what came later"):
        verify(folder)


def test_a_folder_of_format_1_is_what_it_was(tmp_path: Path) -> None:
    """As the first guardkit wrote it: parquet without a page index; rows, columns, files, and counts of source, licence, teacher and split."""
    folder = tmp_path / "one"
    (folder / "data").mkdir(parents=True)
    frame, name = rows(10), "data/train-00000-of-00001.parquet"
    pq.write_table(frame.to_arrow().cast(to_arrow(COLUMNS)), folder / name, compression="zstd")
    counts = {n: dict(frame[n].fill_null("unknown").value_counts().iter_rows()) for n in ("source", "licence", "teacher")} | {"split": {"train": 10}}
    manifest = {
        "guard": "guardreasoner 1", "guard_fingerprint": "0" * 64, "step": "shards", "format": 1, "made_by": "guardkit", "rows": 10,
        "columns": [{"name": f.name, "type": str(f.type), "nullable": f.nullable} for f in pq.read_schema(folder / name)],
        "files": {name: {"rows": 10, "bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name), "split": "train"}},
        "counts": counts,
    }  # fmt: skip
    seal(folder, manifest)
    assert verify(folder) == manifest == read_manifest(folder)
    assert "# guardkit shards" in card(manifest) and "Licences of the rows: CC0-1.0." in card(manifest)
    wrong: dict[str, Any]
    for wrong in ({"source": {"gold": 10}}, {"language": {"en": 10}}, {"teacher": {}}):
        seal(folder, manifest | {"counts": counts | wrong})
        assert not accepted(folder), wrong
    seal(folder, manifest)
    (folder / name).write_bytes((folder / name).read_bytes() + b"x")
    assert not accepted(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_prompt": "Harmful"}, "label_prompt: 'Harmful' is no label of the guard's"),
        ({"label_refusal": "refusal", "label_refusal_source": "absent"}, "label_refusal: rows have the label 'refusal', and its origin 'absent'"),
        ({"label_prompt": None}, "label_prompt: rows have no label, and its origin 'human' says that there is one"),
    ],
)
def test_labels_are_words_of_the_guard_that_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert "guard" not in unproven(verify(sft(tmp_path / "sound")))
    with pytest.raises(InputErrors, match=message):
        verify(sft(tmp_path / "s", **change))


def test_a_guard_is_taken_by_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest from elsewhere makes nobody read a file of its choice; an unknown guard, or another one of that name, is listed as unproven."""
    folder = sft(tmp_path / "s")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("no: guard\n")
    for guard in ("mine.yaml 1", str(tmp_path / "mine.yaml 1"), "unheard_of 1", "guardreasoner 99"):
        seal(folder, read_manifest(folder) | {"guard": guard})
        assert "guard" in unproven(verify(folder))
    seal(folder, read_manifest(sft(tmp_path / "t")) | {"guard_input": "0" * 64})
    assert not accepted(folder)


def test_ids_with_equal_hashes_alone_are_no_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Series, "hash", lambda s, **_: pl.Series([7] * s.len(), dtype=pl.UInt64))
    assert accepted(folder)
