"""The journal's file: opened, created, checked, migrated, rewritten.

Contract:
- One writer holds ``journal.lock``; a reader (`readonly`) takes no lock, changes nothing and sees what was durable when it looked, also while a
  writer works. Only where a purge or a migration was killed does it first open the file as a writer would, to undo what was begun.
- WAL mode with ``synchronous=FULL``: a COMMIT that has returned is on disk. A torn or damaged end of the log (``-wal``) is cut off by SQLite at
  the last whole transaction.
- The file is held against its note (`_journal_note`) before SQLite may write to it. One that has lost acknowledged records, or is missing where its
  note, its log or its lock is there, is refused as it is, so that nothing of it goes before `repair_journal` has looked at it.
- Version 1 becomes version 2 in one transaction when it is opened for writing; a kill -9 on the way leaves version 1. A version 2 without a note,
  of an earlier guardkit, gets one.
- `JournalFile.rewrite` copies the file to ``.journal.sqlite.new`` and renames it into place: a crash leaves the old file or the new one, whole.

Failure semantics: as `_journal_errors` says; nothing is repaired in silence.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from toolkit.common.errors import InputError, Stopped
from toolkit.common.files import fsync_path, make_file, make_folder, open_own
from toolkit.common.locks import Lock
from toolkit.generation._journal_connect import PAGE, Connector, log_of, rollback_is_due
from toolkit.generation._journal_errors import damaged, named
from toolkit.generation._journal_note import Note, State, counted, new_name, read_state, write_state
from toolkit.generation._journal_records import Unreadable
from toolkit.generation._journal_tables import APPLICATION_ID, SCHEMA_VERSION, UNFINISHED, corrupt, create, migrate, transaction

_log = logging.getLogger(__name__)

REPAIR = ".repair"
"""Folder with the files that a repair works from, while it is under way."""


@dataclass
class Tally:
    """What a transaction adds; below zero for what it takes away."""

    answers: int = 0
    failures: int = 0
    shared: int = 0


class JournalFile:
    """The journal of a folder, open; a context manager.

    Args:
        folder: made if it is missing, unless `readonly`.
        readonly: no lock, no change.
        strict: refuse a file that is behind its note; False to look at it all the same (`doubt`), with `readonly` only.

    Attributes:
        db: the connection; one thread at a time.
        migrated: the version that this object found and brought up to date; None where it was.
        adopted: whether this object gave the journal of an earlier guardkit its note.
        note: what the note held when the file was opened; None where there is none.
        doubt: how the file falls short of its note; None where it does not.

    Raises:
        InputError: another writer has it; the file is damaged, not a journal, of a newer guardkit, or may not be written; `readonly`, and there is
            none or one of an older version.
        Stopped: no space to create or migrate it.
    """

    def __init__(self, folder: Path, *, readonly: bool = False, strict: bool = True) -> None:
        self.folder, self.path, self.readonly = folder, folder / "journal.sqlite", readonly
        self.migrated: int | None = None
        self.note: State | None = None
        self.doubt: str | None = None
        self.adopted = False
        self._note = Note(folder)
        self._connector = Connector(self.path, readonly=readonly)
        self._lock: Lock | None = None
        self._db: sqlite3.Connection | None = None
        try:
            with self.named():
                self._db = self._open_readonly(strict) if readonly else self._open_locked()
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
        self._note.close()
        self._connector.close()
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
        return self._connector.connect()

    def named(self) -> AbstractContextManager[None]:
        """SQLite's and the system's errors as guardkit's."""
        return named(self.path)

    @contextmanager
    def writing(self) -> Iterator[tuple[sqlite3.Connection, Tally]]:
        """A transaction of records; the caller adds to the tally. It is durable, and noted, when the block has ended."""
        with transaction(self.db) as db:
            yield db, (tally := Tally())
            if wrote := bool(tally.answers or tally.failures or tally.shared):
                if (old := read_state(db)) is None:
                    raise corrupt("it does not say what it holds")
                counts = (old.answers + tally.answers, old.failures + tally.failures, old.shared + tally.shared)
                state = State(old.journal, old.commits + 1, *counts, time.time())
                write_state(db, state)
        if wrote:
            self._note.write(state)

    @staticmethod
    def there(folder: Path) -> None:
        """Raise `InputError` unless the folder holds a journal, or what is left of one."""
        names = ("journal.sqlite", "journal.sqlite-wal", "journal.note", "journal.lock", REPAIR)
        if not any(os.path.lexists(folder / name) for name in names):
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
        return sum(_size(self.path.with_name(self.path.name + end)) for end in ("", "-wal", "-shm", "-journal"))

    def alone(self) -> None:
        """Work the log into the file and drop it: no other program may have the file open.

        Raises:
            InputError: one has.
        """
        with self.named():
            if self.db.execute("PRAGMA journal_mode=DELETE").fetchone()[0] != "delete":
                raise sqlite3.OperationalError("database is locked")

    def need(self, size: int, what: str) -> None:
        """As `room_for`, in the journal's folder."""
        room_for(self.folder, size, what)

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
                self.db.execute(f"PRAGMA page_size={PAGE}")
                make_file(new).close()
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

    def _open_readonly(self, strict: bool) -> sqlite3.Connection:
        self.there(self.folder)
        for last in (False, True):  # a repair may end between the look at the note and that at the file
            self.note = self._read_note(strict)
            self._not_missing(locked=True)
            try:
                db = self._connector.look()
            except sqlite3.OperationalError as e:
                if not rollback_is_due(e):
                    raise
                JournalFile(self.folder).close()  # a purge or migration was killed: only a writer can undo what it had begun
                db = self._connector.look()
            try:
                self._check(db)
                doubt = self._doubt(db)
                if doubt and strict and last:
                    raise damaged(self.path, doubt)
            except BaseException:  # whatever it was, the file is not to stay open
                db.close()
                raise
            if not doubt or last:
                self.doubt = self.doubt or doubt
                return db
            db.close()
        raise AssertionError("not reached")

    def _open_locked(self) -> sqlite3.Connection:
        make_folder(self.folder)
        lock = self.folder / "journal.lock"
        locked = os.path.lexists(lock)
        if not locked and not os.path.lexists(self.path) and not os.path.lexists(log_of(self.path)):
            self._note.begin()  # before the lock: see `_journal_note`
        try:
            self._lock = Lock(lock, "the journal", "wait until it ends, or take another folder (GUARDKIT_WORKSPACE)")
        except OSError:  # a full disk: whether the file is whole can be seen all the same
            self._refuse(locked)
            raise
        self._refuse(locked)
        return self._open()

    def _refuse(self, locked: bool) -> None:
        """Raise `Damage` where the file is not whole, without touching it.

        Args:
            locked: whether there was a lock when we came.
        """
        self.note = self._read_note()
        self._not_missing(locked)
        if _size(self.path):
            try:
                with closing(self._connector.look()) as db:  # closing one that may write would work a damaged log into the file, and drop it
                    self._hold(db)
            except sqlite3.OperationalError as e:
                if not rollback_is_due(e):  # where one is due, there is no log
                    raise

    def _open(self) -> sqlite3.Connection:
        if not os.path.lexists(self.path):  # SQLite gives its log the file's mode
            os.close(open_own(self.path, os.O_RDWR | os.O_CREAT))
        db = self._connector.connect()
        try:
            self._drop_new()
            self._hold(db)
            if fresh := db.execute("PRAGMA schema_version").fetchone()[0] == 0:
                create(db, State(new_name()))
            self._check(db)
            db.execute("PRAGMA journal_mode=WAL")  # kept in the file from here on
            if fresh:
                fsync_path(self.path.parent)
            self._begin_note(db)
        except BaseException:  # whatever it was, the file is not to stay open
            db.close()
            raise
        return db

    def _begin_note(self, db: sqlite3.Connection) -> None:
        """Give the journal of an earlier guardkit its note and state, and bring a note that is behind up to date."""
        state = read_state(db)
        if state is None:
            self._note.begin()
            answers, failures, shared = counted(db)
            state = State(new_name(), 1, answers, failures, shared, time.time())
            with transaction(db):
                write_state(db, state)
            self.adopted = True
            _log.info("%s: %s is kept beside it from now on, which shows if records are ever lost", self.path, self._note.path.name)
        elif self.note is None and state.commits:
            _log.warning("%s: %s, which shows if records are lost, was not there; it is made anew", self.path, self._note.path.name)
        self._note.begin()
        if self._note.half:
            _log.warning("%s: one of the two copies in %s could not be read; they are made anew", self.path, self._note.path.name)
            self._note.replace(state)
        elif state.commits and state != self.note:
            self._note.write(state)

    def _read_note(self, strict: bool = True) -> State | None:
        if os.path.lexists(self.folder / REPAIR):
            raise damaged(self.path, "a repair of it was cut short, or is under way", "end the repair")
        try:
            found = self._note.read()
        except Unreadable as e:
            if strict:
                raise damaged(self.path, str(e)) from None
            self.doubt = str(e)
            return None
        if self._note.half and not strict:
            self.doubt = f"one of the two copies in {self._note.path.name} cannot be read: the next run that writes makes them anew"
        return found

    def _not_missing(self, locked: bool) -> None:
        """Raise `Damage` where there is no database but something says that there was one: SQLite would drop the log, and begin anew.

        Args:
            locked: whether there was a lock when we came.
        """
        if _size(self.path):
            return
        left = f"{self.path.name} is {'empty' if self.path.exists() else 'not there'}"
        if self.note is not None and self.note.commits:
            raise damaged(self.path, f"{left}; {self.note.answers:,} answers and {self.note.failures:,} failures were recorded")
        if _size(log_of(self.path)):
            raise damaged(self.path, f"{left}, but its log is")
        if self.note is None and locked:
            raise damaged(self.path, f"{left}, but journal.lock is (delete that, too, if there never was a journal)")
        if self.readonly:
            raise InputError("no journal there", where=str(self.folder), hint="a run that was to make one was cut short")

    def _doubt(self, db: sqlite3.Connection) -> str | None:
        """How a database falls short of what its note promises."""
        note, state = self.note, read_state(db) if self._version(db) else None
        if note is None or not note.commits:
            return None
        if state is None or state.journal != note.journal:
            return "it is not the file that its note tells of, or an older copy of it"
        if state.commits < note.commits:
            lost = [f"{n:,} {name}" for n, name in ((note.answers - state.answers, "answers"), (note.failures - state.failures, "failures")) if n > 0]
            return f"what was recorded last is not there any more ({' and '.join(lost) or 'no answers'})"
        return None

    def _hold(self, db: sqlite3.Connection) -> None:
        if doubt := self._doubt(db):
            raise damaged(self.path, doubt)

    def _drop_new(self) -> None:
        """Remove what a rewrite, or the beginning of a repair, that was cut short left."""
        shutil.rmtree(self.folder / f"{REPAIR}.new", ignore_errors=True)
        for path in (self._new, self._new.with_name(f"{self._new.name}-journal")):
            path.unlink(missing_ok=True)

    def _version(self, db: sqlite3.Connection) -> int:
        """The version of its tables; 0 where there are none yet."""
        if db.execute("PRAGMA schema_version").fetchone()[0] == 0 and not self.readonly:
            return 0
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise InputError("an SQLite file, but not guardkit's journal", where=str(self.path), hint="move it away")
        found = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
        if found is None or not str(found[0]).isdecimal():
            raise damaged(self.path, "it does not say its version")
        return int(found[0])

    def _check(self, db: sqlite3.Connection) -> None:
        """Raise `InputError` for a version that is not ours; migrate version 1."""
        version = self._version(db)
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


def room_for(folder: Path, size: int, what: str) -> None:
    """Raise `Stopped` unless the disk of `folder` has `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise Stopped(f"{what} needs {size / 1e6:,.0f} MB free on the disk; there are {free / 1e6:,.0f} MB", where=str(folder), hint="make room")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
