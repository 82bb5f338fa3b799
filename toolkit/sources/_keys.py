"""Counts over the bytes of many lines of JSON at once, at the speed of memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.common.jsontext import keys_parsed, may_repeat, repeated_key
from toolkit.sources._faults import Fault

if TYPE_CHECKING:
    import polars as pl

REPEATED = "repeated_key"
_SHORT = 1 << 18
"""Bytes below which a text is searched as it is: what counts faster takes longer to import."""
_KEY_END = re.compile(rb'[\x00-"]:')


def count_byte(text: bytes | bytearray, byte: int) -> int:
    """How often a byte is in a text."""
    return int((_bytes(text, 0) == byte).sum()) if text else 0


def keys_in(text: bytes | bytearray) -> int:
    """Keys in lines of JSON, or more: colons that are behind a quote, behind space, or behind an exclamation mark."""
    if len(text) < _SHORT:
        return len(_KEY_END.findall(text))
    return int(_key_ends(text).sum())


def keys_by_line(text: bytes | bytearray) -> tuple[pl.Series, pl.Series]:
    """Where each line ends (behind its line break), and its keys as `keys_in` counts them."""
    import polars as pl

    ends = (_bytes(text, 0) == 10).arg_true() + 1
    if not text.endswith(b"\n"):
        ends = ends.append(pl.Series([len(text)], dtype=ends.dtype))
    before = _key_ends(text).arg_true().search_sorted(ends)
    return ends, before.cast(pl.Int64).diff(null_behavior="ignore").fill_null(before.cast(pl.Int64))


def line_repeats(line: bytes, wanted: Sequence[str]) -> bool:
    """Whether a wanted key occurs twice in a line of JSON, or the line needs a closer look."""
    import orjson

    try:
        return may_repeat(line, orjson.loads(line)) and repeated_key(line, wanted) is not None
    except ValueError:
        return True


def _key_ends(text: bytes | bytearray) -> pl.Series:
    ends: pl.Series = (_bytes(text, 0)[:-1] <= ord('"')) & (_bytes(text, 1) == ord(":"))
    return ends


def _bytes(text: bytes | bytearray, start: int) -> Any:
    import polars as pl
    import pyarrow as pa

    return pl.from_arrow(pa.Array.from_buffers(pa.uint8(), len(text) - start, [None, pa.py_buffer(text).slice(start)]))


def each_once(lines: Sequence[tuple[dict[str, Any] | Fault, bytes, int]], wanted: Sequence[str]) -> Iterator[tuple[dict[str, Any] | Fault, int]]:
    """Rows with the bytes of their lines; one in which a wanted key occurs twice is a fault. Each line has its row and its number."""
    if not wanted:  # none of them counts
        yield from [(row, len(line)) for row, line, _ in lines]
        return
    parsed = [(row, line) for row, line, _ in lines if isinstance(row, dict)]
    counted = [keys_parsed(row) for row, _ in parsed]
    text = b"".join([line for _, line in parsed])
    if keys_in(text) == sum(counted):
        yield from [(row, len(line)) for row, line, _ in lines]
        return
    by_line = [keys_in(line) for _, line in parsed] if len(text) < _SHORT else keys_by_line(text)[1].to_list()
    doubtful = {id(row) for (row, _), n, m in zip(parsed, counted, by_line, strict=True) if n != m}
    for row, line, number in lines:
        if id(row) in doubtful and isinstance(row, dict) and may_repeat(line, row):
            yield checked(row, line, f"line {number}", wanted), len(line)
        else:
            yield row, len(line)


def checked(row: dict[str, Any], text: bytes | str, where: str, wanted: Sequence[str]) -> dict[str, Any] | Fault:
    """The row, or the fault of a wanted key that occurs twice in its text."""
    if (twice := repeated_key(text, wanted)) is None:
        return row
    shown = text if isinstance(text, str) else text.decode("utf-8", "backslashreplace")
    return Fault(REPEATED, f"{where}: the key {twice!r} is given twice", shown.rstrip("\r\n"))
