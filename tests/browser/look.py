"""One page in the browser: what it asked of the network, what went wrong in it, and whether everybody can use it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

AXE = Path(__file__).resolve().parent / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")


class BrowserError(Exception):
    """What is missing for a browser, in words."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window.

    Raises:
        BrowserError: Playwright or Chromium is not installed.
    """
    program = os.environ.get("GUARDKIT_CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise BrowserError("no Chromium (apt-get install --no-install-recommends chromium, or GUARDKIT_CHROMIUM=PROGRAM)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BrowserError("no Playwright (make setup)") from None
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        try:
            yield started
        finally:
            started.close()


def opened(browser: Browser, *, colours: str = "light", width: int = 1280, height: int = 900, javascript: bool = True) -> Look:
    """A fresh page, with a profile of its own; `Look.close` ends it."""
    shown: Any = {"color_scheme": colours, "viewport": {"width": width, "height": height}, "java_script_enabled": javascript}
    return Look(browser.new_context(**shown, reduced_motion="reduce").new_page())


class Look:
    """A page, and the record of what it did.

    Attributes:
        page: Playwright's page.
        requests: addresses asked for, in order, the page's own included.
        faults: what was wrong: errors on the console and in scripts, dialogs that opened, answers with a status from 400 on.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.set_default_timeout(8_000)
        page.on("request", lambda asked: self.requests.append(asked.url))
        page.on("requestfailed", self._failed)
        page.on("response", lambda answer: self.faults.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("console", lambda line: self.faults.append(f"console: {line.text}") if line.type == "error" else None)
        page.on("dialog", self._dialog)

    def _failed(self, asked: Any) -> None:
        if "ERR_ABORTED" not in asked.failure:  # the page was left before
            self.faults.append(f"failed: {asked.url}: {asked.failure}")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, where: str | Path) -> Look:
        """Go to an address or a file."""
        self.page.goto(where.resolve().as_uri() if isinstance(where, Path) else where)
        return self

    def close(self) -> None:
        """End the page and its profile."""
        self.page.context.close()

    def find(self, selector: str, **options: Any) -> Locator:
        """The elements of a selector."""
        return self.page.locator(selector, **options)

    @property
    def text(self) -> str:
        """The page's text as it is seen."""
        return str(self.page.inner_text("body"))

    @property
    def others(self) -> list[str]:
        """Addresses asked for beside those of the page's own host (of a file: all but itself); data and blob addresses are no requests."""
        own = self.page.evaluate("location.protocol == 'file:' ? location.href.split('#')[0] : location.origin + '/'")
        return [url for url in self.requests if not url.startswith((own, "data:", "blob:"))]

    def harmed(self) -> bool:
        """Whether a script of the data ran, or an element of theirs is there."""
        return bool(self.page.evaluate("Boolean(window.harmed) || document.getElementById('bold') !== null"))

    def barriers(self, dark: str | None = "body") -> list[str]:
        """What axe-core finds serious or critical in the page as it is now: rule, number of elements, the first of them. In the part of the page that `dark`
        selects the contrast of colours is looked at in dark, too."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))  # not as an element: the pages forbid inline scripts
        found = self._axe("document", "{}")
        if dark is not None:
            self.page.emulate_media(color_scheme="dark")
            found += [f"in dark: {one}" for one in self._axe(repr(dark), "{runOnly: ['color-contrast']}")]
            self.page.emulate_media(color_scheme="light")
        return found

    def _axe(self, where: str, options: str) -> list[str]:
        found = self.page.evaluate(f"axe.run({where}, {{resultTypes: ['violations'], ...{options}}})")
        return [
            f"{one['id']} ({one['impact']}, {len(one['nodes'])}): {one['help']}: {one['nodes'][0]['html'][:200]}: {one['nodes'][0]['failureSummary'][:300]}"
            for one in found["violations"]
            if one["impact"] in GRAVE
        ]

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """A screenshot as PNG; `whole`: of the whole page, not of what the window shows."""
        self.page.screenshot(path=file, full_page=whole, animations="disabled", caret="hide")
