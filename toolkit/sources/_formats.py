"""Raw rows out of local files, block by block: parquet, JSON Lines, one JSON document, CSV, TSV.

A block is a list whose items are rows (a dict by column) or `Fault`. A torn line, a Latin-1 byte or a lone surrogate becomes the
fault of its row; what makes a whole file unreadable (not parquet, a missing column) is an `InputError`, raised by `probe` before
the first row is read.

Memory: `block_rows` rows, or `BLOCK_BYTES` of text if that is less. Nothing is memory-mapped. Parquet also holds the compressed
columns of one row group; a JSON document is loaded whole (its file's size, and about five times that as Python objects).
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.reading import Files
from toolkit.common.sizes import BLOCK_BYTES, text_size
from toolkit.sources._faults import Fault, has_surrogate, shown, undecodable
from toolkit.sources._json_document import document_rows, is_document
from toolkit.sources._json_lines import jsonl_rows, opened

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
Raw = Row | Fault
_SNIFF = 100
_SUFFIXES = {"parquet": "parquet", "pq": "parquet", "jsonl": "jsonl", "ndjson": "jsonl", "json": "json", "csv": "csv", "tsv": "tsv"}
DELIMITED = {"csv": ",", "tsv": "\t"}
"""Formats of text alone, and what parts their cells."""


@dataclass(frozen=True)
class Probe:
    """What a look at a file's beginning tells: its columns (None where no row could be read) and whether it has any row."""

    columns: frozenset[str] | None
    rows: bool


def format_of(path: Path, declared: str = "auto") -> str:
    """``parquet``, ``jsonl``, ``json`` (one document), ``csv`` or ``tsv``. A ``.json`` file may hold one document or JSON Lines: its beginning
    tells.

    Raises:
        InputError: a suffix that is not known.
    """
    kind = declared
    if kind == "auto":
        if not known_suffix(path):
            raise InputError(f"cannot tell the format from the suffix {_suffix(path)!r}", where=str(path), hint=f"known: {', '.join(_SUFFIXES)}")
        kind = _SUFFIXES[_suffix(path)]
    if kind != "json":
        return kind
    with opened(path) as f:
        return "json" if is_document(f) else "jsonl"


def known_suffix(path: Path) -> bool:
    """Whether a file's name tells its format."""
    return _suffix(path) in _SUFFIXES


