"""Arguments that take one or several: a text or a path is one, never its letters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError


def several(given: str | Path | Iterable[Any] | None) -> list[Any]:
    """What was given as a list: none, one, or each of them.

    Raises:
        InputError: it is neither.
    """
    if given is None:
        return []
    if isinstance(given, str | Path):
        return [given]
    if not isinstance(given, Iterable):
        raise InputError(f"a text or a list of them is expected, not {given!r}")
    return list(given)
