"""SQLite's and the system's errors at the journal as guardkit's.

A full disk or a failed write is `Stopped` (exit code 3), a file that is not whole is `Damage`, and everything else that the file, its place or its
owner can be at fault for is another `InputError` (exit code 2). What is left is a fault of our own.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from toolkit.common.errors import FULL, GuardkitError, InputError, Stopped, short_path

_DAMAGED = frozenset(
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
)
"""Primary codes of a damaged file: ERROR is what a missing table gives, CONSTRAINT what an index that does not fit; our statements are fixed."""

_NAMED = 20
"""Records that are named in a message."""


class Damage(InputError):  # noqa: N818 (named by what happened)
    """The journal's file is not whole; `repair_journal` takes what can be read out of it."""


def damaged(path: Path, what: str, remedy: str = "keep what can be read of it") -> Damage:
    """The error for a journal's file that is not whole."""
    hint = f"restore it from a backup (the whole folder), or {remedy}: guardkit journal repair --folder {short_path(path.parent)}"
    return Damage(f"the journal is damaged: {what}", where=str(path), hint=hint)


def unread(folder: Path, keys: Sequence[str], done: str = "") -> InputError:
    """The error for records that a reader went past; `done` says what it did all the same."""
    some = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED:,} more" if len(keys) > _NAMED else "")
    hint = f"a run that needs one asks for it again; all can be set aside at once: guardkit journal repair --folder {short_path(folder)}"
    return InputError(f"{len(keys):,} records cannot be read: {some}{done and '; '}{done}", where=str(folder), hint=hint)


def stopped(path: Path, what: str) -> Stopped:
    """The error for a write that failed."""
    return Stopped(
        f"the journal could not be written ({what})",
        where=str(path),
        hint="make room on the disk and run again: every answer recorded so far is kept",
    )


def primary(e: sqlite3.Error) -> int:
    """SQLite's primary code: the low byte (sqlite.org/rescode.html)."""
    return getattr(e, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Errors met at the journal's file `path`, by their names."""
    try:
        yield
    except sqlite3.Error as e:
        if (error := _of_sqlite(e, path)) is None:
            raise
        raise error from e
    except UnicodeDecodeError as e:  # of a message of SQLite's that holds a damaged name
        raise damaged(path, "its tables cannot be read") from e
    except OSError as e:
        if e.errno in (*FULL, errno.EIO):
            raise stopped(path, e.strerror or "write failed") from e
        if isinstance(e, BlockingIOError):  # a reader without room, beside a writer
            raise InputError("a run works on the journal, and it cannot be read beside it here", where=str(path), hint="wait until it ends") from e
        raise InputError(f"the journal cannot be opened: {e.strerror}", where=str(e.filename or path.parent)) from e


def _of_sqlite(e: sqlite3.Error, path: Path) -> GuardkitError | None:
    """The user's error for SQLite's; None where the fault is in our own statement."""
    code = primary(e)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or str(e) == "database is locked":
        return InputError("another program has the journal's file open", where=str(path), hint="close it and run again")
    if getattr(e, "sqlite_errorcode", 0) in (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ) or code in _DAMAGED:
        return damaged(path, str(e))
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return stopped(path, str(e))
    if code == sqlite3.SQLITE_READONLY:
        return InputError(f"the journal cannot be written: {e}", where=str(path))
    if code == sqlite3.SQLITE_CANTOPEN and (full := _no_room(path.parent)):
        return stopped(path, full)
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return InputError(f"the journal cannot be opened: {e}", where=str(path), hint="is it a file, and may you read and write it and its folder?")
    return None


def _no_room(folder: Path) -> str | None:
    """The system's words where no file can be made in a folder for want of room, which SQLite does not tell from other reasons."""
    try:
        with NamedTemporaryFile(dir=folder):
            return None
    except OSError as e:
        return e.strerror if e.errno in FULL else None
