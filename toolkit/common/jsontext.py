"""JSON in which a key occurs once: of a key that occurs twice in an object, parsers take the first value, the last, or none, and none says so.

`loads_once` reads a whole document strictly. Where documents come by the hundred thousand, a fast parser reads them, and `may_repeat` tells from two
counts whether one needs the closer look of `repeated_key`: an object with no repeated key has as many keys parsed as written, and `keys_written` is
never less than those written. Nothing is missed; a text that looks like a key costs the closer look.

Failure semantics: ValueError for what is no JSON, or is nested too deeply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

_KEY_END = re.compile(rb'"[ \t\r\n]*:')


class _Twice(dict[str, Any]):
    """An object with keys that are in it twice."""

    keys_twice: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    out, seen = _Twice(found), set[str]()
    out.keys_twice = [k for k, _ in pairs if k in seen or seen.add(k)]  # type: ignore[func-returns-value]
    return out


def loads_once(text: str | bytes, **options: Any) -> Any:
    """A document (`options`: of ``json.loads``).

    Raises:
        ValueError: no JSON, not UTF-8, nested too deeply, or a key that occurs twice, by its place.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if (twice := _found(value, None)) is not None:
        raise ValueError(f"the key {twice!r} is given twice")
    return value


def repeated_key(text: str | bytes, wanted: Collection[str] | None = None) -> str | None:
    """The place of the first key that occurs twice in its object (``messages.0.role``); None without any.

    Args:
        text: a JSON document.
        wanted: of an object at the top only these keys and what is in them count; None: all.
    """
    try:
        return _found(json.loads(text, object_pairs_hook=_object), wanted)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _found(value: Any, wanted: Collection[str] | None) -> str | None:
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        place, one = waiting.pop()
        only = wanted if not place and isinstance(one, dict) else None
        if isinstance(one, _Twice) and (twice := [k for k in one.keys_twice if only is None or k in only]):
            return f"{place}{twice[0]}"
        inner = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        waiting += [(f"{place}{k}.", v) for k, v in inner if isinstance(v, dict | list) and (only is None or k in only)]
    return None


def keys_parsed(value: Any) -> int:
    """Keys of all objects in a parsed value."""
    n = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            n += len(one)
            one = one.values()
        for v in one:
            if type(v) is list or type(v) is dict:
                waiting.append(v)
    return n


def keys_written(text: bytes, enough: int = 0) -> int:
    """Keys in a JSON document, or more where texts look like some; where there are no more than `enough`, any number up to that."""
    colons = text.count(b":")
    if colons <= enough:
        return colons
    n = text.count(b'":')
    lines = 0 <= text.find(b"\n") < len(text) - 1  # no text of JSON's holds a line break or tab as it is
    if n != colons and (b"\t" in text or b"\r" in text or b" :" in text or (lines and b"\n:" in text)):
        n = len(_KEY_END.findall(text))
    return n if n <= enough else n - text.count(b'\\":') + text.count(b'\\\\":')  # a quote behind one backslash ends nothing


def may_repeat(text: bytes, value: dict[str, Any] | list[Any]) -> bool:
    """Whether a key may occur twice in a document that was parsed to `value`."""
    parsed = keys_parsed(value)
    return keys_written(text, parsed) > parsed
