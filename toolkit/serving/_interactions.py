"""Interactions as others give them, checked."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from toolkit.common.errors import InputError, did_you_mean

KEYS = ("prompt", "response", "context", "id")
"""Of an interaction."""


def checked(row: Any, where: str | None = None, *, closed: bool = False) -> dict[str, Any]:
    """An interaction of which every part has the type that it must have.

    Args:
        row: `prompt`; `response`, `context` and `id` where there are any, and `policy`, unless `closed`.
        where: its place, for errors.
        closed: whether other keys are a fault; else they are left out, but for `media`, without which the interaction is another one, and for what
            is almost the name of a key that is not there.

    Raises:
        InputError: what is wrong with it; the error says nothing of what the texts hold.
    """

    def place(key: str) -> str:
        return f"{where}.{key}" if where else key

    if not isinstance(row, Mapping):
        raise InputError(f"an interaction is an object with `prompt`, not {_kind(row)}", where=where)
    if closed and (odd := next((k for k in row if k not in KEYS), None)) is not None:
        raise InputError(f"unknown key {str(odd)[:60]!r}", where=where, hint=did_you_mean(str(odd)[:60], KEYS))
    if (odd := _misspelt(row)) is not None:
        raise InputError(f"unknown key {odd[:60]!r}", where=where, hint=did_you_mean(odd.casefold(), KEYS))
    if row.get("media"):
        raise InputError("the files of an interaction are not judged here, and its texts alone are not all of it", where=place("media"))
    if row.get("prompt") is None:
        raise InputError("the key 'prompt' is missing", where=where)
    out: dict[str, Any] = {"prompt": text(row["prompt"], place("prompt"))}
    out["response"] = None if row.get("response") is None else text(row["response"], place("response"))
    if not (out["prompt"].strip() or (out["response"] or "").strip()):
        raise InputError("an empty prompt, and no response: there is nothing to judge", where=place("prompt"))
    context = row.get("context")
    if context is not None and not isinstance(context, list | tuple):
        raise InputError(f"a list of messages, not {_kind(context)}", where=place("context"))
    out["context"] = [_message(m, f"{place('context')}[{i}]") for i, m in enumerate(context or ())]
    if not closed and row.get("policy") is not None:  # a client of a server brings none
        out["policy"] = text(row["policy"], place("policy"))
    if row.get("id") is not None:
        out["id"] = str(row["id"]) if isinstance(row["id"], int) and not isinstance(row["id"], bool) else text(row["id"], place("id"))
    return out


def _misspelt(row: Mapping[str, Any]) -> str | None:
    """A key that is meant for one of `KEYS`, to all appearance; what is in it would not be judged."""
    lacking = [key for key in KEYS if key not in row]
    return next((k for k in row if isinstance(k, str) and k not in KEYS and get_close_matches(k.casefold(), lacking, 1, 0.85)), None)


def text(value: Any, where: str) -> str:
    """A text.

    Raises:
        InputError: it is none, or holds half of a surrogate pair, which no encoding has.
    """
    if not isinstance(value, str):
        raise InputError(f"a text, not {_kind(value)}", where=where)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError("a text that is not Unicode: half of a surrogate pair", where=where) from None
    return value


def size(row: Mapping[str, Any]) -> int:
    """Characters of an interaction's texts."""
    return (
        len(row.get("id") or "") + len(row["prompt"]) + len(row["response"] or "") + sum(len(m["role"]) + len(m["content"]) for m in row["context"])
    )


def _message(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InputError(f"a message is {{role, content}}, not {_kind(value)}", where=where)
    return {key: text(value.get(key), f"{where}.{key}") for key in ("role", "content")}


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
