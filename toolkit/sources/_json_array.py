"""Rows of one JSON array, loaded whole.

An array that parses at once is done at once. Otherwise its elements are read one after another, so that a Latin-1 byte or a lone
surrogate costs its row alone; where the text breaks off or is no JSON, the rest is one fault, since no row can be told apart there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.jsontext import keys_parsed, may_repeat
from toolkit.sources._faults import Fault, has_surrogate, shown
from toolkit.sources._keys import checked, keys_in

_SPACE = re.compile(r"[ \t\r\n]*")
_REST = 10_000


def array_rows(raw: bytes, wanted: list[str], path: Path) -> Iterator[dict[str, Any] | Fault]:
    """Rows of the array.

    Args:
        raw: the file.
        wanted: columns that are used.
        path: names the file in messages.

    Raises:
        InputError: the file holds JSON that is not an array.
    """
    import orjson

    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        rows = orjson.loads(raw)
    except orjson.JSONDecodeError:
        yield from _slowly(raw, wanted)
        return
    if not isinstance(rows, list):
        raise InputError("not a JSON array of objects", where=str(path))
    if keys_in(raw) != keys_parsed(rows) and may_repeat(raw, rows):
        yield from _slowly(raw, wanted)
        return
    for n, row in enumerate(rows):
        yield row if isinstance(row, dict) else Fault("wrong_type", f"element {n} is not an object", shown(row))


def _slowly(raw: bytes, wanted: list[str]) -> Iterator[dict[str, Any] | Fault]:
    # A byte that is not UTF-8 becomes a lone surrogate in U+DC80..U+DCFF, which tells its row.
    text = raw.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    if not text.startswith("[", at):
        yield Fault("bad_json", "not a JSON array", _show(text[:_REST]))
        return
    at = _skip(text, at + 1)
    n = 0
    while not text.startswith("]", at):
        try:
            start = at
            row, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as e:
            yield Fault("bad_json", f"the array cannot be read from element {n} on: {e}", _show(text[at : at + _REST]))
            return
        yield _checked(row, text[start:at], n, wanted)
        n += 1
        at = _skip(text, at)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif not text.startswith("]", at):
            yield Fault("bad_json", f"the array breaks off after element {n - 1}", _show(text[at : at + _REST]))
            return
    if (end := _skip(text, at + 1)) < len(text):
        yield Fault("bad_json", "text after the array", _show(text[end : end + _REST]))


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _show(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _checked(row: Any, text: str, n: int, wanted: list[str]) -> dict[str, Any] | Fault:
    if not isinstance(row, dict):
        return Fault("wrong_type", f"element {n} is not an object", shown(row))
    for column in wanted:
        value = row.get(column)
        if has_surrogate(value):
            byte = re.search(r"[\udc80-\udcff]", json.dumps(value, ensure_ascii=False, default=repr))
            reason, what = ("not_utf8", "a byte that is not UTF-8") if byte else ("surrogate", "half of a surrogate pair")
            return Fault(reason, f"element {n}: {column} holds {what}", shown(row))
    return checked(row, text, f"element {n}", wanted)
