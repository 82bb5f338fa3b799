"""The data that an output holds beside its labels (`Output.data`), and the output without it.

Data are looked for behind the reasoning. What is between the marks is data alone, an answers block in it included; where a mark is never closed, all
up to the end is. In the text without them every character of theirs is a space or a newline, so that places in it are those in the output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from toolkit.guards._definition import Guard

MALFORMED = "data_malformed"


def without_data(guard: Guard, text: str) -> str:
    """The output with blanks in place of its data."""
    return data_of(guard, text)[0] if guard.output.data else text


def data_of(guard: Guard, text: str) -> tuple[str, dict[str, str | None], bool]:
    """The output with blanks in place of its data; the data by name, None where there is none; and whether each is there at most once, and closed."""
    found: dict[str, str | None] = {}
    sound = True
    behind = text.rfind(guard.output.close) + len(guard.output.close) if guard.output.close in text else 0
    for name, pattern in _patterns(guard).items():
        matches = list(pattern.finditer(text, behind))
        found[name] = matches[-1]["text"].strip() if matches else None
        sound = sound and len(matches) < 2 and all(m["close"] for m in matches)
        for m in matches:
            text = text[: m.start()] + re.sub(r"[^\n]", " ", m[0]) + text[m.end() :]
    return text, found, sound


def data_lines(guard: Guard, data: Mapping[str, str | None]) -> list[str]:
    """Each text between its marks.

    Raises:
        ValueError: a text that holds a mark, or one of which the guard has no field.
    """
    fields = {field.name: field for field in guard.output.data}
    if odd := next((name for name in data if name not in fields), None):
        raise ValueError(f"the guard {guard.name!r} writes no {odd!r}")
    marks = [mark for field in fields.values() for mark in (field.open, field.close)]
    out = []
    for name, field in fields.items():
        if (text := data.get(name)) is None:
            continue
        if mark := next((mark for mark in (*marks, guard.output.close) if mark and mark in text), None):
            raise ValueError(f"{name} holds the mark {mark!r}")
        out.append(f"{field.open}\n{text.strip()}\n{field.close}")
    return out


@lru_cache(maxsize=32)
def _patterns(guard: Guard) -> dict[str, re.Pattern[str]]:
    """Of each field what it matches, up to the first mark that closes it or the end."""
    return {
        field.name: re.compile(rf"{re.escape(field.open)}(?P<text>.*?)(?P<close>{re.escape(field.close)}|\Z)", re.DOTALL)
        for field in guard.output.data
    }
