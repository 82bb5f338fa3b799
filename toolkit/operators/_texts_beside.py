"""A text beside a row's own: in a column, or among what the guard writes beside its labels (`Output.data`, a rewrite say) in the row's reasoning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.guards import Guard, parse


def beside_column(operator: str, name: str, columns: Mapping[str, Any], guard: Guard) -> str:
    """The column that such a text is read from: its own, or `reasoning`.

    Raises:
        InputError: there is neither, or it holds no text.
    """
    if name in columns:
        if columns[name].type != "string":
            raise InputError(f"{operator}: the column {name!r} holds {columns[name].type}, no text")
        return name
    known = [field.name for field in guard.output.data]
    if name in known and "reasoning" in columns:
        return "reasoning"
    hint = did_you_mean(name, [*columns, *known])
    if name in known:
        hint = f"the guard writes {name!r} behind its reasoning: synthesise it first, or write it with `generate` (column: {name})"
    raise InputError(f"{operator}: the rows have no {name!r}, be it a column or what the guard {guard.name!r} writes beside its labels", hint=hint)


def text_beside(name: str, row: Mapping[str, Any], guard: Guard, columns: Collection[str]) -> str | None:
    """A row's text, without white space around it; None where it has none."""
    text = row[name] if name in columns else parse(guard, row.get("reasoning") or "", "strict").data.get(name)
    return (text or "").strip() or None
