"""Arguments that take one or several: a text or a path is one, never its letters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any


def several(given: str | Path | Iterable[Any] | None) -> list[Any]:
    """What was given as a list: none, one, or each of them."""
    if given is None:
        return []
    return [given] if isinstance(given, str | Path) else list(given)
