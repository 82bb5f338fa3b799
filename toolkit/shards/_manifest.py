"""The manifest of a shard folder, and the check of the folder against it.

Format 2. Format 1 (before the card stood in the folder) is read and verified as far as it goes: it has no card, tables, licence or lineage.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file
from toolkit.shards._licences import load_licences, resolve
from toolkit.shards._tables import Tables

FORMAT = 2
"""Format of the manifests that are written."""
READ = (1, 2)
"""Formats that are read; another one is refused."""
MANIFEST = "manifest.json"
CARD = "README.md"
AGAIN = "make the shards again"


class _Column(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    type: str
    nullable: bool


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rows: int = Field(ge=1)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    split: str


class _Card(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _LicenceRows(BaseModel):
    model_config = ConfigDict(extra="allow")

    licence: str
    rows: int


class _Licence(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: str | None
    target: str | None
    rows: list[_LicenceRows] = []


class _ModelRows(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: str
    model: str
    rows: int


class _Manifest(BaseModel):
    """What every manifest says; a writer may say more."""

    model_config = ConfigDict(extra="allow")

    format: int
    made_by: str
    rows: int
    columns: list[_Column] = Field(min_length=1)
    files: dict[str, _File] = Field(min_length=1)
    counts: dict[str, dict[str, int]]


class _Manifest2(_Manifest):
    tables: dict[str, list[dict[str, Any]]]
    card: _Card
    licence: _Licence = _Licence(id=None, target=None)
    models: list[_ModelRows] = []


def sealed(manifest: dict[str, Any], card: str) -> dict[str, Any]:
    """A manifest that names its card."""
    raw = card.encode()
    return {**manifest, "card": {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Manifest of a shard folder.

    Returns:
        format, made_by, rows; columns: [{name, type, nullable}]; files: {path below the folder: {rows, bytes, sha256, split}};
        counts: {column: {value: rows}}; from format 2 on title, tables (see `Tables.told`), card: {bytes, sha256}, and what else its
        writer said: guard, licence, models, made_from (docs/shards.md).

    Raises:
        InputError: there is none, it is torn or not JSON, or of a format that this guardkit does not read.
    """
    from toolkit.common.jsontext import loads_once

    path = folder / MANIFEST
    try:
        data = loads_once(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError("no manifest.json: not a shard folder, or one that was never finished", where=str(folder)) from None
    except OSError as e:
        raise InputError(e.strerror or "unreadable", where=str(path)) from None
    except (ValueError, RecursionError):
        raise InputError("torn or not JSON", where=str(path), hint=AGAIN) from None
    if not isinstance(data, dict) or data.get("made_by") != "guardkit" or "files" not in data:
        raise InputError("not a manifest of guardkit's shards", where=str(path))
    if data.get("format") not in READ:
        raise InputError(f"format {data.get('format')!r}, this guardkit reads {' and '.join(map(str, READ))}", where=str(path))
    model = _Manifest if data["format"] == 1 else _Manifest2
    try:
        return model.model_validate(data, strict=True).model_dump(exclude_unset=True)
    except ValidationError as e:
        at = ".".join(str(part) for part in e.errors()[0]["loc"])
        raise InputError(f"{at}: {e.errors()[0]['msg']}", where=str(path), hint=AGAIN) from None


def verify(folder: Path) -> dict[str, Any]:
    """Check a shard folder against its manifest: every file there, nothing else, sizes, sha256, row counts, columns; from format 2 on the
    card, too, and, once the files are sound, all that the manifest counts of their rows, and its licence against those of the rows.

    Returns:
        The manifest.

    Raises:
        InputError: no manifest that can be read; InputErrors: all that is wrong, each with its file.
    """
    manifest = read_manifest(folder)
    named = {MANIFEST, *([CARD] if "card" in manifest else [])}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    extra = there - set(manifest["files"]) - named
    errors = [InputError("not in the manifest", where=str(folder / name), hint="a shard folder holds nothing else") for name in sorted(extra)]
    if "card" in manifest and (fault := _other_bytes(folder / CARD, manifest["card"]) if CARD in there else "missing"):
        errors.append(InputError(fault, where=str(folder / CARD), hint=AGAIN))
    broken = False
    for name, about in manifest["files"].items():
        fault = _fault(folder / name, about, manifest["columns"]) if name in there else "missing"
        if fault:
            broken = True
            errors.append(InputError(fault, where=str(folder / name), hint=AGAIN))
    said = ([] if broken else _false_counts(folder, manifest)) or _false_licence(manifest)
    errors += [InputError(words, where=str(folder / MANIFEST), hint=AGAIN) for words in said]
    if errors:
        raise InputErrors(errors)
    return manifest


def _false_counts(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """What the manifest says of its rows together that is not so."""
    if manifest["rows"] != sum(about["rows"] for about in manifest["files"].values()):
        return ["its row count is not that of its files together"]
    if manifest["format"] == 1:
        return []
    tables = Tables([c["name"] for c in manifest["columns"]])
    for name, about in manifest["files"].items():
        if fault := _count(folder / name, about, tables):
            return [f"{name}: {fault}"]
    counts = tables.counts()
    out = [f"counts: {name} is not what its rows say" for name, n in counts.items() if manifest["counts"].get(name) != n]
    out += [f"tables: {name} is not what its rows say" for name, lines in tables.told().items() if manifest["tables"].get(name) != lines]
    said = [("licence", "licence", line["licence"], line) for line in manifest.get("licence", {}).get("rows", [])]
    said += [("models", line["role"], line["model"], line) for line in manifest.get("models", [])]
    false = {part: None for part, column, value, line in said if counts.get(column, {}).get(value) != line["rows"]}
    return out + [f"{part}: the numbers of rows are not what its rows say" for part in false]


def _count(path: Path, about: dict[str, Any], tables: Tables) -> str | None:
    """Count the rows of a file; what is wrong with it where it cannot be read."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not tables.columns:
        tables.add(pl.DataFrame(pl.from_arrow(pa.table({"n": range(about["rows"])}))), about["split"])
        return None
    try:
        with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as f:
            for batch in f.iter_batches(8192, columns=tables.columns, use_threads=False):
                batch.validate(full=True)  # polars takes text for UTF-8 unseen
                tables.add(pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch]))), about["split"])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        return f"its rows cannot be read: {_first_line(e)}"
    return None


def _false_licence(manifest: dict[str, Any]) -> list[str]:
    """Whether the set carries a licence that its rows, by today's table, may not go into."""
    carried = manifest.get("licence", {}).get("id")
    if carried is None:
        return []
    table = load_licences()
    if table.find(carried) is None:
        return [f"licence: {carried!r} is not known (schemas/licences)"]
    refused = [word if table.find(word) else f"{word} (not known)" for word in resolve(manifest["counts"].get("licence", {}), carried, table).refused]
    return [f"licence: {carried}, but rows are under {', '.join(refused)}, which may not go into it"] if refused else []


def _other_bytes(path: Path, about: dict[str, Any]) -> str | None:
    """Whether a file is not the one of which `about` has size and sha256."""
    if path.is_symlink():
        return "a link, not a file"
    if path.stat().st_size != about["bytes"] or sha256_file(path) != about["sha256"]:
        return "its bytes are not those of the manifest (sha256)"
    return None


def _fault(path: Path, about: dict[str, Any], columns: list[dict[str, Any]]) -> str | None:
    """What is wrong with one file of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if other := _other_bytes(path, about):
        return other
    try:
        with pq.ParquetFile(path) as f:
            rows, schema = f.metadata.num_rows, f.schema_arrow
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:  # a broken footer shows as any of them
        return f"not parquet: {_first_line(e)}"
    if rows != about["rows"]:
        return f"it has {rows:,} rows, the manifest says {about['rows']:,}"
    found = [{"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in schema]
    return None if found == columns else "its columns are not those of the manifest"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
