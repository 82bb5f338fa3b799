"""Files that appear whole or not at all, and digests of what they hold.

A file or folder made here becomes visible by one atomic rename after fsync. What fails on the way leaves nothing; a crash leaves at
most a hidden ``.<name>.new`` (and, for a folder, ``.<name>.old``) beside it, which the next writer or `recover_folder` clears up. Two
writers of one name at once are not provided for: whoever calls holds a lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text.

    Raises:
        TypeError: for a value that JSON does not know.
        ValueError: for NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def tree_digests(folder: Path, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """``{relative path: sha256}`` of every file below `folder`; those that are `known` are not read again."""
    names = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {n: (known or {}).get(n) or sha256_file(p) for n, p in names.items()}


def fsync_path(path: Path) -> None:
    """fsync a file, or a folder's directory entry."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_tree(folder: Path) -> None:
    """fsync every file and folder below `folder`, and itself."""
    for root, _, names in os.walk(folder):
        for name in names:
            fsync_path(Path(root) / name)
        fsync_path(Path(root))


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(data.encode() if isinstance(data, str) else data)
        fsync_path(new)
        new.replace(path)
    except BaseException:  # a full disk or an interrupt: nothing half-written stays
        new.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


@contextmanager
def new_file(final: Path) -> Iterator[Path]:
    """An empty file to be written, which takes the name `final` when the block ends without an error; with one, it is removed.

    A link is followed: what it points to is replaced. One writer at a time.

    Raises:
        InputError: `final` is a folder or no regular file, cannot be written, or another process is writing it.
    """
    target = final.resolve()
    new = target.with_name(f".{target.name}.new")
    try:
        if target.exists() and not target.is_file():
            raise InputError("a folder, or no regular file, where a file is to be written", where=str(final))
        target.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"the file cannot be written: {e.strerror}", where=str(final)) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = new.exists() and os.path.samestat(os.fstat(fd), new.stat())  # else the other one has just given it its name
        except BlockingIOError:
            mine = False
        if not mine:
            raise InputError("another process is writing this file", where=str(final), hint="give each its own output")
        os.ftruncate(fd, 0)
        try:
            yield new
            os.fsync(fd)
            new.replace(target)
        except BaseException:  # a full disk or an interrupt: nothing half-written stays
            new.unlink(missing_ok=True)
            raise
    finally:
        os.close(fd)
    fsync_path(target.parent)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A fresh hidden folder that replaces the folder `final` when the block ends without an error; with one, it is removed.

    What stood at `final` is moved to ``.<name>.old`` just before and deleted last. So ``.<name>.old`` without `final` means that the
    new folder was whole and a crash fell between the two renames: `recover_folder`, which is called first here, then finishes the swap.

    Raises:
        InputError: `final` is a file.
    """
    if final.is_file():
        raise InputError("there is a file of that name where a folder is to be written", where=str(final))
    final.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(final)
    new, old = _beside(final)
    new.mkdir()
    try:
        yield new
        fsync_tree(new)
    except BaseException:  # whatever it was, a folder that is not whole must not stay
        shutil.rmtree(new, ignore_errors=True)
        raise
    if final.exists():
        final.rename(old)
    new.rename(final)
    fsync_path(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(final: Path) -> None:
    """Clear up what a crash inside `new_folder` left.

    Afterwards `final` is the whole old folder or the whole new one; or absent, where there was no old one.
    """
    new, old = _beside(final)
    if old.exists() and not final.exists():
        (new if new.exists() else old).rename(final)
        fsync_path(final.parent)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(new, ignore_errors=True)


def _beside(final: Path) -> tuple[Path, Path]:
    return final.with_name(f".{final.name}.new"), final.with_name(f".{final.name}.old")
