"""Rows in memory, as what a step reads and as where its results go: for `toolkit.apply`, for the samples that `plan` looks at, and for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.common.files import FOLDER, make_folder
from toolkit.operators import Columns
from toolkit.pipeline._counts import Counts
from toolkit.pipeline._step_output import MARKS, StepOutput, conform, marked_rows
from toolkit.records import to_polars


class FrameInput:
    """A `StepInput`.

    Args:
        step: its name.
        frames: the rows, a block each.
        counted: whether their number is known before they have been read.
    """

    def __init__(self, step: str, *frames: pl.DataFrame, counted: bool = True) -> None:
        self.step, self.frames, self._known = step, frames, counted

    @property
    def rows(self) -> int | None:
        """Number of rows."""
        return sum(f.height for f in self.frames) if self._known else None

    @property
    def columns(self) -> Sequence[str] | None:
        """Names of the rows' columns."""
        return self.frames[0].columns if self.frames else None

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows."""
        yield from self.frames if columns is None else (f.select(list(columns)) for f in self.frames)
        self._known = True

    def take(self, rows: pl.Series, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Some of the rows."""
        yield from picked(self.blocks(columns), rows)

    def artefact(self, name: str) -> Path:
        """There is none (InputError)."""
        raise InputError(f"{self.step!r} is rows in memory: it has no {name!r}")

    def digest(self) -> str:
        """No identity: nothing is kept that could count by it."""
        return ""


def picked(blocks: Iterator[pl.DataFrame], rows: pl.Series) -> Iterator[pl.DataFrame]:
    """Of rows in blocks those with some numbers (`StepInput.take`)."""
    start = 0
    for block in blocks:
        low, high = rows.search_sorted(start), rows.search_sorted(start + block.height)
        if low < high:
            yield block[rows[low:high] - start]
        start += block.height


class FrameOutput(StepOutput):
    """A step's results in memory.

    Args:
        counts: as for every `StepOutput`.
        columns: of the kept rows.
        place: folder for artefacts.
        types: of the columns where no row is kept, and the rows keep the types that they have; None: they get those of `columns`.
    """

    lines = staticmethod(marked_rows)

    def __init__(self, counts: Sequence[Counts], columns: Columns, place: Path, types: Mapping[str, Any] | None = None) -> None:
        super().__init__(counts)
        self._columns, self._place, self._types = columns, place, types
        self._kept: list[pl.DataFrame] = []
        self._left: list[pl.DataFrame] = []

    def write(self, rows: pl.DataFrame) -> None:
        self._kept.append(conform(rows, self._columns) if self._types is None else rows.select(list(self._columns)))

    def write_lines(self, lines: pl.DataFrame) -> None:
        self._left.append(lines)

    def later(self, kind: str, lines: pl.DataFrame) -> None:
        self._left.append(lines)

    def folder(self, name: str) -> Path:
        path = self._place / name
        try:
            make_folder(path.parent)
            path.mkdir(mode=FOLDER)
        except OSError as e:
            hint = "give another folder: nothing is replaced"
            raise InputError(f"the artefact {name!r} cannot be written: {e.strerror}", where=str(path), hint=hint) from None
        return path

    @property
    def kept(self) -> pl.DataFrame:
        """The rows that go on."""
        if some := [f for f in self._kept if f.height]:
            return pl.concat(some, how="vertical_relaxed")
        return pl.DataFrame(schema=to_polars(tuple(self._columns.values())) if self._types is None else self._types)

    @property
    def left(self) -> pl.DataFrame:
        """The others, with their marks."""
        return pl.concat([*self._left, pl.DataFrame(schema=dict.fromkeys(MARKS, pl.String))], how="diagonal_relaxed")