def _suffix(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[2].lower()


def delimiter_hint(columns: frozenset[str]) -> str | None:
    """What to say of a file whose header another delimiter would part; None where none would."""
    (name, *more) = columns or ("",)
    found = next((d for d in ";\t|," if d in name), None)
    return None if more or found is None else f"the header is one cell, {name!r}: delimiter: {json.dumps(found)}"


def probe(path: Path, kind: str, wanted: Sequence[str] = (), delimiter: str | None = None) -> Probe:
    """Look at a file before anything is read; `wanted` and `delimiter` as for `read_blocks`.

    Raises:
        InputError: it cannot be read as `kind`.
    """
    if kind == "parquet":
        with open_parquet(path, files=Files()) as file:
            _once_each(file.schema_arrow.names, path)
            return Probe(frozenset(file.schema_arrow.names), file.metadata.num_rows > 0)
    if kind in DELIMITED:
        with opened(path) as f:
            rows = _csv_rows(f, path, delimiter or DELIMITED[kind])
            return Probe(frozenset(next(rows)), next(rows, None) is not None)
    keys: set[str] = set()
    seen = read = 0
    for block in read_blocks(path, kind, list(wanted), _SNIFF):
        for row in block:
            seen += 1
            if isinstance(row, dict):
                read += 1
                keys.update(row)
        break
    if kind == "jsonl" and seen and not read:
        with opened(path) as f:
            if is_document(f):
                raise InputError("one JSON document, and not a row on each line", where=str(path), hint="format: json")
    return Probe(frozenset(keys) if read else None, seen > 0)


def file_columns(path: Path, kind: str | None = None, delimiter: str | None = None) -> frozenset[str] | None:
    """The columns of a file, by its beginning; None where no row could be read. `kind`: its format (default: by suffix).

    Raises:
        InputError: a suffix that is not known, or the file cannot be read as what it says.
    """
    return probe(path, kind or format_of(path), delimiter=delimiter).columns


def _once_each(columns: list[str], path: Path) -> None:
    if twice := [c for c in dict.fromkeys(columns) if columns.count(c) > 1]:
        raise InputError(f"two columns are called {twice[0]!r}", where=str(path), hint="which of them is meant cannot be known: rename one")


def read_blocks(
    path: Path, kind: str, wanted: list[str], block_rows: int, held: Files | None = None, delimiter: str | None = None
) -> Iterator[list[Raw]]:
    """Rows of a file.

    Args:
        path: the file.
        kind: as `format_of` says.
        wanted: columns that are used; of the others a fault does not matter, and parquet does not read them.
        block_rows: most rows a block.
        held: files of a step: what is read must be what the plan has digested.
        delimiter: what parts the cells of CSV, where it is not what the format says.
    """
    if kind == "parquet":
        yield from _read_parquet(path, wanted, block_rows, held)
        return
    with opened(path, held) as f:
        if kind == "json":
            rows = document_rows(f.read(), wanted, path)
            yield from _cut(((r, _size(r)) for r in rows), block_rows)
        elif kind == "jsonl":
            yield from _cut(jsonl_rows(f, wanted), block_rows)
        else:
            yield from _cut(((r, _size(r)) for r in _csv_dicts(f, path, wanted, delimiter or DELIMITED[kind])), block_rows)


def _cut(rows: Iterator[tuple[Raw, int]], block_rows: int) -> Iterator[list[Raw]]:
    block: list[Raw] = []
    size = 0
    for row, n in rows:
        block.append(row)
        size += n
        if len(block) >= block_rows or size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _size(row: Raw) -> int:
    return len(row.text) if isinstance(row, Fault) else text_size(row)


def _csv_rows(f: IO[bytes], path: Path, delimiter: str) -> Iterator[list[str]]:
    # A process-wide setting of the csv module; its default refuses a field of more than 128 KiB.
    csv.field_size_limit(sys.maxsize)
    text = io.TextIOWrapper(f, encoding="utf-8-sig", errors="surrogateescape", newline="")
    empty = True
    for row in csv.reader(text, delimiter=delimiter):
        if row:
            if empty:
                _once_each(row, path)
            empty = False
            yield row
    if empty:
        raise InputError("the file is empty: not even a header", where=str(path))


def _csv_dicts(f: IO[bytes], path: Path, wanted: list[str], delimiter: str) -> Iterator[Raw]:
    rows = _csv_rows(f, path, delimiter)
    header = next(rows)
    for number, values in enumerate(rows, 1):
        if len(values) != len(header):
            yield Fault("bad_csv", f"row {number} has {len(values)} fields, the header {len(header)}", shown(values))
            continue
        row: Row = {k: v or None for k, v in zip(header, values, strict=True)}
        yield _csv_fault(row, values, number, wanted) or row


def _csv_fault(row: Row, values: list[str], number: int, wanted: list[str]) -> Fault | None:
    if not has_surrogate("".join(values)):
        return None
    for column in wanted:
        if has_surrogate(row.get(column)):
            fault = undecodable(row[column].encode("utf-8", "surrogateescape"), f"row {number}, {column}")
            return Fault(fault.reason, fault.detail, shown(row))
    return None


def _read_parquet(path: Path, wanted: list[str], block_rows: int, held: Files | None) -> Iterator[list[Raw]]:
    with open_parquet(path, files=held or Files()) as file:
        columns = [c for c in dict.fromkeys(wanted) if c in file.schema_arrow.names]
        start = 0
        for batch in batches(file, path, block_rows, columns):
            yield arrow_rows(batch, start)
            start += batch.num_rows


def arrow_rows(batch: pa.RecordBatch | pa.Table, start: int) -> list[Raw]:
    """Rows of a batch; text that is not UTF-8, which Arrow does not check, is the fault of its row. `start`: number of its first row."""
    names = batch.schema.names
    try:
        columns = [batch.column(i).to_pylist() for i in range(len(names))]
    except UnicodeDecodeError:
        return [_slow_arrow(batch, i, start) for i in range(batch.num_rows)]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _slow_arrow(batch: pa.RecordBatch | pa.Table, i: int, start: int) -> Raw:
    row: Row = {}
    fault: Fault | None = None
    for n, name in enumerate(batch.schema.names):
        scalar = batch.column(n)[i]
        try:
            row[name] = scalar.as_py()
        except UnicodeDecodeError as e:
            raw = bytes(e.object)
            row[name] = raw.decode("utf-8", "backslashreplace")
            fault = fault or undecodable(raw, f"row {start + i}, {name}")
    return Fault(fault.reason, fault.detail, shown(row)) if fault else row
