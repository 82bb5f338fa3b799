"""All pages of the viewer, in the order of its navigation. A module with pages of its own lists them as its `PAGES` and is named here."""

from __future__ import annotations

from toolkit.viewing import _overview_page, _rows_page

PAGES = [
    *_overview_page.PAGES,
    *_rows_page.PAGES,
]
