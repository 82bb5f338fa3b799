"""The journal's file: opened, created, checked, migrated, rewritten; SQLite's and the system's errors as guardkit's.

Contract:
- One writer holds ``journal.lock``; a reader (`readonly`) takes no lock, changes nothing and sees what was durable when it looked, also while a
  writer works. Only where a purge or a migration was killed does it first open the file as a writer would, to undo what was begun.
- WAL mode with ``synchronous=FULL``: a COMMIT that has returned is on disk. A torn or damaged end of the log (``-wal``) is cut off by SQLite at
  the last whole transaction.
- Version 1 becomes version 2 in one transaction when it is opened for writing; a kill -9 on the way leaves version 1.
- `JournalFile.rewrite` copies the file to ``.journal.sqlite.new`` and renames it into place: a crash leaves the old file or the new one, whole.

Failure semantics: a full disk or a failed write is `Stopped` (exit code 3); a damaged, foreign or newer file is an `InputError`; nothing is
repaired in silence.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from toolkit.common.errors import GuardkitError, InputError, Stopped
from toolkit.common.files import fsync_path
from toolkit.generation._journal_tables import APPLICATION_ID, SCHEMA_VERSION, UNFINISHED, corrupt, create, migrate
from toolkit.generation._lock import Lock

_PAGE = 8192
"""Bytes of a page: at 2 kB a record three fit (2.8 kB of file a record; 4.2 kB at SQLite's 4,096, where one fits)."""

_CACHE = 16 << 10
"""KiB of pages that one connection keeps: the same memory for a small journal as for a large one."""

_LOG = 32 << 20
"""Bytes of log after which it is worked into the file: at random keys, larger means that fewer pages of the index are written twice."""

_DAMAGED = frozenset(
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
)
"""Primary codes of a damaged file: ERROR is what a missing table gives, CONSTRAINT what an index that does not fit; our statements are fixed."""


class JournalFile:
    """The journal of a folder, open; a context manager.

    Args:
        folder: made if it is missing, unless `readonly`.
        readonly: no lock, no change.

    Attributes:
        db: the connection; one thread at a time.
        migrated: the version that this object found and brought up to date; None where it was.

    Raises:
        InputError: another writer has it; the file is damaged, not a journal, of a newer guardkit, or may not be written; `readonly`, and there is
            none or one of an older version.
        Stopped: no space to create or migrate it.
    """

    def __init__(self, folder: Path, *, readonly: bool = False) -> None:
        self.folder, self.path, self.readonly = folder, folder / "journal.sqlite", readonly
        self.migrated: int | None = None
        self._lock: Lock | None = None
        self._db: sqlite3.Connection | None = None
        if readonly:
            self.there(folder)
        with self.named():
            if not readonly:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = Lock(folder / "journal.lock", "the journal")
        try:
            with self.named():
                self._db = self._open() if not readonly else self._open_readonly()
        except BaseException:  # whatever it was, the lock must not stay with a journal that is not open
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let another writer in; harmless when called twice."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock is not None:
            self._lock.release()

    @property
    def db(self) -> sqlite3.Connection:
        """The connection (ValueError once it is closed)."""
        if self._db is None:
            raise ValueError("the journal is closed")
        return self._db

    def connect(self) -> sqlite3.Connection:
        """A further connection, for another thread."""
        mode = "ro" if self.readonly else "rwc"
        if self.readonly and not os.access(self.folder, os.W_OK) and not self.path.with_name(f"{self.path.name}-wal").exists():
            mode = "ro&immutable=1"  # a reader makes files beside the log; where it may not, and there is no log, nobody writes
        uri = f"file:{quote(str(self.path.absolute()))}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
        for pragma in (f"page_size={_PAGE}", "synchronous=FULL", f"cache_size=-{_CACHE}", f"wal_autocheckpoint={_LOG // _PAGE}"):
            db.execute(f"PRAGMA {pragma}")
        db.text_factory = _text  # damaged text, too, can be read: its record then does not match its checksum
        return db

    @staticmethod
    def there(folder: Path) -> None:
        """Raise `InputError` unless the folder holds a journal."""
        if not (folder / "journal.sqlite").is_file():
            raise InputError("no journal there", where=str(folder), hint="runs make one; name its folder with --folder")

    def content(self) -> int:
        """Bytes that a fresh copy of the file takes at most."""
        pages, size = (self.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int((pages - self.spare()) * size * 1.02) + (1 << 20)

    def spare(self) -> int:
        """Pages of the file that hold nothing."""
        found: int = self.db.execute("PRAGMA freelist_count").fetchone()[0]
        return found

    def size(self) -> int:
        """Bytes on disk, the log included."""
        return sum(p.stat().st_size for p in self.folder.glob("journal.sqlite*"))

    def alone(self) -> None:
        """Work the log into the file and drop it: no other program may have the file open.

        Raises:
            InputError: one has.
        """
        with self.named():
            if self.db.execute("PRAGMA journal_mode=DELETE").fetchone()[0] != "delete":
                raise sqlite3.OperationalError("database is locked")

    def need(self, size: int, what: str) -> None:
        """Raise `Stopped` unless the disk has `size` bytes free."""
        free = shutil.disk_usage(self.folder).free
        if free < size:
            raise Stopped(
                f"{what} needs {size / 1e6:,.0f} MB free on the disk; there are {free / 1e6:,.0f} MB", where=str(self.folder), hint="make room"
            )

    def rewrite(self) -> None:
        """Copy what is there to a fresh file, swap, and open that: no byte of anything deleted or replaced is left.

        Raises:
            InputError: another program has the file open.
            Stopped: no space; everything is as it was.
        """
        self.alone()
        new = self._new
        with self.named():
            self.need(self.content(), "rewriting the journal")
            self._drop_new()
            try:
                self.db.execute(f"PRAGMA page_size={_PAGE}")
                self.db.execute("VACUUM INTO ?", (str(new.absolute()),))
                shutil.copymode(self.path, new)
                fsync_path(new)
            except BaseException:  # a full disk or an interrupt: nothing half-written stays
                self._drop_new()
                raise
            self.db.close()
            self._db = None
            new.replace(self.path)
            fsync_path(self.folder)
            self._db = self._open()
            self._db.execute("DELETE FROM meta WHERE name = ?", (UNFINISHED,))

    @property
    def _new(self) -> Path:
        return self.path.with_name(f".{self.path.name}.new")

    def _open_readonly(self) -> sqlite3.Connection:
        try:
            db = self.connect()
        except sqlite3.OperationalError as e:
            if getattr(e, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            JournalFile(self.folder).close()  # a purge or migration was killed: only a writer can undo what it had begun
            db = self.connect()
        try:
            self._check(db)
        except BaseException:  # whatever it was, the file is not to stay open
            db.close()
            raise
        return db

    def _drop_new(self) -> None:
        """Remove what a rewrite that was cut short left."""
        for path in (self._new, self._new.with_name(f"{self._new.name}-journal")):
            path.unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        db = self.connect()
        try:
            self._drop_new()
            if fresh := db.execute("PRAGMA schema_version").fetchone()[0] == 0:
                create(db)
            self._check(db)
            db.execute("PRAGMA journal_mode=WAL")  # kept in the file from here on
            if fresh:
                fsync_path(self.path.parent)
        except BaseException:  # whatever it was, the file is not to stay open
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise InputError("an SQLite file, but not guardkit's journal", where=str(self.path), hint="move it away")
        found = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
        if found is None or not str(found[0]).isdecimal():
            raise self.damaged("it does not say its version")
        version = int(found[0])
        if version == 1 and self.readonly:
            raise InputError("a journal of version 1, which is read once it is migrated", where=str(self.path), hint="run: guardkit journal migrate")
        if version == 1:
            self._migrate(db)
        elif version != SCHEMA_VERSION:
            raise InputError(
                f"journal of version {version}; this guardkit reads version {SCHEMA_VERSION}",
                where=str(self.path),
                hint="use the guardkit that wrote it, or a newer one",
            )

    def _migrate(self, db: sqlite3.Connection) -> None:
        """Version 1 to 2, in one transaction, without a log: fresh pages then go to the file at once, and a rollback only cuts them off."""
        self.need(int(self.path.stat().st_size * 1.1), "migrating the journal")
        if db.execute("PRAGMA journal_mode=DELETE").fetchone()[0] != "delete":
            raise sqlite3.OperationalError("database is locked")
        migrate(db)
        self.migrated = 1

    def damaged(self, what: str, key: bytes | str | None = None) -> InputError:
        """The error for a file that is not whole, or for one record of it."""
        again = "move the folder away to begin a new one (its answers are asked for again)"
        name = key.hex() if isinstance(key, bytes) else key
        if name:
            again = f"delete this record, so that it is asked for again: guardkit journal purge --folder {self.folder} --key {name} --yes"
        of = f"record {name}: " if name else ""
        return InputError(f"the journal is damaged: {of}{what}", where=str(self.path), hint=f"restore it from a backup, or {again}")

    @contextmanager
    def named(self) -> Iterator[None]:
        """SQLite's and the system's errors as guardkit's."""
        try:
            yield
        except sqlite3.Error as e:
            if (named := self._named_sqlite(e)) is None:
                raise
            raise named from e
        except UnicodeDecodeError as e:  # of a message of SQLite's that holds a damaged name
            raise self.damaged("its tables cannot be read") from e
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                raise self._stopped(e.strerror or "write failed") from e
            raise InputError(f"the journal cannot be opened: {e.strerror}", where=str(self.folder)) from e

    def _named_sqlite(self, e: sqlite3.Error) -> GuardkitError | None:
        """The user's error for SQLite's; None where the fault is in our own statement."""
        code = getattr(e, "sqlite_errorcode", 0)  # the low byte is the primary code (sqlite.org/rescode.html)
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or str(e) == "database is locked":
            return InputError("another program has the journal's file open", where=str(self.path), hint="close it and run again")
        if code in (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ) or code & 0xFF in _DAMAGED:
            return self.damaged(str(e))
        if code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return self._stopped(str(e))
        if code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return InputError(f"the journal cannot be written: {e}", where=str(self.path))
        return None

    def _stopped(self, what: str) -> Stopped:
        return Stopped(
            f"the journal could not be written ({what})",
            where=str(self.path),
            hint="make room on the disk and run again: every answer recorded so far is kept",
        )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def ascending(rows: list[tuple[Any, ...]], last: int) -> int:
    """The id of the last row (its last column), which must lie above `last`: in a damaged file it need not, and a loop would not end."""
    number = rows[-1][-1]
    if not isinstance(number, int) or number <= last:
        raise corrupt("records are out of order")
    return number
