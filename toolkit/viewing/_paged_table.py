"""A table of rows in parquet files, of which only what is shown is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolkit.common.errors import InputError
from toolkit.common.parquet import first_line, open_parquet, taken_batches
from toolkit.common.reading import identity

if TYPE_CHECKING:
    import polars as pl

FIRST, THEN = 65_536, 262_144
"""Rows that are looked at together, at most: the first ones, and those after them."""
BYTES = 64 << 20
"""Bytes of rows that are looked at together, unless they are one row group."""
NUMBER = "\x00number of the row"
"""The column that a chunk's rows have beside their own."""
_FEW = 256
"""Rows that are decoded together where some of a row group are wanted."""


class Group(NamedTuple):
    """A row group: the number of the row behind its last one, in the table, and the bytes of one of its rows, about."""

    end: int
    bytes: int


@dataclass(frozen=True)
class Part:
    """One file: its place, how many rows it has, the number of its first row in the table, and its row groups."""

    path: Path
    rows: int
    start: int
    groups: Sequence[Group]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table, not read yet."""

    table: Table
    part: Part
    start: int
    rows: int

    def read(self, ask: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        """What is asked of the rows, which have a column `NUMBER` beside their own; polars reads what it needs for that, and no more.

        Raises:
            InputError: they cannot be read.
        """
        import polars as pl

        path, there = self.part.path, self.table.columns
        try:
            rows = pl.scan_parquet(path, glob=False).slice(self.start - self.part.start, self.rows)
            own = rows.collect_schema()
            if own != there:
                rows = rows.select(pl.col(c).cast(t, strict=False) if c in own else pl.lit(None, t).alias(c) for c, t in there.items())
            return ask(rows.with_row_index(NUMBER, self.start)).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as e:
            raise InputError(f"cannot be read: {first_line(e)}", where=str(path)) from None


class Table:
    """Rows, by number from 0.

    `chunks` are read by polars, which decodes two columns of many rows several times as fast as pyarrow hands them out; single rows by `take`.

    Args:
        name: in addresses: ``seeds``, ``seeds/rejects``.
        title: for people.
        files: parquet, in order; a column that one of them lacks is empty there.

    Raises:
        InputError: a file that cannot be read.
    """

    def __init__(self, name: str, title: str, files: Sequence[Path]) -> None:
        import polars as pl
        import pyarrow as pa

        self.name, self.title, self.files = name, title, tuple(files)
        self.columns: dict[str, pl.DataType] = {}
        self.parts: list[Part] = []
        start = 0
        for path in self.files:
            with open_parquet(path) as f:
                rows, groups, end = f.metadata.num_rows, [], start
                for i in range(f.metadata.num_row_groups):
                    about = f.metadata.row_group(i)
                    end += about.num_rows
                    groups.append(Group(end, about.total_byte_size // max(1, about.num_rows)))
                empty = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([], f.schema_arrow)))
            for column, kind in empty.schema.items():
                self.columns.setdefault(column, kind)
            self.parts.append(Part(path, rows, start, groups))
            start += rows
        self.rows = start

    @cached_property
    def version(self) -> tuple[object, ...]:
        """What changes when the files do."""
        return tuple(identity(path) for path in self.files)

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """The rows from one on, some at a time: few first, so that a page whose rows stand near the beginning is there soon."""
        most = FIRST
        while (part := next((p for p in self.parts if p.start <= start < p.start + p.rows), None)) is not None:
            rows = 0
            for group in part.groups:
                if group.end > start + rows:
                    more = group.end - start - rows
                    if rows and (rows + more > most or (rows + more) * group.bytes > BYTES):
                        break
                    rows = min(rows + more, most)
            yield Chunk(self, part, start, rows)
            start, most = start + rows, THEN

    def take(self, numbers: Sequence[int], columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Some rows, in the order in which they are asked for (InputError: they cannot be read, or are being written to)."""
        import polars as pl

        wanted = list(self.columns) if columns is None else list(columns)
        order = sorted(set(numbers))
        found: list[pl.DataFrame] = []
        for part in self.parts:
            here = pl.Series([n - part.start for n in order if part.start <= n < part.start + part.rows], dtype=pl.Int64)
            if not here.len():
                continue
            with open_parquet(part.path) as f:
                there = [c for c in wanted if c in f.schema_arrow.names]
                for batch, at in taken_batches(f, part.path, _FEW, here, there):
                    rows = self._framed(batch, wanted)[at]
                    found.append(pl.DataFrame(pl.from_arrow(rows.to_arrow())).cast(rows.schema))  # copied out: a row must not keep its whole batch
        rows = pl.concat(found, how="vertical_relaxed") if found else pl.DataFrame(schema={c: self.columns[c] for c in wanted})
        place = {n: i for i, n in enumerate(order)}
        return rows[[place[n] for n in numbers]]

    def _framed(self, batch: object, columns: Sequence[str]) -> pl.DataFrame:
        """A batch with all columns that are wanted, of the types of the table."""
        import polars as pl
        import pyarrow as pa

        rows = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
        return rows.select(
            (pl.col(c) if rows.schema.get(c) == self.columns[c] else pl.col(c).cast(self.columns[c], strict=False))
            if c in rows.columns
            else pl.lit(None, self.columns[c]).alias(c)
            for c in columns
        )
