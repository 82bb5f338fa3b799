"""Keeping the journal's house: verify, compact, purge, migrate.

Contract: each function opens the folder by itself and returns plain figures. Verifying and finding take no lock and work beside a writer; the
others are writers, and rewriting the file needs it alone. A kill -9 at any moment loses no answer and changes none; the same call again ends
what was begun. Statements are put together from names of ours only.

Failure semantics: as `JournalFile`; a step that needs room on the disk looks before it begins (`Stopped`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.common.errors import GuardkitError, InputError, short_path
from toolkit.generation._journal_batches import purge_batches, rows_in_batches
from toolkit.generation._journal_file import JournalFile
from toolkit.generation._journal_note import counted, read_state
from toolkit.generation._journal_records import (
    ANSWER_COLUMNS,
    FAILURE_COLUMNS,
    FORMS,
    PACKED,
    Unreadable,
    asker_sum,
    check_failure,
    key_name,
    known,
    packed,
    row_name,
    shape_sum,
    whole,
)
from toolkit.generation._journal_tables import SCHEMA_VERSION, UNFINISHED, ascending, transaction

BATCHES = "batches"
"""Folder beside the journal's file where ``openai-batch`` keeps what it has sent."""

COPY = "damaged-"
"""Beginning of the name of a folder with the damaged files that a repair keeps."""

_TABLES = ("answers", "failures", "askers")
"""Where keys and rows stand."""

_CALLED = ("answers", "failures", "rows that share an answer")
"""What the tables hold."""

_BATCH = 500
"""Records that are packed in one transaction, or read at a time."""

_LOG_ROOM = 80 << 20
"""Bytes that packing may add to the log before it is worked into the file."""


@dataclass
class Verified:
    """What `verify_journal` found.

    Attributes:
        answers: records that are served; of them `packed` are compressed.
        packed: see there.
        failures: records that are not.
        shared: further rows that share records.
        damaged: keys of records that are damaged.
        problems: what is wrong, in words; empty where all is well.
        noted: whether a note is there that says what was recorded (`_journal_note`); a journal of an earlier guardkit gets one by the next run.
        unfinished: what was cut short and has to be run again: ``compact``, ``purge``, or None.
    """

    answers: int = 0
    packed: int = 0
    failures: int = 0
    shared: int = 0
    damaged: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    noted: bool = False
    unfinished: str | None = None


@dataclass(frozen=True)
class Compacted:
    """What `compact_journal` did: records packed now, bytes on disk before and after, keys of records that cannot be read and stay as they are."""

    packed: int
    before: int
    after: int
    unreadable: list[str]


@dataclass
class Purged:
    """What `purge_journal` deleted, or `find_records` found.

    Attributes:
        keys: of all records concerned.
        answers: records of the kind that is served.
        failures: records of the kind that is not.
        also: other rows that had shared these records: they lose them too.
        batches: folders of batches that held something of it, with their state.
        unknown: rows and keys asked for that the journal does not know.
        rewritten: whether the file was rewritten.
        copies: folders with the damaged files that a repair kept, which may hold it still.
    """

    keys: list[str]
    answers: int
    failures: int
    also: list[str]
    batches: dict[str, str]
    unknown: list[str]
    rewritten: bool = False
    copies: list[str] = field(default_factory=list)


def migrate_journal(folder: Path) -> tuple[int, int, bool]:
    """Bring a journal up to this guardkit's version, and give it its note, which every opening for writing does too.

    Returns:
        The version that was found, the one that is there now, and whether it got its note now.

    Raises:
        InputError, Stopped: as `JournalFile`; there is no journal.
    """
    JournalFile.there(folder)
    with JournalFile(folder) as file:
        return file.migrated or SCHEMA_VERSION, SCHEMA_VERSION, file.adopted


def verify_journal(folder: Path) -> Verified:
    """Read every record, check its checksum and form, hold the file against its note, and have SQLite check its own structure.

    Raises:
        InputError: there is no journal, or the file cannot be opened at all.
    """
    found = Verified()
    with JournalFile(folder, readonly=True, strict=False) as file:
        found.noted = file.note is not None
        if file.doubt:
            found.problems.append(file.doubt)
        for check in (_verify_answers, _verify_failures, _verify_askers, _verify_file):
            try:
                with file.named():
                    check(file.db, found)
            except GuardkitError as e:
                found.problems.append(e.message)
    return found


