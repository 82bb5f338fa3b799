"""The first rows of a finished step, as a notebook shows them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

from toolkit.common.parquet import batches, open_parquet
from toolkit.common.tables import table_html

_ROWS, _CELL = 5, 100


def first_rows(what: str, folder: Path, files: Mapping[str, str]) -> str:
    """A table of them in HTML, each cell cut and escaped.

    Args:
        what: the step in words, above them.
        folder: of the step.
        files: its parquet files of rows, with their sha256.

    Raises:
        InputError: a file is not as that says.
    """
    title = f"<p>{html.escape(what)}</p>"
    for name, sha256 in files.items():
        with open_parquet(folder / name, sha256=sha256) as f:
            for batch in batches(f, folder / name, _ROWS):
                names = [c for c in batch.schema.names if not c.endswith("_key")]
                lines = batch.select(names).to_pylist()[:_ROWS]
                return title + table_html("", names, [[_cell(line[n]) for n in names] for line in lines])
    return title


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"
