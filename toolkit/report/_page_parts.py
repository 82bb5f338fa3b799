"""What a report's page is made of: sections of notes, tables, pictures and rows. All text in them is data, and is escaped where it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.common.pictures import Picture, bars
from toolkit.common.text import one_line, plain
from toolkit.operators.figures import Cell

CELL = 400
"""Characters of a cell, at most."""
LINES = 500
"""Lines of a table, at most."""
LEFT_OUT = "(text left out)"
_REDACTED = 48
"""Characters of a cell from which on a report without texts leaves it out."""
_BARS = (2, 30)
"""Rows of a table that is drawn as bars without being asked."""


@dataclass(frozen=True)
class Note:
    """A paragraph; `kind`: ``plain``, ``problem`` (something is wrong) or ``aside``."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Field:
    """A cell: its text, and what it is sorted by."""

    text: str
    key: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: its caption, the names of its columns with whether each holds numbers, and the rows."""

    caption: str
    head: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Field]]


@dataclass(frozen=True)
class Shown:
    """A picture with the table behind it; `svg` is None where it is not drawn."""

    name: str
    picture: Picture
    sheet: Sheet
    svg: str | None = None


@dataclass(frozen=True)
class Example:
    """A row: what it is, and its fields as (name, text, whether the text is long)."""

    head: str
    fields: Sequence[tuple[str, str, bool]]
    note: str = ""


@dataclass(frozen=True)
class Examples:
    """Some rows below a heading."""

    title: str
    rows: Sequence[Example]


Part = Note | Sheet | Shown | Examples


@dataclass
class Section:
    """A section of the page; `name` is its identifier."""

    name: str
    title: str
    parts: list[Part] = field(default_factory=list)


def cell(value: Cell | bool, *, texts: bool = True) -> Field:
    """A value as a cell: a number is sorted by its value."""
    if value is None:
        return Field("")
    if isinstance(value, bool):
        return Field("yes" if value else "no")
    if isinstance(value, int):
        return Field(f"{value:,}", repr(value))
    if isinstance(value, float):
        return Field(f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}", repr(value))
    if not texts and len(value) >= _REDACTED:
        return Field(LEFT_OUT)
    return Field(one_line(bounded(value, CELL)), _leading_number(value))


def _leading_number(text: str) -> str:
    """What a text of a number with more behind it is sorted by: "66.7 [53.1, 77.3]" by 66.7."""
    first = text.partition(" ")[0].replace(",", "").rstrip("%")
    try:
        return repr(float(first)) if first[:1] in "-0123456789" and first else ""
    except ValueError:
        return ""


def bounded(text: str, most: int) -> str:
    """The beginning of a text, and how much more there is."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"


def long_text(text: str, most: int) -> str:
    """A text of a row, with its lines; what would not be seen is an escape."""
    return plain(bounded(text, most))


def _bounded(caption: str, head: Sequence[tuple[str, bool]], rows: Sequence[Sequence[Any]], *, texts: bool) -> Sheet:
    more = f" (the first {LINES} of {len(rows):,} lines)" if len(rows) > LINES else ""
    return Sheet(one_line(caption) + more, head, [[cell(v, texts=texts) for v in row] for row in rows[:LINES]])


def sheet_of(caption: str, words: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[Cell]], *, texts: bool = True) -> Sheet:
    """A table of words and numbers."""
    head = [*((one_line(w), False) for w in words), *((one_line(n), True) for n in numbers)]
    return _bounded(caption, head, rows, texts=texts)


def behind(picture: Picture, *, texts: bool = True) -> Sheet:
    """The table behind a picture."""
    names = list(picture.rows[0]) if picture.rows else []
    numbers = {n for n in names if all(isinstance(r.get(n), int | float | None) for r in picture.rows)}
    head = [(one_line(n), n in numbers) for n in names]
    return _bounded(picture.title, head, [[r.get(n) for n in names] for r in picture.rows], texts=texts)


def as_bars(table: Mapping[str, Any]) -> Picture | None:
    """The bars of a table that an operator shows, where it has one number for each of some names."""
    rows = table["rows"]
    if len(rows) == 1 and not table["words"] and len(table["numbers"]) > 1:  # one line of counts
        rows, table = list(zip(table["numbers"], rows[0], strict=True)), {"title": table["title"], "words": ["of"], "numbers": ["number"]}
    values = [row[-1] for row in rows]
    if len(table["numbers"]) != 1 or len(table["words"]) != 1 or not _BARS[0] <= len(rows) <= _BARS[1]:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return None
    name, number = table["words"][0] or " ", table["numbers"][0]
    return bars(table["title"], [{name: str(row[0] or ""), number: row[1]} for row in rows], name=name, number=number)


def pictures_of(sections: Sequence[Section]) -> Iterator[Shown]:
    """All pictures of a page, in order."""
    for section in sections:
        yield from (part for part in section.parts if isinstance(part, Shown))
