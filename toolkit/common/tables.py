"""Tables for people that lose nothing: no number is cut and no reason dropped, however narrow the place is.

A table that fits is drawn; columns of prose wrap in it, and headings where that makes it fit. One that does not fit is written a block for each row:
its first cell, and below it the others with their names. Text from data is shown plain (`toolkit.common.text`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from html import escape
from typing import Literal, NamedTuple, TextIO

from toolkit.common.text import one_line, plain

WIDE = 160
"""Columns of a table that goes to no terminal, where it needs no more."""
_PROSE = 24
"""Columns below which prose is not squeezed."""
_GAP, _EDGES = 3, 2


class Column(NamedTuple):
    """A column. Text and numbers stay on one line; `prose` wraps."""

    name: str
    kind: Literal["text", "number", "prose"] = "text"


def columns_of(left: Sequence[str], right: Sequence[str] = (), prose: str | None = None) -> list[Column]:
    """Texts, then numbers, then one column of prose."""
    last = [] if prose is None else [Column(prose, "prose")]
    return [*(Column(n) for n in left), *(Column(n, "number") for n in right), *last]


def width_of(stream: TextIO) -> int | None:
    """How wide a table may be: as wide as the terminal, or as ``COLUMNS`` says; None where nothing limits it."""
    if stream.isatty():
        return shutil.get_terminal_size((80, 24)).columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else None


def table_text(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    grouped: bool = False,
    header: bool = True,
    tight: bool = False,
) -> str:
    """A table as text, without a line break at its end.

    Args:
        title: above it; may be empty.
        columns: its columns.
        rows: a text for each column.
        width: of the place; None for as wide as it needs.
        grouped: rows with the same first cell belong together: it is shown once.
        header: whether the names of the columns are above them.
        tight: where it does not fit otherwise, one space between two columns.
    """
    cells = [[(plain if c.kind == "prose" else one_line)(text) for c, text in zip(columns, row, strict=True)] for row in rows]
    named = [Column(one_line(c.name), c.kind) for c in columns]
    title = one_line(title)
    for gap in (_GAP, 1) if tight else (_GAP,):
        if (widths := _widths(named, cells, width, header, gap)) is not None:
            return _drawn(title, named, cells, widths, grouped, header, gap)
    return _blocks(title, named, cells, width or WIDE)


def table_html(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a notebook; all texts are escaped, and what would not be seen in them is shown as escapes."""
    caption = f"<caption>{escape(one_line(title))}</caption>" if title else ""
    head = "".join(f"<th>{escape(one_line(name))}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(one_line(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None, header: bool, gap: int) -> list[int] | None:
    """The width of each column; None where they do not fit."""
    from rich.cells import cell_len

    body = [max((cell_len(line) for row in cells for line in row[i].split("\n")), default=0) for i in range(len(columns))]
    names = [c.name if header else "" for c in columns]
    frame = gap * (len(columns) - 1) + _EDGES
    least = [min(b, _PROSE) if c.kind == "prose" else b for c, b in zip(columns, body, strict=True)]
    for heads in ([cell_len(n) for n in names], [max(map(cell_len, n.split()), default=0) for n in names]):
        found = [max(a, b) for a, b in zip(least, heads, strict=True)]
        room = (WIDE if width is None else width) - frame - sum(found)
        if room >= 0 or width is None:
            return [f + max(0, min(b - f, room)) if c.kind == "prose" else f for c, f, b in zip(columns, found, body, strict=True)]
    return None


def _drawn(
    title: str, columns: Sequence[Column], cells: Sequence[Sequence[str]], widths: Sequence[int], grouped: bool, header: bool, gap: int
) -> str:
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_header=header, padding=(0, 1 if gap == _GAP else 0)
    )
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column.name, width=width, overflow="fold", justify="right" if column.kind == "number" else "left")
    last = None
    for first, *rest in cells:
        if grouped and last not in (None, first):
            table.add_section()
        table.add_row("" if grouped and first == last else first, *rest)
        last = first
    out = io.StringIO()
    whole = sum(widths) + gap * (len(columns) - 1) + _EDGES
    wide = max(whole, *(len(line) for line in (title, ""))) + 1
    # in a notebook rich would show it there and then, and write nothing
    Console(file=out, width=wide, highlight=False, markup=False, emoji=False, color_system=None, force_jupyter=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def _blocks(title: str, columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> str:
    """A block of lines for each row."""
    out = [*_wrapped(title.split(" "), width, "")] if title else []
    first = 1 if columns and columns[0].kind == "text" else 0
    for row in cells:
        out += ["", *_wrapped(row[0].split(" "), width, "")] if first else [""]
        pairs = [(c, text) for c, text in zip(columns[first:], row[first:], strict=True) if text]
        short = [f"{c.name} {text}".strip() for c, text in pairs if c.kind != "prose"]
        out += _wrapped([s + "," for s in short[:-1]] + short[-1:], width, "  ")
        for c, text in pairs:
            if c.kind == "prose":
                out += _wrapped([*([f"{c.name}:"] if c.name else []), *text.split()], width, "  ")
    return "\n".join(out)


def _wrapped(parts: Sequence[str], width: int, indent: str) -> list[str]:
    """Parts on lines of at most that width; one that is longer is parted at its spaces, else anywhere, and nothing is left out."""
    from rich.cells import cell_len, chop_cells

    lines: list[str] = []
    line = ""
    room = max(1, width - len(indent))
    for part in (p for whole in parts for p in ([whole] if cell_len(whole) <= room else whole.split(" "))):
        if line and cell_len(line) + 1 + cell_len(part) > room:
            lines.append(line)
            line = ""
        line = f"{line} {part}" if line else part
        while cell_len(line) > room:
            head, *rest = chop_cells(line, room)
            lines.append(head)
            line = "".join(rest)
    return [indent + one for one in [*lines, line] if one]
