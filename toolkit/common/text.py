"""Text that came from data, for people: nothing in it is obeyed, and nothing in it stays unseen.

*Hidden* is what a terminal obeys or does not show: control characters (C0, DEL, C1), what sets text in another direction or order, zero-width
and other format characters, fillers and variation selectors, line and paragraph separators, surrogates without a partner, private and
unassigned code points. All that prints text of data goes through one of the functions here.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_BLANK = ("\u034f", "\u115f-\u1160", "\u17b4-\u17b5", "\u180b-\u180f", "\u2800", "\u3164", "\ufe00-\ufe0f", "\uffa0", "\U000e0100-\U000e01ef")
"""Letters and marks by their category, and yet nothing that is seen (Unicode: Default_Ignorable_Code_Point; the empty Braille pattern)."""
_SEEN = re.compile(rf"[\t\n\x20-\x7e]*+(?:(?![{''.join(_BLANK)}])[^\W_][\t\n\x20-\x7e]*+)*+\Z")
"""Texts of letters, digits and ASCII: they need no second look."""
_MARKS = re.compile(f"[{''.join(_BLANK)}]")


def hidden(letter: str) -> bool:
    """Whether a terminal would obey a character, or not show it."""
    return not letter.isprintable() or _MARKS.match(letter) is not None


def whole(text: str) -> str:
    """Text that every file and database can hold: U+FFFD for each lone surrogate and each NUL."""
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd")


def plain(text: str) -> str:
    """Text for a terminal or a log: what is hidden is shown as an escape; newline and tab stay."""
    if _SEEN.match(text):
        return text
    return "".join(c.encode("unicode_escape").decode() if c not in "\n\t" and hidden(c) else c for c in text)


def one_line(text: str) -> str:
    """The same on one line: newline and tab, too, are shown as escapes."""
    return plain(text).replace("\n", "\\n").replace("\t", "\\t")


def json_text(value: Any, indent: int | None = 1) -> str:
    """A JSON document in which nothing is hidden: escapes of JSON's own say the same, so a reader gets equal values. NaN and infinity, which JSON
    does not know, become null, and what is no JSON value its text."""
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    if _SEEN.match(text):
        return text
    return "".join(json.dumps(c)[1:-1] if c != "\n" and hidden(c) else c for c in text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
