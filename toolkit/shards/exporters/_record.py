"""An export's own manifest, ``export.json``: what it was made from, each file's sha256 and rows, and what the format could not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.folders import Kind, files_below
from toolkit.common.manifests import Below, checked, read_json
from toolkit.common.reading import sha256_once
from toolkit.shards._sign import SUFFIX, signature_of

FORMAT = 1
"""Format of the record; another one is refused."""
RECORD = "export.json"


class _File(BaseModel):
    """`rows`, `config` and `split`: of a file of data."""

    model_config = ConfigDict(extra="forbid")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    rows: int = 0
    config: str = ""
    split: str = ""


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow")

    format: int
    made_by: str
    to: str
    doc: str
    of: dict[str, Any]
    licence: dict[str, Any] | None
    rows: int
    weights: dict[str, Any]
    left_out: list[str]
    notes: list[str]
    files: dict[Below, _File] = Field(min_length=1)
    counts: dict[str, dict[str, int]]


def read_export(folder: Path) -> dict[str, Any]:
    """Record of an exported folder.

    Returns:
        format, made_by, to (the format's name), doc, of ({manifest_sha256, …} of the shards), licence (as in their
        manifest), rows (of the shards), files: {path: {bytes,
        sha256; rows, config, split for data}}, weights, left_out, notes, counts.

    Raises:
        InputError: there is none, it is torn or not JSON, or of a form that this guardkit does not read.
    """
    path = folder / RECORD
    try:
        data = read_json(path, again="export again")
    except FileNotFoundError:
        raise InputError(f"no {RECORD}: not an exported folder, or one that was never finished", where=str(folder)) from None
    if not isinstance(data, dict) or data.get("made_by") != "guardkit" or data.get("format") != FORMAT:
        raise InputError("not a record of guardkit's exports, or of another version", where=str(path), hint="export again")
    return checked(data, _Record, path, "export again")


def _wrote(folder: Path) -> dict[str, str | None] | None:
    """The files of an export; see `toolkit.common.folders.Kind`."""
    try:
        return {RECORD: None, RECORD + SUFFIX: None, **{name: about["sha256"] for name, about in read_export(folder)["files"].items()}}
    except InputError:
        return None


EXPORT = Kind("export", _wrote, "give another folder with --output", "--overwrite")


def verify_export(folder: Path, *, signature: bool = True) -> dict[str, Any]:
    """Check an exported folder against its record: every file there, nothing else, sizes and sha256; then its rows, what it says of the shards, its
    page (see `toolkit.shards.exporters._check`), and a signature, where there is one.

    Args:
        folder: of an export.
        signature: whether one is checked; False is for whoever is about to replace it.

    Returns:
        The record.

    Raises:
        InputError: no record that can be read; InputErrors: all that is wrong, each with its file.
    """
    record = read_export(folder)
    there = files_below(folder)
    extra = sorted(there - set(record["files"]) - {RECORD, RECORD + SUFFIX})
    errors = [InputError("not in the export's record", where=str(folder / name), hint="move it elsewhere") for name in extra]
    for name, about in record["files"].items():
        path = folder / name
        if name not in there:
            errors.append(InputError("missing", where=str(path), hint="export again"))
        elif path.is_symlink() or path.stat().st_size != about["bytes"] or sha256_once(path, path) != about["sha256"]:
            errors.append(InputError("its bytes are not those of the record (sha256)", where=str(path), hint="export again"))
    if not errors:
        from toolkit.shards.exporters._check import contradictions

        errors = [InputError(words, where=str(folder / RECORD), hint="export again") for words in contradictions(folder, record)]
    if errors:
        raise InputErrors(errors)
    if signature:
        signature_of(folder / RECORD)
    return record
