"""Looking into a journal without a lock, also while a run writes to it: figures, records with all the rows that they answer.

Failure semantics: as `JournalFile` when it is opened `readonly`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from toolkit.generation._journal import Journal
from toolkit.generation._journal_care import find_records
from toolkit.generation._journal_file import JournalFile
from toolkit.generation._journal_records import PACKED, Record, read_shapes
from toolkit.generation._journal_tables import SCHEMA_VERSION, UNFINISHED

_GROUPS = f"""
SELECT shape, coalesce(error, 'answer') AS outcome, 1 AS served, count(*), sum(prompt_tokens), sum(completion_tokens), sum(cost), sum(cost IS NULL),
    sum(form LIKE '%{PACKED}'), min(created), max(created) FROM answers GROUP BY 1, 2
UNION ALL
SELECT shape, error, 0, count(*), NULL, NULL, sum(cost), sum(cost IS NULL), 0, min(created), max(created) FROM failures GROUP BY 1, 2
"""  # noqa: S608  our own names


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
    """

    version: int
    bytes: int
    shared: int
    unfinished: str | None
    groups: list[Group]


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
        try:
            groups = _groups(db, shapes)
        except (TypeError, ValueError):  # a column of another type, or a time that is none
            raise file.damaged("`guardkit journal verify` names the records") from None
        return Figures(SCHEMA_VERSION, file.size(), shared, str(mark[0]) if mark else None, groups)


def _groups(db: sqlite3.Connection, shapes: dict[int, dict[str, Any]]) -> list[Group]:
    """Shapes differ by every sampling parameter; what is shown is put together by model, endpoint and outcome."""
    out: dict[tuple[str, str, int, str], Group] = {}
    for shape, outcome, served, *values in db.execute(_GROUPS):
        about = shapes.get(shape, {})
        n, prompt_tokens, completion_tokens, cost, unpriced, packed, first, last = values
        if not (isinstance(outcome, str) and 0 <= first <= last < _TIMES):
            raise ValueError("no outcome, or no time")
        name = (str(about.get("endpoint", "?")), str(about.get("model_id", "?")), -served, outcome)
        one = Group(
            name[1], name[0], outcome, bool(served), n, prompt_tokens or 0, completion_tokens or 0, cost or 0.0, unpriced, packed, first, last
        )
        out[name] = _sum(out[name], one) if name in out else one
    return [out[name] for name in sorted(out)]


def _sum(a: Group, b: Group) -> Group:
    return Group(
        a.model_id,
        a.endpoint,
        a.outcome,
        a.served,
        a.records + b.records,
        a.prompt_tokens + b.prompt_tokens,
        a.completion_tokens + b.completion_tokens,
        a.cost + b.cost,
        a.unpriced + b.unpriced,
        a.packed + b.packed,
        min(a.first, b.first),
        max(a.last, b.last),
    )


def read_records(
    folder: Path, *, rows: Iterable[str] = (), keys: Iterable[str] = (), model: str | None = None, failures: bool = False
) -> Iterator[tuple[Record, list[str]]]:
    """Records with the further rows that share each, streamed; what is served first, then, with `failures`, what is not.

    Args:
        folder: of the journal.
        rows: only records asked for these rows, or shared by them; empty for all.
        keys: only these; with `rows` both are given.
        model: only of this model_id, or answered by a model of this name.
        failures: see there.

    Raises:
        InputError: there is no journal, a row or key that it does not know, or it is damaged.
    """
    rows, keys = list(rows), list(keys)
    found = find_records(folder, rows, keys).keys if rows or keys else None
    with Journal(folder, readonly=True) as journal:
        records = (r for r in journal.records(found, failures=failures) if model in (None, r.shape.get("model_id"), r.completion.model))
        while part := list(islice(records, 256)):
            shared = journal.asking(r.completion.key for r in part)
            yield from ((r, shared.get(r.completion.key, [])) for r in part)
