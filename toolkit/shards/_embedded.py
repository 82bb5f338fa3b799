"""Media in shards: as references alone, or with the files' bytes beside them in the column `MEDIA_BYTES`.

The column holds for each reference of a row, in order, ``{bytes, path}``: what the ``datasets`` library takes for an image, a sound or a video
(``dataset.cast_column("media_bytes", List(Image()))``). `path` is the reference's uri. Bytes must be those of the reference's sha256, when they are
written as when they are checked.

Memory: twice `BLOCK_BYTES` of files at a time, and one file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.in_threads import in_threads
from toolkit.common.mediafiles import check_whole, read_whole
from toolkit.common.mediatypes import BadMedia
from toolkit.common.sizes import BLOCK_BYTES
from toolkit.records import MEDIA, Column

if TYPE_CHECKING:
    import polars as pl

MEDIA_BYTES = "media_bytes"
"""Name of the column."""

BYTES = Column(MEDIA_BYTES, {"list": {"struct": {"bytes": "binary", "path": "string"}}})
"""The column."""


def with_bytes(rows: pl.DataFrame, folder: Path, gone: dict[int, BadMedia]) -> Iterator[pl.DataFrame]:
    """The rows in order, a bounded piece at a time, with the bytes of their files.

    Args:
        rows: with the column `MEDIA`.
        folder: the dataset's.
        gone: takes by number the rows that have a file which cannot be had, or is another one; they are left out.
    """
    held: list[list[bytes]] = []
    numbers: list[int] = []
    size = 0
    media = rows[MEDIA].to_list()

    def cost(row: list[dict[str, Any]] | None) -> int:
        return sum(BLOCK_BYTES if one["size"] is None else one["size"] for one in row or ())

    for number, files in enumerate(in_threads(partial(_row_bytes, folder), media, cost, BLOCK_BYTES)):
        if isinstance(files, BadMedia):
            gone[number] = files
            continue
        held.append(files)
        numbers.append(number)
        size += sum(map(len, files))
        if size >= BLOCK_BYTES:
            yield _filled(rows[numbers], held)
            held, numbers, size = [], [], 0
    if numbers:
        yield _filled(rows[numbers], held)


def _row_bytes(folder: Path, media: list[dict[str, Any]] | None) -> list[bytes] | BadMedia:
    try:
        return [read_whole(folder, one["uri"], one["sha256"]) for one in media or ()]
    except BadMedia as e:
        return BadMedia(e.reason, e.detail)


def _filled(rows: pl.DataFrame, files: list[list[bytes]]) -> pl.DataFrame:
    import numpy as np
    import polars as pl
    import pyarrow as pa

    uris = rows[MEDIA].explode(empty_as_null=False, keep_nulls=False).struct.field("uri").to_arrow()
    lengths = np.fromiter((len(one) for row in files for one in row), np.int64, sum(map(len, files)))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    joined = b"".join([one for row in files for one in row])  # one copy, where Arrow would make two of a list
    held = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(lengths), [None, pa.py_buffer(starts), pa.py_buffer(joined)])
    each = pa.StructArray.from_arrays([held, uris.cast(pa.large_string())], ["bytes", "path"])
    ends = np.cumsum([0, *map(len, files)], dtype=np.int64)
    return rows.with_columns(pl.Series(MEDIA_BYTES, pl.from_arrow(pa.LargeListArray.from_arrays(ends, each))))


def bytes_fault(rows: pl.DataFrame) -> str | None:
    """What is wrong with the first row whose bytes are not those of its references, in words; None where all are."""
    for media, files in zip(rows[MEDIA].to_list(), rows[MEDIA_BYTES].to_list(), strict=True):
        if [one["uri"] for one in media or ()] != [one["path"] for one in files or ()]:
            return f"{MEDIA_BYTES} has other files than {MEDIA}"
        for one, file in zip(media or (), files or (), strict=True):
            if hashlib.sha256(file["bytes"] or b"").hexdigest() != one["sha256"]:
                return f"{MEDIA_BYTES}: the bytes of {one['uri']} are not those of its sha256"
    return None


def file_faults(rows: pl.DataFrame, folder: Path) -> Iterator[str]:
    """What is wrong with the files that rows refer to, in words: missing, or others than their sha256 says."""
    for media in rows[MEDIA].to_list():
        for one in media or ():
            try:
                check_whole(folder, one["uri"], one["sha256"])
            except BadMedia as e:
                yield f"{one['uri']} {e.detail}"
