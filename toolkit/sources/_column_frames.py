"""Rows of files as frames of declared columns, a block at a time: what `read_blocks` gives as Python objects, for rows that need no conversion.

A block of JSON Lines is parsed whole: by polars, which is the quickest, where nothing in it can be a value that polars turns into text; else by
Arrow, whose types are strict. A block that Arrow refuses (a torn line, a value of another type, a lone surrogate) is read again line by line,
so that a bad line costs its row alone and says what it is; so does a line in which a declared column occurs twice. Memory: `BLOCK_BYTES` of text and
what it parses to; parquet also holds the compressed columns of one row group. Nothing is mapped.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.parquet import batches, first_line, open_parquet
from toolkit.common.reading import Files
from toolkit.records import MEASURES, Column, to_arrow, to_polars
from toolkit.sources._faults import Fault, has_surrogate, shown
from toolkit.sources._formats import DELIMITED, arrow_rows, read_blocks
from toolkit.sources._json_lines import LINE_BYTES, jsonl_rows, opened
from toolkit.sources._keys import count_byte, keys_by_line, keys_in, line_repeats

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

BLOCK_BYTES = 8 << 20
BLOCK_ROWS = 8192
PIECE_BYTES = 1 << 20
"""What one thread of Arrow's parses at a time; a block with a longer line is parsed in one piece."""
_DOUBTFUL = r"\A(?:(?:true|false|-?(?:inf|[0-9][0-9.eE+\-]*)|NaN)\z|[\[{])"
"""Texts that may have been no text: what polars makes of a bool, a number, a list or an object. Of half a surrogate pair it makes a NUL."""
_EXACT: dict[str, tuple[type, ...]] = {"string": (str,), "int64": (int,), "float64": (int, float), "bool": (bool,)}


@dataclass(frozen=True)
class Frame:
    """Some rows of a file: `rows` in the declared columns, `numbers` their places in the file from 1, and the `faults` with theirs; `seen`: those
    columns that one of its rows has, be it as null.
    """

    rows: pl.DataFrame
    numbers: pl.Series
    faults: list[tuple[int, Fault]]
    seen: frozenset[str]


