"""Pictures of figures: whatever the names and texts are, they are drawn as they are, and what comes out holds shapes and text alone."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from toolkit.common.pictures import COLOURS, Picture, as_rows, bars, columns, curves, draw_svg, grid, intervals, ranges

pytest.importorskip("vl_convert")
NAMES = ("a.b [x]", "n.m %", "p'q")
ROWS = as_rows(NAMES, [('it\'s "q" \\ </svg><script>', 3, "x.y"), ("z" * 300, 40, "it's"), ("\x1b\u202e\x00", 5, "x.y")])
NAME, NUMBER, PART = NAMES


@pytest.mark.parametrize(
    "picture",
    [
        bars("t", ROWS, name=NAME, number=NUMBER),
        bars("t", ROWS, name=NAME, number=NUMBER, part=PART),
        columns("t", ROWS, name=NAME, number=NUMBER, apart=PART),
        grid("t", ROWS, across=NAME, down=PART, number=NUMBER),
        ranges("t", ROWS, name=NAME, number=NUMBER, low=NUMBER, high=NUMBER, part=PART),
        intervals("t", ROWS, name=NAME, number=NUMBER, low=NUMBER, high=NUMBER, apart=PART),
        curves("t", ROWS, across=NUMBER, number=NUMBER, part=PART, apart=NAME),
    ],
    ids=["bars", "parts", "columns", "grid", "ranges", "intervals", "curves"],
)
def test_any_name_and_text_is_drawn_as_it_is(picture: Picture) -> None:
    svg = draw_svg(picture, "page", "one")
    texts = [element.text or "" for element in ElementTree.fromstring(svg).iter()]  # noqa: S314
    assert any(t.startswith('it\'s "q" \\ </svg>') for t in texts) and any("\\x1b\\u202e\\x00" in t for t in texts)
    assert not {"undefined", "NaN", "null"} & set(texts) and "<script" not in svg and "\x1b" not in svg
    assert COLOURS[0] in svg and "currentColor" in svg and "#000" not in svg


def test_what_is_no_shape_is_left_out_and_identifiers_are_the_pictures_own() -> None:
    mark = {"type": "bar", "clip": True, "href": "https://example.org", "color": {"gradient": "linear", "stops": [{"offset": 0, "color": "red"}]}}
    view: dict[str, Any] = {"mark": mark, "encoding": {"x": {"field": "n", "type": "quantitative"}}}
    view["data"] = {"url": "https://example.org/rows.json"}
    one, two = (draw_svg(Picture("t", view, [{"n": 1}]), "page", ids) for ids in ("one", "two"))
    assert "example.org" not in one and "<path" in one and "url(#one-" in one and 'id="one-' in one and one.replace("one-", "two-") == two
