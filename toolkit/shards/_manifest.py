"""The manifest of a shard folder: its form, and what of it a folder can prove.

Format 2. Format 1 (before the card stood in the folder) is read and verified as far as it goes: it has no card, tables, licence or lineage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from toolkit.common.errors import InputError, short_path
from toolkit.common.manifests import SEAL, Below, Sha256, checked
from toolkit.common.manifests import read_manifest as read_sealed
from toolkit.common.paths import near_folder

FORMAT = 2
"""Format of the manifests that are written. A card that is rendered otherwise, and a table that counts otherwise, are another format."""
READ = (1, 2)
"""Formats that are read; another one is refused."""
MANIFEST = "manifest.json"
CARD = "README.md"
AGAIN = "make the shards again"
LATER = ("title", "tables", "card", "licence", "models", "made_from", "kind", "sections", "extends", "rewritten")
"""What no manifest of format 1 has."""

UNPROVEN = {
    "rows": "whether what the rows say is so: texts, labels, who gave them, source, licence, teacher; and which rows were left out or never there",
    "splits": "which split a row belongs to, where rows have no column `split`",
    "guard": "which guard the rows are for: none of that name and fingerprint is at hand, so not even the words of the labels are checked",
    "title": "the heading",
    "step": "the name of the step",
    "kind": "whether the rows are of the kind that it names: the package that brings it is not installed here",
    "sections": "whether the card has the sections that it names: a package that brings one is not installed here",
    "media": "whether the files that its rows refer to are there, with these bytes: `guardkit verify --media FOLDER` looks",
    "licence.target": "whether the licence of the set was asked for or found",
    "made_from": "recipe, steps, options, versions, models' tokens and dollars, and what became of rows on the way; only that the numbers add up",
    "extends": "what the version extended says of its guard, licence, models and steps: only its files, and what it counted, are checked",
    "rewritten": "what the set was before its categories got other names",
    "others": "whatever the manifest says beside its known keys",
}
"""What a manifest says that its folder cannot prove. All else is counted or computed from the files again. A signature says who vouches for it."""


NAMED = ("kind", "sections")
"""What a recipe may name of other packages: the kind of the shards, sections of the card."""

GUARD_FACETS = ("version", "tasks", "input", "output")
"""What of a guard the rows depend on: the manifest's `guard_fingerprint` is of the guard with these facets alone (in shards of an earlier guardkit:
of the whole definition)."""


KNOWN = frozenset(LATER) | {"format", "made_by", "rows", "columns", "files", "counts", "guard", "guard_fingerprint", "guard_input", "step", SEAL}
"""Keys of manifests."""


class _Strict(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid")


class _Open(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="allow")


class _Column(_Strict):
    name: str
    type: str
    nullable: bool


class _File(_Strict):
    rows: int = Field(ge=1)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    split: str


class _Card(_Strict):
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _LicenceRows(_Open):
    licence: str
    id: str | None
    rows: int
    name: str | None
    text: str | None
    obligations: list[str]
    restrictions: list[str]


class _Licence(_Open):
    id: str | None
    target: str | None
    name: str | None
    text: str | None
    hub: str
    rows: list[_LicenceRows]


class _ModelRows(_Open):
    role: str
    model: str
    rows: int
    terms: dict[str, str] | None


class _Usage(_Open):
    answers: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None


class _Stats(_Open):
    usage: dict[str, _Usage] = {}


class _Step(_Open):
    """A step before; `shape`, `factor` and `parents` are not in manifests of an earlier guardkit."""

    step: str
    use: str
    version: int
    came: int = Field(ge=0, alias="in")
    kept: int = Field(ge=0)
    rejected: dict[str, int]
    merged: int = Field(ge=0)
    set_aside: dict[str, int]
    shape: str | None = None
    factor: float | None = None
    parents: int | None = None
    stats: _Stats | None = None


class _MadeFrom(_Open):
    recipe: str | None = None
    steps: list[_Step] = []


class _Manifest(_Open):
    """What every manifest says; a writer may say more."""

    format: int
    made_by: str
    rows: int
    columns: list[_Column] = Field(min_length=1)
    files: dict[Below, _File] = Field(min_length=1)
    counts: dict[str, dict[str, int]]
    guard: str | None = None


class _Manifest2(_Manifest):
    title: str = ""
    tables: dict[str, list[dict[str, Any]]]
    card: _Card
    licence: _Licence | None = None
    models: list[_ModelRows] | None = None
    made_from: _MadeFrom | None = None
    kind: str | None = None
    sections: list[str] = []
    extends: _Extends | None = None
    rewritten: _Rewritten | None = None


def _manifest(value: dict[str, Any]) -> dict[str, Any]:
    """A manifest in a manifest, which stays word for word what it is."""
    _Manifest2.model_validate(value, strict=True)
    return value


class _Extends(_Open):
    """The version that a set extends; `files`: names of its files here, each with its name there."""

    manifest: Annotated[dict[str, Any], AfterValidator(_manifest)]
    manifest_sha256: Sha256
    files: dict[Below, Below] = Field(min_length=1)
    left_out: dict[str, int] = {}
    moved: int = 0
    columns_left_out: dict[str, dict[str, int]] = {}


class _Rewritten(_Open):
    """The set that this one was before its categories got other names; `categories`: the new name by the old one."""

    manifest: Annotated[dict[str, Any], AfterValidator(_manifest)]
    manifest_sha256: Sha256
    categories: dict[str, str | None] = Field(min_length=1)


_Manifest2.model_rebuild()


def with_card(manifest: dict[str, Any], card: str) -> dict[str, Any]:
    """A manifest that names its card."""
    raw = card.encode()
    return {**manifest, "card": {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Manifest of a shard folder.

    Returns:
        format, made_by, rows; columns: [{name, type, nullable}]; files: {path below the folder: {rows, bytes, sha256, split}};
        counts: {column: {value: rows}}; from format 2 on title, tables (see `RowCounts.tables`), card: {bytes, sha256}, and what else its
        writer stated: guard, licence, models, made_from (docs/shards.md).

    Raises:
        InputError: there is none, it is torn or not JSON, or of a format that this guardkit does not read.
    """
    return parse_manifest(folder / MANIFEST)


