"""Training reads the rows that the shards' manifest states, and no others."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from toolkit.common.errors import InputError
from toolkit.records import Column
from toolkit.shards import ShardWriter
from toolkit.training._shared import read_shards

MESSAGES = {"list": {"struct": {"role": "string", "content": "string"}}}


def shards(folder: Path) -> Path:
    columns = (Column("id", "string"), Column("prompt", MESSAGES), Column("completion", MESSAGES))
    writer = ShardWriter(folder, columns, 4)
    rows = [{"id": str(i), **{c: [{"role": "user", "content": f"{c} {i}"}] for c in ("prompt", "completion")}} for i in range(10)]
    writer.write(pl.DataFrame(rows), "train")
    writer.finish(lambda counts: {"title": "t"})
    return folder


def read(folder: Path, tmp_path: Path) -> list[str]:
    return list(read_shards(folder, ["prompt", "completion"], ["id"], tmp_path / "cache")["id"])


def test_shards_with_and_without_a_manifest(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s")
    assert read(folder, tmp_path) == [str(i) for i in range(10)]
    (folder / "manifest.json").unlink()
    assert read(folder, tmp_path) == [str(i) for i in range(10)], "rows that another program wrote"


@pytest.mark.parametrize("damage", ["flip", "swap", "more"])
def test_rows_that_the_manifest_does_not_state(tmp_path: Path, damage: str) -> None:
    folder = shards(tmp_path / "s")
    first, second, _ = sorted((folder / "data").iterdir())
    if damage == "flip":
        data = bytearray(first.read_bytes())
        data[len(data) // 3] ^= 1
        first.write_bytes(data)
    elif damage == "swap":
        kept = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(kept)
    else:
        (folder / "data" / "train-00003-of-00003.parquet").write_bytes(first.read_bytes())
    with pytest.raises(InputError, match=r"not those of the manifest|not in the manifest"):
        read(folder, tmp_path)
