"""The numbers of the rows that a query asks for: found as far as they are needed, and kept for the next page."""

from __future__ import annotations

import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError
from toolkit.viewing._paged_table import Table
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
        self._going: Iterator[tuple[int, pl.DataFrame]] | None = None
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
                self._sort(start + size, seconds)
            else:
                self._look(None if all_of_them else start + size + 1, seconds)
            return Found(self._numbers[start : start + size].tolist(), self._total, self._looked, self._complete)

    @property
    def _total(self) -> int:
        return self._matching if self._query.sort else len(self._numbers)

    def _look(self, wanted: int | None, seconds: float) -> None:
        """Find more rows, until there are as many as are wanted, all have been looked at, or the time is up."""
        import polars as pl

        matches, used = rows_that_match(self._query, self._table.columns)
        assert matches is not None  # noqa: S101  else the query would be of all rows
        end = time.monotonic() + seconds
        if self._going is None:
            self._going = self._table.blocks(used)
        while not self._complete and (wanted is None or len(self._numbers) < wanted) and time.monotonic() < end:
            try:
                start, block = next(self._going)
            except StopIteration:
                self._complete = True
                return
            except BaseException:
                self._going, self._numbers, self._looked = None, array("q"), 0  # the next request begins anew
                raise
            found = block.select(matches.alias("found"))["found"].arg_true()
            self._numbers.extend((found.cast(pl.Int64) + start).to_list())
            self._looked = start + block.height

    def _sort(self, wanted: int, seconds: float) -> None:
        """Order the first rows, in memory that those and one block take."""
        import polars as pl

        if wanted > DEEPEST:
            raise InputError(
                f"an order is shown down to its row {DEEPEST:,}", hint="turn the order round, or choose fewer rows with a filter or a search"
            )
        if self._complete and (self._depth >= wanted or len(self._numbers) == self._matching):
            return
        depth = max(1024, 2 * wanted)
        matches, used = rows_that_match(self._query, self._table.columns)
        by = self._query.sort
        key = order_key(by, self._table.columns[by]).alias("key")
        first: pl.DataFrame | None = None
        self._matching = looked = 0
        for start, block in self._table.blocks(list(dict.fromkeys([by, *used]))):
            number = pl.int_range(start, start + block.height, dtype=pl.Int64).alias("n")
            rows = block.select(key, number, (pl.lit(True) if matches is None else matches).alias("found")).filter("found").drop("found")
            self._matching += rows.height
            looked = start + block.height
            if first is not None and first.height == depth and (last := first["key"][-1]) is not None:
                rows = rows.filter(pl.col("key") >= last if self._query.descending else pl.col("key") <= last)  # none behind it comes in any more
            if rows.height:
                rows = pl.DataFrame(pl.from_arrow(rows.to_arrow()))  # in memory of their own: they must not keep the texts of their block
                both = rows if first is None else pl.concat([first, rows], how="vertical_relaxed")
                first = both.sort("key", "n", descending=[self._query.descending, False], nulls_last=True).head(depth)
        self._numbers = array("q", first["n"].to_list() if first is not None else [])
        self._looked, self._complete, self._depth = looked, True, depth


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
