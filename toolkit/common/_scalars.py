"""What an unquoted word of a YAML file means: YAML 1.2's core schema, and only where YAML 1.1 reads the same.

Tools of both versions are in use, and a recipe is read by people: `010` is eight for one and ten for the other, `1:30` ninety or text, `no` false or
text. Such a word is refused as a value, with what to write instead. Three things are taken as everyone means them: a number with an exponent
(``5e-6``) is a number; a key is a name, so that ``on:`` is text; and ``y`` and ``n``, which YAML 1.1 calls truth values and its loaders read as text,
are text. Dates are text and are in quotes.

Failure semantics: `Refused` says what is wrong with the word and what to write; the caller knows where it stands.
"""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TRUTH = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TWO_READINGS = (
    (re.compile(r"[-+]?0[0-9]+"), "octal or text in YAML 1.1 and decimal in YAML 1.2", "write the number without the zeros before it"),
    (re.compile(r"0o[0-7]+"), "text in YAML 1.1 and octal in YAML 1.2", "write the number in decimal"),
    (re.compile(r"[-+]?0b[01_]+|[-+]0x[0-9a-fA-F_]+"), "a number in YAML 1.1 and text in YAML 1.2", "write the number in decimal"),
    (
        re.compile(r"(?=.*_)[-+]?(?:0x[0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+][0-9]+)?)?|\.[0-9_]+(?:[eE][-+][0-9]+)?)"),
        "a number in YAML 1.1 and text in YAML 1.2",
        "write the number without _",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"),
        "a number to the base 60 in YAML 1.1 and text in YAML 1.2",
        "write the number in decimal",
    ),
    (
        re.compile(
            r"[0-9]{4}-[0-9][0-9]?-[0-9][0-9]?"
            r"(?:(?:[Tt]|[ \t]+)[0-9][0-9]?:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9][0-9]?(?::?[0-9]{2})?))?)?"
        ),
        "a date in YAML 1.1 and text in YAML 1.2",
        None,
    ),
    (re.compile(r"="), "a default value in YAML 1.1 and text in YAML 1.2", None),
    (re.compile(r"<<"), "a merge of mappings in YAML 1.1 and text in YAML 1.2", "write the keys out"),
)
_FIRST = frozenset("0123456789+-.=<yYnNoO")
_DIGITS, _BEYOND = 100, 2**63
"""Digits that are looked at, and the first number that is not held: nothing counts that far, nor can it be written into a column."""


class Refused(ValueError):  # noqa: N818 (named by what happened)
    """A word that is not read; `hint` says what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def plain_value(text: str) -> Scalar:
    """What an unquoted word means.

    Raises:
        Refused: YAML 1.1 and 1.2 read it differently, or it is a number that cannot be held.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST:
        return text
    if _TRUTH.fullmatch(text):
        raise Refused(f"{text} is true or false in YAML 1.1 and text in YAML 1.2", f'write true or false, or put the word in quotes: "{text}"')
    if (number := _number(text)) is not None:
        return number
    for pattern, readings, write in _TWO_READINGS:
        if pattern.fullmatch(text):
            quoted = f'put it in quotes: "{_short(text)}"'
            raise Refused(f"{_short(text)} is {readings}", f"{write}, or {quoted}" if write else quoted)
    return text


def plain_key(text: str) -> Scalar:
    """What an unquoted key means: as `plain_value`, but that a word of truth is a name."""
    return text if _TRUTH.fullmatch(text) else plain_value(text)


def is_plain_text(text: str) -> bool:
    """Whether the word means itself unquoted, wherever it stands."""
    try:
        return plain_value(text) is text
    except Refused:
        return False


def _number(text: str) -> int | float | None:
    """The number that both versions read; None where it is none."""
    if _INT.fullmatch(text) or _HEX.fullmatch(text):
        value = int(text, 16 if text.startswith("0x") else 10) if len(text) <= _DIGITS else _BEYOND
        if not -_BEYOND <= value < _BEYOND:
            raise Refused(f"the number {_short(text)} does not fit into 64 bits", "put it in quotes if it is text")
        return value
    if _NO_NUMBER.fullmatch(text):
        return float(text.replace(".", "", 1))
    if not _FLOAT.fullmatch(text) or text.lstrip("+-").isdigit():
        return None
    if math.isinf(real := float(text)):
        raise Refused(f"the number {_short(text)} is too large", "put it in quotes if it is text")
    return real


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"
