"""Shard folders: read by others as they are, the same bytes for the same rows, and checked against their manifest."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shardrows import COLUMNS, make, rows

from toolkit.common.errors import InputError
from toolkit.common.files import sha256_file, tree_digests
from toolkit.records import Column
from toolkit.shards import ShardWriter, read_manifest, verify


def test_a_folder_holds_data_and_manifest_and_no_more(tmp_path: Path) -> None:
    manifest = make(tmp_path / "s", {"train": rows(25), "test": rows(5, 25)}, per_shard=10)
    assert sorted(tree_digests(tmp_path / "s")) == [
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00003.parquet",
        "data/train-00001-of-00003.parquet",
        "data/train-00002-of-00003.parquet",
        "manifest.json",
    ]
    assert manifest == read_manifest(tmp_path / "s") == verify(tmp_path / "s")
    assert [(n, f["rows"], f["split"]) for n, f in manifest["files"].items()] == [
        ("data/test-00000-of-00001.parquet", 5, "test"),
        ("data/train-00000-of-00003.parquet", 10, "train"),
        ("data/train-00001-of-00003.parquet", 10, "train"),
        ("data/train-00002-of-00003.parquet", 5, "train"),
    ]
    assert manifest["rows"] == 30 and manifest["guard"] == "guardreasoner 1"
    assert [c["name"] for c in manifest["columns"]] == [c.name for c in COLUMNS]
    assert manifest["format"] == 2 and manifest["counts"] == {
        "source": {"eggs": 20, "more_eggs": 10},
        "licence": {"CC0-1.0": 30},
        "teacher": {"template": 15, "unknown": 15},
        "split": {"test": 5, "train": 25},
    }
    for name, about in manifest["files"].items():
        file = tmp_path / "s" / name
        assert (about["bytes"], about["sha256"]) == (file.stat().st_size, sha256_file(file))
        assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"


def test_datasets_reads_a_folder_as_it_is(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    given = {"train": rows(25), "test": rows(5, 25)}
    make(tmp_path / "s", given, per_shard=10)
    read = datasets.load_dataset(str(tmp_path / "s"), cache_dir=str(tmp_path / "cache"))
    assert {name: part.num_rows for name, part in read.items()} == {"train": 25, "test": 5}
    for name, part in read.items():
        assert part.column_names == [c.name for c in COLUMNS]
        for got, put in zip(part, given[name].iter_rows(named=True), strict=True):
            assert {k: v for k, v in got.items() if k != "weight"} == {k: v for k, v in put.items() if k != "weight"}
            assert repr(got["weight"]) == repr(put["weight"])
    verify(tmp_path / "s")  # nothing was written into it
    streamed = datasets.load_dataset(str(tmp_path / "s"), split="test", streaming=True)
    assert [r["id"] for r in streamed] == given["test"]["id"].to_list()


BY_BLOCKS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from shardrows import make, rows
make(Path(sys.argv[2]), {"train": rows(2500), "test": rows(100, 2500)}, block=int(sys.argv[3]), per_shard=1500)
"""


@pytest.mark.parametrize(("block", "threads"), [(2500, 1), (1, 2), (333, 4), (1024, 3)])
def test_equal_rows_give_equal_bytes(tmp_path_factory: pytest.TempPathFactory, block: int, threads: int) -> None:
    """At any block size and thread count, of polars and of arrow."""
    folder = tmp_path_factory.mktemp("shards") / "s"
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    command = [sys.executable, "-c", BY_BLOCKS, str(Path(__file__).parent), str(folder), str(block)]
    subprocess.run(command, env=environment, check=True)
    expected = tmp_path_factory.mktemp("expected") / "s"
    make(expected, {"test": rows(100, 2500), "train": rows(2500)}, block=700, per_shard=1500)
    assert tree_digests(folder) == tree_digests(expected)
    groups = pq.ParquetFile(folder / "data" / "train-00000-of-00002.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [1024, 476]


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=8), of=st.lists(st.sampled_from(["train", "test"]), min_size=60, max_size=60), limit=st.integers(1, 40)
)
def test_blocks_do_not_shape_the_bytes(tmp_path_factory: pytest.TempPathFactory, cuts: list[int], of: list[str], limit: int) -> None:
    """Whatever the blocks, and however the rows of two splits are mixed."""
    folder = tmp_path_factory.mktemp("blocks")
    frame = rows(60).with_columns(of=pl.Series(of))
    for name, edges in {"a": [0, 60], "b": [0, *sorted(cuts), 60]}.items():
        writer = ShardWriter(folder / name, COLUMNS, limit)
        for i, j in pairwise(edges):
            for split in ("test", "train"):
                writer.write(frame[i:j].filter(pl.col("of") == split), split)
        writer.finish({})
    assert tree_digests(folder / "a") == tree_digests(folder / "b")
    verify(folder / "a")