def trained_on(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """What of a shard folder shapes a model that is trained on it: the data files, and the input of the guard, which the model's folder repeats
    (`toolkit.common.models.trained_for`). The guard's version, the card and what the manifest says of how the rows were made are left out.

    Args:
        folder: of the shards.
        files: all its files with their sha256.
    """
    manifest = read_manifest(folder)
    guard = str(manifest.get("guard")).rpartition(" ")[0]
    data = {n: sha256 for n, sha256 in files.items() if n in manifest["files"]}
    return {"files": data, "kind": manifest.get("kind"), "guard": guard, "input": manifest.get("guard_input")}


def parse_manifest(path: Path) -> dict[str, Any]:
    """A manifest in a file; see `read_manifest`."""
    try:
        data = read_sealed(path, again=AGAIN)
    except FileNotFoundError:
        message, hint = "no manifest.json: not a shard folder, or one that was never finished", near_folder(path.parent)
        raise InputError(message, where=str(path.parent), hint=hint) from None
    if isinstance(step := data.get("step"), str) and "counts" in data and "made_by" not in data:
        hint = f"name a step that made some; `guardkit verify {short_path(path.parent.parent)}` looks at each step of the run"
        raise InputError(f"the step {step!r} made no shards", where=str(path.parent), hint=hint)
    if data.get("made_by") != "guardkit" or "files" not in data:
        raise InputError("not a manifest of guardkit's shards", where=str(path))
    if type(data.get("format")) is not int or data["format"] not in READ:
        raise InputError(f"format {data.get('format')!r}, this guardkit reads {' and '.join(map(str, READ))}", where=str(path))
    return checked(data, _Manifest if data["format"] == 1 else _Manifest2, path, AGAIN)
