"""Ids of rows that come from files: made where there are none, and checked to be there once."""

from __future__ import annotations

import polars as pl

from toolkit.records import content_id, row_id
from toolkit.sources import Occurrences, SeenKeys


class Ids:
    """Ids over a whole source. Memory: 8 bytes a row, and 8 more where ids are made.

    Two ids are taken for one where 64 bits of their hash agree: at 10 million rows a chance of 3e-6 for any pair.
    """

    def __init__(self) -> None:
        self._seen = SeenKeys()
        self._occurrences = Occurrences()

    def named(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with an `id`: the digest of their values and, for equal rows, which of them it is."""
        texts = rows.select(pl.struct(pl.all()).struct.json_encode()).to_series()
        contents = [content_id([], text, None) for text in texts]
        numbers = self._occurrences.number(contents)
        return rows.with_columns(pl.Series("id", [row_id("read", c, n) for c, n in zip(contents, numbers, strict=True)], dtype=pl.String))

    def repeated(self, ids: pl.Series) -> pl.Series:
        """For each id of a block whether an earlier row had it."""
        keys = ids.hash(0)
        return self._seen.seen(keys) | ~keys.is_first_distinct()
