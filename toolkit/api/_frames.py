"""Tables of other packages, read through Arrow; none of these packages is imported for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


def arrow_table(rows: Any) -> pa.Table | None:
    """A table of polars, pandas, pyarrow or datasets as one of Arrow's; None for what is no table.

    Raises:
        InputError: a column of it is nothing that Arrow knows.
    """
    import polars as pl
    import pyarrow as pa

    if isinstance(rows, pl.LazyFrame):
        rows = rows.collect()
    if type(rows).__module__.startswith("datasets.") and hasattr(rows, "num_rows") and not isinstance(rows, Mapping):
        rows = rows.with_format("arrow")[:]  # its rows as they are selected and ordered
    if isinstance(rows, pa.Table):
        return rows
    if not hasattr(rows, "__arrow_c_stream__"):
        return None
    try:
        return pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError) as e:
        message = f"the table cannot be read: {str(e).splitlines()[0]}"
        raise InputError(message, where="rows", hint="a column must hold values of one type") from None


def polars_frame(rows: Any) -> pl.DataFrame:
    """A table of any of them as one of polars.

    Raises:
        InputError: it is none.
    """
    import polars as pl

    if isinstance(rows, pl.DataFrame):
        return rows
    if (table := arrow_table(rows)) is None:
        hint = "a table of polars, pandas, pyarrow or datasets; `toolkit.seeds` makes one of dicts"
        raise InputError(f"no table of rows: {type(rows).__name__}", where="rows", hint=hint)
    return pl.DataFrame(pl.from_arrow(table))
