"""Tables that people read and fill in with a spreadsheet: CSV that executes nothing, and that reads back as it was.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula (OWASP, "CSV Injection"), and an id of digits for a number, of
which it keeps fifteen, or for a date (``12-3``). Such a text, and one that begins with an apostrophe, a tab or a line break, gets an apostrophe in
front; an empty text is an apostrophe alone, so that a cell without anything is null. Reading takes that apostrophe off: what was written comes back
exactly. Whatever writes CSV in guardkit writes it here.

Files are UTF-8 with a byte order mark, without which Excel takes them for another encoding. What is read may have commas, semicolons or tabs
between its cells, as spreadsheets write them. Empty cells at the end of a line may be left out, as Excel does where a column is empty for sixteen
lines, or be more than the header has.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.paths import near_file
from toolkit.common.reading import Files, unreadable

if TYPE_CHECKING:
    import polars as pl

_BLANK = r"[\s\p{Cc}\p{Cf}]"
_RISKY = rf"^(?:{_BLANK}*(?:[=+\-@＝＋－＠|%]|$)|'|{_BLANK}|[0-9.,:/ \-]+(?:[eE][+-]?[0-9]+)?\s*$)"
"""Beginnings of formulas, also in the wide forms and after blanks and what is not seen; texts that begin with such blanks or are nothing else; and
whole texts that would become numbers or dates."""


def write_sheet(table: pl.DataFrame, path: Path) -> None:
    """Write a table as CSV, a line for each row. Texts and names of columns are escaped; numbers and truth values stand as they are."""
    import polars as pl

    risky = dict(zip(table.columns, pl.Series(table.columns, dtype=pl.String).str.contains(_RISKY), strict=True))
    texts = [n for n, t in table.schema.items() if not (t.is_numeric() or t == pl.Boolean)]
    cells = [pl.col(n).cast(pl.String) for n in texts]
    safe = table.with_columns(pl.when(c.str.contains(_RISKY)).then(pl.lit("'") + c).otherwise(c).alias(n) for n, c in zip(texts, cells, strict=True))
    safe.rename({n: f"'{n}" for n in table.columns if risky[n]}).write_csv(path, include_bom=True, quote_style="always")


def unescape(cell: str) -> str | None:
    """The text that a cell stands for; None for an empty one. An apostrophe that `write_sheet` would not have put there is the text's own."""
    import polars as pl

    if not cell:
        return None
    return cell[1:] if cell.startswith("'") and pl.Series([cell[1:]]).str.contains(_RISKY)[0] else cell


def read_sheet(path: Path, held: Files | None = None) -> tuple[list[str], Iterator[tuple[str, dict[str, str | None]]]]:
    """The columns of a table (CSV or parquet) that people filled in, and its rows as texts, each with its place.

    Raises:
        InputError: the file is not there, has another suffix, is empty, or is not UTF-8; while rows are read: one with more cells than the header
            that are not empty.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), hint=near_file(path))
    if path.suffix.lower() == ".parquet":
        return _parquet(path, held or Files())
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        raise InputError(f"a file of kind {path.suffix or 'unknown'!r}", where=str(path), hint="give .csv or .parquet")
    # A process-wide setting of the csv module; its default refuses a cell of more than 128 KiB.
    csv.field_size_limit(sys.maxsize)
    lines = _lines(path, held or Files())
    try:
        _, header = next(lines)
    except StopIteration:
        raise InputError("the file is empty: not even a header", where=str(path)) from None
    columns = [unescape(c.strip()) or "" for c in header]
    if twice := sorted({c for c in columns if c and columns.count(c) > 1}):
        raise InputError(f"two columns are called {twice[0]!r}", where=f"{path}:1")

    def rows() -> Iterator[tuple[str, dict[str, str | None]]]:
        for line, cells in lines:
            if not any(map(str.strip, cells)):
                continue
            if any(cells[len(columns) :]):
                raise InputError(f"{len(cells)} cells, the header has {len(columns)}", where=f"{path}:{line}")
            yield f"{path}:{line}", dict(zip_longest(columns, map(unescape, cells[: len(columns)])))

    return columns, rows()


def _lines(path: Path, held: Files) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file, each with the number of the line that it begins on."""
    try:
        with path.open("rb") as raw, held.reading(raw.fileno(), path):
            f = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            first = f.readline()
            f.seek(0)
            reader = csv.reader(f, delimiter=max(",;\t", key=re.sub('"[^"]*"', "", first).count), strict=True)
            line = 1
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1
    except UnicodeDecodeError as e:
        raise InputError(f"not UTF-8 (byte {e.start})", where=str(path), hint="save it as CSV UTF-8") from None
    except csv.Error as e:
        raise InputError(f"not CSV: {e}", where=f"{path}:{line}") from None
    except OSError as e:
        raise unreadable(e, path) from None


def _parquet(path: Path, held: Files) -> tuple[list[str], Iterator[tuple[str, dict[str, str | None]]]]:
    import polars as pl
    import pyarrow as pa

    with open_parquet(path, files=held) as f:
        table = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(batches(f, path, 8192), f.schema_arrow)))

    def text(value: Any) -> str | None:
        return value if value is None or isinstance(value, str) else str(value)

    found = ((f"{path}, row {n}", {k: text(v) for k, v in row.items()}) for n, row in enumerate(table.iter_rows(named=True), 1))
    return table.columns, found
