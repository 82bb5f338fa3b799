"""What ``openai-batch`` keeps beside the journal, as far as a purge must know it.

The files are those of `backends._batch_store`: in each batch's folder ``requests.jsonl`` (lines with ``custom_id``, the key), ``rows.jsonl`` (lines
with ``key`` and ``request.row``), and the endpoint's result files ``output.jsonl`` and ``errors.jsonl`` (lines with ``custom_id``).

Contract of `purge_batches`: afterwards no line of these files belongs to a purged key, and the first two still match line by line. ``rows.jsonl``
is written last: after a kill -9 the same call finds the same keys again. What the endpoint itself holds is not ours to delete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.common.files import beside, write_atomic
from toolkit.common.locks import Lock

BATCH = re.compile(r"[0-9]{6,}-[0-9a-f]+|\.[0-9]{6,}-[0-9a-f]+\.(new|old)")
"""Names of batches' folders; the second is half-made or half-removed. Any other folder there is the user's."""
_FILES = ("requests.jsonl", "output.jsonl", "errors.jsonl", "rows.jsonl")


@dataclass(frozen=True)
class Sent:
    """A batch's folder: key and row of its requests, and where it stands."""

    folder: Path
    keys: dict[str, str]
    state: str


def rows_in_batches(root: Path) -> list[Sent]:
    """The batches below `root`; folders that are hidden (half-made, half-removed) are left out."""
    out = []
    for folder in _folders(root):
        keys = {}
        for line in _lines(folder / "rows.jsonl"):
            if key := _key_of(line):
                request = json.loads(line).get("request")
                keys[key] = str(request.get("row", "")) if isinstance(request, dict) else ""
        out.append(Sent(folder, keys, _state(folder)))
    return out


def purge_batches(root: Path, keys: set[str]) -> None:
    """Take the lines of `keys` out of every batch; hidden folders, which hold nothing that is still needed, go altogether.

    Raises:
        InputError: a process works on one of the batches.
        OSError: it could not be written.
    """
    for folder in _folders(root, hidden=True):
        lock = Lock(folder / "lock", "a batch")
        try:
            if folder.name.startswith("."):
                drop_batch(folder)
                continue
            for name in _FILES:
                lines = list(_lines(folder / name))
                kept = [line for line in lines if not _belongs(line, keys)]
                if len(kept) < len(lines):
                    write_atomic(folder / name, b"".join(kept))
        finally:
            lock.release()


def drop_batch(folder: Path) -> None:
    """Remove a batch's files, and its folder where nothing else is in it. Raises nothing."""
    with suppress(OSError):
        names = [n for f in (*_FILES, "state.json") for n in (f, beside(Path(f)).name, f".{f}.new")]  # the last of an earlier version
        for name in (*names, "lock"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _folders(root: Path, *, hidden: bool = False) -> list[Path]:
    found = sorted(p for p in root.iterdir() if BATCH.fullmatch(p.name) and p.is_dir() and not p.is_symlink()) if root.is_dir() else []
    return [p for p in found if hidden or not p.name.startswith(".")]


def _lines(path: Path) -> Iterator[bytes]:
    if path.is_file():
        with path.open("rb") as f:
            yield from f


def _belongs(line: bytes, keys: set[str]) -> bool:
    key = _key_of(line)
    return key in keys if key else any(k.encode() in line for k in keys)  # a torn line, too


def _key_of(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    key = (value.get("custom_id") or value.get("key")) if isinstance(value, dict) else None
    return key if isinstance(key, str) else None


def _state(folder: Path) -> str:
    try:
        return str(json.loads((folder / "state.json").read_bytes())["state"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return "unknown"
