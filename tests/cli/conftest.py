"""Running the command line in this process, for speed; `commands.guardkit` runs it in another, where the process itself matters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import CHECKOUT, Result

from toolkit.cli import _say, main

sys.path.insert(0, str(CHECKOUT / "tests" / "generation"))  # its small server


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """``cli("check", "quickstart")`` in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")

    def run(*args: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["guardkit", *map(str, args)])
        monkeypatch.setattr(_say, "documents", 0)
        with pytest.raises(SystemExit) as end:
            main()
        found = capsys.readouterr()
        return Result(int(end.value.code or 0), found.out, found.err)

    return run