def read_frames(
    path: Path, kind: str, columns: tuple[Column, ...], held: Files | None = None, delimiter: str | None = None, *, small: bool = False
) -> Iterator[Frame]:
    """Rows of a file.

    Args:
        path: the file.
        kind: as `format_of` says.
        columns: of the file, with their types; all others are left out. A missing key is null; null in a column that may not be is ``missing_key``.
        held: files of a step: what is read must be what the plan has digested.
        delimiter: as for `read_blocks`.
        small: an eighth of a block at a time, for a look at the first one.

    Raises:
        InputError: a parquet file lacks a column or holds another type in it, or the file cannot be read; at the end, it is another file than was
            planned, or has changed while it was read.
    """
    reader, part = _Reader(path, columns), 8 if small else 1
    if kind == "parquet":
        yield from reader.parquet(held, BLOCK_ROWS // part)
    elif kind == "jsonl":
        with opened(path, held) as f:
            yield from reader.lines(f, BLOCK_BYTES // part)
    else:
        for block in read_blocks(path, kind, [c.name for c in columns], BLOCK_ROWS // part, held, delimiter):
            yield reader.slow(block, text=kind in DELIMITED)


def count_rows(path: Path, kind: str, delimiter: str | None = None) -> int:
    """Rows of a file, for an estimate: as its footer or its line ends tell (blank lines count), else by reading it.

    Args:
        path, kind, delimiter: as for `read_frames`.
    """
    if kind == "parquet":
        with open_parquet(path) as file:
            return int(file.metadata.num_rows)
    if kind == "jsonl":
        with opened(path) as f:
            return sum(_lines(block) for block in _whole_lines(f))
    return sum(map(len, read_blocks(path, kind, [], BLOCK_ROWS, delimiter=delimiter)))


class _Reader:
    def __init__(self, path: Path, columns: tuple[Column, ...]) -> None:
        self._path = path
        self._columns = columns
        self._schema = to_arrow(tuple(Column(c.name, c.type, nullable=True) for c in columns))
        self._json = _small_lists(self._schema)
        self._next = 1
        self._lines = 0
        self._keys_tell = True

    def lines(self, f: IO[bytes], size: int) -> Iterator[Frame]:
        """JSON Lines, about `size` bytes at a time."""
        for block in _whole_lines(f, size):
            lines = _lines(block)
            yield self._fast(block, lines) or self.slow([row for row, _ in jsonl_rows(io.BytesIO(block), self._schema.names, self._lines)])
            self._lines += lines

    def _fast(self, block: bytes, lines: int) -> Frame | None:
        """The block in one go; None where any row of it needs a closer look."""
        import pyarrow as pa

        whole = [None, pa.py_buffer(struct.pack("=qq", 0, len(block))), pa.py_buffer(block)]
        if not _is_utf8(pa.Array.from_buffers(pa.large_string(), 1, whole)):  # which the parser does not look at
            return None
        if (rows := self._quick(block)) is not None and rows.height == lines:
            return self._whole(rows, block)
        table = self._parsed(block, PIECE_BYTES)
        if table is None and len(block) > PIECE_BYTES:
            table = self._parsed(block, len(block))
        if table is None or table.num_rows != lines:  # blank lines, or two objects on one
            return None
        return self._sound(table, block)

    def _quick(self, block: bytes) -> pl.DataFrame | None:
        """The rows by polars, None where it is not certain that each value is what the line says."""
        import polars as pl

        if not self._keys_tell or any(c.type not in ("string", "int64") for c in self._columns):
            return None
        try:
            rows = pl.read_ndjson(block, schema=to_polars(self._columns))
        except pl.exceptions.PolarsError:
            return None
        if not self._once_each(rows, block):
            return None
        texts = [pl.col(c.name).str for c in self._columns if c.type == "string"]
        doubts = [t.contains(_DOUBTFUL).any() | t.contains("\0", literal=True).any() for t in texts]
        return None if doubts and rows.select(pl.any_horizontal(doubts)).item() else rows

    def _once_each(self, rows: pl.DataFrame, block: bytes) -> bool:
        """Whether polars, which does not say so, can have seen no declared column twice in a line: there are no more keys than values, or a look at
        the lines where there are (null, other columns, a text like a key) finds none. Where these are many, Arrow is quicker, and says so.
        """
        values = [rows[c.name].is_not_null() for c in self._columns]
        if keys_in(block) == sum(int(v.sum()) for v in values):
            return True
        ends, keys = keys_by_line(block)
        if len(keys) != rows.height:
            return False
        doubtful = (keys != sum(v.cast(int) for v in values)).arg_true()
        if len(doubtful) > rows.height // 8:
            self._keys_tell = False
            return False
        return not any(line_repeats(block[ends[n - 1] if n else 0 : ends[n]], self._schema.names) for n in doubtful.to_list())

    def _parsed(self, block: bytes, piece: int) -> pa.Table | None:
        import pyarrow as pa
        import pyarrow.json as pj

        reading = pj.ReadOptions(block_size=min(piece, 1 << 30))
        parsing = pj.ParseOptions(explicit_schema=self._json, unexpected_field_behavior="ignore")
        try:
            table = pj.read_json(pa.BufferReader(pa.py_buffer(block)), read_options=reading, parse_options=parsing)
            return table.select(self._schema.names).cast(self._schema)
        except pa.ArrowInvalid:
            return None

    def _sound(self, table: pa.Table, text: bytes | None = None) -> Frame | None:
        """The rows of a table, read from `text`; None where one lacks a value that it must have."""
        import polars as pl

        return self._whole(pl.DataFrame(pl.from_arrow(table)), text)

    def _whole(self, rows: pl.DataFrame, text: bytes | None) -> Frame | None:
        """As `_sound`."""
        nulls = {c.name: rows[c.name].null_count() for c in self._columns}
        if any(nulls[c.name] for c in self._columns if not c.nullable):
            return None
        seen = [n for n, missing in nulls.items() if text is None or missing < rows.height or any(k in text for k in _keys(n))]
        return Frame(rows, self._numbers(rows.height), [], frozenset(seen))

    def _numbers(self, n: int) -> pl.Series:
        import polars as pl

        first, self._next = self._next, self._next + n
        return pl.int_range(first, self._next, eager=True, dtype=pl.Int64).alias("number")

    def slow(self, block: list[dict[str, Any] | Fault], *, text: bool = False) -> Frame:
        """Row by row. `text`: every value is text (CSV), and a number is what it reads as."""
        import polars as pl
        import pyarrow as pa

        values: dict[str, list[Any]] = {c.name: [] for c in self._columns}
        numbers, faults = [], []
        seen: set[str] = set()
        for number, row in enumerate(block, self._next):
            seen.update(() if isinstance(row, Fault) else row)
            fault = row if isinstance(row, Fault) else self._fault(row, number, text)
            if fault is None:
                numbers.append(number)
                for c in self._columns:
                    values[c.name].append(row.get(c.name))  # type: ignore[union-attr]
            else:
                faults.append((number, fault))
        self._next += len(block)
        table = pa.table([pa.array(values[f.name], f.type) for f in self._schema], schema=self._schema)
        return Frame(pl.DataFrame(pl.from_arrow(table)), pl.Series("number", numbers, dtype=pl.Int64), faults, frozenset(seen & values.keys()))

    def _fault(self, row: dict[str, Any], number: int, text: bool) -> Fault | None:
        for c in self._columns:
            value = row.get(c.name)
            if isinstance(value, float) and value != value and c.type != "float64":
                row[c.name] = value = None
            if text and isinstance(value, str) and c.type != "string":
                row[c.name] = value = _number(value, c.type)
            if value is None:
                if not c.nullable:
                    return Fault("missing_key", f"row {number}: {c.name} is not there", shown(row))
            elif not _fits(value, c.type):
                return Fault("wrong_type", f"row {number}: {c.name} is not {_type_name(c.type)} but {type(value).__name__}", shown(row))
            elif has_surrogate(value):
                return Fault("surrogate", f"row {number}: {c.name} holds half of a surrogate pair", shown(row))
        return None

    def parquet(self, held: Files | None, rows: int) -> Iterator[Frame]:
        """Parquet, `rows` at a time."""
        import pyarrow as pa

        with open_parquet(self._path, files=held or Files()) as file:
            self._check(file.schema_arrow)
            for batch in batches(file, self._path, rows, self._schema.names):
                try:
                    table = pa.Table.from_batches([batch]).select(self._schema.names).cast(self._schema)
                except pa.ArrowInvalid as e:
                    raise InputError(f"damaged after row {self._next - 1}: {first_line(e)}", where=str(self._path)) from None
                yield (self._sound(table) if _is_utf8(table) else None) or self.slow(arrow_rows(table, self._next))

    def _check(self, there: pa.Schema) -> None:
        for column in self._columns:
            if column.name not in there.names:
                raise InputError(f"no column {column.name!r}", where=str(self._path), hint=did_you_mean(column.name, there.names))
            found = there.field(column.name).type
            if not _castable(found, column.type):
                raise InputError(f"the column {column.name!r} holds {found}, not {_type_name(column.type)}", where=str(self._path))


def _whole_lines(f: IO[bytes], size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The file in pieces of about `size` bytes that end with a line; without a byte order mark. A longer line is a piece of its own."""
    held: list[bytes | memoryview] = [f.read(3).removeprefix(b"\xef\xbb\xbf")]
    n = 0
    while data := f.read(size):
        cut = data.rfind(b"\n") + 1
        n += len(data)
        if cut or n >= 2 * LINE_BYTES:
            end = cut or len(data)
            held.append(memoryview(data)[:end])
            piece = b"".join(held)
            held, n = [data[end:]], len(data) - end
            del data  # whoever works on the piece need not hold its bytes twice
            yield piece
        else:
            held.append(data)
    if piece := b"".join(held):
        yield piece


def _lines(block: bytes) -> int:
    return count_byte(block, 10) + (not block.endswith(b"\n"))


def _keys(name: str) -> set[bytes]:
    """A key as JSON writes it."""
    return {json.dumps(name, ensure_ascii=ascii_only).encode() for ascii_only in (True, False)}


def _is_utf8(values: pa.Table | pa.Array) -> bool:
    """Whether all text is: Arrow's readers take it on trust."""
    import pyarrow as pa

    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _small_lists(schema: pa.Schema) -> pa.Schema:
    """The schema with lists as Arrow's JSON parser makes them: it knows no large ones."""
    import pyarrow as pa

    def small(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_large_list(kind):
            return pa.list_(small(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(f.name, small(f.type)) for f in kind])
        return kind

    return pa.schema([pa.field(f.name, small(f.type)) for f in schema])


def _castable(found: pa.DataType, kind: Any) -> bool:
    """Whether every value of an Arrow type is one of a declared type; a struct has all its fields, but those of `MEASURES`."""
    import pyarrow as pa

    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return True
    if isinstance(kind, dict) and "list" in kind:
        return (pa.types.is_list(found) or pa.types.is_large_list(found)) and _castable(found.value_type, kind["list"])
    if isinstance(kind, dict):
        fields = {f.name: f.type for f in found} if pa.types.is_struct(found) else {}
        optional = MEASURES if "sha256" in kind["struct"] else {}
        return all(_castable(fields[n], t) if n in fields else n in optional for n, t in kind["struct"].items())
    tests = {
        "string": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
        "int64": lambda t: pa.types.is_integer(t) and t != pa.uint64(),
        "float64": lambda t: pa.types.is_floating(t) or pa.types.is_integer(t),
        "bool": pa.types.is_boolean,
    }
    return bool(tests[kind](found))


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, str):
        exact = isinstance(value, _EXACT[kind]) and (kind == "bool" or not isinstance(value, bool))
        return exact and (kind != "int64" or -(2**63) <= value < 2**63)
    if "list" in kind:
        return isinstance(value, list) and all(v is None or _fits(v, kind["list"]) for v in value)
    struct: Mapping[str, Any] = kind["struct"]
    return isinstance(value, dict) and all(value.get(n) is None or _fits(value[n], t) for n, t in struct.items())


def _number(text: str, kind: Any) -> Any:
    """What a CSV field reads as; the text itself where it is no such value."""
    try:
        if kind == "bool":
            return {"true": True, "false": False}.get(text.lower(), text)
        return {"int64": int, "float64": float}[kind](text) if isinstance(kind, str) else text
    except ValueError:
        return text


def _type_name(kind: Any) -> str:
    words = {"string": "text", "int64": "a whole number", "float64": "a number", "bool": "true or false"}
    return words[kind] if isinstance(kind, str) else f"of the type {kind}"
