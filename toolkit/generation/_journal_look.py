"""Looking into a journal without a lock, also while a run writes to it: figures, records with all the rows that they answer.

Failure semantics: as `JournalFile` when it is opened `readonly`. A record that cannot be read is left out and named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from toolkit.common.errors import nearest
from toolkit.generation._journal_care import find_records
from toolkit.generation._journal_errors import unread
from toolkit.generation._journal_file import JournalFile
from toolkit.generation._journal_records import PACKED, Record, key_name, read_shapes, row_name
from toolkit.generation._journal_store import Journal
from toolkit.generation._journal_tables import SCHEMA_VERSION, UNFINISHED, ascending
from toolkit.generation._request import FAILURES

_COLUMNS = {
    "answers": "error, shape, created, cost, prompt_tokens, completion_tokens, form, key, id",
    "failures": "error, shape, created, cost, NULL, NULL, '', key, id",
}

_READ = 5000
"""Records read at a time."""

_ROWS = "SELECT row FROM answers UNION SELECT row FROM failures UNION SELECT row FROM askers"
"""Names of all rows."""

_NAMES = 5000
"""Names that one is compared with; of more, those that begin alike."""

_TIMES = 2.5e11
"""Unix times end here: a little before the year 9999, the last that Python knows."""


@dataclass(frozen=True)
class Group:
    """Records of one model at one endpoint with one outcome.

    Attributes:
        model_id: as in the requests.
        endpoint: likewise.
        outcome: ``answer``, or the class of failure.
        served: whether they are served (False: asked again).
        records: how many.
        prompt_tokens: tokens read, where known.
        completion_tokens: tokens written, where known.
        cost: dollars, of those whose price was known.
        unpriced: how many have no known cost.
        packed: how many are compressed.
        first: Unix time of the oldest.
        last: of the youngest.
    """

    model_id: str
    endpoint: str
    outcome: str
    served: bool
    records: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    unpriced: int
    packed: int
    first: float
    last: float


@dataclass(frozen=True)
class Figures:
    """A journal at a glance.

    Attributes:
        version: of the tables.
        bytes: on disk, the log included.
        shared: further rows that share records.
        unfinished: ``compact`` or ``purge`` where one was cut short, else None.
        groups: by endpoint, model and outcome.
        unreadable: keys of records that do not count for their columns make no sense. `verify_journal` checks more.
    """

    version: int
    bytes: int
    shared: int
    unfinished: str | None
    groups: list[Group]
    unreadable: list[str]


def journal_figures(folder: Path) -> Figures:
    """Count what a journal holds; reads the whole file.

    Raises:
        InputError: there is no journal, or it is damaged.
    """
    with JournalFile(folder, readonly=True) as file, file.named():
        db = file.db
        shapes: dict[int, dict[str, Any]] = {n: json.loads(shape) for n, shape in read_shapes(db).items()}
        mark = db.execute("SELECT value FROM meta WHERE name = ?", (UNFINISHED,)).fetchone()
        shared: int = db.execute("SELECT count(*) FROM askers").fetchone()[0]
        sums, unreadable = _Sums(shapes), list[str]()
        for table in _COLUMNS:
            last = 0
            while rows := db.execute(f"SELECT {_COLUMNS[table]} FROM {table} WHERE id > ? ORDER BY id LIMIT {_READ}", (last,)).fetchall():  # noqa: S608
                last = ascending(rows, last)
                unreadable += [key_name(row[-2]) for row in rows if not sums.add(table == "answers", row)]
        return Figures(SCHEMA_VERSION, file.size(), shared, str(mark[0]) if mark else None, sums.groups(), unreadable)


class _Sums:
    """Shapes differ by every sampling parameter; what is shown is put together by model, endpoint and outcome."""

    def __init__(self, shapes: dict[int, dict[str, Any]]) -> None:
        self._names = {n: (str(about.get("endpoint", "?")), str(about.get("model_id", "?"))) for n, about in shapes.items()}
        self._sums: dict[tuple[Any, ...], list[Any]] = {}

    def add(self, served: bool, row: tuple[Any, ...]) -> bool:
        """Count a record; False where its columns make no sense."""
        error, shape, created, cost, read, written, form, _, _ = row
        if not (isinstance(created, float) and 0 <= created < _TIMES and isinstance(cost, float | None) and isinstance(form, str)):
            return False
        if not (error in FAILURES or (served and error is None)) or not (isinstance(read, int | None) and isinstance(written, int | None)):
            return False
        name = (*self._names.get(shape, ("?", "?")), not served, "answer" if error is None else error)
        one = self._sums.setdefault(name, [0, 0, 0, 0.0, 0, 0, created, created])
        one[0] += 1
        one[1] += read or 0
        one[2] += written or 0
        one[3] += cost or 0.0
        one[4] += cost is None
        one[5] += form.endswith(PACKED)
        one[6] = min(one[6], created)
        one[7] = max(one[7], created)
        return True

    def groups(self) -> list[Group]:
        """All that was added, in order."""
        return [Group(name[1], name[0], name[3], not name[2], *self._sums[name]) for name in sorted(self._sums)]


def read_records(
    folder: Path,
    *,
    rows: Iterable[str] = (),
    keys: Iterable[str] = (),
    model: str | None = None,
    failures: bool = False,
    unreadable: dict[str, str] | None = None,
) -> Iterator[tuple[Record, list[str]]]:
    """Records with the further rows that share each, streamed; what is served first, then, with `failures`, what is not.

    Args:
        folder: of the journal.
        rows: only records asked for these rows, or shared by them; empty for all.
        keys: only these; with `rows` both are given.
        model: only of this model_id, or answered by a model of this name.
        failures: see there.
        unreadable: takes key and fault of records that cannot be read, which are left out.

    Raises:
        InputError: there is no journal, a row or key that it does not know, or it is damaged; without `unreadable`, at the end, also where records
            could not be read.
    """
    rows, keys = list(rows), list(keys)
    found = find_records(folder, rows, keys).keys if rows or keys else None
    with Journal(folder, readonly=True) as journal:
        records = (r for r in journal.records(found, failures=failures) if model in (None, r.shape.get("model_id"), r.completion.model))
        while part := list(islice(records, 256)):
            shared = journal.asking(r.completion.key for r in part)
            yield from ((r, shared.get(r.completion.key, [])) for r in part)
        if unreadable is not None:
            unreadable |= journal.unreadable
        elif journal.unreadable:
            raise unread(folder, list(journal.unreadable))


def near_names(folder: Path, rows: Iterable[str] = (), model: str | None = None) -> list[str]:
    """For each of these rows, and for the model, that a journal has no record of: the name in it that is near, in words; nothing where none is.

    Raises:
        InputError: there is no journal, or it is damaged.
    """
    out = []
    with JournalFile(folder, readonly=True) as file, file.named():
        for row in rows:
            alike = f"SELECT row FROM ({_ROWS}) WHERE substr(row, 1, 4) = substr(?, 1, 4) LIMIT {_NAMES}"  # noqa: S608  our own names
            names = {name for (name,) in file.db.execute(f"{_ROWS} LIMIT {_NAMES}")} | {name for (name,) in file.db.execute(alike, (row_name(row),))}
            if row_name(row) not in names and (hint := nearest(row_name(row), names)):
                out.append(f"no record of the row {row!r}: {hint}")
        if model is not None:
            names = {str(json.loads(shape).get("model_id")) for shape in read_shapes(file.db).values()}
            names |= {name for (name,) in file.db.execute("SELECT DISTINCT model FROM answers WHERE model IS NOT NULL")}
            if model not in names and (hint := nearest(model, names)):
                out.append(f"no record of the model {model!r}: {hint}")
    return out
