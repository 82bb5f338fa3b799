"""Shards are trained on whatever their folder is called: no library takes its name for a pattern or a URL."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from shardfolders import SFT, sft_rows, write

from toolkit.common.errors import InputError
from toolkit.training._shared import read_shards


@pytest.mark.parametrize("odd", ["file:o", "a[1]*", "hf:o"])
def test_rows_are_read_under_any_name_and_in_order(odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = sft_rows(7)
    shards = write(tmp_path / odd / "shards", rows, SFT)
    data = read_shards(shards, ["prompt", "completion"], ["id"], tmp_path / odd / "cache")
    assert data["id"][:] == [r["id"] for r in rows] and data[3]["prompt"] == rows[3]["prompt"]
    assert data.map(lambda row: {"n": len(row["id"])})["n"][:] == [len(r["id"]) for r in rows]
    assert [p.name for p in tmp_path.iterdir()] == [odd]


def test_a_name_that_cannot_be_handed_on_is_refused(tmp_path: Path) -> None:
    shards = write(tmp_path / "x::y" / "shards", sft_rows(7), SFT)
    assert len(read_shards(shards, ["prompt", "completion"], ["id"], tmp_path / "cache")) == 7
    with pytest.raises(InputError, match="'::' in its name"):
        read_shards(shards, ["prompt", "completion"], ["id"], tmp_path / "x::y" / "cache")
    assert [p.name for p in (tmp_path / "x::y").iterdir()] == ["shards"]


def test_files_of_other_columns_are_reported(tmp_path: Path) -> None:
    shards = write(tmp_path / "shards", sft_rows(4), SFT)
    first = next((shards / "data").glob("train-*.parquet"))
    pl.read_parquet(first.read_bytes()).with_columns(id=pl.struct(a=pl.lit(1))).write_parquet(first.with_name("train-9.parquet"))
    with pytest.raises(InputError, match="the shards cannot be read"):
        read_shards(shards, ["prompt", "completion"], ["id"], tmp_path / "cache")
