"""The first page: what is viewed, and the tables in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def overview(viewed: Viewed, request: Request) -> Response:
    """The tables, with their rows."""
    tables = [viewed.subject.table(name) for name in viewed.subject.tables()]
    return viewed.page(request, "overview.html", viewed.subject.name, tables=tables)


PAGES = [Page("/", "Overview", overview)]
