"""A step's rows are read a block at a time, and what has been read is let go of."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.common.errors import InputError
from toolkit.pipeline._finished import read_blocks
from toolkit.pipeline._inputs import Taken

MB = 1 << 20


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """pyarrow reads ahead by default, and then holds every compressed page until the file is closed."""
    rnd = random.Random(1)
    with pq.ParquetWriter(tmp_path / "rows.parquet", pa.schema([("text", pa.large_string())]), compression="zstd") as out:
        for _ in range(40):  # hexadecimal noise, which zstd can only halve
            out.write_table(pa.table({"text": pa.array([rnd.randbytes(1_000).hex() for _ in range(500)], pa.large_string())}))
    size = (tmp_path / "rows.parquet").stat().st_size
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for block in read_blocks(tmp_path / "rows.parquet", size=500):
        rows += block.height
        most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 20_000
    assert size > 18 * MB
    assert most < 8 * MB


class Read:
    """A finished step of blocks of one row, the sixth of which is damaged; `made` are those that were read."""

    step = "rows"
    manifest = {"columns": ["n"]}

    def __init__(self) -> None:
        self.made: list[int] = []

    def blocks(self, columns: Any) -> Iterator[pl.DataFrame]:
        for n in range(6):
            self.made.append(n)
            if n == 5:
                raise InputError("damaged")
            yield pl.DataFrame({"n": [n]})


def taken(done: Any) -> Taken:
    return Taken(done, done, None, "select")


def test_two_blocks_are_read_while_a_step_works_on_one_and_no_more() -> None:
    done, before = Read(), set(threading.enumerate())
    blocks = taken(done).blocks()
    assert next(iter(blocks))["n"].to_list() == [0]
    end = time.monotonic() + 20
    while len(done.made) < 3:
        assert time.monotonic() < end, "nothing is read ahead"
        time.sleep(0.01)
    time.sleep(0.05)
    assert done.made == [0, 1, 2]
    del blocks
    assert set(threading.enumerate()) <= before, "whoever stops early leaves no thread behind"


def test_an_error_comes_behind_the_blocks_before_it() -> None:
    found: list[int] = []
    with pytest.raises(InputError, match="damaged"):
        found.extend(block["n"][0] for block in taken(Read()).blocks())
    assert found == [0, 1, 2, 3, 4]
