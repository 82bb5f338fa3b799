"""The journal: every answer that was ever paid for, durable before it counts, found again by its request's key.

Contract:
- `Journal.put` returns only after the records are on disk (SQLite in WAL mode, ``synchronous=FULL``: one fsync a transaction), so
  that a kill -9 or a power cut later loses none of them. A transaction that a crash cuts short leaves no trace. What was put is noted outside the
  database (`_journal_note`), so that it shows when a damaged file has lost it.
- An answer is kept as it came, never changed, and leaves only by a purge; the first one for a key stays. Each carries a checksum
  that every read checks.
- A record that cannot be read costs itself alone: every reader goes on without it and names it in `Journal.unreadable`. A run asks for it again,
  and the new answer takes its place.
- What is too large for the file (`storable`) is recorded as that: its request counts as failed, and is not asked again.
- Failures that are the model's own answer (`FINAL`) are answers. All others are in a table of their own, for diagnosis;
  `Journal.get` never serves them.
- A record names the row that it was asked for; further rows that share it are noted too (`Journal.share`), so that a purge of any of
  them finds it.
- One writer: a second one, in whatever process, gets an `InputError` that names the process that holds the journal. `readonly` reads
  beside a writer.

Failure semantics: a full disk or a failed write is `Stopped` (exit code 3): what was acknowledged is safe, the batch at hand is
not written. A damaged, foreign or newer file is an `InputError`; nothing is repaired in silence (`repair_journal`).

Layout: ``<folder>/journal.sqlite`` (and SQLite's ``-wal`` and ``-shm`` beside it), ``journal.note`` and ``journal.lock``; the tables in
`_journal_tables`, the columns in `_journal_records`, keeping house in `_journal_care`.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from toolkit.generation._journal_file import JournalFile
from toolkit.generation._journal_records import (
    ANSWER_COLUMNS,
    FAILURE_COLUMNS,
    Known,
    Record,
    Unreadable,
    answer_record,
    answer_row,
    asker_sum,
    failure_record,
    failure_row,
    key_name,
    known,
    marks,
    parts,
    read_shapes,
    row_name,
    storable,
)
from toolkit.generation._journal_tables import ascending, shape_id
from toolkit.generation._request import EXCLUDED, Completion, Request

_log = logging.getLogger(__name__)

Pair = tuple[str, str]
"""Key and row."""

_LOOKUP = 500
"""Keys asked for in one statement (SQLite's oldest limit is 999 variables)."""

_READ = 256
"""Records read at a time, so that a reader holds neither much memory nor the log for long."""

_NAMED = 20
"""Unreadable records that are named in the log."""

_TOGETHER = 32
"""Records of one statement: Python's sqlite3 hands the interpreter to another thread and waits for it again with each statement."""

_PUT_ANSWERS, _PUT_TOGETHER = (
    f"INSERT INTO answers ({ANSWER_COLUMNS}) VALUES {', '.join([f'({marks(19)})'] * n)} ON CONFLICT (key) DO NOTHING"  # noqa: S608  our own names
    for n in (1, _TOGETHER)
)
_GET = f"SELECT {ANSWER_COLUMNS} FROM answers WHERE key IN"  # noqa: S608  likewise
_PUT_FAILURES = f"INSERT INTO failures ({FAILURE_COLUMNS}) VALUES ({marks(13)})"  # noqa: S608  likewise
_SHARE = """INSERT INTO askers (key, row, checksum) SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM answers WHERE key = ?1 AND row = ?2)
ON CONFLICT DO NOTHING"""

_shape_of = attrgetter(*(f.name for f in fields(Request) if f.name not in (*EXCLUDED, "messages", "draw", "attempt")))
"""What `Request.shape` is made of: cheaper to compare than the text."""


class Journal:
    """The answers of one workspace; a context manager. Safe to use from several threads of one process.

    Args:
        folder: made if it is missing.
        readonly: look only, while another process may write; the folder must hold a journal.

    Attributes:
        path: the file.
        unreadable: key and fault of the records that could not be read so far.

    Raises:
        InputError: another writer has it, the file is damaged, not a journal, of a newer guardkit, or may not be written.
        Stopped: no space to create or migrate it.
    """

    def __init__(self, folder: Path, *, readonly: bool = False) -> None:
        self.path = folder / "journal.sqlite"
        self.unreadable: dict[str, str] = {}
        self._writing, self._reading = threading.Lock(), threading.Lock()  # a look-up does not wait for a commit's fsync
        self._shapes: dict[tuple[Any, ...], int] = {}
        self._reader: sqlite3.Connection | None = None
        self._file = JournalFile(folder, readonly=readonly)
        try:
            with self._file.named():
                self._reader = self._file.connect()
        except BaseException:  # whatever it was, the lock must not stay with a journal that is not open
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let another writer in; harmless when called twice."""
        with self._writing, self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            self._file.close()

    def get(self, keys: Iterable[str]) -> dict[str, Completion]:
        """The answers that are there, by key, and the failures that are final (`FINAL`); no other failure.

        `cost` and `lost` say what was paid when it was asked.

        Raises:
            InputError: the file is damaged.
        """
        return {key: found.completion for key, found in self.get_with_rows(keys).items()}

    def get_with_rows(self, keys: Iterable[str]) -> dict[str, Known]:
        """As `get`, each with the ``row`` that the answer is recorded under: any other row that takes it goes to `share`."""
        wanted = [bytes.fromhex(k) for k in keys]
        found: dict[str, Known] = {}
        with self._reading, self._file.named():
            db = self._read()
            for part in parts(wanted, _LOOKUP):
                for row in db.execute(f"{_GET} ({marks(len(part))})", part):
                    try:
                        one = known(row)
                    except Unreadable as e:
                        self._unreadable(row[0], e)
                        continue
                    if one.completion.final:
                        found[one.completion.key] = one
        return found

    def put(self, done: Iterable[tuple[Request, Completion]], shared: Iterable[Pair] = ()) -> None:
        """Record what came of requests, all in one transaction; durable when this returns.

        Args:
            done: a completion's `raw`, where it has a text, must read as that completion (`read_answer`).
            shared: as for `share`, in the same transaction.

        Raises:
            Stopped: no space left, or the write failed; what of this batch is recorded, if any, was not acknowledged.
            InputError: the file is damaged.
        """
        done, pairs = [(request, storable(c)) for request, c in done], _pairs(shared)
        now = time.time()
        with self._writing, self._file.named():
            shapes: dict[tuple[Any, ...], int] = {}
            with self._file.writing() as (db, tally):
                answers, failures = [], []
                for request, c in done:
                    shape = self._shape(db, request, shapes)
                    if c.final:
                        answers.append(answer_row(request, c, shape, now))
                    else:
                        failures.append(failure_row(request, c, shape, now))
                if answers and (new := _put_answers(db, answers)) < len(answers):  # some were there: their rows share the first
                    pairs += _pairs((r.key, r.row) for r, _ in done) + _replace_unserved(db, answers)
                if failures:
                    db.executemany(_PUT_FAILURES, failures)
                tally.answers, tally.failures = new if answers else 0, len(failures)
                if pairs:
                    tally.shared = db.executemany(_SHARE, pairs).rowcount
            self._shapes |= shapes

    def share(self, pairs: Iterable[Pair]) -> None:
        """Note that rows share records of other rows: ``(key, row)`` each, in one transaction. What is known already costs no write.

        Raises:
            Stopped, InputError: as `put`.
        """
        if wanted := _pairs(pairs):
            with self._writing, self._file.named(), self._file.writing() as (db, tally):
                tally.shared = db.executemany(_SHARE, wanted).rowcount

    def counts(self) -> dict[str, int]:
        """Records by kind: ``completions`` (what `get` serves), ``failures`` (what it does not)."""
        with self._reading, self._file.named():
            answers, failures = self._read().execute("SELECT (SELECT count(*) FROM answers), (SELECT count(*) FROM failures)").fetchone()
            return {"completions": answers, "failures": failures}

    def history(self, shape: str, most: int = 1000) -> list[tuple[int | None, int | None, float | None]]:
        """Tokens read, tokens written and seconds of the latest answers to requests of a shape (`Request.shape`), newest first, `most` at most."""
        latest = "SELECT prompt_tokens, completion_tokens, seconds FROM answers WHERE shape = (SELECT id FROM shapes WHERE shape = ?)"
        with self._reading, self._file.named():
            rows = self._read().execute(f"{latest} ORDER BY id DESC LIMIT ?", (shape, most)).fetchall()
        return [row for row in rows if all(isinstance(n, int | float | None) for n in row)]  # a damaged one does not count

    def records(self, keys: Iterable[str] | None = None, *, failures: bool = True) -> Iterator[Record]:
        """Records in the order of arrival: first what `get` serves, then, with `failures`, what it does not.

        Args:
            keys: only those; None for all.
            failures: see there.

        Raises:
            InputError: the file is damaged.
        """
        wanted = None if keys is None else [bytes.fromhex(k) for k in keys]
        shapes: dict[int, str] = {}
        for table, columns, make in (("answers", ANSWER_COLUMNS, answer_record), ("failures", FAILURE_COLUMNS, failure_record))[: 1 + failures]:
            for row in self._rows(f"SELECT {columns}, id FROM {table}", wanted, shapes):  # noqa: S608  our own names
                try:
                    yield make(row[:-1], shapes)
                except Unreadable as e:
                    self._unreadable(row[0], e)

    def asking(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """The further rows that share each of these records; keys without one are left out."""
        out: dict[str, list[str]] = {}
        with self._reading, self._file.named():
            for part in parts([bytes.fromhex(k) for k in keys], _LOOKUP):
                query = f"SELECT key, row, checksum FROM askers WHERE key IN ({marks(len(part))}) ORDER BY key, row"  # noqa: S608  question marks
                for key, row, check in self._read().execute(query, part):
                    if asker_sum(key, row) != check:
                        self._unreadable(key, "a row that shares it does not match its checksum")
                    else:
                        out.setdefault(key.hex(), []).append(row)
        return out

    def _rows(self, select: str, keys: list[bytes] | None, shapes: dict[int, str]) -> Iterator[tuple[Any, ...]]:
        """Rows with their id last, a few at a time; `shapes` has what they name."""
        last = 0
        for part in [None] if keys is None else parts(keys, _LOOKUP):
            while part is not None or last >= 0:
                with self._reading, self._file.named():
                    db = self._read()
                    if part is None:
                        rows = db.execute(f"{select} WHERE id > ? ORDER BY id LIMIT {_READ}", (last,)).fetchall()
                    else:
                        rows = db.execute(f"{select} WHERE key IN ({marks(len(part))}) ORDER BY id", part).fetchall()
                    if rows:
                        shapes.update(read_shapes(db))
                        last = ascending(rows, last) if part is None else last
                yield from rows
                if part is not None or not rows:
                    break

    def _shape(self, db: sqlite3.Connection, request: Request, new: dict[tuple[Any, ...], int]) -> int:
        """Number of a request's shape; `new` takes what this transaction finds, which counts once it is committed."""
        what = _shape_of(request)
        number = self._shapes.get(what) or new.get(what)
        if number is None:
            number = new[what] = shape_id(db, request.shape)
        return number

    def _unreadable(self, key: object, fault: Unreadable | str) -> None:
        """Take down a record that cannot be read, and say so once."""
        name = key_name(key)
        if name not in self.unreadable and len(self.unreadable) < _NAMED:
            _log.warning("%s: record %s is damaged and cannot be read: %s", self.path, name, fault)
        elif name not in self.unreadable and len(self.unreadable) == _NAMED:
            _log.warning("%s: more records cannot be read; `guardkit journal verify` names all", self.path)
        self.unreadable[name] = str(fault)

    def _read(self) -> sqlite3.Connection:
        if self._reader is None:
            raise ValueError("the journal is closed")
        return self._reader


def _put_answers(db: sqlite3.Connection, answers: list[tuple[Any, ...]]) -> int:
    """Put what is not there yet; how many that were."""
    whole = len(answers) - len(answers) % _TOGETHER
    new = sum(db.execute(_PUT_TOGETHER, [v for a in part for v in a]).rowcount for part in parts(answers[:whole], _TOGETHER))
    return new + (db.executemany(_PUT_ANSWERS, answers[whole:]).rowcount if answers[whole:] else 0)


def _replace_unserved(db: sqlite3.Connection, answers: list[tuple[Any, ...]]) -> list[tuple[bytes, str, int]]:
    """Put answers in the place of records of their keys that cannot be read, or read as no answer; the rows that these were under, as far as they
    are known."""
    rows = []
    for part in parts(answers, _LOOKUP):
        for row in db.execute(f"{_GET} ({marks(len(part))})", [a[0] for a in part]).fetchall():
            try:
                served = known(row).completion.final
            except Unreadable:
                served = False
            if not served:
                db.execute("DELETE FROM answers WHERE key = ?", row[:1])
                db.execute(_PUT_ANSWERS, next(a for a in part if a[0] == row[0]))
                rows += [(row[0].hex(), name) for name in row[14:15] if isinstance(name, str)]
    return _pairs(rows)


def _pairs(pairs: Iterable[Pair]) -> list[tuple[bytes, str, int]]:
    named = ((bytes.fromhex(key), row_name(row)) for key, row in pairs)
    return [(key, row, asker_sum(key, row)) for key, row in named]


@runtime_checkable
class Keeping(Protocol):
    """A backend that keeps answers of its own on disk until the journal has them; the engine tells it which journal that is."""

    journal: Journal | None
