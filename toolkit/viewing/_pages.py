"""All pages of the viewer, in the order of its navigation. A module with pages of its own lists them as its `PAGES` and is named here."""

from __future__ import annotations

from toolkit.viewing import _clusters_page, _disputes_page, _life_page, _overview_page, _rows_page, _run_pages

PAGES = [
    *_overview_page.PAGES,
    *_rows_page.PAGES,
    *_life_page.PAGES,
    *_run_pages.PAGES,
    *_clusters_page.PAGES,
    *_disputes_page.PAGES,
]
