"""Reading outputs, one or a column of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from toolkit.guards import Guard, Mode, Parsed, parse, render_input, repeats_its_input

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
    if guard.grammar is not None or row is None or not text or not repeats_its_input(guard, text, row["prompt"] or ""):
        return None
    return render_input(guard, {"context": None, "response": None, **row})


def read_outputs(guard: Guard, rows: pl.Series, mode: Mode = "lenient", *, reading: str | None = None) -> pl.Series:
    """As `read_output` for a column of structs with `output` and what there is of `TEXTS`: structs of ``verdict_<task>`` and ``unread_<task>``."""
    block = rows.struct.unnest()
    prompts = block["prompt"].to_list() if "prompt" in block.columns and mode == "lenient" and guard.grammar is None else None
    found: dict[str, list[str | None]] = {name: [] for name in read_names(guard)}
    for i, text in enumerate(block["output"].to_list()):
        repeats = prompts is not None and text and repeats_its_input(guard, text, prompts[i] or "")
        row = block.row(i, named=True) if repeats else None
        parsed = read_output(guard, text, mode, reading=reading, row=row)
        for task in guard.task_names:
            found[f"verdict_{task}"].append(parsed.labels[task])
            found[f"unread_{task}"].append(parsed.reasons[task])
    return pl.DataFrame(found, schema=dict.fromkeys(found, pl.String)).to_struct(rows.name)


def read_names(guard: Guard) -> Sequence[str]:
    """Names of the columns that hold what was read."""
    return [f"{kind}_{task}" for task in guard.task_names for kind in ("verdict", "unread")]
