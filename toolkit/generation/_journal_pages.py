"""Every record that can be read out of the bytes of a journal's file and its log, whatever state they are in.

SQLite reads a record by way of the pages above it, and a log up to its first fault. Here every page is looked at by itself: each one of the file, and
each one in the log, also behind a fault and before a commit. What looks like a row of one of our tables (sqlite.org/fileformat2.html, "B-tree Pages"
and "Record Format") is handed out; whether it is one, its own checksum says, which is the caller's to hold against it.

Failure semantics: `OSError` of the system. Nothing that a page holds raises anything.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.generation._journal_connect import FRAME_HEADER, LOG_HEADER, PAGE
from toolkit.generation._journal_records import LARGEST

_LEAF, _INDEX_LEAF, _INDEX_INNER = 0x0D, 0x0A, 0x02
"""Kinds of pages with rows: of a table; of a table WITHOUT ROWID, which is kept like an index."""

_MAGIC = b"SQLite format 3\x00"

_WIDTHS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes of an integer by its serial type."""


class Row(NamedTuple):
    """A row: its number (None in a table WITHOUT ROWID) and columns, the first one None where that is the number."""

    number: int | None
    columns: tuple[Any, ...]


def rows_in(file: Path, log: Path) -> Iterator[Row]:
    """What looks like a row in a database's file and its log; either may be missing, torn or damaged. The same row may come several times."""
    with ExitStack() as stack:
        data, logged = _mapped(stack, file), _mapped(stack, log)
        for size in _sizes(data, logged):
            pages = _Pages(data, logged, size)
            found = False
            for row in pages.rows():
                found = True
                yield row
            if found:
                return


class _Pages:
    """All images of all pages, at one size of page."""

    def __init__(self, data: bytes | mmap.mmap, log: bytes | mmap.mmap, size: int) -> None:
        self._data, self._log, self._size = data, log, size
        self._logged: dict[int, int] = {}  # where the last image of a page begins in the log
        frame = FRAME_HEADER + size
        self._frames = range(LOG_HEADER, len(log) - FRAME_HEADER, frame)
        for at in self._frames:
            self._logged[int.from_bytes(log[at : at + 4], "big")] = at + FRAME_HEADER

    def rows(self) -> Iterator[Row]:
        for at in range(0, len(self._data), self._size):
            yield from self._rows(self._data[at : at + self._size], 100 if at == 0 else 0)
        for at in self._frames:
            first = self._log[at : at + 4] == b"\0\0\0\1"
            yield from self._rows(self._log[at + FRAME_HEADER : at + FRAME_HEADER + self._size], 100 if first else 0)

    def _rows(self, page: bytes, base: int) -> Iterator[Row]:
        page = page.ljust(self._size, b"\0")  # the last one may be torn
        kind = page[base]
        if kind not in (_LEAF, _INDEX_LEAF, _INDEX_INNER):
            return
        first = base + (12 if kind == _INDEX_INNER else 8)
        cells = min(int.from_bytes(page[base + 3 : base + 5], "big"), (self._size - first) // 2)
        for at in struct.unpack_from(f">{cells}H", page, first):
            for logged in (True, False):
                try:
                    number, payload, whole = self._cell(page, kind, at, logged)
                    yield Row(number, _columns(payload))
                except (IndexError, ValueError, struct.error):  # no cell, or a damaged one
                    continue
                if whole or not self._logged:
                    break

    def _cell(self, page: bytes, kind: int, at: int, logged: bool) -> tuple[int | None, bytes, bool]:
        """Number and payload of a row, and whether its page holds all of it; else it goes on in others ("Cell Payload Overflow Pages").

        Args:
            logged: whether to read these from the log where it has them; else from the file.
        """
        number = None
        if kind == _INDEX_INNER:
            at += 4
        size, at = _varint(page, at)
        if kind == _LEAF:
            number, at = _varint(page, at)
        room = self._size
        most = room - 35 if kind == _LEAF else (room - 12) * 64 // 255 - 23
        least = (room - 12) * 32 // 255 - 23
        here = size
        if size > most:
            here = least + (size - least) % (room - 4)
            here = here if here <= most else least
        payload = page[at : at + here]
        if size <= most:
            return number, payload, True
        if size > min(len(self._data) + len(self._log), LARGEST + PAGE):
            raise ValueError("longer than it can be")
        following = int.from_bytes(page[at + here : at + here + 4], "big")
        return number, payload + self._overflow(following, size - here, logged), False

    def _overflow(self, page: int, size: int, logged: bool) -> bytes:
        out: list[bytes] = []
        while size > 0:
            data = self._image(page, logged)
            page = int.from_bytes(data[:4], "big")
            out.append(data[4 : 4 + size])
            size -= self._size - 4
        return b"".join(out)

    def _image(self, page: int, logged: bool) -> bytes:
        """The last image of a page in the log, where it is there, or that in the file."""
        at = self._logged.get(page) if logged else None
        data = self._log[at : at + self._size] if at is not None else self._data[(page - 1) * self._size : page * self._size]
        if page < 1 or len(data) < self._size:
            raise ValueError("no such page")
        return bytes(data)


def _columns(payload: bytes) -> tuple[Any, ...]:
    """The values of a record ("Record Format"); text as the journal's connections read it."""
    size, at = _varint(payload, 0)
    kinds = []
    while at < size:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    ends = [size]
    for kind in kinds:
        ends.append(ends[-1] + _width(kind))
    if not kinds or at != size or ends[-1] > len(payload):
        raise ValueError("no record")
    return tuple(_value(kind, payload[a:b]) for kind, (a, b) in zip(kinds, pairwise(ends), strict=True))


def _width(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return 8 if kind == 7 else _WIDTHS.get(kind, 0)


def _value(kind: int, data: bytes) -> Any:
    if kind >= 12:
        return data if kind % 2 == 0 else data.decode("utf-8", "surrogateescape")
    if kind == 7:
        return struct.unpack(">d", data)[0]
    if kind in (8, 9):
        return kind - 8
    return int.from_bytes(data, "big", signed=True) if kind in _WIDTHS else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of SQLite's, signed, and where it ends ("A variable-length integer")."""
    value = 0
    for i in range(8):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _mapped(stack: ExitStack, path: Path) -> bytes | mmap.mmap:
    try:
        f = stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        return b""
    return stack.enter_context(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)) if path.stat().st_size else b""


def _sizes(data: bytes | mmap.mmap, log: bytes | mmap.mmap) -> list[int]:
    """Sizes that the pages may have, the likeliest first: as the file says, as the log says, and what guardkit and SQLite have used."""
    sizes = [int.from_bytes(data[16:18], "big") if data[:16] == _MAGIC else 0, int.from_bytes(log[8:12], "big")]
    sizes = [65536 if n == 1 else n for n in sizes]
    return list(dict.fromkeys(n for n in (*sizes, PAGE, 4096) if 512 <= n <= 65536 and n & (n - 1) == 0))
