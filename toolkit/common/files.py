"""Files that appear whole or not at all, for their owner alone, and digests of what they hold; folders: `toolkit.common.folders`.

A file made here becomes visible by one atomic rename after fsync. What fails on the way leaves nothing; a crash leaves at most a hidden
``.<name>.guardkit`` beside it, which the next writer of that name clears up. No link is followed where guardkit writes a name of its own.

Modes: files are made 0600 and folders 0700, whatever the umask, because what guardkit writes may hold its users' texts. What is replaced hands
its mode on: who has opened a file to a group keeps that.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.common.errors import FULL, InputError

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text.

    Raises:
        TypeError: for a value that JSON does not know.
        ValueError: for NaN or infinity.
    """
    return _canonical(value)


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digests_after(parts: Sequence[Any], last: Iterable[str]) -> Iterator[bytes]:
    """For each text of `last` the 32 bytes of ``digest([*parts, text])``; what is the same in all is digested once."""
    begun = hashlib.sha256((canonical_json(list(parts))[:-1] + ("," if parts else "")).encode())
    for text in last:
        whole = begun.copy()
        whole.update((_canonical(text) + "]").encode())
        yield whole.digest()


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def tree_digests(folder: Path) -> dict[str, str]:
    """``{relative path: sha256}`` of every file below `folder`."""
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


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


FILE, FOLDER = 0o600, 0o700
"""Modes of what guardkit makes."""


def beside(final: Path) -> Path:
    """The hidden name beside `final` under which guardkit works on it."""
    return final.with_name(f".{final.name}.guardkit")


def mode_of(path: Path, default: int) -> int:
    """The mode of a file or folder that is to be replaced; `default` where there is none, or a link."""
    try:
        found = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return default
    return default if stat.S_ISLNK(found) else stat.S_IMODE(found)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none.

    Raises:
        FileExistsError, NotADirectoryError: a file is in the way.
    """
    for folder in reversed([p for p in path.parents if not p.exists()]):
        folder.mkdir(mode=FOLDER, exist_ok=True)
    path.mkdir(mode=FOLDER, exist_ok=True)


def open_own(path: Path, flags: int) -> int:
    """Open a file under a name that guardkit gives; a file descriptor. It is made 0600 where `flags` say so.

    Raises:
        InputError: a link, or no regular file: somebody else has put that there.
        OSError: as `os.open`.
    """
    fd = None
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, FILE)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
    except OSError as e:
        if e.errno not in (errno.ELOOP, errno.ENXIO):  # a link; a pipe that nobody reads
            raise
    if fd is not None:
        os.close(fd)
    raise InputError("a link, or no regular file, where guardkit keeps a file of its own", where=str(path), hint="remove it")


def private(path: str, flags: int) -> int:
    """`opener` for files in a folder that guardkit has just made: for their owner alone."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, FILE)


def make_file(path: Path) -> BinaryIO:
    """A fresh file, open for writing, in a folder where others write, too. An older file or a link of that name is gone; what the link points to is
    not touched.

    Raises:
        InputError: a folder, or no regular file, has the name.
    """
    if os.path.lexists(path) and not path.is_symlink() and not path.is_file():
        raise InputError("a folder, or no regular file, where guardkit keeps a file of its own", where=str(path), hint="move it elsewhere")
    path.unlink(missing_ok=True)
    return os.fdopen(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")


def hold(path: Path) -> int | None:
    """Open a file, made where there is none, and lock it until the descriptor is closed; None where another process has it.

    Raises:
        InputError, OSError: as `open_own`.
    """
    while True:
        fd = open_own(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.lstat()):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass
        os.close(fd)  # who had it has just taken the name away


def append_whole(fd: int, data: bytes) -> None:
    """Add bytes to a file that is open for appending: on the disk when this returns; where it fails, as on a full disk, nothing of them stays. One
    writer at a time: whoever calls holds a lock."""
    left, before = memoryview(data), os.fstat(fd).st_size
    try:
        while left:
            left = left[os.write(fd, left) :]
        os.fsync(fd)
    except BaseException:  # a full disk or an interrupt
        os.ftruncate(fd, before)
        raise


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one. One writer at a time: whoever calls holds a lock."""
    make_folder(path.parent)
    new = beside(path)
    raw = data.encode() if isinstance(data, str) else data
    file = make_file(new)
    try:
        with file as f:
            os.fchmod(f.fileno(), mode_of(path, FILE))
            f.write(raw)
            f.flush()
            os.fsync(f.fileno())
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
    new = beside(target)
    try:
        if target.exists() and not target.is_file():
            raise InputError("a folder, or no regular file, where a file is to be written", where=str(final))
        make_folder(target.parent)
        fd = hold(new)
    except OSError as e:
        if e.errno in FULL:
            raise
        raise InputError(f"the file cannot be written: {e.strerror}", where=str(final)) from None
    if fd is None:
        raise InputError("another process is writing this file", where=str(final), hint="give each its own output")
    try:
        if os.fstat(fd).st_nlink > 1:
            raise InputError("a file with a second name is in the way", where=str(new), hint="move it elsewhere")
        os.ftruncate(fd, 0)
        os.fchmod(fd, mode_of(target, FILE))
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
