"""`verify` trusts nothing of an export that a forger would set: see test_forged.py. What an export says of the shards is held against their manifest,
which is in it."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from exports import dpo, sft
from test_forged import changed, changes

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file
from toolkit.common.manifests import sealed
from toolkit.shards import card
from toolkit.shards.exporters import Weights, export, read_export, unproven_of_export, verify_export
from toolkit.shards.exporters._page import page

UNPROVABLE = ("version", "notes", "new")
FORMATS = [
    ("trl", None),
    ("llamafactory", None),
    ("verl", None),
    ("ms-swift", None),
    ("openai", "repeat"),
    ("openai", "drop"),
    ("guardreasoner", None),
]


def accepted(folder: Path) -> bool:
    try:
        verify_export(folder)
    except InputError:
        return False
    return True


def seal(folder: Path, record: Any) -> None:
    """Write a record, and the page that goes with it."""
    shards: Any = json.loads((folder / "shards.json").read_text()) if (folder / "shards.json").exists() else None
    try:
        text = page(record, card(shards))
        (folder / "README.md").write_text(text)
        record["files"]["README.md"] |= {"bytes": len(text.encode()), "sha256": sha256_file(folder / "README.md")}
    except Exception:  # noqa: BLE001, S110  a record of no form: the old page stays
        pass
    (folder / "export.json").write_text(json.dumps(record))


def made(tmp_path: Path, to: str, weights: Weights | None) -> Path:
    shards = dpo(tmp_path / "shards", 9) if weights else sft(tmp_path / "shards", 9)
    export(shards, to, tmp_path / "out", weights=weights, split="train" if to == "guardreasoner" else None)
    return tmp_path / "out"


@pytest.mark.parametrize(("to", "weights"), FORMATS)
def test_no_field_of_the_record_is_trusted(tmp_path: Path, to: str, weights: Weights | None) -> None:
    folder = made(tmp_path, to, weights)
    whole, passed = read_export(folder), set()
    assert accepted(folder)
    for at, new in changes({k: v for k, v in whole.items() if k != "of"} | {"of": {"manifest_sha256": whole["of"]["manifest_sha256"], "title": "x"}}):
        record = changed(copy.deepcopy(whole), at, new) if at != ("of", "title") else changed(whole, at, "another")
        if at[:2] == ("files", "README.md"):  # sealing would mend it
            seal(folder, copy.deepcopy(whole))
            (folder / "export.json").write_text(json.dumps(record))
        else:
            seal(folder, record)
        if accepted(folder):
            passed.add(".".join(map(str, at)))
    more = ("weights.",) if weights == "repeat" else ()
    assert not {p for p in passed if not p.startswith((*UNPROVABLE, *more))}
    found = unproven_of_export(whole | {"new": 1}, folder)
    assert {"rows", "version", "notes", "counts", "others", "of.made_from", "of.title"} - {"of.made_from"} <= set(found)
    assert ("weights" in found) == (weights is not None)


@pytest.mark.parametrize(("to", "weights"), FORMATS[:3])
def test_what_rows_say_of_themselves_is_counted(tmp_path: Path, to: str, weights: Weights | None) -> None:
    """A forger who sets counts in the record and in the shards' manifest alike."""
    folder = made(tmp_path, to, weights)
    record, shards = read_export(folder), json.loads((folder / "shards.json").read_text())
    for one in (record, shards):
        one["counts"]["teacher"] = {"people": 9}
    for line in shards["models"]:
        line |= {"model": "people", "rows": 9, "terms": None}
    shards["models"] = record["of"]["models"] = shards["models"][:1]
    (folder / "shards.json").write_text(json.dumps(sealed(shards)))
    record["files"]["shards.json"] = {"bytes": (folder / "shards.json").stat().st_size, "sha256": sha256_file(folder / "shards.json")}
    record["of"]["manifest_sha256"] = sha256_file(folder / "shards.json")
    seal(folder, record)
    with pytest.raises(InputErrors, match="counts: teacher is not what the rows of"):
        verify_export(folder)


def test_every_file_and_every_line_of_the_page_is_accounted_for(tmp_path: Path) -> None:
    folder = made(tmp_path, "llamafactory", None)
    whole = read_export(folder)
    text = (folder / "README.md").read_text()
    for i, line in enumerate(lines := text.split("\n")):
        other = ([line + "."], [], [line, "Reviewed by people."])[i % 3]
        (folder / "README.md").write_text("\n".join([*lines[:i], *other, *lines[i + 1 :]]))
        size = {"bytes": (folder / "README.md").stat().st_size, "sha256": sha256_file(folder / "README.md")}
        (folder / "export.json").write_text(json.dumps(changed(whole, ("files", "README.md"), size)))
        assert not accepted(folder), line
    (folder / "README.md").write_text(text)
    for name in ("train.jsonl", "dataset_info.json"):
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw + raw if name == "train.jsonl" else raw.replace(b"sharegpt", b"alpaca"))
        size = {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        seal(folder, changed(whole, ("files", name), whole["files"][name] | size))
        assert not accepted(folder), name
        (folder / name).write_bytes(raw)
    seal(folder, changed(whole, ("files", "more.txt"), {"bytes": 1, "sha256": sha256_file(folder / "README.md")}))
    assert not accepted(folder)


def test_an_export_of_an_earlier_guardkit_says_what_it_cannot_prove(tmp_path: Path) -> None:
    """Without the shards' manifest in it."""
    folder = made(tmp_path, "trl", None)
    record = read_export(folder)
    del record["files"]["shards.json"]
    (folder / "shards.json").unlink()
    (folder / "export.json").write_text(json.dumps(record))
    assert "shards" in unproven_of_export(verify_export(folder), folder)
    for at, new in ((("counts", "source"), {"gold": 9}), (("rows",), 10), (("left_out",), ["id", "source"]), (("to",), "openai"), (("doc",), "x")):
        (folder / "export.json").write_text(json.dumps(changed(record, at, new)))
        assert not accepted(folder), at
    shutil.rmtree(folder)
