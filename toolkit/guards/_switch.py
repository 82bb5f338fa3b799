"""A guard that answers with reasoning or without, as a word behind the question says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from toolkit.common.facets import Part

THINKS = "thinks"
"""Column of rows (bool): false asks for the answers alone; without it, or null, for the reasoning, too."""


class Switch(Part):
    """The words that ask for the one or the other."""

    on: str = Field(min_length=1)
    """Put behind the input where the guard is to reason, ``/think`` say."""
    off: str = Field(min_length=1)
    """Put there where it is to give its answers alone, ``/no_think`` say."""

    def word(self, row: Mapping[str, Any]) -> str:
        """The one for a row."""
        return self.off if row.get(THINKS) is False else self.on
