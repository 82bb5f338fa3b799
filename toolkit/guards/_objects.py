"""JSON objects that are in a text."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

_ATTEMPTS = 32
"""Beginnings of objects that are tried where they come to nothing."""


def as_word(value: Any) -> str | None:
    """A value of JSON as a word; None for one that is none."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip().casefold() if isinstance(value, int | float | str) else None


def objects(text: str) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects that are in a text one after the other, and where the last one ends; of one that has a key twice, the key is not there."""
    out: list[dict[str, Any]] = []
    behind = 0
    at, tries = text.find("{"), 0
    while at >= 0 and tries < _ATTEMPTS:
        try:
            value, end = _DECODER.raw_decode(text, at)
            if isinstance(value, dict):
                out.append(value)
                behind = end
            at = text.find("{", end)
        except (ValueError, RecursionError):
            tries += 1
            at = text.find("{", at + 1)
    return out, behind


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        found = {name: value for name, value in pairs if counts[name] == 1}
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)
