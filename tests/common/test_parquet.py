"""Parquet files written on a background thread: the same bytes for the same rows, errors where the caller is, memory bounded."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.files import sha256_file
from toolkit.common.parquet import ParquetFile, Worker
from toolkit.records import Column, to_arrow, to_polars

MESSAGES = {"list": {"struct": {"role": "string", "content": "string"}}}
COLUMNS = (Column("id", "int64"), Column("text", "string", nullable=True), Column("messages", MESSAGES), Column("words", {"list": "string"}))
SCHEMA = to_arrow(COLUMNS)


def rows(n: int, start: int = 0) -> pl.DataFrame:
    data = [
        {
            "id": i,
            "text": None if i % 5 == 0 else "é" * (i % 40) + str(i),
            "messages": [{"role": "user", "content": f"egg {i}"}] * (i % 3),
            "words": ["a"] * (i % 4),
        }
        for i in range(start, start + n)
    ]
    return pl.DataFrame(data, schema=to_polars(COLUMNS))


def write(path: Path, frames: list[pl.DataFrame], group: int = 16) -> tuple[int, int, str]:
    file = ParquetFile(path, SCHEMA, group=group, index=True)
    for frame in frames:
        file.write(frame)
    made = file.close()
    return made.rows, made.bytes, made.sha256


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 100), max_size=12), group=st.integers(1, 40))
def test_cuts_do_not_shape_the_bytes(tmp_path_factory: pytest.TempPathFactory, cuts: list[int], group: int) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    whole = rows(100)
    edges = [0, *sorted(cuts), 100]
    assert write(folder / "a", [whole], group) == write(folder / "b", [whole[i:j] for i, j in pairwise(edges)], group)
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


@settings(max_examples=20, deadline=None)
@given(taken=st.lists(st.booleans(), min_size=60, max_size=60), block=st.integers(1, 60))
def test_rows_taken_out_of_larger_frames_are_as_good_as_fresh_ones(tmp_path_factory: pytest.TempPathFactory, taken: list[bool], block: int) -> None:
    """Filtered and gathered frames share buffers with what they came from; none of that may show."""
    folder = tmp_path_factory.mktemp("taken")
    mask = pl.Series(taken)
    filtered = [part.filter(mask[i * block : i * block + part.height]) for i, part in enumerate(rows(60).iter_slices(block))]
    fresh = pl.DataFrame(rows(60).filter(mask).to_dicts(), schema=to_polars(COLUMNS))
    assert write(folder / "a", filtered) == write(folder / "b", [fresh])


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    frame = rows(100)
    made = write(tmp_path / "deep" / "x.parquet", [frame.select(frame.columns[::-1])])
    path = tmp_path / "deep" / "x.parquet"
    assert made == (100, path.stat().st_size, sha256_file(path))
    assert pl.read_parquet(path).equals(frame)
    with pq.ParquetFile(path) as f:
        assert f.schema_arrow == SCHEMA
        assert [f.metadata.row_group(i).num_rows for i in range(f.metadata.num_row_groups)] == [16] * 6 + [4]
        assert all(f.metadata.row_group(0).column(i).compression == "ZSTD" for i in range(f.metadata.num_columns))
        column = f.metadata.row_group(1).column(0)
        assert (column.statistics.min, column.statistics.max) == (16, 31) and column.has_offset_index and column.has_column_index


def test_a_file_without_rows_is_whole(tmp_path: Path) -> None:
    made = write(tmp_path / "x", [rows(0)])
    assert made[0] == 0 and pq.read_table(tmp_path / "x").schema == SCHEMA


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 100_000)
    made = write(tmp_path / "x", [rows(3)])
    assert made[1] == (tmp_path / "x").stat().st_size


THREADS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_parquet import rows, write
print(write(Path(sys.argv[2]), [rows(700, 0), rows(1300, 700)], 512)[2])
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_do_not_shape_the_bytes(tmp_path: Path, threads: str) -> None:
    environment = {**os.environ, "POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-c", THREADS, str(Path(__file__).parent), str(tmp_path / "x")]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert printed == write(tmp_path / "y", [rows(2000)], 512)[2]


def write_on(file: ParquetFile, frame: pl.DataFrame) -> None:
    for _ in range(400):
        file.write(frame)
    file.close()


def test_a_null_where_none_may_be_is_refused_in_the_caller(tmp_path: Path) -> None:
    file = ParquetFile(tmp_path / "x", SCHEMA, group=16)
    bad = rows(16).with_columns(id=pl.lit(None, pl.Int64))
    with pytest.raises(ValueError, match="null values to non-nullable"):
        write_on(file, bad)
    with pytest.raises(ValueError, match="null values to non-nullable"):
        file.close()
    file.stop()


def test_a_full_disk_is_reported_as_what_it_is() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    file = ParquetFile(Path("/dev/full"), SCHEMA, group=1000)
    with pytest.raises(OSError) as e:
        write_on(file, rows(1000))
    assert e.value.errno == 28
    file.stop()


def test_a_writer_that_is_stopped_or_forgotten_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    stopped = ParquetFile(tmp_path / "x", SCHEMA, group=16)
    stopped.write(rows(40))
    stopped.stop()
    forgotten = ParquetFile(tmp_path / "y", SCHEMA, group=16)
    forgotten.write(rows(40))
    del forgotten
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert not [t for t in set(threading.enumerate()) - before if t.is_alive()]


def test_a_worker_keeps_order_waits_for_no_more_than_it_may_and_raises_what_a_job_raised() -> None:
    worker = Worker(ahead=1)
    done: list[str] = []
    gate = threading.Event()

    def first() -> None:
        gate.wait(10)
        done.append("first")

    def give() -> None:
        worker.do(lambda: done.append("third"))
        handed.set()

    handed = threading.Event()
    worker.do(first)
    worker.do(lambda: done.append("second"))
    giver = threading.Thread(target=give)
    giver.start()
    assert not handed.wait(0.05)  # one is at work, one waits, the third one's giver waits
    gate.set()
    giver.join(10)
    worker.wait()
    assert handed.is_set() and done == ["first", "second", "third"]

    def fail() -> None:
        raise KeyError("x")

    worker.do(fail)
    with pytest.raises(KeyError):
        worker.wait()
    with pytest.raises(KeyError):
        worker.do(lambda: done.append("fourth"))
    worker.stop()
    assert "fourth" not in done


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    made = write(tmp_path / "x", [rows(5000)], 256)
    assert made[2] == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
