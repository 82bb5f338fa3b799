"""JSON Lines, JSON and CSV as parquet, once: what is not parquet has no row groups to be lazy over."""

from __future__ import annotations

import atexit
import json
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.reading import identity
from toolkit.sources import Fault, format_of, read_blocks

if TYPE_CHECKING:
    import polars as pl

UNREADABLE = "unreadable"
"""The column that says why a line could not be read."""
ENDINGS = (".parquet", ".pq", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(\.\d+)?([eE][+-]?\d+)?")
"""Cells of CSV that are numbers: those that look the same when they are written again, nearly; 007 is none."""
_BLOCK = 8192
_made: dict[object, Path] = {}
_lock = threading.Lock()


def is_rows(path: Path, endings: tuple[str, ...] = ENDINGS) -> bool:
    """Whether a file's name says that it holds rows."""
    return path.name.removesuffix(".gz").lower().endswith(endings)


def as_parquet(path: Path) -> Path:
    """The file itself, or a parquet file of its rows in a private folder that goes when this process ends.

    A value that is neither text nor number is JSON text there, and so are the values of a column that holds both.

    Raises:
        InputError: it cannot be read.
    """
    kind = format_of(path)
    if kind == "parquet":
        return path
    key = (path, identity(path))
    with _lock:
        if key not in _made:
            folder = Path(tempfile.mkdtemp(prefix="guardkit-view-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            _made[key] = _converted(path, kind, folder)
        return _made[key]


def _converted(path: Path, kind: str, folder: Path) -> Path:
    import polars as pl

    out = folder / "rows.parquet"
    kinds: dict[str, set[str]] = {}
    parts: list[Path] = []
    for i, block in enumerate(read_blocks(path, kind, [], _BLOCK)):
        rows = [_row(raw, kinds, kind in ("csv", "tsv")) for raw in block]
        parts.append(folder / f"{i}.parquet")
        pl.DataFrame({c: [row.get(c) for row in rows] for c in kinds}, schema=dict.fromkeys(kinds, pl.String)).write_parquet(parts[-1])
    if not kinds:
        raise InputError("has no rows", where=str(path))
    frames = [pl.scan_parquet(part) for part in parts]
    pl.concat(frames, how="diagonal").select(_cast(c, seen) for c, seen in kinds.items()).sink_parquet(out, row_group_size=_BLOCK)
    for part in parts:
        part.unlink()
    return out


def _row(raw: dict[str, Any] | Fault, kinds: dict[str, set[str]], delimited: bool) -> dict[str, str | None]:
    if isinstance(raw, Fault):
        kinds.setdefault(UNREADABLE, set()).add("text")
        return {UNREADABLE: str(raw.detail)}
    out: dict[str, str | None] = {}
    for column, value in raw.items():
        seen = kinds.setdefault(column, set())
        if value is None or (delimited and value == ""):
            out[column] = None
            continue
        out[column] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        seen.add(_kind(value, delimited))
    return out


def _kind(value: Any, delimited: bool) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else "text"
    if isinstance(value, float):
        return "float"
    if delimited and isinstance(value, str) and (found := _NUMBER.fullmatch(value)):
        return "float" if found[1] or found[2] else "int"
    return "text"


def _cast(column: str, seen: set[str]) -> pl.Expr:
    import polars as pl

    if seen == {"bool"}:
        return pl.col(column) == "true"
    if seen and seen <= {"int", "float"}:
        return pl.col(column).cast(pl.Int64 if seen == {"int"} else pl.Float64, strict=False)
    return pl.col(column)
