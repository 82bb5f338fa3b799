"""The rows that a guard was trained on, as prompt and response: of a folder of shards, of a run's shards, of a step, or of files.

Shards hold a guard's rendered input. Where its guard is at hand and renders as it did then, prompt and response are cut out of it again; a row for
which that cannot be done (earlier messages before the prompt, another guard) is one text, as it was rendered, and is counted as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, short_path
from toolkit.common.paths import Roots, is_there, near_file
from toolkit.pipeline._finished import MANIFEST, ROWS, StepFolder, is_run, read_blocks, step_folders
from toolkit.pipeline._overlaps import plain_files, plain_rows

if TYPE_CHECKING:
    import polars as pl

    from toolkit.guards import Guard


@dataclass
class TrainedRows:
    """Rows of one place; figures are those of what has been read.

    Attributes:
        name: what it is called.
        kind: shards, step or rows.
        rows: rows read, those that could not be included.
        unread: of these, rows without a prompt.
        as_rendered: of these, shards' rows that were not cut into prompt and response.
    """

    name: str
    kind: str
    place: Path
    _read: Callable[[TrainedRows], Iterator[pl.DataFrame]]
    rows: int = field(default=0, init=False)
    unread: int = field(default=0, init=False)
    as_rendered: int = field(default=0, init=False)

    def blocks(self) -> Iterator[pl.DataFrame]:
        """The rows, a bounded block at a time: id, prompt, response, and `context` where there are earlier messages.

        Raises:
            InputError: they cannot be read, or are not those of their manifest.
        """
        return self._read(self)


def trained_rows(name: str | None, place: Path, roots: Roots) -> list[TrainedRows]:
    """The rows of a place; of a run those of each of its steps that wrote shards.

    Args:
        name: what to call it; None: its path.
        place: of a run, of shards, of a step, or of files.
        roots: where files were looked for.

    Raises:
        InputError: there is nothing there, or a run without shards.
    """
    called = name or short_path(place)
    if not is_there(place):
        raise InputError("no such file or folder", where=str(place), hint=near_file(place))
    if is_run(place):
        steps = step_folders(place)
        found = [s for s in steps if ROWS not in s.row_files() and s.row_files()]
        if not found:
            with_rows = ", ".join(short_path(place / s.step) for s in steps if s.row_files())
            raise InputError("no step of the run wrote shards", where=str(place), hint=f"name the step whose rows are meant: {with_rows or 'none'}")
        return [_of_step(s, called if name and len(found) == 1 else f"{called}/{s.step}") for s in found]
    if (place / ROWS).is_file():
        return [_of_step(StepFolder.open(place), called)]
    if (place / "shards" / MANIFEST).is_file() and (place / MANIFEST).is_file():
        return [_of_step(StepFolder.open(place), called)]
    if (place / MANIFEST).is_file():
        return [TrainedRows(called, "shards", place, partial(_shards, place=place))]
    return [TrainedRows(called, "rows", place, partial(_files, place=place, roots=roots))]


def _of_step(step: StepFolder, name: str) -> TrainedRows:
    if ROWS in step.row_files():
        return TrainedRows(name, "step", step.path, partial(_step, step=step))
    return TrainedRows(name, "shards", step.path / "shards", partial(_shards, place=step.path / "shards"))


def _step(of: TrainedRows, step: StepFolder) -> Iterator[pl.DataFrame]:
    for block in step.blocks():
        yield _texts(block, 0, of, step.path)


def _files(of: TrainedRows, place: Path, roots: Roots) -> Iterator[pl.DataFrame]:
    for block, faults in plain_files(place, roots):
        yield _texts(block, faults, of, place)


def _texts(block: pl.DataFrame, faults: int, of: TrainedRows, place: Path) -> pl.DataFrame:
    import polars as pl

    rows = plain_rows(block, str(place), of.rows).select("id", "prompt", "response")
    of.rows += block.height + faults
    of.unread += block.height - rows.height + faults
    if isinstance(block.schema.get("context"), pl.List):
        rows = rows.with_columns(block.filter(pl.col("prompt").is_not_null())["context"])
    return rows


def _shards(of: TrainedRows, place: Path) -> Iterator[pl.DataFrame]:
    from toolkit.shards import read_manifest

    manifest = read_manifest(place)
    columns = {c["name"]: c["type"] for c in manifest["columns"]}
    if "prompt" not in columns:
        raise InputError("the shards have no column 'prompt'", where=str(place))
    guard = _guard(manifest)
    wanted = [c for c in ("id", "prompt") if c in columns]
    for name, about in manifest["files"].items():
        for block in read_blocks(place / name, wanted, sha256=about["sha256"]):
            rows = _cut(block, guard, of)
            of.rows += block.height
            of.unread += block.height - rows.height
            yield rows


def _guard(manifest: Mapping[str, Any]) -> Guard | None:
    """The guard that the shards are for, if it is at hand and renders as it did."""
    from toolkit.guards import input_fingerprint, load_guard

    try:
        guard = load_guard(str(manifest.get("guard")).rpartition(" ")[0])
    except InputError:
        return None
    known = manifest.get("guard_input")
    return guard if known is None or known == input_fingerprint(guard) else None


def _cut(block: pl.DataFrame, guard: Guard | None, of: TrainedRows) -> pl.DataFrame:
    """The rows of shards that have a prompt, as `TrainedRows.blocks` gives them."""
    import polars as pl

    from toolkit.sources import split_released_input

    ids = block["id"].cast(pl.String).to_list() if "id" in block.columns else [str(of.rows + n) for n in range(1, block.height + 1)]
    out = []
    for row, value in zip(ids, block["prompt"].to_list(), strict=True):
        text = value if isinstance(value, str) or value is None else "\n".join(m["content"] or "" for m in value if m["role"] == "user")
        if not text:
            continue
        try:
            if guard is None:
                raise InputError("no guard")
            prompt, response = split_released_input(text, guard)
        except InputError:
            of.as_rendered += 1
            prompt, response = text, None
        out.append((row, prompt, response))
    return pl.DataFrame(out, schema=dict.fromkeys(("id", "prompt", "response"), pl.String), orient="row")
