"""Which places of the grid are still open, as the rows that a round asks about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.operators.seeds._grid import Cell, Grid, Place
from toolkit.records import child_id

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[Any, Any]

BLOCK = 1024


class OpenPlaces:
    """The places of a grid. Memory: a byte each, and while a round lasts 8 more for those that are open.

    Args:
        grid: theirs.
        step: id of the step, with which their ids begin.
    """

    def __init__(self, grid: Grid, step: str) -> None:
        self._grid, self._step = grid, step
        self._open = bytearray(b"\1") * grid.wanted
        self._parents: dict[int, Sequence[int]] = {}
        self._now: Numbers | None = None

    @cached_property
    def may_be_varied(self) -> range | frozenset[int]:
        """Places whose seeds may be needed again."""
        return frozenset(n for cell in self._grid.cells if cell.of is not None for n in self._grid.numbers(self._grid.cells[cell.of]))

    def close(self, place: Place) -> None:
        """A place that has its seed."""
        self._open[place.number] = 0

    def give_up(self, cell: Cell, parents: Sequence[int]) -> int:
        """Say of which places' seeds those of a cell of variants are made, in order; the number of its places that have none."""
        self._parents[cell.number] = parents
        left = self._grid.numbers(cell)[len(parents) :]
        for n in left:
            self._open[n] = 0
        return len(left)

    def parent(self, place: Place) -> int:
        """The place of whose seed the one of a place is made."""
        return self._parents[place.cell.number][place.n]

    def begin(self, *, varies: bool) -> None:
        """The places that a round asks about are those that are open now: variants, or all others."""
        import numpy as np

        first = next((self._grid.numbers(cell).start for cell in self._grid.cells if cell.change is not None), self._grid.wanted)
        found = np.flatnonzero(np.frombuffer(self._open, np.uint8)).astype(np.int64)
        self._now = found[found >= first] if varies else found[found < first]

    def rows(self) -> PlaceRows:
        """Them as rows; before the first round all of them but variants, whose seeds are not known."""
        if self._now is None:
            self.begin(varies=False)
        assert self._now is not None  # noqa: S101  `begin` has set it
        return PlaceRows(self._step, self._now, self._grid)


class PlaceRows:
    """A `StepInput` of places: `id` and `number`."""

    columns: Sequence[str] | None = ("id", "number")

    def __init__(self, step: str, numbers: Numbers, grid: Grid) -> None:
        self.step, self._numbers, self._grid = step, numbers, grid

    @property
    def rows(self) -> int | None:
        """Number of rows."""
        return len(self._numbers)

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows."""
        for start in range(0, len(self._numbers), BLOCK):
            numbers = self._numbers[start : start + BLOCK].tolist()
            yield pl.DataFrame({"id": [self._id(n) for n in numbers], "number": numbers}, schema={"id": pl.String, "number": pl.Int64})

    def _id(self, number: int) -> str:
        place = self._grid.place(number)
        return child_id(self.step, place.cell.title.replace(" / ", "/"), place.n)

    def take(self, rows: pl.Series, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Some of the rows."""
        yield from (block for block in PlaceRows(self.step, self._numbers[rows.to_numpy()], self._grid).blocks())

    def artefact(self, name: str) -> Path:
        """There is none (InputError)."""
        raise InputError(f"{self.step!r} makes no {name!r} before it runs")

    def digest(self) -> str:
        """No identity: they are made anew."""
        return ""
