"""Why a row is not kept: reason codes, and how the raw row is shown.

Reasons: ``bad_json``, ``bad_csv``, ``not_utf8``, ``surrogate``, ``nul``, ``wrong_type``, ``missing_key``, ``too_long``,
``repeated_key``, ``unknown_label``, ``unknown_category``, ``label_without_response``, ``bad_exchange``,
``bad_conversation``, ``bad_media``, ``empty_prompt``, those of files (`toolkit.common.mediatypes.REASONS`); and ``filtered``, which is no fault:
the source's own filter leaves the row out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """A row that could not even be read; `text` is what is in the file, as far as it can be shown."""

    reason: str
    detail: str
    text: str


class RowError(Exception):
    """A row that was read but cannot be a seed."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def undecodable(raw: bytes, where: str) -> Fault:
    """The fault of bytes that are not UTF-8: ``surrogate`` where lone surrogates were encoded, else ``not_utf8``."""
    shown = raw.decode("utf-8", "backslashreplace")
    try:
        raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as e:
        return Fault("not_utf8", f"{where}: byte {raw[e.start]:#04x} at {e.start} is not UTF-8", shown)
    return Fault("surrogate", f"{where}: half of a surrogate pair", shown)


def shown(row: object) -> str:
    """A row as JSON; what JSON does not know is shown by its ``repr``, bytes by their number, and a lone surrogate by its escape."""
    try:
        text = json.dumps(row, ensure_ascii=False, default=_brief)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(row, ensure_ascii=True, default=_brief)
    except RecursionError:
        return "(nested too deeply to be shown)"
    return text


def _brief(value: object) -> str:
    return f"({len(value):,} bytes)" if isinstance(value, bytes | bytearray | memoryview) else repr(value)


def has_surrogate(value: Any) -> bool:
    """Whether any text in `value` holds half of a surrogate pair."""
    if value is None:
        return False
    try:
        (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)).encode()
    except UnicodeEncodeError:
        return True
    except RecursionError:  # no text at all, which is what the row will be rejected for
        return False
    return False
