"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it: tests that interrupt would wait for ever
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("guardkit", deadline=None)  # how long an example takes is the machine's matter
settings.load_profile("guardkit")

CHECKOUT = Path(__file__).resolve().parent.parent
SLOW = Path(__file__).resolve().parent / "slow.txt"
LONG = (
    "test_loop",
    "test_several_processes",
    "test_other_packages",
    "test_kill",
    "test_commands",
    "test_rebuild_less",
    "test_wheel",
    "test_lora",
    "test_checkpoints",
)
"""Files that take longest, run first: a worker of xdist takes a file whole, and one that is begun last is waited for by all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those that are listed in ``slow.txt``: ``make test`` leaves them out, ``make test-slow`` runs them. Files of `LONG` come first."""
    slow = {line for line in SLOW.read_text(encoding="utf-8").splitlines() if line and not line.startswith("# ")}
    for item in items:
        if item.nodeid.partition("@")[0] in slow or item.nodeid.partition("[")[0] in slow:
            item.add_marker("slow")
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder that holds ``guardreasoner/benchmark`` and ``guardreasoner/predictions``: ``$GUARDKIT_DATA``, else ``../shared/data``.

    Third-party data, never part of the project: a test that needs it is skipped by name where it is absent.
    """
    for folder in (os.environ.get("GUARDKIT_DATA"), CHECKOUT.parent / "shared" / "data"):
        if folder and (Path(folder) / "guardreasoner").is_dir():
            return Path(folder)
    pytest.skip("needs the released GuardReasoner files: set GUARDKIT_DATA to the folder that holds guardreasoner/")
