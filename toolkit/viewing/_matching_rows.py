"""The numbers of the rows that a query asks for: found as far as they are needed, and kept for the next page."""

from __future__ import annotations

import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError
from toolkit.viewing._paged_table import NUMBER, Table
from toolkit.viewing._query import Query, order_key, rows_that_match

if TYPE_CHECKING:
    import polars as pl

SECONDS = 8.0
"""How long one request looks for rows; the next one goes on from there."""
DEEPEST = 100_000
"""Rows of an order that can be paged through."""
_KEPT = 8
"""Queries whose rows are remembered."""


@dataclass(frozen=True)
class Found:
    """Some of the rows that a query asks for.

    Attributes:
        numbers: of the rows of a page.
        total: rows that were found so far.
        looked: rows that were looked at.
        complete: whether that is all of them.
    """

    numbers: Sequence[int]
    total: int
    looked: int
    complete: bool


class Selection:
    """The rows of one query on one table; several threads may ask."""

    def __init__(self, table: Table, query: Query) -> None:
        self._table, self._query = table, query
        self._lock = threading.Lock()
        self._numbers = array("q")
        self._looked, self._complete = 0, False
        self._depth = self._matching = 0

    def page(self, start: int, size: int, *, all_of_them: bool = False, seconds: float = SECONDS) -> Found:
        """The rows from one on.

        Args:
            start: of the first, counted in the query's order.
            size: how many at most.
            all_of_them: count all, too.
            seconds: how long to look; what was found until then is shown.

        Raises:
            InputError: the files cannot be read, or an order is paged through deeper than `DEEPEST`.
        """
        if self._query.whole:
            return Found(range(min(start, self._table.rows), min(start + size, self._table.rows)), self._table.rows, self._table.rows, True)
        with self._lock:
            if self._query.sort:
                self._sort(start + size)
            else:
                self._look(None if all_of_them else start + size + 1, seconds)
            return Found(self._numbers[start : start + size].tolist(), self._total, self._looked, self._complete)

    @property
    def _total(self) -> int:
        return self._matching if self._query.sort else len(self._numbers)

    def _look(self, wanted: int | None, seconds: float) -> None:
        """Find more rows, until there are as many as are wanted, all have been looked at, or the time is up."""
        matches = rows_that_match(self._query, self._table.columns)
        end = time.monotonic() + seconds
        for chunk in self._table.chunks(self._looked):
            if (wanted is not None and len(self._numbers) >= wanted) or time.monotonic() >= end:
                return
            found = chunk.read(lambda rows: rows.filter(matches).select(NUMBER))
            self._numbers.extend(found[NUMBER].to_list())
            self._looked = chunk.start + chunk.rows
        self._complete = True

    def _sort(self, wanted: int) -> None:
        """Order the first rows, in memory that those and a chunk's keys take."""
        import polars as pl

        if wanted > DEEPEST:
            raise InputError(
                f"an order is shown down to its row {DEEPEST:,}", hint="reverse the order, or choose fewer rows with a filter or a search"
            )
        if self._complete and (self._depth >= wanted or len(self._numbers) == self._matching):
            return
        depth, matching = max(1024, 2 * wanted), 0
        matches, by = rows_that_match(self._query, self._table.columns), self._query.sort
        key = order_key(by, self._table.columns[by]).alias("key")
        first: pl.DataFrame | None = None
        for chunk in self._table.chunks():
            rows = chunk.read(lambda rows: rows.filter(matches).select(key, pl.col(NUMBER).alias("n")))
            matching += rows.height
            if first is not None and first.height == depth and (worst := first["key"][-1]) is not None:
                rows = rows.filter(pl.col("key") >= worst if self._query.descending else pl.col("key") <= worst)
            if first is None or rows.height:
                both = rows if first is None else pl.concat([first, rows])
                both = both.sort("key", "n", descending=[self._query.descending, False], nulls_last=True).head(depth)
                first = pl.DataFrame(pl.from_arrow(both.to_arrow()))  # copied out: a few rows must not keep the texts of a whole chunk
        self._numbers = array("q", first["n"].to_list() if first is not None else [])
        self._looked, self._complete, self._depth, self._matching = self._table.rows, True, depth, matching


class Selections:
    """Those that were asked for last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, Selection] = OrderedDict()

    def of(self, table: Table, query: Query) -> Selection:
        """The selection of a query; a new one where the files have changed."""
        key = (table.name, table.version, query)
        with self._lock:
            found = self._kept.pop(key, None) or Selection(table, query)
            self._kept[key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return found
