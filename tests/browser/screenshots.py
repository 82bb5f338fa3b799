"""Pictures of the main pages for README and docs, from a small run: ``make screenshots``.

    python tests/browser/screenshots.py            # writes docs/images/*.png

The pages are those that the browser tests open. A picture of more than 150 kB is an error, so that the repository stays small.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from look import Look, chromium, opened  # noqa: E402
from small_run import make_run  # noqa: E402

import toolkit  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LARGEST = 150_000
"""Bytes of a picture."""
WIDTH, HEIGHT = 1200, 760
ROWS = urlencode(
    [("column", "status_prompt"), ("operator", "is"), ("value", "hard"), ("sort", "error_rate_prompt"), ("descending", 1)]
    + [("show", name) for name in ("prompt", "label_prompt", "categories", "n_right_prompt", "n_wrong_prompt", "error_rate_prompt", "entropy_prompt")]
)
"""Rows that are hard, the hardest first."""


class Pictures:
    """Takes pictures of pages.

    Args:
        browser: that shows them.
        folder: where they go.
    """

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser, self._folder = browser, folder

    def take(self, name: str, *addresses: str | Path, colours: str = "light", then: Callable[[Look], object] | None = None) -> None:
        """Open addresses one after the other, do something with the last, and write the picture.

        Raises:
            ValueError: the page has a fault, or the picture is too large.
        """
        seen = opened(self._browser, colours=colours, width=WIDTH, height=HEIGHT)
        try:
            for address in addresses:
                seen.open(address)
            if then is not None:
                then(seen)
            file = self._folder / f"{name}.png"
            seen.picture(file)
        finally:
            seen.close()
        if seen.faults or file.stat().st_size > LARGEST:
            raise ValueError(f"{file.name}: {file.stat().st_size:,} bytes; faults: {seen.faults}")
        print(f"{file.name}: {file.stat().st_size // 1000} kB")


def to_picture(seen: Look, title: str) -> None:
    """Scroll to a picture of the report."""
    seen.find("figcaption", has_text=title).first.evaluate("one => one.closest('figure').scrollIntoView()")


def to_guards(seen: Look) -> None:
    """Scroll to what guards answered about a row."""
    seen.page.get_by_role("heading", name="What guards answered").evaluate("one => one.scrollIntoView()")


def main() -> int:
    """Make the run, open each page, write its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(1) as apart:
        os.chdir(temporary)  # a page shows where its run is
        make_run(Path("outputs"), rows=120, hostile=False)
        with chromium() as browser:
            pictures = Pictures(browser, folder)
            apart.submit(toolkit.report_page, Path("outputs/run"), output=Path("report.html")).result()
            pictures.take("report", Path("report.html"), then=lambda seen: to_picture(seen, "What became of the rows"))
            pictures.take("report-scores", Path("report.html"), colours="dark", then=lambda seen: to_picture(seen, "F1 in percent"))
            with toolkit.view(Path("outputs/run"), port=0) as viewer:
                pictures.take("view-rows", viewer.address, f"{viewer.url}/rows/hard?{ROWS}")
                row = toolkit.read_run("outputs/run")["pairs"].polars()["parent"][0]
                pictures.take("view-life", viewer.address, f"{viewer.url}/life?id={row}", colours="dark", then=to_guards)
                viewer.stop(at_once=True)
            place = Path("outputs/run")
            with toolkit.review(place, reviewer="anna") as review, toolkit.view(place, port=0, review=review, shown="all") as viewer:
                pictures.take("review", viewer.address, viewer.url + "/review")
                viewer.stop(at_once=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
