"""Reading one output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.guards import POLICY, Guard, Mode, Parsed, parse, render_input, repeats_its_input

TEXTS = ("context", "prompt", "response")
"""Columns that a guard's input is rendered from."""


def read_output(
    guard: Guard, text: str | None, mode: Mode = "lenient", *, reading: str | None = None, row: Mapping[str, Any] | None = None
) -> Parsed:
    """The labels of one output, and why one could not be read.

    Args:
        guard: the definition.
        text: what a guard wrote.
        mode: as for `toolkit.guards.parse`.
        reading: likewise.
        row: what it was asked about, where that is known: an output that repeats its own input is read behind it.

    Raises:
        InputError: the guard has no reading of that name.
    """
    return parse(guard, text, mode, reading=reading, asked=asked_of(guard, text, row) if mode == "lenient" else None)


def asked_of(guard: Guard, text: str | None, row: Mapping[str, Any] | None) -> str | None:
    """The guard's input for a row, where an output may repeat it; else None."""
    if guard.grammar is not None or row is None or not text or not _whole(guard, row) or not repeats_its_input(guard, text, row["prompt"] or ""):
        return None
    return render_input(guard, {"context": None, "response": None, **row})


def _whole(guard: Guard, row: Mapping[str, Any]) -> bool:
    """Whether a row's input can be rendered: without its policy it is another input."""
    return guard.policy is None or guard.policy.text is not None or row.get(POLICY) is not None


def read_names(guard: Guard) -> Sequence[str]:
    """Names of the columns that hold what was read."""
    return [f"{kind}_{task}" for task in guard.task_names for kind in ("verdict", "unread")]
