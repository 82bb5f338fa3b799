"""A row about which there is nothing to ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Unasked(Exception):  # noqa: N818  no error: there is nothing to ask
    """Raised by `GenerationOperator.requests` about a row of which there is nothing to ask: it is rejected with this reason, set aside, or goes on.

    Args:
        reason: the code.
        detail: in words.
        set_aside: nothing is wrong with the row: it need not be asked about.
        keep: the row goes on without an answer, with these columns; None: it does not.
        draws: for how many of its draws that holds; None: all that it has in a pass.
    """

    def __init__(self, reason: str, detail: str, *, set_aside: bool = False, keep: Mapping[str, Any] | None = None, draws: int | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.set_aside, self.keep, self.draws = reason, detail, set_aside, keep, draws
