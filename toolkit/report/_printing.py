"""Results that are dicts and lists, and print as tables in a terminal and in a notebook.

Nothing is changed in the data: equality, JSON and keys are those of the dict or list. Text from data is shown on one line, and never as markup.
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.common.errors import did_you_mean
from toolkit.common.tables import Column, table_text
from toolkit.common.text import one_line

_ROWS = 20
"""Rows of a table that are shown."""
_SHORT = 100
"""Characters of a cell that are shown in a table of several columns."""
_WRAPS = 24
"""Characters beyond which a text may wrap."""


class Figures(dict[str, Any]):
    """A dict whose keys are attributes, too; a subclass names them with their types."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            hint = "" if name.startswith("_") else f" ({did_you_mean(name, self)})"
            raise AttributeError(f"{type(self).__name__} has no {name!r}{hint}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(k for k in self if k.isidentifier())})

    def __repr__(self) -> str:
        return as_text(self, type(self).__name__)

    def _repr_html_(self) -> str:
        return as_html(self, type(self).__name__)


class Lines(list[dict[str, Any]]):
    """A list of dicts with the same keys: one table."""

    def __repr__(self) -> str:
        return as_text(self, "")

    def _repr_html_(self) -> str:
        return as_html(self, "")


def as_text(value: Mapping[str, Any] | Sequence[Any], title: str) -> str:
    """The tables of a result, as wide as the terminal; nothing is cut but long texts."""
    width = shutil.get_terminal_size((100, 24)).columns
    out = []
    for part in _parts(value, title):
        header = any(part.columns)
        columns = [Column(name, _kind_of([row[i] for row in part.rows], header)) for i, name in enumerate(part.columns)]
        rows = [[part.cell(v) for v in row] for row in part.rows[:_ROWS]]
        out += [table_text(part.title, columns, rows, width=width, header=header), *([part.more] if part.more else [])]
    return "\n\n".join(out).strip("\n") or (f"{title}: nothing" if title else "nothing")


def _kind_of(values: Sequence[Any], header: bool) -> Literal["text", "number", "prose"]:
    """Numbers stay whole; a column of texts wraps where one of them is long."""
    if header and all(map(_is_number, values)):
        return "number"
    return "prose" if any(not _is_number(v) and len(_cell(v)) > _WRAPS for v in values[:_ROWS]) else "text"


def as_html(value: Mapping[str, Any] | Sequence[Any], title: str) -> str:
    """The same tables for a notebook."""
    out = []
    for part in _parts(value, title):
        head = "".join(f"<th>{html.escape(one_line(c))}</th>" for c in part.columns) if any(part.columns) else ""
        body = "".join("<tr>" + "".join(f"<td>{html.escape(part.cell(v))}</td>" for v in row) + "</tr>" for row in part.rows[:_ROWS])
        caption = f"<caption>{html.escape(one_line(part.title))}</caption>" if part.title else ""
        out.append(f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        out += [f"<p>{html.escape(part.more)}</p>"] if part.more else []
    return "".join(out) or "<p>nothing</p>"


@dataclass(frozen=True)
class _Part:
    """One table."""

    title: str
    columns: list[str]
    rows: list[list[Any]]

    def cell(self, value: Any) -> str:
        """A value as it is shown."""
        return _short(value) if any(self.columns) else _cell(value)

    @property
    def more(self) -> str:
        """A line about the rows that are not shown."""
        return f"… and {len(self.rows) - _ROWS:,} more, all in the result itself" if len(self.rows) > _ROWS else ""


def _parts(value: Mapping[str, Any] | Sequence[Any], title: str) -> Iterator[_Part]:
    if not isinstance(value, Mapping):
        if value:
            yield _of_lines(list(value), title)
        return
    plain = {k: v for k, v in value.items() if not _has_parts(v)}
    if plain:
        yield _Part(title, ["", ""], [[k, v] for k, v in plain.items()])
    for name, inner in value.items():
        if name in plain:
            continue
        if isinstance(inner, Mapping) and inner and all(isinstance(v, Mapping) for v in inner.values()):
            yield _of_lines([{"": k, **v} for k, v in inner.items()], name)
        else:
            yield from _parts(inner, name)


def _has_parts(value: Any) -> bool:
    """Whether a value is shown as a table of its own."""
    if isinstance(value, Mapping):
        return len(value) > 3 or any(isinstance(v, Mapping | list) and v for v in value.values())
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _of_lines(lines: list[Mapping[str, Any]], title: str) -> _Part:
    columns = list(dict.fromkeys(k for line in lines for k in line))
    return _Part(title, columns, [[line.get(c) for c in columns] for line in lines])


def _cell(value: Any) -> str:
    """A value on one line; what is empty is blank, also within."""
    if isinstance(value, Mapping):
        return ", ".join(f"{one_line(str(k))} {text}" for k, v in value.items() if (text := _cell(v)))
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(v, Mapping) for v in value) else ", ").join(map(_cell, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return "" if value is None else one_line(str(value))


def _short(value: Any) -> str:
    """A cell of a table of many columns."""
    text = _cell(value)
    return text if len(text) <= _SHORT else text[:_SHORT] + "…"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
