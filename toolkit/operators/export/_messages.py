"""Chat messages as TRL reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import POLICY, Guard, input_columns
from toolkit.operators._media_taken import REFUSED, asking_fault
from toolkit.operators.base import mark
from toolkit.records import MEDIA, Column, frame_has_media, has_media, others
from toolkit.shards import SEED_MODELS

MESSAGES: dict[str, Any] = {"list": {"struct": {"role": "string", "content": "string"}}}
"""Column type of TRL's conversational formats (TRL docs, "Dataset formats and types")."""


def user(text: str) -> list[dict[str, str]]:
    """One user message."""
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    """One assistant message."""
    return [{"role": "assistant", "content": text}]


_SEED = ("seed_category", "seed_label", "seed_form", "seed_style", *SEED_MODELS)
"""What a synthetic seed was written to be, and by whom (record ``made_seed``)."""


RENDERED = ("prompt", "completion", "chosen", "rejected", "steps", "step_chars")
"""Columns that rendering makes."""


def carried(have: Mapping[str, Column], guard: Guard, keep: Sequence[str] = ()) -> list[Column]:
    """Columns that rendered rows keep, as far as they are there: labels and their origin, categories, language, for the shards' tables; what a
    synthetic seed was written to be, and by whom; and media.

    Args:
        have: columns of the rows that are rendered.
        guard: that they are rendered for.
        keep: further columns to keep.

    Raises:
        InputError: one of these is not there, or is one that rendering makes itself.
    """
    for name in keep:
        if name not in have:
            raise InputError(f"keep: no earlier step writes the column {name!r}", hint=did_you_mean(name, have))
        if name in RENDERED:
            raise InputError(f"keep: {name!r} is rendered, and cannot stay as it is")
    labels = [f"label_{t}{s}" for t in guard.task_names for s in ("", "_source")]
    return [have[n] for n in (*labels, "categories", "language", *_SEED, *([MEDIA] if has_media(have) else []), *keep) if n in have]


def shown_fault(guard: Guard, form: str) -> str | None:
    """Why no row with media can be rendered; None where some can."""
    if not guard.media:
        return asking_fault(guard, [])
    return "plain text has no place for media: render messages" if form == "text" else None


def with_policy(rows: pl.LazyFrame, guard: Guard) -> tuple[pl.LazyFrame, list[str]]:
    """The rows, those without the policy that the guard would judge them by marked; and the columns that its input is rendered from."""
    texts = input_columns(guard, rows.collect_schema().names())
    if POLICY not in texts or (guard.policy is not None and guard.policy.text is not None):
        return rows, texts
    rows = mark(rows, pl.col(POLICY).is_null(), "no_policy", "the guard judges by a policy, and the row has none")
    return rows.with_columns(pl.col(POLICY).fill_null("")), texts


def with_known_media(rows: pl.LazyFrame, guard: Guard) -> pl.LazyFrame:
    """The rows, those with media that the guard does not judge marked."""
    if not frame_has_media(rows):
        return rows
    found = others(guard.media)
    return mark(rows, found != "", REFUSED, pl.format("{}: the guard {} does not take that", found, pl.lit(repr(guard.name))))
