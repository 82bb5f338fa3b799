"""A step's rows are read a block at a time, and what has been read is let go of."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.pipeline._finished import read_blocks

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
