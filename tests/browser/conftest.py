"""A real browser, a small finished run and the looks at a page that the tests share.

The browser is the Chromium of the system (Debian's package `chromium`), driven by Playwright. Where there is none the tests are skipped by name, unless
``GUARDKIT_BROWSER=required``; ``GUARDKIT_CHROMIUM`` names another program.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from look import BrowserError, Look, chromium, opened
from small_run import make_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, ended behind a file's last test: as long as Playwright is there, its event loop is this thread's, and nobody else's can run."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(chromium())
        except BrowserError as e:
            if os.environ.get("GUARDKIT_BROWSER") == "required":
                pytest.fail(f"GUARDKIT_BROWSER=required, but {e}")
            pytest.skip(f"browser tests need a browser: {e}")
        yield started


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Look]]:
    """Opens pages: `look(colours="dark")` is a fresh one, which records what it asks of the network and what goes wrong in it."""
    pages: list[Look] = []

    def fresh(**options: Any) -> Look:
        pages.append(opened(browser, **options))
        return pages[-1]

    yield fresh
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small run, made once for all processes of the tests. Not to be changed: a test that does copies it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "small-run"
    with (folder.parent / "small-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").is_file():
            with ThreadPoolExecutor(1) as apart:  # from this thread's event loop, which is Playwright's
                apart.submit(make_run, folder).result()
            (folder / "done").touch()
    return folder / "run"


@pytest.fixture
def small_run(shared_run: Path, tmp_path: Path) -> Path:
    """A copy of the small run, which the test may change."""
    shutil.copytree(shared_run.parent, tmp_path / "small")
    return tmp_path / "small" / "run"
