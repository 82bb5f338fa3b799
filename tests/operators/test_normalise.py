"""`normalise`: what a user's text may hold, and what is left of it."""

from __future__ import annotations

import unicodedata
from typing import Any

import polars as pl
import pytest
from frames import reasons, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputErrors
from toolkit.records import content_id


def clean(text: str, **options: Any) -> str:
    kept, _ = toolkit.apply("normalise", seeds({"prompt": text + "."}), **options)
    return str(kept["prompt"][0]).removesuffix(".")


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        ("\x1b[31mred\x1b[0m text", "red text"),
        ("\x1b[1;38;5;200mloud", "loud"),
        ("up\x1b[2A\x1b[Kdown", "updown"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07words", "words"),
        ("\x1b]8;;https://example.org\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        ("\x1bP1$q data\x1b\\words", "words"),
        ("\x1b]0;never ends", "]0;never ends"),
        ("bell\x07 back\x08 nul\x00 del\x7f", "bell back nul del"),
        ("one\r\ntwo\rthree\tfour", "one\ntwo\nthree\tfour"),
        ("line\x85next", "linenext"),
        ("<b>bold</b> &amp; <script>f()</script>", "<b>bold</b> &amp; <script>f()</script>"),
        ("cafe\u0301", "caf\u00e9"),
        ("  \n outside \u3000", "outside \u3000"),
        ("ａｂｃ", "ａｂｃ"),
        ("\u202eright to left", "\u202eright to left"),
    ],
)
def test_what_is_left_of_a_text(raw: str, left: str) -> None:
    assert clean(raw) == left


def test_options_change_what_is_done() -> None:
    assert clean("ａｂｃ", unicode="NFKC") == "abc"
    assert clean("cafe\u0301", unicode="none") == "cafe\u0301"
    assert clean("\x1b[31mred", control="keep") == "\x1b[31mred"
    kept, _ = toolkit.apply("normalise", seeds({"prompt": " spaces "}), strip=False)
    assert kept["prompt"][0] == " spaces "


def test_response_and_every_turn_are_cleaned_and_roles_stay() -> None:
    context = [
        {"role": "system", "content": "\x1b[1mBe kind. "},
        {"role": "user", "content": "Hi\r\n"},
        {"role": "assistant", "content": "Hello\x07"},
    ]
    kept, _ = toolkit.apply("normalise", seeds({"prompt": "And now?", "response": " Sure.\x00 ", "context": context}))
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello")]
    assert [(m["role"], m["content"]) for m in kept["context"][0]] == turns
    assert kept["response"][0] == "Sure."
    assert kept["content_id"][0] == content_id(turns, "And now?", "Sure.")


def test_an_empty_prompt_is_rejected_and_an_empty_response_is_no_missing_one() -> None:
    kept, rest = toolkit.apply("normalise", seeds({"prompt": "\x1b[0m \x00"}, {"prompt": "q", "response": "\x07"}, {"prompt": "q", "response": None}))
    assert reasons(rest) == {"empty_prompt": 1}
    assert kept["response"].to_list() == ["", None]
    assert kept["content_id"].n_unique() == 2
    _, rest = toolkit.apply("normalise", seeds({"prompt": "  \n"}), strip=False)
    assert reasons(rest) == {"empty_prompt": 1}


def test_rows_that_become_equal_get_equal_ids_and_one_group() -> None:
    kept, _ = toolkit.apply(
        "normalise",
        seeds({"prompt": "same"}, {"prompt": "same \r\n"}, {"prompt": "\x1b[1msame", "response": "a"}, {"prompt": "same", "response": "a "}),
    )
    assert kept["content_id"].n_unique() == 2
    assert kept["group"].n_unique() == 1, "equal prompts must never straddle a split"
    assert kept["group"][0] == content_id([], "same", None)
    assert kept["id"].n_unique() == 4, "they stay four rows until an operator merges them"


def test_a_group_of_the_sources_own_stays() -> None:
    kept, _ = toolkit.apply("normalise", seeds({"prompt": " x ", "group": "here:g1"}))
    assert kept["group"][0] == "here:g1"


def test_a_prompt_of_a_megabyte_is_cleaned_whole_and_can_be_refused_by_length() -> None:
    text = "word \x1b[31m" * 110_000
    kept, _ = toolkit.apply("normalise", seeds({"prompt": text}))
    assert kept["prompt"][0] == ("word " * 110_000).strip()
    long_turn = [{"role": "user", "content": "x" * 101}]
    rows = seeds({"prompt": "x" * 101}, {"prompt": "x", "response": "é" * 101}, {"prompt": "x", "context": long_turn}, {"prompt": "é" * 100})
    kept, rest = toolkit.apply("normalise", rows, max_chars=100)
    assert reasons(rest) == {"too_long": 3}
    assert rest["_detail"].to_list() == ["101 characters"] * 3
    assert kept.height == 1
    with pytest.raises(InputErrors, match="max_chars"):
        toolkit.apply("normalise", rows, max_chars=0)


TEXT = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\x1b[]m31;\x07\x9b\r\n\t \u0301\u212bｱ")), max_size=60)


@settings(max_examples=50, deadline=None)
@given(TEXT, st.none() | TEXT, st.sampled_from(["NFC", "NFKC", "none"]))
def test_cleaning_twice_is_cleaning_once_and_nothing_is_left_to_obey(prompt: str, response: str | None, form: str) -> None:
    rows = seeds({"prompt": prompt, "response": response, "context": [{"role": "user", "content": prompt}]})
    once, _ = toolkit.apply("normalise", rows, unicode=form)
    if not once.height:
        return
    twice, _ = toolkit.apply("normalise", once, unicode=form)
    assert twice.equals(once)
    for text in (once["prompt"][0], once["response"][0] or "", once["context"][0][0]["content"]):
        assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in text)
    assert once["content_id"][0] == content_id([("user", once["context"][0][0]["content"])], once["prompt"][0], once["response"][0])


def test_columns_that_it_does_not_clean_pass_through() -> None:
    rows = seeds({"prompt": " a ", "categories": ["x"], "language": "de", "label_prompt": "harmful", "split": "test"})
    kept, _ = toolkit.apply("normalise", rows)
    assert kept.columns == rows.columns
    same = [c for c in rows.columns if c not in ("prompt", "content_id", "group")]
    assert kept.select(same).equals(rows.select(same))
    assert kept.schema == rows.schema
    assert kept["context"].dtype == pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
