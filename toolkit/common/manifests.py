"""JSON that guardkit itself wrote (manifests, records of runs and exports), read as if anybody had: bounded, checked, never trusted.

One reader for all of them. A file of more than `MOST` bytes, nested deeper than `DEPTH`, with a key twice, not JSON, or with a value of another type
than its schema says is an `InputError` with its place; so is what the system does not give (a folder in its place, no permission, an I/O error).
A manifest may carry a seal, a digest of all else in it: one that does not fit says that the file was changed after it was written. It proves nothing
against a writer who means to deceive.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from toolkit.common.errors import InputError
from toolkit.common.jsontext import loads_once
from toolkit.common.reading import regular, unreadable

MOST = 64 << 20
"""Bytes of a file, at most."""
DEPTH = 64
"""Levels of nesting, at most."""
SEAL = "seal"
"""Key of a manifest's digest of itself."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _below(name: str) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or path.as_posix() != name or "\0" in name:
        raise ValueError("is no path below the folder")
    return name


Below = Annotated[str, AfterValidator(_below)]
"""A path below the folder of the manifest."""


def read_bytes(path: Path) -> bytes:
    """The bytes of a small file.

    Raises:
        FileNotFoundError: there is none (also where a folder above it is none).
        InputError: it is too large or no regular file, or the system does not give it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except OSError as e:
        raise unreadable(e, path) from None
    try:
        regular(fd, path)
        with os.fdopen(fd, "rb", closefd=False) as f:
            data = f.read(MOST + 1)
    except OSError as e:
        raise unreadable(e, path) from None
    finally:
        os.close(fd)
    if len(data) > MOST:
        raise InputError(f"has more than {MOST:,} bytes", where=str(path))
    return data


def read_json(path: Path, *, again: str | None = None) -> Any:
    """What a JSON file says.

    Args:
        path: of the file.
        again: hint: how it is made anew.

    Raises:
        FileNotFoundError: there is none.
        InputError: it cannot be read.
    """
    data = read_bytes(path)
    try:
        value = loads_once(data.decode("utf-8"))
        if _too_deep(value):
            raise ValueError(f"nested deeper than {DEPTH} levels")
    except ValueError as e:
        raise InputError(f"torn or not JSON: {str(e)[:200]}", where=str(path), hint=again) from None
    return value


def read_manifest(path: Path, *, again: str | None = None) -> dict[str, Any]:
    """A JSON object, and that its seal, where it has one, fits. Raises as `read_json`."""
    value = read_json(path, again=again)
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=str(path), hint=again)
    if SEAL in value and value[SEAL] != _seal(value):
        raise InputError("has been changed since it was written (its seal does not fit)", where=str(path), hint=again)
    return value


def checked(value: Mapping[str, Any], model: type[BaseModel], path: Path, again: str | None = None) -> dict[str, Any]:
    """A value that is as `model` says, strictly.

    Raises:
        InputError: it is not.
    """
    try:
        return model.model_validate(value, strict=True).model_dump(exclude_unset=True, by_alias=True)
    except ValidationError as e:
        first = e.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{at}: {first['msg'].removeprefix('Value error, ')}", where=str(path), hint=again) from None


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with its seal."""
    return {**value, SEAL: _seal(value)}


def _seal(value: Mapping[str, Any]) -> str:
    rest = {k: v for k, v in value.items() if k != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH):
        level = [v for one in level for v in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())]
        if not level:
            return False
    return True
