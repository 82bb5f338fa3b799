"""The tables of what is viewed, the rows of one of them, and one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.viewing._paged_table import Table
from toolkit.viewing._query import OPERATORS, query_of, shown_columns
from toolkit.viewing._rendering import as_text
from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

SIZE = 50
"""Rows of a page."""
PART = 20_000
"""Characters of a value that are shown at once."""


def rows(viewed: Viewed, request: Request) -> Response:
    """Rows of a table: a page of those that are asked for."""
    table = viewed.subject.table(request.path_params["table"])
    given = request.query_params
    query = query_of(given, table.columns)
    shown = shown_columns(given.getlist("show"), table.columns)
    page = number_of(given.get("page", "1"), "page")
    found = viewed.selections.of(table, query).page((page - 1) * SIZE, SIZE, all_of_them=given.get("count") == "1")
    return viewed.page(
        request,
        "rows.html",
        table.title,
        table=table,
        query=query,
        shown=shown,
        chosen=given.getlist("show"),
        found=found,
        page=page,
        size=SIZE,
        more=found.total > page * SIZE or not found.complete,
        rows=list(zip(found.numbers, table.take(found.numbers, shown).iter_rows(named=True), strict=True)),
        operators=OPERATORS,
        tables=list(viewed.subject.tables()),
    )


def row(viewed: Viewed, request: Request) -> Response:
    """One row, with all its values."""
    table, number, values = one_row(viewed, request)
    return viewed.page(request, "row.html", f"Row {number + 1:,} of {table.title}", table=table, number=number, values=values)


def cell(viewed: Viewed, request: Request) -> Response:
    """One value of a row; a long one in parts: browsers take many seconds to lay out a text of a megabyte."""
    table, number, values = one_row(viewed, request)
    column = request.query_params.get("of", "")
    if column not in values:
        raise InputError(f"no column called {column!r}")
    title = f"{column} of row {number + 1:,} of {table.title}"
    text = as_text(values[column])
    part, parts = number_of(request.query_params.get("part", "1"), "part"), -(-len(text) // PART) or 1
    if part > parts:
        raise InputError(f"there is no part {part:,}: the value has {parts:,}")
    shown = text[(part - 1) * PART : part * PART]
    return viewed.page(request, "cell.html", title, table=table, number=number, column=column, text=shown, part=part, parts=parts)


def one_row(viewed: Viewed, request: Request) -> tuple[Table, int, dict[str, Any]]:
    """The row that an address names: its table, its number from 0, its values.

    Raises:
        InputError: there is no such table or row.
    """
    table = viewed.subject.table(request.path_params["table"])
    number = number_of(request.query_params.get("row", "1"), "row") - 1
    if number >= table.rows:
        raise InputError(f"there is no row {number + 1:,}: the table has {table.rows:,}")
    return table, number, table.take([number]).row(0, named=True)


def number_of(text: str, name: str) -> int:
    """A number from 1 on, out of an address.

    Raises:
        InputError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 12 and int(text) > 0):
        raise InputError(f"{name}: a number from 1 on, not {text!r}")
    return int(text)


PAGES = [
    Page("/rows/{table:path}", "Rows", rows, navigation=False),
    Page("/row/{table:path}", "Row", row, navigation=False),
    Page("/cell/{table:path}", "Value", cell, navigation=False),
]
