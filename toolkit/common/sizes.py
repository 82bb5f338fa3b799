"""How many bytes rows take, so that a block of long rows holds fewer of them.

The size of a value is that of its text in UTF-8 or of its bytes, and 8 bytes beside. It depends on the rows alone, not on how they lie in memory:
rows that are cut by it are cut at the same places whatever blocks they came in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

BLOCK_BYTES = 32 << 20
"""Bytes of rows that are worked on at once; a longer row stands alone."""


def total_bytes(rows: pl.DataFrame) -> int:
    """Bytes of all rows."""
    import polars as pl

    if not rows.width:
        return 0
    sizes = [e for name, kind in rows.schema.items() for e in _texts(pl.col(name), kind)]
    return int(rows.select(pl.sum_horizontal(e.cast(pl.Int64) for e in sizes)).item())


def row_bytes(rows: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Bytes of each row, int64."""
    import numpy as np

    sizes = np.zeros(rows.height, np.int64)
    for column in rows:
        sizes += _each(column)
    return sizes


def pieces(rows: pl.DataFrame, most: int = BLOCK_BYTES) -> Iterator[pl.DataFrame]:
    """The rows in order, cut so that no piece of more than one row is larger than `most` bytes; a frame without rows is a piece."""
    if total_bytes(rows) <= most or rows.height < 2:
        yield rows
        return
    ends = row_bytes(rows).cumsum()
    start, before = 0, 0
    while start < rows.height:
        end = max(start + 1, int(ends.searchsorted(before + most, "right")))
        yield rows[start:end]
        start, before = end, int(ends[end - 1])


def text_size(value: Any) -> int:
    """Characters of text in a value of a row as Python holds it, lists and mappings included."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(text_size, value.values()))
    return sum(map(text_size, value)) if isinstance(value, list | tuple) else 0


def _texts(column: pl.Expr, kind: Any) -> list[pl.Expr]:
    """For each text in values of a polars type, and for each level of lists, an expression of its bytes in all rows."""
    import polars as pl

    if kind == pl.String:
        return [column.str.len_bytes().sum() + 8 * column.len()]
    if kind == pl.Binary:
        return [column.bin.size().sum() + 8 * column.len()]
    if isinstance(kind, pl.List):
        inside = column.list.explode(empty_as_null=False, keep_nulls=False)
        return [8 * column.len(), *_texts(inside, kind.inner)]
    if isinstance(kind, pl.Struct):
        return [e for f in kind.fields for e in _texts(column.struct.field(f.name), f.dtype)]
    return [8 * column.len()]


def _each(column: pl.Series) -> np.ndarray[Any, np.dtype[np.int64]]:
    import numpy as np
    import polars as pl

    if column.dtype == pl.String:
        return column.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy() + 8
    if column.dtype == pl.Binary:
        return column.bin.size().fill_null(0).cast(pl.Int64).to_numpy() + 8
    if isinstance(column.dtype, pl.List):
        inside = np.concatenate([[0], _each(column.list.explode(empty_as_null=False, keep_nulls=False)).cumsum()])
        ends = column.list.len().fill_null(0).cast(pl.Int64).to_numpy().cumsum()
        return np.diff(inside[ends], prepend=0) + 8
    if isinstance(column.dtype, pl.Struct):
        return sum((_each(c) for c in column.struct.unnest()), np.zeros(len(column), np.int64))
    return np.full(len(column), 8, np.int64)