def test_readers_skip_row_groups_by_their_statistics(tmp_path: Path) -> None:
    """What a predicate cannot match is not read; the page index is there for readers that look inside a group."""
    make(tmp_path / "s", {"train": rows(5000)})
    (file,) = (tmp_path / "s" / "data").iterdir()
    wanted = f"{3000:024x}"
    (fragment,) = ds.dataset(file).get_fragments()
    assert len(fragment.split_by_row_group()) == 5
    (group,) = fragment.split_by_row_group(ds.field("id") == wanted)
    assert group.row_groups[0].id == 2
    assert pl.scan_parquet(file).filter(pl.col("id") == wanted).select("id").collect()["id"].to_list() == [wanted]
    with pq.ParquetFile(file) as f:
        columns = [f.metadata.row_group(0).column(i) for i in range(f.metadata.num_columns)]
    assert all(c.is_stats_set and c.has_offset_index and c.has_column_index for c in columns)


def test_the_manifest_comes_last(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "s", COLUMNS, 10)
    writer.write(rows(25), "train")
    with pytest.raises(InputError, match=r"no manifest\.json: not a shard folder, or one that was never finished"):
        verify(tmp_path / "s")
    assert not list((tmp_path / "s" / "data").glob("[!.]*"))  # no file has its name yet, so none can be taken for whole
    writer.finish({})
    verify(tmp_path / "s")


def test_what_a_writer_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column called 'labels'"):
        ShardWriter(tmp_path / "a", (Column("id", "string"), Column("labels", "string")), 10)
    with pytest.raises(InputError, match="two columns of the shards have one name: id, id"):
        ShardWriter(tmp_path / "b", (Column("id", "string"), Column("id", "string")), 10)
    writer = ShardWriter(tmp_path / "c", COLUMNS, 10)
    for split in ("../up", "a/b", "my-split", "", "a b", ".x", "all", "x" * 201, "\u00e9" * 101):
        with pytest.raises(InputError, match="cannot name a split"):
            writer.write(rows(1), split)
    with pytest.raises(InputError, match="no rows to write"):
        writer.finish({})
    with pytest.raises(InputError, match="not a shard folder"):
        verify(tmp_path / "c")
    assert not any((tmp_path / name).exists() for name in "ab")


def test_so_many_splits_that_files_would_run_out_are_refused(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "s", COLUMNS, 10)
    for n in range(100):
        writer.write(rows(1), f"s{n}")
    writer.write(rows(20), "s7")
    with pytest.raises(InputError, match="more than 100 splits: 's100'"):
        writer.write(rows(1), "s100")
    writer.discard()
    assert not (tmp_path / "s").exists()


def test_splits_without_rows_make_no_file(tmp_path: Path) -> None:
    manifest = make(tmp_path / "s", {"train": rows(3), "test": rows(0)})
    assert list(manifest["files"]) == ["data/train-00000-of-00001.parquet"] and manifest["counts"]["split"] == {"train": 3}


def test_a_null_where_none_may_be_is_refused(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "s", COLUMNS, 5000)
    with pytest.raises(ValueError, match="null values to non-nullable"):
        writer.write(rows(1024).with_columns(pl.lit(None, pl.String).alias("id")), "train")
    with pytest.raises(ValueError, match="null values to non-nullable"):
        writer.finish({})
    writer.discard()
    assert not (tmp_path / "s").exists()


def test_odd_columns_are_left_out_of_the_tables(tmp_path: Path) -> None:
    """Of another type than meant, or full of text: they are written, not counted."""
    n = 1500
    data = {
        "id": [str(i) for i in range(n)],
        "source": [["a"]] * n,
        "task": [f"text {i}" for i in range(n)],
        "licence": [1] * n,
        "label_x": [i % 2 for i in range(n)],
        "categories": ["none"] * n,
        "steps": ["many"] * n,
    }
    kinds: dict[str, Any] = {"source": {"list": "string"}, "licence": "int64", "label_x": "int64"}
    columns = tuple(Column(name, kinds.get(name, "string")) for name in data)
    for name, block in {"a": 100, "b": 1500}.items():
        writer = ShardWriter(tmp_path / name, columns, 1000)
        for part in pl.DataFrame(data).iter_slices(block):
            writer.write(part, "train")
        writer.finish({})
    manifest = verify(tmp_path / "a")
    assert manifest == verify(tmp_path / "b") and manifest["counts"] == {"licence": {"1": n}, "split": {"train": n}}
    assert [(t["source"], t["label"], t["origin"], t["rows"]) for t in manifest["tables"]["labels"]] == [
        ("unknown", "0", "unknown", 750),
        ("unknown", "1", "unknown", 750),
    ]
    assert not manifest["tables"]["categories"] and not manifest["tables"]["lengths"]
