"""Output files, written in blocks; equal rows give equal bytes, in whatever blocks they come."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from toolkit.common.files import make_folder, private, sha256_file
from toolkit.common.parquet import GROUP_BYTES
from toolkit.common.sizes import row_bytes, total_bytes

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.parquet as pq

ROW_GROUP = 1024
"""Rows in a row group of a parquet file, at most."""
# Letters that JSON lets stand and that some readers take for the end of a line (str.splitlines, for one).
_BREAKS = {"\u2028".encode(): b"\\u2028", "\u2029".encode(): b"\\u2029", "\u0085".encode(): b"\\u0085"}


class Sink:
    """One output file, ``.jsonl`` or ``.parquet`` (zstd).

    Args:
        path: of the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._path = path
        self._lines: BinaryIO | None = open(path, "wb", opener=private) if path.suffix == ".jsonl" else None  # noqa: SIM115
        self._parquet: pq.ParquetWriter | None = None
        self._held: list[pl.DataFrame] = []
        self._bytes = 0
        self.rows = 0

    def write(self, rows: pl.DataFrame, lines: Sequence[bytes] | None = None) -> None:
        """Add rows; `lines`: as they are to be in a ``.jsonl``."""
        self.rows += rows.height
        if self._lines is not None:
            text = io.BytesIO()
            if lines is None:
                rows.write_ndjson(text)
            else:
                text.writelines(line + b"\n" for line in lines)
            line = text.getvalue()
            for letter, escape in _BREAKS.items():
                line = line.replace(letter, escape)
            self._lines.write(line)
        else:
            self._held.append(rows)
            self._bytes += total_bytes(rows)
            self._flush()

    def _flush(self, *, last: bool = False) -> None:
        """Write the row groups that are full, or all that is held; one ends with the row that makes it `ROW_GROUP` rows, or `GROUP_BYTES`."""
        import polars as pl
        import pyarrow.parquet as pq

        while (n := sum(h.height for h in self._held)) >= ROW_GROUP or self._bytes >= GROUP_BYTES or (last and n):
            frame = self._held[0] if len(self._held) == 1 else pl.concat(self._held)
            some = frame[:ROW_GROUP]
            if total_bytes(some) >= GROUP_BYTES:
                some = some[: int(row_bytes(some).cumsum().searchsorted(GROUP_BYTES)) + 1]
            table = some.to_arrow().combine_chunks()
            if self._parquet is None:
                self._parquet = pq.ParquetWriter(self._path, table.schema, compression="zstd")
            self._parquet.write_table(table, row_group_size=ROW_GROUP)
            self._held = [frame[some.height :]]
            self._bytes = total_bytes(self._held[0])

    def finish(self) -> tuple[int, str]:
        """Close the file; its bytes and sha256."""
        self._flush(last=True)
        self.close()
        return self._path.stat().st_size, sha256_file(self._path)

    def close(self) -> None:
        """Close the file, whole or not."""
        for one in (self._lines, self._parquet):
            if one is not None:
                one.close()
