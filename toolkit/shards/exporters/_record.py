"""An export's own manifest, ``export.json``: what it was made from, each file's sha256 and rows, and what the format could not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.errors import InputError
from toolkit.common.folders import Kind
from toolkit.common.manifests import Below, checked, read_json
from toolkit.shards._sign import SUFFIX

FORMAT = 1
"""Format of the record; another one is refused."""
RECORD = "export.json"
ABOUT = ("title", "guard", "guard_fingerprint", "guard_input", "recipe", "models", "made_from")
"""What the record says of the shards."""


class _File(BaseModel):
    """`rows`, `config` and `split`: of a file of data; `media`: of one that rows refer to."""

    model_config = ConfigDict(defer_build=True, extra="forbid")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    rows: int = 0
    config: str = ""
    split: str = ""
    media: bool = False


class _Record(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="allow")

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
        sha256; rows, config, split for data; media for files that rows refer to}}, weights, left_out, notes, counts.

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


EXPORT = Kind("export", _wrote, "give another folder with {--output|output}", "{--overwrite|overwrite=True}")
