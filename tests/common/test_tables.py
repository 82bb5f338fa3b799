"""Tables of any width: nothing is cut, no number is broken, and what does not fit is written below itself."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from toolkit.common.tables import Column, columns_of, table_text

COLUMNS = columns_of(["step", "operator"], ["in", "kept", "set aside", "time"], "why")
ROWS = [
    ["train-rows", "select", "127,544", "108,412", "19,132", "12.4 s", "not_selected 19,132"],
    [
        "a-step-with-a-rather-long-name",
        "deduplicate",
        "108,412",
        "101,007",
        "",
        "3 min 5 s",
        "near_duplicate 7,001, conflicting_labels 404, " + "x" * 70,
    ],
    ["übung-训练", "validate", "1", "1", "", "", ""],
]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 150, None])
def test_nothing_is_lost_and_nothing_is_too_wide(width: int | None) -> None:
    text = table_text("Rows at each step", COLUMNS, ROWS, width=width)
    assert "…" not in text
    for row in ROWS:
        for c, cell in zip(COLUMNS, row, strict=True):
            if c.kind == "prose":
                assert re.sub(r"\s+", "", cell) in re.sub(r"\s+", "", text) or all(word in re.sub(r"\s", "", text) for word in cell.split()), cell
            elif width is None or cell_len(cell) < width - 4:
                assert cell in text, cell
    assert width is None or all(cell_len(line) <= width for line in text.splitlines())


def test_one_that_fits_is_drawn_and_its_headings_wrap_first() -> None:
    rows = [["a", "1,000", "2"], ["b", "1", "20"]]
    columns = columns_of(["name"], ["tokens that were read", "calls"])
    whole, wrapped, blocks = (table_text("", columns, rows, width=w) for w in (60, 24, 14))
    assert whole.splitlines()[0].split() == ["name", "tokens", "that", "were", "read", "calls"] and "──" in whole
    assert "──" in wrapped and len(wrapped.splitlines()) > len(whole.splitlines()) and "1,000" in wrapped
    assert "──" not in blocks and blocks.split() == [
        "a",
        "tokens",
        "that",
        "were",
        "read",
        "1,000,",
        "calls",
        "2",
        "b",
        "tokens",
        "that",
        "were",
        "read",
        "1,",
        "calls",
        "20",
    ]


def test_rows_of_a_group_name_it_once_where_they_are_drawn_and_each_where_they_are_not() -> None:
    columns, rows = columns_of(["task", "guard"], ["F1"]), [["prompt", "a", "1.0"], ["prompt", "b", "2.0"], ["refusal", "a", "3.0"]]
    assert table_text("", columns, rows, width=60, grouped=True).count("prompt") == 1
    assert table_text("", columns, rows, width=12, grouped=True).count("prompt") == 2


def test_text_from_data_is_shown_plain() -> None:
    text = table_text("t\x1b[2J", [Column("a\nb"), Column("why", "prose")], [["x\ny", "z\x1b]0;w\x07"]], width=40)
    assert "\x1b" not in text and "\x07" not in text and "x\\ny" in text and "a\\nb" in text
