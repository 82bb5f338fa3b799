"""docs/architecture.md says what is so: its rooms are those of the import contract, in that order, and every file that it names is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_rooms_are_those_of_the_import_contract() -> None:
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == [layer.removeprefix("toolkit.") for layer in layers]


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:toolkit|tests|schemas|recipes|docs)/[\w./]+)`", PAGE))
    assert len(named) >= 20
    assert not [name for name in named if not (CHECKOUT / name).exists()]


def test_every_invariant_says_where_it_is_enforced_and_what_shows_it() -> None:
    rows = re.findall(r"^\| ([1-8]) \|.*?\| (.*?) \| (.*?) \|$", PAGE, re.M)
    assert [n for n, _, _ in rows] == list("12345678")
    assert all("`toolkit/" in enforced and "`tests/" in shown for _, enforced, shown in rows)
