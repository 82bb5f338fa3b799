"""The life of a row: every row of a run that is it, was made of it, or was put together with it, step by step.

A row keeps its id from step to step. What a step makes of it has its id as `parent` (draws, pairs); what was merged into it names it as `survivor`.
So its life is found by ids alone, in one pass over those columns of each table, in the order of the recipe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.common.errors import InputError
from toolkit.viewing._paged_table import NUMBER, Table
from toolkit.viewing._subject import Subject

MOST = 200
"""Rows of one table that a life shows."""
_UP = 8
"""Parents above a row that are looked for."""


@dataclass(frozen=True)
class Event:
    """What became of the row in one table.

    Attributes:
        table: its name.
        step: that the table is of.
        use: the step's operator; None outside a run.
        outcome: kept, made (another row out of it), rejected, set_aside, merged, joined (another row was merged into it), or found (in a table that
            is none of a step's rows).
        number: of the row in the table, from 0.
        values: of the row; of one that left a step those with which it came into it, too.
        new: columns that the row did not have before, or that were different.
    """

    table: str
    step: str
    use: str | None
    outcome: str
    number: int
    values: Mapping[str, Any]
    new: Sequence[str]


@dataclass(frozen=True)
class Life:
    """All events of a row.

    Attributes:
        id: of the row that all others were made of.
        asked: the id that was looked for.
        events: in the order of the recipe.
        cut: tables that hold more rows of it than are shown, with how many.
    """

    id: str
    asked: str
    events: Sequence[Event]
    cut: Mapping[str, int]

    def of_the_row(self) -> list[Event]:
        """The events of the row itself."""
        return [e for e in self.events if e.values.get("id") == self.id and e.outcome != "joined"]

    @property
    def first(self) -> dict[str, Any]:
        """The first value of each column that the row ever had: its texts before a step rendered them."""
        out: dict[str, Any] = {}
        for e in self.of_the_row():
            for name, value in e.values.items():
                if value is not None:
                    out.setdefault(name, value)
        return out

    @property
    def values(self) -> dict[str, Any]:
        """The last value of each column that the row ever had."""
        return {name: value for e in self.of_the_row() for name, value in e.values.items() if value is not None}


def life_of(subject: Subject, row: str) -> Life:
    """The life of a row of any id: its own, that of a draw or of a pair.

    Raises:
        InputError: no table has a row of that id, or one cannot be read.
    """
    tables = [table for name in subject.tables() if "id" in (table := subject.table(name)).columns]
    root = _root(tables, row)
    uses = {count["step"]: count["use"] for done in subject.steps() for count in done.manifest["counts"]} if subject.kind == "run" else {}
    family, before = {root}, dict[str, dict[str, Any]]()
    events: list[Event] = []
    cut: dict[str, int] = {}
    for table in tables:
        found = list(_of_family(table, family))
        family |= {one for _, one, parent in found if parent in family}
        if len(found) > MOST:
            cut[table.name] = len(found)
        rows = table.take([number for number, _, _ in found[:MOST]])
        for (number, one, _), values in zip(found[:MOST], rows.iter_rows(named=True), strict=True):
            events.append(_event(table, number, values, one in family and one != root, root, uses, before))
    return Life(root, row, events, cut)


def _root(tables: Sequence[Table], row: str) -> str:
    """The row that a row was made of, over all parents."""
    seen = [row]
    for _ in range(_UP):
        parent = next((p for table in tables for _, one, p in _of_family(table, {seen[-1]}) if one == seen[-1]), ...)
        if parent is ...:
            if len(seen) > 1:  # its parent is in another run
                break
            hint = "ids stand in the column id of each table; a row that a step renamed has its new one"
            raise InputError(f"no row has the id {row!r}", hint=hint)
        if parent is None or parent in seen:
            break
        seen.append(str(parent))
    return seen[-1]


def _of_family(table: Table, family: set[str]) -> Iterator[tuple[int, str, str | None]]:
    """Rows that are one of the family or were made of one, and those that were merged into one: number, id, parent."""
    import polars as pl

    links = [c for c in ("id", "parent", "survivor") if c in table.columns]
    wanted = pl.any_horizontal([pl.col(c).cast(pl.String).is_in(list(family)) for c in links])
    parent = pl.col("parent").cast(pl.String) if "parent" in links else pl.lit(None, pl.String).alias("parent")
    for chunk in table.chunks():
        found = chunk.read(lambda rows: rows.filter(wanted).select(pl.col(NUMBER), pl.col("id").cast(pl.String), parent))
        yield from found.iter_rows()


def _event(
    table: Table, number: int, values: dict[str, Any], made: bool, root: str, uses: Mapping[str, str], before: dict[str, dict[str, Any]]
) -> Event:
    own, step, outcome = str(values["id"]), table.name.partition("/")[0], "made" if made else "kept"
    if "outcome" in values and "row" in values:  # of the rejects
        step, outcome = str(values["step"]), str(values["outcome"])
        came = row_that_came(values["row"])
        values = {**came, **{k: v for k, v in values.items() if k not in ("row", "outcome", "step")}}
        if own != root and not made:
            outcome = "joined"
    elif "/" in table.name and uses and not table.name.partition("/")[2].startswith("shards/"):
        outcome = "found"
    earlier = before.setdefault(own, dict(before.get(root, {})) if made else {})
    new = [c for c, v in values.items() if v is not None and earlier.get(c, ...) != v]
    earlier.update(values)
    return Event(table.name, step, uses.get(step), outcome, number, values, new)


def row_that_came(text: str | None) -> dict[str, Any]:
    """The row as it came into the step that it left, out of the column `row` of the rejects; empty where that is no object."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
