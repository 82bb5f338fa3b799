"""An overlay beside the rows that it is about: which of them are gone, and whether a run was built with lines that it has lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.common.errors import InputError, short_path
from toolkit.pipeline._coverage_places import place_of, row_blocks
from toolkit.pipeline._diff_side import Side
from toolkit.pipeline._finished import is_run, run_of
from toolkit.shards import Overlay


def gone_rows(overlay: Overlay, place: Path) -> dict[int, str]:
    """By the lines of an overlay the ids that no row of a place has; of a run no row of any of its steps.

    Args:
        overlay: the decisions.
        place: folder of a run, a step or shards, or a file of rows.

    Raises:
        InputError: no rows with ids are there; a run of it was built with lines of this overlay that it does not have.
    """
    wanted = {str(d["id"]) for d in overlay.decisions.values()}
    for block in _ids(overlay, place):
        wanted -= set(block.filter(pl.col("id").is_in(pl.Series(list(wanted), dtype=pl.String).implode()))["id"])
        if not wanted:
            break
    return {n: str(d["id"]) for n, d in overlay.decisions.items() if d["id"] in wanted}


def _ids(overlay: Overlay, place: Path) -> Iterator[pl.DataFrame]:
    if is_run(place) or is_run(place.parent):
        run, step = run_of(place)
        side = Side(run)
        if step is None:
            for done in side.folders.values():
                _not_cut(overlay, done.manifest["stats"].get("overlay"), done.path)
        for name in side.comparable() if step is None else [step]:
            yield from side.blocks(name, ["id"])
    elif (place / "manifest.json").is_file():
        yield from Side(place).blocks("shards", ["id"])
    else:
        for block, _ in row_blocks(place_of(place, None), lambda names: [n for n in names if n == "id" or n.startswith("label_")]):
            if "id" not in block.columns:
                raise InputError("these rows have no ids", where=short_path(place))
            yield block.select(pl.col("id").cast(pl.String))


def _not_cut(overlay: Overlay, built: Any, step: Path) -> None:
    """That an overlay has the lines that a step was built with (InputError)."""
    if not isinstance(built, dict) or not isinstance(number := built.get("lines"), int):
        return
    if number > len(overlay.seals):
        what = f"lines are gone from its end: it has {len(overlay.seals)}, and {short_path(step)} was built with {number}"
    elif overlay.seals[number - 1] != built.get("seal"):
        what = f"line {number} is not the one that {short_path(step)} was built with"
    else:
        return
    raise InputError(what, where=str(overlay.path), hint="take the file from a copy; or it is the overlay of another run")
