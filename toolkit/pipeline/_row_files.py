"""Files of rows for people and programs: JSON Lines, CSV that executes nothing, parquet."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.csvfile import write_sheet
from toolkit.common.errors import InputError
from toolkit.common.files import new_file
from toolkit.common.paths import at_door

if TYPE_CHECKING:
    import polars as pl

FORMATS = (".jsonl", ".csv", ".parquet")


def output_file(output: str | Path | None) -> Path | None:
    """The file that is meant, absolute.

    Raises:
        InputError: its suffix names no format.
    """
    if output is None:
        return None
    if Path(output).suffix not in FORMATS:
        raise InputError(f"the output must end in {', '.join(FORMATS)}", where=str(output))
    return at_door(output)


def write_rows(path: Path, blocks: Iterable[pl.DataFrame], *, as_json: Collection[str] = ()) -> None:
    """Write blocks of rows of the same columns. Memory: one block in JSON Lines; all of them in CSV and parquet.

    Args:
        path: its suffix is one of `FORMATS`.
        blocks: one at least.
        as_json: columns of JSON text, which are values in JSON Lines; text that is no JSON stays text.

    Raises:
        InputError: the file cannot be written.
    """
    import polars as pl

    with new_file(path) as new:
        if path.suffix == ".jsonl":
            with new.open("wb") as f:
                for block in blocks:
                    if as_json:
                        f.writelines(_line(row, as_json) for row in block.iter_rows(named=True))
                    else:
                        block.write_ndjson(f)
            return
        rows = pl.concat(blocks, how="vertical_relaxed")
        if path.suffix == ".csv":
            write_sheet(rows, new)
        else:
            rows.write_parquet(new, compression="zstd")


def _line(row: dict[str, Any], as_json: Collection[str]) -> bytes:
    for name in as_json:
        try:
            row[name] = json.loads(row[name]) if row[name] is not None else None
        except ValueError:
            continue
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
