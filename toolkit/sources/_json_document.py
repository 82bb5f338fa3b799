"""Rows of one JSON document, loaded whole, whatever its line breaks.

The rows are the elements of an array: the document itself, or the one array of objects in the document where no wanted column is a key of it
(``{"data": [...]}``). An object whose wanted columns are lists, or objects by row as pandas writes them, is a table by column; any other
object is one row.

An array that parses at once is done at once. Otherwise its elements are read one after another, so that a Latin-1 byte or a lone
surrogate costs its row alone; where the text breaks off or is no JSON, the rest is one fault, since rows cannot be separated there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from toolkit.common.errors import InputError
from toolkit.common.jsontext import keys_parsed, may_repeat
from toolkit.sources._faults import Fault, has_surrogate, shown
from toolkit.sources._json_lines import LINE_BYTES
from toolkit.sources._keys import checked, keys_in

_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}"]')
_REST = 10_000


def is_document(f: IO[bytes]) -> bool:
    """Whether an open file of JSON holds one document, and not a row on each line: an array, or an object that goes on over the first line break or
    has nothing behind it. A line that is torn is not taken for the beginning of a document.
    """
    import orjson

    line = f.readline(LINE_BYTES).removeprefix(b"\xef\xbb\xbf")
    while line and not line.strip():
        line = f.readline(LINE_BYTES)
    if not line.lstrip().startswith(b"{"):
        return line.lstrip().startswith(b"[")
    then = f.read(1 << 16).lstrip()[:1]
    try:
        orjson.loads(line)
    except ValueError:
        left = _left_open(line)
        return bool(then) and (left == b"[" or (left == b"{" and (then in b'"}' or line.rstrip().endswith(b":"))))
    return not then


def _left_open(line: bytes) -> bytes | None:
    """The innermost bracket that a line opens and does not close; None where it closes all, or breaks off within a text."""
    opened: list[bytes] = []
    for token in _TOKEN.findall(line):
        if token in (b"[", b"{"):
            opened.append(token)
        elif token in (b"]", b"}") and opened:
            opened.pop()
        elif token == b'"':
            return None
    return opened[-1] if opened else None


def document_rows(raw: bytes, wanted: list[str], path: Path) -> Iterator[dict[str, Any] | Fault]:
    """Rows of the document.

    Args:
        raw: the file.
        wanted: columns that are used.
        path: names the file in messages.

    Raises:
        InputError: the file holds JSON that is no rows, or an object that is no JSON.
    """
    import orjson

    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        yield from _slowly(raw, wanted, path)
        return
    if not isinstance(found, list | dict):
        raise InputError("not a JSON array of objects", where=str(path))
    if keys_in(raw) != keys_parsed(found) and may_repeat(raw, found):
        yield from _slowly(raw, wanted, path)
        return
    rows = found if isinstance(found, list) else _of_object(found, wanted, path)
    for n, row in enumerate(rows):
        yield row if isinstance(row, dict) else Fault("wrong_type", f"element {n} is not an object", shown(row))


def _of_object(found: dict[str, Any], wanted: Sequence[str], path: Path) -> list[Any]:
    """The rows that a document which is an object holds."""
    columns = [found[c] for c in wanted if c in found] if wanted else list(found.values())
    if columns and all(isinstance(c, list | dict) for c in columns):
        tables = {n: c for n, c in found.items() if isinstance(c, type(columns[0])) and _places(c) == _places(columns[0])}
        if len(tables) == len(found):
            return [{n: c[place] for n, c in tables.items()} for place in _places(columns[0])]
    if columns and wanted:
        return [found]
    arrays = [n for n, v in found.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)]
    if len(arrays) > 1:
        raise InputError(f"several lists of rows in one document: {', '.join(arrays)}", where=str(path), hint="which is meant? keep one in a file")
    return list(found[arrays[0]]) if arrays else [found]


def _places(column: list[Any] | dict[str, Any]) -> list[Any]:
    return list(range(len(column)) if isinstance(column, list) else column)


def _array_at(text: str, wanted: Sequence[str]) -> int | None:
    """Where the array of the rows begins: at the start, or as the first value of an object that is a list of objects."""
    at = _skip(text, 0)
    if not text.startswith("{", at):
        return at
    decoder, found = json.JSONDecoder(), None
    at = _skip(text, at + 1)
    try:
        while text.startswith('"', at):
            key, at = decoder.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
            if key in wanted:
                return None
            if found is None and text.startswith("[", at) and text.startswith("{", _skip(text, at + 1)):
                found = at
            _, at = decoder.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
    except (ValueError, RecursionError):  # it breaks off in this value
        return found
    return found


def _slowly(raw: bytes, wanted: list[str], path: Path) -> Iterator[dict[str, Any] | Fault]:
    # A byte that is not UTF-8 becomes a lone surrogate in U+DC80..U+DCFF, which tells its row.
    text = raw.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder()
    at = _array_at(text, wanted)
    if at is None:
        yield from _object_slowly(text, wanted, path)
        return
    whole = at == _skip(text, 0)
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
    if whole and (end := _skip(text, at + 1)) < len(text):
        yield Fault("bad_json", "text after the array", _show(text[end : end + _REST]))


def _object_slowly(text: str, wanted: list[str], path: Path) -> Iterator[dict[str, Any] | Fault]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise InputError(f"no JSON: {e}", where=str(path)) from None
    if isinstance(twice := checked(found, text, "the document", wanted), Fault):
        yield twice
        return
    for n, row in enumerate(_of_object(found, wanted, path)):
        yield _checked(row, "", n, []) if not isinstance(row, dict) else _surrogates(row, n, wanted) or row


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _show(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _checked(row: Any, text: str, n: int, wanted: list[str]) -> dict[str, Any] | Fault:
    if not isinstance(row, dict):
        return Fault("wrong_type", f"element {n} is not an object", shown(row))
    return _surrogates(row, n, wanted) or checked(row, text, f"element {n}", wanted)


def _surrogates(row: dict[str, Any], n: int, wanted: list[str]) -> Fault | None:
    for column in wanted:
        value = row.get(column)
        if has_surrogate(value):
            byte = re.search(r"[\udc80-\udcff]", json.dumps(value, ensure_ascii=False, default=repr))
            reason, what = ("not_utf8", "a byte that is not UTF-8") if byte else ("surrogate", "half of a surrogate pair")
            return Fault(reason, f"element {n}: {column} holds {what}", shown(row))
    return None
