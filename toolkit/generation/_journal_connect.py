"""Connections to the journal's file, also where a reader may not make the files that SQLite wants beside it.

Contract: `Connector.look` needs no room on the disk and no right to write. Where SQLite cannot make its ``-shm`` or ``-wal``, the journal's lock is
held against writers meanwhile, and the file is read without them: as it is where the log holds nothing, else with the log's index in memory.

Failure semantics: SQLite's and the system's own errors.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
import time
from pathlib import Path
from urllib.parse import quote

from toolkit.generation._journal_errors import primary

PAGE = 8192
"""Bytes of a page: at 2 kB a record three fit (2.8 kB of file a record; 4.2 kB at SQLite's 4,096, where one fits)."""

_CACHE = 16 << 10
"""KiB of pages that one connection keeps: the same memory for a small journal as for a large one."""

_LOG = 32 << 20
"""Bytes of log after which it is worked into the file: at random keys, larger means that fewer pages of the index are written twice."""

_AS_IT_LIES, _UNLOCKED = "ro&immutable=1", "ro&vfs=unix-none"
"""Without a log; with one, by SQLite's VFS that takes no locks (sqlite.org/vfs.html, "Standard Unix VFSes")."""

_TRIES, _PAUSE = 4, 0.05
"""How often, and after how many seconds, a reader opens a file again that looks damaged at first sight."""

LOG_HEADER, FRAME_HEADER = 32, 24
"""Bytes of a log's header, and of that before each of its pages (sqlite.org/fileformat2.html, "WAL File Format")."""

_MAGIC = 0x377F0682
"""Of a log; the lowest bit says whether the checksums read words as big-endian."""


class Connector:
    """Opens connections to one file, in one mode."""

    def __init__(self, path: Path, *, readonly: bool) -> None:
        self._path, self._readonly = path, readonly
        self._mode = "ro" if readonly else "rwc"
        self._lock: int | None = None

    def connect(self) -> sqlite3.Connection:
        """A connection to write, or, for a reader, in the mode in which `look` succeeded."""
        return self._open(self._mode)

    def look(self) -> sqlite3.Connection:
        """A connection that changes nothing.

        Raises:
            sqlite3.OperationalError: `rollback_is_due` where a purge or a migration was killed, which only a writer can undo.
        """
        try:
            return self._open_beside_writers()
        except sqlite3.OperationalError as e:
            failed = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)
            if rollback_is_due(e) or primary(e) not in failed:
                raise
            if self._readonly and self._lock is None:  # a writer has it already
                self._lock = _held_still(self._path.with_name("journal.lock"))
            mode = _UNLOCKED if _has_records(log_of(self._path)) else _AS_IT_LIES
            db = self._open(mode)
            if self._readonly:
                self._mode = mode
            return db

    def _open_beside_writers(self) -> sqlite3.Connection:
        """A reader's connection. A file that a writer is just exchanging may look damaged; one that is so stays so."""
        for _ in range(_TRIES):
            try:
                return self._open("ro")
            except sqlite3.DatabaseError as e:
                if primary(e) != sqlite3.SQLITE_CORRUPT:
                    raise
            time.sleep(_PAUSE)
        return self._open("ro")

    def close(self) -> None:
        """Let writers in again; harmless when called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(str(self._path.absolute()))}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
        pragmas = [f"page_size={PAGE}", "synchronous=FULL", f"cache_size=-{_CACHE}", f"wal_autocheckpoint={_LOG // PAGE}"]
        if mode != "rwc":
            pragmas.append("temp_store=MEMORY")
        if mode == _UNLOCKED:
            pragmas.insert(0, "locking_mode=EXCLUSIVE")  # keeps the log's index in memory (sqlite.org/wal.html, "Use of WAL Without Shared-Memory")
        try:
            for pragma in pragmas:
                db.execute(f"PRAGMA {pragma}")
            db.execute("PRAGMA schema_version").fetchone()  # reads, so that what stands against reading is met here
        except BaseException:  # whatever it was, the file is not to stay open
            db.close()
            raise
        db.text_factory = _text  # damaged text, too, can be read: its record then does not match its checksum
        return db


def log_of(path: Path) -> Path:
    """The log of a database."""
    return path.with_name(f"{path.name}-wal")


def rollback_is_due(e: sqlite3.Error) -> bool:
    """Whether a reader was refused because a transaction that was cut short outside the log has to be undone first."""
    return getattr(e, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK


def _has_records(log: Path) -> bool:
    """Whether a log holds a whole transaction, as SQLite reads it. One that does not is ignored, and a connection without locks would delete it."""
    try:
        f = log.open("rb")
    except FileNotFoundError:
        return False
    with f:
        head = f.read(LOG_HEADER)
        if len(head) < LOG_HEADER or int.from_bytes(head[:4], "big") & ~1 != _MAGIC:
            return False
        order = ">" if head[3] & 1 else "<"
        sums = _sums(head[:24], order, (0, 0))
        if sums != struct.unpack(">II", head[24:]):
            return False
        size = int.from_bytes(head[8:12], "big")
        while len(frame := f.read(FRAME_HEADER + size)) == FRAME_HEADER + size:
            sums = _sums(frame[FRAME_HEADER:], order, _sums(frame[:8], order, sums))
            if frame[8:16] != head[16:24] or sums != struct.unpack(">II", frame[16:24]):
                return False
            if any(frame[4:8]):  # the size of the file after a commit
                return True
    return False


def _sums(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    a, b = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for x, y in zip(words[::2], words[1::2], strict=True):
        a = (a + x + b) & 0xFFFFFFFF
        b = (b + y + a) & 0xFFFFFFFF
    return a, b


def _held_still(lock: Path) -> int | None:
    """A shared lock on the journal's own, as a descriptor; None where there is no lock."""
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
