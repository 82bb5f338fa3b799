"""Rows of JSON Lines, one at a time, and files opened whether gzipped or not.

A line is parsed by the fast parser; only one that it refuses is looked at closely, so that a torn line, a Latin-1 byte or a lone
surrogate costs its row alone and says what it is; so does a key that occurs twice (``repeated_key``). Blank lines are no rows. Memory: `_TOGETHER`
bytes of lines and their rows, and one line of `LINE_BYTES` at most.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from toolkit.common.errors import InputError
from toolkit.common.reading import Files, regular, unreadable
from toolkit.sources._faults import Fault, has_surrogate, undecodable
from toolkit.sources._keys import checked, each_once

Row = dict[str, Any]
LINE_BYTES = 256 << 20
"""A longer line is one row's fault (``too_long``)."""
_TOGETHER = 1 << 19
"""Bytes of lines that are looked through together for keys that occur twice."""


@contextmanager
def opened(path: Path, held: Files | None = None) -> Iterator[IO[bytes]]:
    """A file, or what a ``.gz`` holds.

    Args:
        path: of the file.
        held: files of a step: what is read must be what the plan has digested.

    Raises:
        InputError: it cannot be opened or read, or the archive is damaged (rows before the damage may already have been read); at the end, it is
            another file than was planned, or has changed while it was read.
    """
    try:
        regular(path, path)
        with path.open("rb") as raw, (held or Files()).reading(raw.fileno(), path):
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw) as f:
                    yield f  # type: ignore[misc]
            else:
                yield raw
    except (gzip.BadGzipFile, zlib.error, EOFError) as e:
        raise InputError(f"not a whole gzip file: {e}", where=str(path)) from None
    except OSError as e:
        raise unreadable(e, path) from None


def jsonl_rows(f: IO[bytes], wanted: Sequence[str], before: int = 0) -> Iterator[tuple[Row | Fault, int]]:
    """Rows with the bytes of their lines.

    `wanted`: columns in which half a surrogate pair is a fault, and which may occur once. `before`: lines of the file that came before.
    """
    held: list[tuple[Row | Fault, bytes, int]] = []
    size = 0
    for parsed in _lines(f, wanted, before):
        held.append(parsed)
        size += len(parsed[1])
        if size >= _TOGETHER:
            yield from each_once(held, wanted)
            held, size = [], 0
    yield from each_once(held, wanted)


def _lines(f: IO[bytes], wanted: Sequence[str], before: int) -> Iterator[tuple[Row | Fault, bytes, int]]:
    """Rows, each with its line and that one's number."""
    import orjson

    loads, number, first = orjson.loads, before, not before
    while line := f.readline(LINE_BYTES):
        number += 1
        if first:
            line, first = line.removeprefix(b"\xef\xbb\xbf"), False
        if len(line) >= LINE_BYTES and not line.endswith(b"\n"):
            yield _too_long(f, line, number), line, number
            continue
        try:
            row = loads(line)
        except orjson.JSONDecodeError:
            if not line.strip():
                continue
            yield _slow_line(line, number, wanted), line, number
            continue
        if type(row) is not dict:
            row = Fault("wrong_type", f"line {number} is not an object but {_kind(row)}", line.decode().rstrip("\r\n"))
        yield row, line, number


def _too_long(f: IO[bytes], line: bytes, number: int) -> Fault:
    more = line
    while more and not more.endswith(b"\n"):
        more = f.readline(1 << 20)
    return Fault("too_long", f"line {number} is longer than {LINE_BYTES} bytes", line[:10_000].decode("utf-8", "backslashreplace"))


def _slow_line(line: bytes, number: int, wanted: Sequence[str]) -> Row | Fault:
    """A line that the fast parser refused: the row after all, or the exact reason."""
    line = line.rstrip(b"\r\n")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return undecodable(line, f"line {number}")
    try:
        row = json.loads(text)
        if not isinstance(row, dict):
            return Fault("wrong_type", f"line {number} is not an object but {_kind(row)}", text)
        for column in wanted:
            if has_surrogate(row.get(column)):
                return Fault("surrogate", f"line {number}: {column} holds half of a surrogate pair", text)
        return checked(row, text, f"line {number}", wanted)
    except (ValueError, RecursionError) as e:
        return Fault("bad_json", f"line {number}: {e}", text)


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
