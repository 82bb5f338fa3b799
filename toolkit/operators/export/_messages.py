"""Chat messages as TRL reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.guards import Guard
from toolkit.records import Column

MESSAGES: dict[str, Any] = {"list": {"struct": {"role": "string", "content": "string"}}}
"""Column type of TRL's conversational formats (TRL docs, "Dataset formats and types")."""


def user(text: str) -> list[dict[str, str]]:
    """One user message."""
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    """One assistant message."""
    return [{"role": "assistant", "content": text}]


def carried(have: Mapping[str, Column], guard: Guard) -> list[Column]:
    """Columns that rendered rows keep, as far as they are there, for the shards' tables: labels and their origin, categories, language."""
    labels = [f"label_{t}{s}" for t in guard.task_names for s in ("", "_source")]
    return [have[n] for n in (*labels, "categories", "language") if n in have]
