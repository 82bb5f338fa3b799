"""Text of data, printed: nothing in it is obeyed by a terminal, nothing stays unseen, and JSON keeps its values."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.text import json_text, one_line, plain

OBEYED = [
    *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)),
    *"\u200b\u200c\u200d\u200e\u200f\u061c\u2060\u2028\u2029\ufeff\u00ad\u034f\u115f\u3164\uffa0\u180e\ufe0f\u2800\ufff9\U000e0041\U000e0100",
    "\ud800", "\udcff",
]  # fmt: skip
TEXT = st.text(alphabet=st.characters() | st.sampled_from(OBEYED), max_size=30)


def shown(text: str) -> bool:
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co") or c in "\n\t" for c in text)


@pytest.mark.parametrize("letter", OBEYED)
def test_what_a_terminal_obeys_or_hides_is_reported(letter: str) -> None:
    assert letter not in one_line(f"a{letter}b") and letter not in json_text({"x": f"a{letter}b"}, indent=None)
    assert letter in "\n\t" or (letter not in plain(f"a{letter}b") and plain(letter).startswith("\\"))


@settings(max_examples=500, deadline=None)
@given(TEXT)
def test_plain_text_hides_nothing(text: str) -> None:
    assert shown(plain(text)) and shown(one_line(text)) and not {"\n", "\t"} & set(one_line(text))
    plain(text).encode()


@settings(max_examples=500, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3), max_leaves=8))  # fmt: skip
def test_json_hides_nothing_and_keeps_its_values(value: object) -> None:
    for indent in (None, 1):
        text = json_text(value, indent)
        assert json.loads(text) == value
        assert shown(text) and "\t" not in text and not any(c in text for c in OBEYED if c != "\n")
        text.encode()


def test_letters_that_are_seen_stay() -> None:
    for text in ("Grüße, 你好, हिन्दी, שלום, 😀, naïve — “so”", "a\nb\tc", "C:\\x"):
        assert plain(text) == text
    assert json.loads(json_text([float("nan"), {"a": float("-inf")}, (1.5,)])) == [None, {"a": None}, [1.5]]