def _verify_answers(db: sqlite3.Connection, found: Verified) -> None:
    last = 0
    while rows := db.execute(f"SELECT {ANSWER_COLUMNS}, id FROM answers WHERE id > ? ORDER BY id LIMIT {_BATCH}", (last,)).fetchall():  # noqa: S608
        last = ascending(rows, last)
        for row in rows:
            found.answers += 1
            found.packed += str(row[1]).endswith(PACKED)
            try:
                known(row[:-1])
            except Unreadable as e:
                _note(found, row[0], e)


def _verify_failures(db: sqlite3.Connection, found: Verified) -> None:
    for row in db.execute(f"SELECT {FAILURE_COLUMNS} FROM failures ORDER BY id"):  # noqa: S608
        found.failures += 1
        try:
            check_failure(row)
        except Unreadable as e:
            _note(found, row[0], e)


def _note(found: Verified, key: object, e: Unreadable) -> None:
    found.damaged.append(key_name(key))
    found.problems.append(f"record {key_name(key)}: {e}")


def _verify_askers(db: sqlite3.Connection, found: Verified) -> None:
    for key, row, check in db.execute("SELECT key, row, checksum FROM askers"):
        found.shared += 1
        if asker_sum(key, row) != check:
            _note(found, key, Unreadable(f"a row that shares it ({row!r}) does not match its checksum"))


def _verify_file(db: sqlite3.Connection, found: Verified) -> None:
    found.unfinished = _unfinished(db)
    for number, shape, check in db.execute("SELECT id, shape, checksum FROM shapes"):
        if shape_sum(number, shape) != check:
            count = "SELECT (SELECT count(*) FROM answers WHERE shape = ?1) + (SELECT count(*) FROM failures WHERE shape = ?1)"
            n = db.execute(count, (number,)).fetchone()[0]
            found.problems.append(f"model and endpoint of {n} records do not match their checksum")
    found.problems += [line for (line,) in db.execute("PRAGMA integrity_check") if line != "ok"]
    db.execute("BEGIN")  # one look at all of it, beside a writer too
    state, there = read_state(db), counted(db)
    db.execute("COMMIT")
    if state is not None:
        for name, n, m in zip(_CALLED, (state.answers, state.failures, state.shared), there, strict=True):
            if m < n:
                found.problems.append(f"{n - m:,} {name} that were recorded are not there any more")
    if strange := db.execute("SELECT count(*) FROM answers WHERE shape NOT IN (SELECT id FROM shapes)").fetchone()[0]:
        found.problems.append(f"{strange} answers whose model and endpoint are not there")


def compact_journal(folder: Path, on_done: Callable[[int, int], None] | None = None) -> Compacted:
    """Compress every answer's raw body (zlib), then rewrite the file without gaps. No answer changes.

    Args:
        folder: of the journal.
        on_done: called with the numbers of the last record looked at and of the last one there is.

    Raises:
        InputError: there is no journal, a run works on it, or another program has it open.
        Stopped: too little room, before anything is changed; or the disk is full on the way, everything kept.
    """
    JournalFile.there(folder)
    with JournalFile(folder) as file, file.named():
        before, done, unreadable = file.size(), 0, list[str]()
        file.need(file.content() + _LOG_ROOM, "compacting the journal")
        total = file.db.execute("SELECT coalesce(max(id), 0) FROM answers").fetchone()[0]
        for n, last in _pack(file.db, unreadable):
            done += n
            if on_done:
                on_done(last, total)
        if done or _unfinished(file.db) or file.spare():
            file.rewrite()
        return Compacted(done, before, file.size(), unreadable)


def _pack(db: sqlite3.Connection, unreadable: list[str]) -> Iterator[tuple[int, int]]:
    """Pack what is not packed, by batches: how many of each, and the last id looked at. A damaged record stays as it is, and is named."""
    last = 0
    done = ", ".join(f"'{form}{PACKED}'" for form in FORMS)
    query = f"SELECT {ANSWER_COLUMNS}, id FROM answers WHERE id > ? AND form NOT IN ({done}) ORDER BY id LIMIT {_BATCH}"  # noqa: S608
    while rows := db.execute(query, (last,)).fetchall():
        last = ascending(rows, last)
        small = []
        for row in rows:
            try:
                new = packed(*whole(row[:-1]))
            except Unreadable:
                unreadable.append(key_name(row[0]))
            else:
                small += [(*new, row[-1])] if new else []
        if small:
            with transaction(db):
                _begin(db, "compact")
                db.executemany("UPDATE answers SET form = ?, raw = ? WHERE id = ?", small)
        yield len(small), last


