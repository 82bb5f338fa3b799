"""What the journal has acknowledged, kept outside its database: ``journal.note`` beside it.

SQLite drops the end of a damaged log, or the log of a file that was cut to nothing, without a word. So every transaction counts itself inside the
database (`State`, a row of ``meta``), and once COMMIT has returned the same state goes into the note; then only is the transaction acknowledged.

Contract:
- A note that is behind the database is sound: that is what a kill -9 between the two leaves, or a power cut, since a write of the note is not
  fsynced (COMMIT is). A database that is behind its note has lost what was acknowledged.
- The note has two slots, written in turn, each with a crc32: a torn write, or a look at the wrong moment, leaves the other. Where one is damaged
  (`Note.half`), what was acknowledged last may not be promised any more: the next writer makes the note anew, and verifying reports it.
- A blank note promises nothing. It is made before the journal's lock, so that a lock without a note and without a database was not left by a
  journal that was about to be made.

Failure semantics: `OSError` of the system; `Unreadable` for a note of which no slot can be read.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.common.files import canonical_json, write_atomic
from toolkit.generation._journal_records import Unreadable

_SLOT = 256
"""Bytes of a slot: both are in one sector of a disk."""

STATE = "state"
"""Name of the row in ``meta``."""


@dataclass(frozen=True)
class State:
    """What a journal holds after a transaction.

    Attributes:
        journal: random name of the journal, new with each repair; empty in a blank note.
        commits: transactions so far; never falls.
        answers: records in that table.
        failures: likewise.
        shared: rows that share a record.
        at: Unix time of the transaction.
    """

    journal: str = ""
    commits: int = 0
    answers: int = 0
    failures: int = 0
    shared: int = 0
    at: float = 0.0

    def text(self) -> str:
        """As it is in ``meta`` and in the note."""
        return canonical_json(vars(self))

    @staticmethod
    def of(text: str) -> State | None:
        """The state that a text says; None where it says none."""
        try:
            found = State(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return None
        counts = (found.commits, found.answers, found.failures, found.shared)
        return found if isinstance(found.journal, str) and all(isinstance(n, int) for n in counts) and isinstance(found.at, int | float) else None


BLANK = State()


def new_name() -> str:
    """A name for a journal."""
    return uuid.uuid4().hex


def read_state(db: sqlite3.Connection) -> State | None:
    """The state in a database; None where an earlier guardkit made it, or where it cannot be read."""
    found = db.execute("SELECT value FROM meta WHERE name = ?", (STATE,)).fetchone()
    return State.of(str(found[0])) if found else None


def write_state(db: sqlite3.Connection, state: State) -> None:
    """Put the state into a database, inside the caller's transaction."""
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (STATE, state.text()))


def counted(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Answers, failures and sharing rows that are there."""
    answers, failures, shared = (db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("answers", "failures", "askers"))  # noqa: S608
    return answers, failures, shared


class Note:
    """The note of a folder; one writer at a time, who holds the journal's lock.

    Attributes:
        half: whether one of the slots could not be read, by the last `read`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.note"
        self.half = False
        self._fd: int | None = None

    def read(self) -> State | None:
        """The newest state that it promises; None where there is no note, or an empty one.

        Raises:
            Unreadable: no slot is whole.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            for pause in (0, 0.01, 0.1):  # a slot may be looked at while it is written
                time.sleep(pause)
                data = os.pread(fd, 2 * _SLOT, 0)
                found = [state for slot in (data[:_SLOT], data[_SLOT:]) if (state := _state(slot)) is not None]
                newest = max(found, key=lambda s: s.commits, default=BLANK)
                self.half = len(found) < (2 if len(data) > _SLOT or newest.commits else 1)
                if not data or not self.half:
                    break
        finally:
            os.close(fd)
        if not data:
            self.half = False
            return None
        if not found:
            raise Unreadable(f"{self.path.name}, which says what has been recorded, cannot be read")
        return newest

    def begin(self) -> None:
        """Make a blank note where there is none; durable."""
        fd = self._open()
        if os.fstat(fd).st_size == 0:
            os.pwrite(fd, _slot(BLANK), 0)
            os.fsync(fd)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def write(self, state: State) -> None:
        """Promise a state whose transaction is durable."""
        os.pwrite(self._open(), _slot(state), _SLOT * (state.commits % 2))

    def replace(self, state: State) -> None:
        """A fresh note that promises this state and no other; whole or not at all, and durable."""
        self.close()
        write_atomic(self.path, _slot(state) * 2)

    def close(self) -> None:
        """Harmless when called twice."""
        if self._fd is not None:
            with suppress(OSError):  # what matters was written before it was acknowledged
                os.fsync(self._fd)
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return self._fd


def _slot(state: State) -> bytes:
    text = state.text()
    return f"{zlib.crc32(text.encode()):08x} {text}".ljust(_SLOT - 1).encode() + b"\n"


def _state(slot: bytes) -> State | None:
    check, _, text = slot.decode("ascii", "replace").strip().partition(" ")
    return State.of(text) if f"{zlib.crc32(text.encode()):08x}" == check else None
