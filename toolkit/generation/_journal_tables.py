"""The journal's tables: made, or made from those of version 1.

Contract: both run inside a transaction of the caller's. What a record of version 1 says is taken over as it is, with a checksum of version 2; a
record that did not match its own checksum, or holds what version 1 never wrote, gets one that nothing matches, so that it stays damaged.

Failure semantics: SQLite's own errors.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from toolkit.common.files import canonical_json
from toolkit.generation._journal_note import State, write_state
from toolkit.generation._journal_records import answer_1, failure_1, shape_sum

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
"""Version of the tables, in ``meta``."""

UNFINISHED = "unfinished"
"""Name in ``meta`` while a purge has deleted rows whose bytes the file may still hold."""

APPLICATION_ID = 0x67756172
"""Stands in the file's header ("guar"), so that another program's database is known from ours."""

_META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"

_TABLES = (
    # Request.shape: what requests of a step have in common
    "CREATE TABLE shapes (id INTEGER PRIMARY KEY, shape TEXT NOT NULL UNIQUE, checksum INTEGER NOT NULL)",
    """CREATE TABLE answers (
    id INTEGER PRIMARY KEY,        -- order of arrival
    key BLOB NOT NULL UNIQUE,      -- sha256 of the request
    form TEXT NOT NULL,            -- how raw is read, see _journal_records
    error TEXT, detail TEXT,       -- class and words of a failure that is final
    finish TEXT, model TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL,
    cost REAL, lost INTEGER NOT NULL, -- dollars; attempts before it whose usage is not known
    shape INTEGER NOT NULL, draw INTEGER NOT NULL, attempt INTEGER NOT NULL, row TEXT NOT NULL,
    created REAL NOT NULL,         -- Unix time
    checksum INTEGER NOT NULL,     -- of all of it, see _journal_records
    reasoning BLOB,                -- of a thinking model, where raw does not hold it
    raw BLOB NOT NULL
)""",
    """CREATE TABLE failures (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL, error TEXT NOT NULL, detail TEXT, seconds REAL, cost REAL, lost INTEGER NOT NULL,
    shape INTEGER NOT NULL, draw INTEGER NOT NULL, attempt INTEGER NOT NULL, row TEXT NOT NULL,
    created REAL NOT NULL,
    checksum INTEGER NOT NULL,
    raw BLOB                       -- what came, cut
)""",
    # who shares a record of another row
    "CREATE TABLE askers (key BLOB NOT NULL, row TEXT NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (key, row)) WITHOUT ROWID",
)
_SHAPE = "shape_1(CAST(model_id AS BLOB), CAST(endpoint AS BLOB))"
"""Text goes into our functions as bytes: damaged text cannot go otherwise."""

_FROM_1 = (
    f"""INSERT INTO answers (id, key, form, finish, model, prompt_tokens, completion_tokens, seconds,
        lost, shape, draw, attempt, row, created, checksum, reasoning, raw)
    SELECT rowid, key, 'text', finish, model, prompt_tokens, completion_tokens, seconds, 0, {_SHAPE}, draw, 0, row, created,
        answer_1(key, CAST(finish AS BLOB), CAST(model AS BLOB), prompt_tokens, completion_tokens, seconds, {_SHAPE}, draw,
            CAST(row AS BLOB), created, checksum, reasoning, text),
        reasoning, text FROM completions ORDER BY rowid""",  # noqa: S608  our own names
    f"""INSERT INTO failures (id, key, error, detail, seconds, lost, shape, draw, attempt, row, created, checksum)
    SELECT rowid, key, error, detail, seconds, 0, {_SHAPE}, draw, 0, row, created,
        failure_1(key, CAST(error AS BLOB), CAST(detail AS BLOB), seconds, {_SHAPE}, draw, CAST(row AS BLOB), created)
    FROM failures_1 ORDER BY rowid""",  # noqa: S608  likewise
    "DROP TABLE completions",
    "DROP TABLE failures_1",
    "UPDATE meta SET value = '2' WHERE name = 'schema'",
)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing: commit at the end, roll back on any error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:  # an interrupt, too, must leave no open transaction
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def shape_id(db: sqlite3.Connection, shape: str) -> int:
    """The number of a shape, given to it here if it is new. A checksum that does not match its shape, word for word, is what is damaged of it."""
    if (found := db.execute("SELECT id, checksum FROM shapes WHERE shape = ?", (shape,)).fetchone()) is not None:
        if shape_sum(found[0], shape) != found[1]:
            _log.warning("the journal: the checksum of a model and its endpoint was damaged, and is written anew: %s", shape)
            db.execute("UPDATE shapes SET checksum = ? WHERE id = ?", (shape_sum(found[0], shape), found[0]))
        return int(found[0])
    number: int = db.execute("SELECT coalesce(max(id), 0) + 1 FROM shapes").fetchone()[0]
    db.execute("INSERT INTO shapes (id, shape, checksum) VALUES (?, ?, ?)", (number, shape, shape_sum(number, shape)))
    return number


def corrupt(what: str) -> sqlite3.DatabaseError:
    """SQLite's error for a damaged file, where it is we who see it."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def create(db: sqlite3.Connection, state: State) -> None:
    """All tables, empty, and what they hold as `state` says."""
    with transaction(db):
        for statement in (_META, *_TABLES):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        write_state(db, state)
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")


def migrate(db: sqlite3.Connection) -> None:
    """Version 1 to 2, in one transaction."""
    with transaction(db):
        db.execute("ALTER TABLE failures RENAME TO failures_1")
        for statement in _TABLES:
            db.execute(statement)
        names = "CAST(model_id AS BLOB), CAST(endpoint AS BLOB)"
        pairs = db.execute(f"SELECT {names} FROM completions UNION SELECT {names} FROM failures_1").fetchall()  # noqa: S608  our own names
        ids = {pair: shape_id(db, _shape_1(*pair)) for pair in pairs}
        db.create_function("shape_1", 2, lambda model_id, endpoint: ids[model_id, endpoint])
        db.create_function("answer_1", 13, answer_1)
        db.create_function("failure_1", 8, failure_1)
        for statement in _FROM_1:
            db.execute(statement)


def _shape_1(model_id: bytes | None, endpoint: bytes | None) -> str:
    """What version 1 knew of a request's shape; damaged text with escapes in it."""
    return canonical_json({"model_id": _text(model_id), "endpoint": _text(endpoint)})


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "backslashreplace")


def ascending(rows: list[tuple[Any, ...]], last: int) -> int:
    """The id of the last row (its last column), which must lie above `last`: in a damaged file it need not, and a loop would not end."""
    number = rows[-1][-1]
    if not isinstance(number, int) or number <= last:
        raise corrupt("records are out of order")
    return number
