"""An export's own manifest, ``export.json``: what it was made from, each file's sha256 and rows, and what the format could not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file
from toolkit.common.jsontext import loads_once

FORMAT = 1
"""Format of the record; another one is refused."""
RECORD = "export.json"


class _File(BaseModel):
    model_config = ConfigDict(extra="allow")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow")

    format: int
    made_by: str
    to: str
    rows: int
    files: dict[str, _File] = Field(min_length=1)
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
        data = loads_once(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no {RECORD}: not an exported folder, or one that was never finished", where=str(folder)) from None
    except OSError as e:
        raise InputError(e.strerror or "unreadable", where=str(path)) from None
    except (ValueError, RecursionError):
        raise InputError("torn or not JSON", where=str(path), hint="export again") from None
    if not isinstance(data, dict) or data.get("made_by") != "guardkit" or data.get("format") != FORMAT:
        raise InputError("not a record of guardkit's exports, or of another version", where=str(path), hint="export again")
    try:
        return _Record.model_validate(data, strict=True).model_dump()
    except ValidationError as e:
        at = ".".join(str(part) for part in e.errors()[0]["loc"])
        raise InputError(f"{at}: {e.errors()[0]['msg']}", where=str(path), hint="export again") from None


def files_below(folder: Path) -> set[str]:
    """Paths of all that lies below a folder and is no folder itself."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}


def verify_export(folder: Path) -> dict[str, Any]:
    """Check an exported folder against its record: every file there, nothing else, sizes and sha256.

    Returns:
        The record.

    Raises:
        InputError: no record that can be read; InputErrors: all that is wrong, each with its file.
    """
    record = read_export(folder)
    there = files_below(folder)
    extra = sorted(there - set(record["files"]) - {RECORD})
    errors = [InputError("not in the export's record", where=str(folder / name), hint="move it elsewhere") for name in extra]
    for name, about in record["files"].items():
        path = folder / name
        if name not in there:
            errors.append(InputError("missing", where=str(path), hint="export again"))
        elif path.is_symlink() or path.stat().st_size != about["bytes"] or sha256_file(path) != about["sha256"]:
            errors.append(InputError("its bytes are not those of the record (sha256)", where=str(path), hint="export again"))
    if errors:
        raise InputErrors(errors)
    return record