def find_records(folder: Path, rows: Iterable[str] = (), keys: Iterable[str] = ()) -> Purged:
    """What `purge_journal` would delete.

    Raises:
        InputError: there is no journal, or a key is none.
    """
    with JournalFile(folder, readonly=True) as file, file.named():
        return _find(file, rows, keys)


def purge_journal(folder: Path, rows: Iterable[str] = (), keys: Iterable[str] = ()) -> Purged:
    """Delete records for good: the tables, the log and the file's free space hold nothing of them afterwards, nor do batches on their way.

    Args:
        folder: of the journal.
        rows: ids of rows: all records that were asked for them, or shared by them, answers and failures.
        keys: of records.

    Raises:
        InputError: there is no journal, a key is none, a run works on it, or another program has it open; nothing is deleted.
        Stopped: no room to rewrite the file: the records are deleted, their bytes not yet overwritten for sure; run again.
    """
    JournalFile.there(folder)
    with JournalFile(folder) as file:
        file.alone()
        with file.named():
            found = _find(file, rows, keys)
            purge_batches(folder / BATCHES, set(found.keys))
            file.db.execute("PRAGMA secure_delete=ON")
            with file.writing() as (db, tally):
                gone = [-db.execute(f"DELETE FROM {t} WHERE key IN (SELECT key FROM temp.gone)").rowcount for t in _TABLES]  # noqa: S608
                tally.answers, tally.failures, tally.shared = gone
                if any(gone):
                    _begin(db, "purge")
            if _unfinished(file.db):
                file.rewrite()
                found.rewritten = True
    return found


def _find(file: JournalFile, rows: Iterable[str], keys: Iterable[str]) -> Purged:
    """The records of rows and keys; their keys are in ``temp.gone`` afterwards."""
    db, names, wanted = file.db, {row_name(r) for r in rows}, {_key(k) for k in keys}
    sent = rows_in_batches(file.folder / BATCHES)
    db.execute("PRAGMA temp_store=MEMORY")
    db.execute("CREATE TEMP TABLE gone (key BLOB PRIMARY KEY) WITHOUT ROWID")
    db.execute("CREATE TEMP TABLE named (row TEXT PRIMARY KEY) WITHOUT ROWID")
    db.executemany("INSERT INTO gone VALUES (?)", ((k,) for k in wanted))
    db.executemany("INSERT INTO named VALUES (?)", ((n,) for n in names))
    db.executemany("INSERT OR IGNORE INTO gone VALUES (?)", [(bytes.fromhex(k),) for batch in sent for k, row in batch.keys.items() if row in names])
    rest = {bytes.fromhex(k) for batch in sent for k in batch.keys}
    met = {row for batch in sent for row in batch.keys.values()}
    for table in _TABLES:
        db.execute(f"INSERT OR IGNORE INTO gone SELECT key FROM {table} WHERE row IN (SELECT row FROM temp.named)")  # noqa: S608
    also: set[str] = set()
    for table in _TABLES:
        found = db.execute(f"SELECT key, row FROM {table} WHERE key IN (SELECT key FROM temp.gone)").fetchall()  # noqa: S608
        rest |= {key for key, _ in found}
        also |= {row for _, row in found}
    gone = {key.hex() for (key,) in db.execute("SELECT key FROM temp.gone")}
    unknown = sorted(names - also - met) + sorted(k.hex() for k in wanted - rest)
    answers, failures = (
        db.execute(f"SELECT count(*) FROM {t} WHERE key IN (SELECT key FROM temp.gone)").fetchone()[0]  # noqa: S608
        for t in ("answers", "failures")
    )
    batches = {str(batch.folder): batch.state for batch in sent if gone & batch.keys.keys()}
    copies = sorted(short_path(p) for p in file.folder.glob(f"{COPY}*") if p.is_dir())
    return Purged(sorted(gone), answers, failures, sorted(also - names - {""}), batches, unknown, copies=copies)


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InputError(f"not a key: {text!r}", hint="a key is 64 hexadecimal digits; `guardkit journal show --row ROW` shows those of a row")
    return key


def _begin(db: sqlite3.Connection, what: str) -> None:
    """Write down what is begun, unless a purge is: the file must be rewritten, whatever comes between."""
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value != 'purge'", (UNFINISHED, what))


def _unfinished(db: sqlite3.Connection) -> str | None:
    found = db.execute("SELECT value FROM meta WHERE name = ?", (UNFINISHED,)).fetchone()
    return None if found is None else str(found[0])
