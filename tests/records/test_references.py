"""References to media: what one may say, ids that cover them, and tables with and without the column."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.paths import below_fault
from toolkit.guards import load_guard
from toolkit.records import (
    MEDIA,
    TYPE,
    Column,
    Media,
    content_id,
    frame_has_media,
    group_id,
    has_media,
    hashes,
    load_record,
    media_faults,
    media_of,
    others,
    to_arrow,
    to_polars,
)

A, B = "a" * 64, "b" * 64
ONE = {"kind": "image", "uri": "img/cat.png", "sha256": A, "mime": "image/png"}


def test_a_reference_is_read() -> None:
    assert media_of([ONE]) == (Media("image", "img/cat.png", A, "image/png"),)
    assert media_of(None) == media_of([]) == ()
    assert media_of([{**ONE, "width": None}]) == media_of([ONE])
    measured = {**ONE, "size": 312, "width": 8, "height": 6, "frames": None, "seconds": 1.5}
    assert media_of([measured]) == (Media("image", "img/cat.png", A, "image/png", 312, 8, 6, None, 1.5),)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("cat.png", "media is not a list but str"),
        ({"kind": "image"}, "media is not a list but dict"),
        ([None], r"media\[0\] is not \{kind, uri, sha256, mime\} but NoneType"),
        ([ONE, "cat.png"], r"media\[1\] is not"),
        ([{**ONE, "kind": None}], r"media\[0\].kind is missing"),
        ([{**ONE, "sha256": 7}], r"media\[0\].sha256 is not a text but int"),
        ([{**ONE, "kind": "picture"}], r"media\[0\].kind is 'picture', not image or video or audio"),
        ([{**ONE, "uri": "../cat.png"}], r"media\[0\].uri has a part that is empty, \. or \.\.: '../cat.png'"),
        ([{**ONE, "uri": "http://example.test/cat.png"}], r"media\[0\].uri is a URL"),
        ([{**ONE, "sha256": A.upper()}], r"media\[0\].sha256 is not 64 hex digits in lower case"),
        ([{**ONE, "sha256": A + "\n"}], r"media\[0\].sha256 is not"),
        ([{**ONE, "mime": "image/PNG"}], r"media\[0\].mime is no image/"),
        ([{**ONE, "mime": "video/mp4"}], r"media\[0\].mime is no image/"),
        ([{**ONE, "mime": "image/png; q=1"}], r"media\[0\].mime is no image/"),
        ([{**ONE, "width": "8"}], r"media\[0\].width is not a whole number: '8'"),
        ([{**ONE, "frames": 1.5}], r"media\[0\].frames is not a whole number"),
        ([{**ONE, "seconds": True}], r"media\[0\].seconds is not a number but bool"),
        ([{**ONE, "size": -1}], r"media\[0\].size is -1, which nothing measures"),
        ([{**ONE, "bytes": "AA=="}], r"media\[0\] holds more than a reference: bytes"),
        ([ONE] * 65, "media has 65 entries"),
    ],
)
def test_what_is_no_reference_is_reported(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        media_of(value)
    assert media_faults([None, value])[0] is None
    assert media_faults([None, value])[1] is not None


def test_ids_cover_hashes_in_order_and_no_places() -> None:
    text = content_id([], "How do I boil an egg?", None)
    assert text == content_id([], "How do I boil an egg?", None, []) == "65f3368d3853e8ca1c9c6dec"  # as it was before there were media
    ids = {text, *(content_id([], "How do I boil an egg?", None, m) for m in ([A], [B], [A, B], [B, A], [A, A]))}
    assert len(ids) == 6
    assert content_id([], "How do I boil an egg?", None, [A]) != content_id([], "How do I boil an egg?", "", [A])
    assert content_id([], "", None, [A, B]) != content_id([], A, None, [B])
    assert group_id("a cat?") == content_id([], "a cat?", None)
    assert group_id("a cat?", [A]) == group_id("a dog?", [A]) != group_id("a cat?", [B])
    assert hashes([ONE, {**ONE, "sha256": B}]) == [A, B] and hashes(None) == hashes() == []


def test_the_column_is_optional_and_comes_last() -> None:
    tasks = load_guard("guardreasoner").task_names
    for name in ("seed", "reasoned", "generation", "verdict", "hard", "preference"):
        record = load_record(name, tasks)
        assert MEDIA not in record.names
        assert [c.name for c in record.with_optional([MEDIA])] == [*record.names, MEDIA]
        assert record.with_optional([]) == record.columns
        (media,) = (c for c in record.optional if c.name == MEDIA)
        assert media.type == TYPE and not media.nullable
    assert load_record("seed", tasks).version == 4


def test_a_column_of_that_name_and_another_type_is_nobodys() -> None:
    assert has_media({MEDIA: Column(MEDIA, TYPE)}) and not has_media({MEDIA: Column(MEDIA, "string")}) and not has_media({})
    assert frame_has_media(pl.DataFrame(schema=to_polars((Column(MEDIA, TYPE),))))
    assert not frame_has_media(pl.LazyFrame({MEDIA: ["newspaper"]})) and not frame_has_media(pl.DataFrame({MEDIA: [["a"]]}))
    assert not has_media({MEDIA: Column(MEDIA, {"list": "string"})}) and not has_media({MEDIA: Column(MEDIA, {"struct": {"kind": "string"}})})
    more = {"list": {"struct": {**TYPE["list"]["struct"], "colours": "int64"}}}  # of a later version, say: not taken for rows of text
    assert has_media({MEDIA: Column(MEDIA, more)}) and frame_has_media(pl.DataFrame(schema=to_polars((Column(MEDIA, more),))))


def test_kinds_that_are_not_taken() -> None:
    rows = pl.DataFrame(
        {MEDIA: [[], [ONE], [ONE, {**ONE, "kind": "video"}, {**ONE, "kind": "audio"}], None]}, schema=to_polars((Column(MEDIA, TYPE),))
    )
    assert rows.select(others(["image"]))[MEDIA].to_list() == ["", "", "audio, video", ""]


KINDS_MIMES = st.sampled_from([("image", "image/png"), ("image", "image/svg+xml"), ("video", "video/mp4"), ("audio", "audio/x-wav")])
URIS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda u: below_fault(u) is None)
REFERENCES = st.builds(
    lambda km, uri, sha: Media(km[0], uri, sha, km[1])._asdict(), KINDS_MIMES, URIS, st.text("0123456789abcdef", min_size=64, max_size=64)
)


@settings(deadline=None)
@given(st.lists(st.lists(REFERENCES, max_size=3), min_size=1, max_size=5))
def test_references_come_back_from_parquet_as_they_were(rows: list[list[dict[str, Any]]]) -> None:
    column = (Column(MEDIA, TYPE),)
    place = io.BytesIO()
    pq.write_table(pl.DataFrame({MEDIA: rows}, schema=to_polars(column)).to_arrow().cast(to_arrow(column)), place)
    table = pq.read_table(pa.BufferReader(place.getvalue()))
    assert table.schema.equals(to_arrow(column))
    back = pl.DataFrame(pl.from_arrow(table))
    assert frame_has_media(back) and back[MEDIA].to_list() == rows
    assert [media_of(row) for row in back[MEDIA].to_list()] == [tuple(Media(**one) for one in row) for row in rows]
