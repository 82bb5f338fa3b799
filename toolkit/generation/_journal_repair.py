"""Repairing the journal: every record that can be read, out of whatever is left of the files, into a new journal.

Contract of `repair_journal`:
- A journal that is sound is not touched. Of one that is damaged nothing is lost by it: its files are kept in ``damaged-<time>`` beside it, as they
  were found.
- A record is taken over only if it matches its own checksum, from wherever it stands: in the file, in the log, behind a fault of either, or in a
  transaction that was not committed.
- The new journal appears by one rename, whole. A kill -9 at any moment leaves the damaged one, or a repair that was begun (``.repair`` holds the
  files): then the journal stays refused until the same call, which begins again from these files, has ended it.

Failure semantics: as `_journal_errors`; too little room on the disk is `Stopped`, with everything as it was.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, short_path
from toolkit.common.files import canonical_json, fsync_path, make_file
from toolkit.common.locks import Lock
from toolkit.generation._journal_care import COPY, verify_journal
from toolkit.generation._journal_connect import PAGE, log_of
from toolkit.generation._journal_errors import Damage, named
from toolkit.generation._journal_file import REPAIR, JournalFile, room_for
from toolkit.generation._journal_note import STATE, Note, State, counted, new_name, write_state
from toolkit.generation._journal_pages import Row, rows_in
from toolkit.generation._journal_records import (
    ANSWER_COLUMNS,
    FAILURE_COLUMNS,
    Unreadable,
    asker_sum,
    check_failure,
    key_name,
    known,
    marks,
    shape_sum,
)
from toolkit.generation._journal_tables import SCHEMA_VERSION, create, transaction

_FILES = ("journal.sqlite", "journal.sqlite-wal", "journal.sqlite-journal", "journal.note")
"""What is kept of a damaged journal."""

_ANSWER, _FAILURE = len(ANSWER_COLUMNS.split(", ")) + 1, len(FAILURE_COLUMNS.split(", ")) + 1
"""Columns of a row, with its number."""

_BATCH = 500
"""Records written in one transaction."""


@dataclass
class Repaired:
    """What `repair_journal` found, and did.

    Attributes:
        problems: why the journal needs a repair; empty where it does not, and nothing was done.
        answers: records of the kind that is served that could be read.
        failures: likewise, of the kind that is not.
        shared: further rows that share records.
        lost_answers: how many of those that were recorded are not there any more, as far as it is known.
        lost_failures: likewise.
        lost_shared: likewise.
        unreadable: keys of records that are there and cannot be read.
        recorded: Unix time of the last record that was recorded, where it is known.
        last: of the last one that could be read.
        copy: folder that keeps the damaged files; None while nothing has been changed.
    """

    problems: list[str]
    answers: int = 0
    failures: int = 0
    shared: int = 0
    lost_answers: int = 0
    lost_failures: int = 0
    lost_shared: int = 0
    unreadable: list[str] = field(default_factory=list)
    recorded: float | None = None
    last: float | None = None
    copy: str | None = None


def repair_journal(folder: Path, agree: Callable[[Repaired], bool] | None = None) -> Repaired:
    """Make a sound journal of a damaged one.

    Args:
        folder: of the journal.
        agree: is shown what is found before anything is changed; what it denies is not done. None agrees.

    Raises:
        InputError: there is no journal, a run works on it, or it is not one that this guardkit can read.
        Stopped: too little room on the disk.
    """
    JournalFile.there(folder)
    problems = _problems(folder)
    if not problems:
        return Repaired([])
    with named(folder / "journal.sqlite"):
        lock = Lock(folder / "journal.lock", "the journal")
        try:
            return _repair(folder, problems, agree)
        finally:
            lock.release()


def _problems(folder: Path) -> list[str]:
    """What is wrong with a journal."""
    try:
        return verify_journal(folder).problems
    except Damage as e:
        return [e.message]


def _repair(folder: Path, problems: list[str], agree: Callable[[Repaired], bool] | None) -> Repaired:
    kept, begun = folder / REPAIR, (folder / REPAIR).exists()
    path = folder / "journal.sqlite"
    new = path.with_name(f".{path.name}.new")
    source = kept if begun else folder
    room_for(folder, sum(p.stat().st_size for name in _FILES if (p := source / name).exists()) + (1 << 20), "repairing the journal")
    found = Repaired(problems)
    try:
        state = _salvage(source, new, found, path)
        if agree is not None and not agree(found):
            return found
        if not begun:
            _keep(folder, kept)
        for old in (log_of(path), path.with_name(f"{path.name}-shm"), path.with_name(f"{path.name}-journal")):
            old.unlink(missing_ok=True)  # else SQLite would work it into the new file
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    note = Note(folder)
    note.replace(state)
    found.copy = short_path(_named_copy(kept))
    return found


def _salvage(source: Path, new: Path, found: Repaired, path: Path) -> State:
    """Write what can be read in `source` into a fresh database; durable."""
    new.unlink(missing_ok=True)
    make_file(new).close()
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        for pragma in (f"page_size={PAGE}", "journal_mode=OFF", "synchronous=OFF"):
            db.execute(f"PRAGMA {pragma}")
        create(db, State())
        taken = _Taken(db)
        with named(path):
            taken.all(rows_in(source / "journal.sqlite", log_of(source / "journal.sqlite")))
        _ours(taken, source, path)
        states = [*taken.states, *_noted(source)]
        there = found.answers, found.failures, found.shared = counted(db)
        if expected := max(states, key=lambda s: s.commits, default=None):
            lost = (max(0, n - m) for n, m in zip((expected.answers, expected.failures, expected.shared), there, strict=True))
            found.lost_answers, found.lost_failures, found.lost_shared = lost
            found.recorded = expected.at or None
        found.unreadable, found.last = taken.unreadable(), taken.last()
        state = State(new_name(), (expected.commits if expected else 0) + 1, *there, time.time())
        with transaction(db):
            write_state(db, state)
    if (source / path.name).is_file():
        shutil.copymode(source / path.name, new)
    fsync_path(new)
    return state


def _noted(source: Path) -> list[State]:
    try:
        state = Note(source).read()
    except Unreadable:
        return []
    return [state] if state is not None and state.commits else []


def _ours(taken: _Taken, source: Path, path: Path) -> None:
    """Raise `InputError` for files that no guardkit wrote, or one of another version."""
    version = max((int(v) for v in taken.versions if v.isdecimal()), default=None)
    if version == 1:
        raise InputError("a journal of version 1", where=str(path), hint="guardkit journal migrate takes over what can be read of it")
    if version is not None and version > SCHEMA_VERSION:
        raise InputError(f"journal of version {version}; this guardkit reads version {SCHEMA_VERSION}", where=str(path))
    anything = any((source / name).exists() and (source / name).stat().st_size for name in _FILES[:2])
    if anything and version is None and not taken.n and not _noted(source):
        raise InputError("nothing of guardkit's can be read in it", where=str(path), hint="move the folder away to begin a new journal")


class _Taken:
    """Rows that are what they say, in a new database."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._doubtful: dict[bytes, None] = {}
        self.n = 0
        self.states: list[State] = []
        self.versions: set[str] = set()

    def all(self, rows: Iterable[Row]) -> None:
        """Take what is sound."""
        self._db.execute("BEGIN")
        for row in rows:
            if self._take(row):
                self.n += 1
                if self.n % _BATCH == 0:
                    self._db.execute("COMMIT")
                    self._db.execute("BEGIN")
        for number in self._db.execute("SELECT shape FROM answers UNION SELECT shape FROM failures EXCEPT SELECT id FROM shapes").fetchall():
            unknown = canonical_json({"endpoint": "?", "model_id": "?", "lost": number[0]})
            self._db.execute("INSERT INTO shapes VALUES (?, ?, ?)", (number[0], unknown, shape_sum(number[0], unknown)))
        self._db.execute("COMMIT")

    def unreadable(self) -> list[str]:
        """Keys of records that were met, but nowhere whole."""
        there = "SELECT 1 FROM answers WHERE key = ?1 UNION ALL SELECT 1 FROM failures WHERE key = ?1"
        return [key_name(key) for key in self._doubtful if self._db.execute(there, (key,)).fetchone() is None]

    def last(self) -> float | None:
        """Unix time of the last record."""
        found: float | None = self._db.execute(
            "SELECT max(created) FROM (SELECT created FROM answers UNION ALL SELECT created FROM failures)"
        ).fetchone()[0]
        return found

    def _take(self, row: Row) -> bool:
        number, columns = row
        if number is None and len(columns) == 2:
            return self._about(*columns)
        if number is None and len(columns) == 3 and asker_sum(*columns[:2]) == columns[2]:
            return self._insert("askers", columns)
        if number is not None and len(columns) == 3 and shape_sum(number, columns[1]) == columns[2]:
            return self._insert("shapes", (number, *columns[1:]))
        if number is not None and len(columns) in (_ANSWER, _FAILURE):
            return self._record(number, columns[1:])
        return False

    def _about(self, name: Any, value: Any) -> bool:
        """A row of ``meta``, or of an index."""
        if name == "schema" and isinstance(value, str):
            self.versions.add(value)
        elif name == STATE and isinstance(value, str) and (state := State.of(value)) is not None:
            self.states.append(state)
        return False

    def _record(self, number: int, columns: tuple[Any, ...]) -> bool:
        answer, key = len(columns) == _ANSWER - 1, columns[0]
        if not isinstance(key, bytes) or len(key) != 32:
            return False
        columns = _reals(columns, (8, 9, 14) if answer else (3, 4, 9))
        try:
            if answer:
                known(columns)
            else:
                check_failure(columns)
        except Unreadable:
            self._doubtful[key] = None
            return False
        if answer:
            return self._insert("answers", (number, *columns)) or self._insert("answers", (None, *columns))
        return self._insert("failures", (number, *columns))

    def _insert(self, table: str, values: tuple[Any, ...]) -> bool:
        with suppress(UnicodeEncodeError):  # of damaged text that a checksum of 32 bits happens to match
            return self._db.execute(f"INSERT INTO {table} VALUES ({marks(len(values))}) ON CONFLICT DO NOTHING", values).rowcount > 0  # noqa: S608
        return False


def _reals(columns: tuple[Any, ...], which: tuple[int, ...]) -> tuple[Any, ...]:
    """Columns of which some are real numbers: SQLite keeps a whole one as an integer."""
    return tuple(float(v) if i in which and isinstance(v, int) else v for i, v in enumerate(columns))


def _keep(folder: Path, kept: Path) -> None:
    """Keep the files as they are, under further names; `kept` appears whole. Nothing writes to them afterwards."""
    new = kept.with_name(f"{kept.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    for name in _FILES:
        if (folder / name).is_file():
            try:
                os.link(folder / name, new / name)
            except OSError:  # a file system without links
                shutil.copy2(folder / name, new / name)
                fsync_path(new / name)
    fsync_path(new)
    new.rename(kept)
    fsync_path(folder)


def _named_copy(kept: Path) -> Path:
    """Give the kept files their lasting name, which ends the repair."""
    stamp = f"{COPY}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    n = 1
    final = kept.with_name(stamp)
    while final.exists():
        n += 1
        final = kept.with_name(f"{stamp}-{n}")
    fsync_path(kept.parent)
    kept.rename(final)
    fsync_path(kept.parent)
    return final
