"""How many bytes rows take, and where blocks and row groups of long rows are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common import parquet
from toolkit.common.parquet import ParquetFile, batches, open_parquet
from toolkit.common.sizes import pieces, row_bytes, total_bytes

TYPES: dict[str, Any] = {
    "id": pl.String,
    "n": pl.Int64,
    "chat": pl.List(pl.Struct({"role": pl.String, "content": pl.String})),
    "tags": pl.List(pl.String),
}
TEXT = st.none() | st.text(max_size=12)
ROW = st.fixed_dictionaries(
    {
        "id": TEXT,
        "n": st.none() | st.integers(0, 9),
        "chat": st.none() | st.lists(st.fixed_dictionaries({"role": TEXT, "content": TEXT}), max_size=3),
        "tags": st.none() | st.lists(TEXT, max_size=3),
    }
)


def size(value: Any) -> int:
    """What the module says of a value, worked out value by value."""
    if isinstance(value, dict):
        return sum(map(size, value.values()))
    if isinstance(value, list):
        return 8 + sum(map(size, value))
    return 8 + (len(value.encode()) if isinstance(value, str) else 0)


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TYPES, orient="row")


@settings(deadline=None)
@given(st.lists(ROW, max_size=20), st.integers(1, 400))
def test_pieces_are_the_rows_and_none_of_several_rows_is_too_large(rows: list[dict[str, Any]], most: int) -> None:
    found = frame(rows)
    sizes = [sum(size(v) for v in row.values()) for row in found.to_dicts()]
    assert row_bytes(found).tolist() == sizes or None in [r["chat"] for r in rows] or rows == []
    assert total_bytes(found) == int(row_bytes(found).sum())
    cut = list(pieces(found, most))
    assert pl.concat(cut).equals(found)
    assert all(p.height == 1 or total_bytes(p) <= most for p in cut if p.height)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.lists(st.integers(0, 3_000), min_size=1, max_size=60))
def test_row_groups_of_long_rows_depend_on_the_rows_alone(tmp_path_factory: Any, edges: list[int], lengths: list[int]) -> None:
    folder, schema = tmp_path_factory.mktemp("groups"), pa.schema([pa.field("text", pa.large_string())])
    rows = pl.DataFrame({"text": ["x" * n for n in lengths]})
    before, parquet.GROUP_BYTES = parquet.GROUP_BYTES, 10_000
    try:
        written = []
        for i, cuts in enumerate(([], sorted(min(e, rows.height) for e in edges), range(rows.height))):
            out = ParquetFile(folder / f"{i}.parquet", schema, group=16)
            for start, end in zip([0, *cuts], [*cuts, rows.height], strict=True):
                out.write(rows[start:end])
            written.append(out.close())
    finally:
        parquet.GROUP_BYTES = before
    assert len({w.sha256 for w in written}) == 1
    with open_parquet(out.path) as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        assert pl.concat([pl.DataFrame(pl.from_arrow(pa.Table.from_batches([b]))) for b in batches(file, out.path, 7)]).equals(rows)
    assert max(groups) <= 16 and sum(groups) == rows.height
    at = 0
    for n in groups[:-1]:  # full: by rows, or by the one row that reached the bytes
        assert n == 16 or sum(x + 8 for x in lengths[at : at + n - 1]) < 10_000 <= sum(x + 8 for x in lengths[at : at + n])
        at += n


def test_a_file_of_others_with_long_rows_is_read_a_few_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    pq.write_table(
        pa.table({"n": range(3000), "text": [f"{i} " + "y" * 50_000 for i in range(3000)]}), path, row_group_size=3000, use_dictionary=False
    )
    with open_parquet(path) as file:
        sizes = [b.nbytes for b in batches(file, path, 8192)]
    assert len(sizes) > 3 and max(sizes) < 50 << 20
    with open_parquet(path) as file:
        assert [b.num_rows for b in batches(file, path, 8192, ["n"])] == [3000], "the long column is not read"
