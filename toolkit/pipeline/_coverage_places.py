"""Where the rows are that `toolkit.coverage` counts: a run's step, shards, files; and the verdicts of guards on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.paths import Roots, at_door, is_there
from toolkit.common.reading import Files
from toolkit.common.resources import near_run
from toolkit.pipeline._finished import StepFolder, is_run, run_of, step_folders
from toolkit.pipeline._recipe import kept_recipe

if TYPE_CHECKING:
    import polars as pl

BLOCK = 65_536
SUMMED = 64
"""Blocks after which counts are added up."""


@dataclass(frozen=True)
class Place:
    """The files whose rows are counted, and what is known of them."""

    name: str
    files: Sequence[Path]
    step: StepFolder | None = None
    taxonomy: str | None = None
    guard: str | None = None
    beside: Roots | None = None


def place_of(place: Path, step: str | None) -> Place:
    """The rows of a place, of a run those of a step (InputError: there are none)."""
    from toolkit.sources import expand_files

    if not is_there(place):
        raise InputError("no such file or folder", where=str(place), hint=near_run(place))
    if is_run(place):
        return _of_run(place, step)
    if step is not None:
        raise InputError("a step is one of a run, and this is none", where=str(place))
    if (place / "rows" / "rows.parquet").is_file() and is_there(place.parent / "run.json"):
        return _of_run(place.parent, place.name)
    return Place(short_path(place), expand_files([place], Roots.of(None)))


def _of_run(run: Path, wanted: str | None) -> Place:
    """The rows of a run's step: the last one of the recipe that has rows with categories, unless one is named."""
    recipe = kept_recipe(run)
    with_rows = {s.step: s for s in step_folders(run) if s.row_files()}
    if wanted is not None and wanted not in with_rows:
        raise InputError(f"no step {wanted!r} with rows", where=str(run), hint=did_you_mean(wanted, with_rows))
    order = [s.id for s in recipe.steps if s.id in with_rows]
    fit = [s for s in order if {"categories", "id"} <= set(with_rows[s].columns) and "parent" not in with_rows[s].columns]
    named = wanted or next(reversed(fit), None)
    if named is None:
        raise InputError("no step of the run has rows with categories", where=str(run), hint=f"name one: {', '.join(order) or 'none has rows'}")
    step, spec = with_rows[named], recipe.spec
    files = [step.path / n for n in step.row_files()]
    return Place(short_path(step.path), files, step, spec.taxonomy, spec.guard, recipe.roots)


def row_blocks(place: Place, columns: Callable[[Sequence[str]], Sequence[str]]) -> Iterator[tuple[pl.DataFrame, int]]:
    """Rows a block at a time with the columns that are looked at, each with the number of those that cannot be read."""
    import polars as pl
    import pyarrow as pa

    from toolkit.sources import format_of, read_blocks

    for path in place.files:
        kind = format_of(path)
        if kind == "parquet":
            with open_parquet(path, files=Files()) as f:
                wanted = _some(columns(f.schema_arrow.names), path)
                yield from ((pl.DataFrame(pl.from_arrow(pa.Table.from_batches([b]))), 0) for b in batches(f, path, BLOCK, wanted))
            continue
        for rows in read_blocks(path, kind, [], BLOCK):
            good = [r for r in rows if isinstance(r, dict)]
            wanted = _some(columns(list(dict.fromkeys(n for r in good for n in r))), path) if good else []
            frame = {n: pl.Series(n, [r.get(n) for r in good], strict=False) for n in wanted}
            yield pl.DataFrame(frame), len(rows) - len(good)


def _some(columns: Sequence[str], path: Path) -> Sequence[str]:
    """These columns, unless there is nothing in them that rows are counted by (InputError)."""
    if not any(n in ("categories", "seed_category") or n.startswith("label_") for n in columns):
        hint = "rows as guardkit has them are counted: `guardkit init FILE` drafts a source that reads the file"
        raise InputError("neither a column 'categories' nor a label ('label_prompt')", where=str(path), hint=hint)
    return columns


def verdicts_of(place: Place, verdicts: str | Path | None) -> Path | None:
    """The parquet file with verdicts: the one that is named, or of a run's steps after the rows the last."""
    if verdicts is not None:
        found = at_door(verdicts)
        for inside in ("rows/rows.parquet", "rows.parquet", "evaluation/rows.parquet"):
            if is_there(found / inside, Path.is_file):
                return found / inside
        if not is_there(found, Path.is_file) or found.suffix != ".parquet":
            hint = "name a step of verdicts, the folder of an evaluation, or a parquet file"
            raise InputError("no verdicts there", where=str(verdicts), hint=hint)
        return found
    if place.step is None:
        return None
    run, _ = run_of(place.step.path)
    order = [s.id for s in kept_recipe(run).steps]
    fit = [s for s in step_folders(run) if s.row_files() and "parent" in s.columns and any(c.startswith("verdict_") for c in s.columns)]
    return max(fit, key=lambda s: order.index(s.step)).path / "rows" / "rows.parquet" if fit else None


def wrong_by_row(path: Path) -> pl.DataFrame:
    """By the hash of a row's id, its verdicts and how many are not its label."""
    import polars as pl

    parts: list[pl.DataFrame] = []
    with open_parquet(path, files=Files()) as f:
        there = f.schema_arrow.names
        tasks = [n.removeprefix("verdict_") for n in there if n.startswith("verdict_") and f"label_{n.removeprefix('verdict_')}" in there]
        if {"id", "gold", "verdict"} <= set(there):
            row, pairs = "id", [("verdict", "gold")]
        elif "parent" in there and tasks:
            row, pairs = "parent", [(f"verdict_{task}", f"label_{task}") for task in tasks]
        else:
            raise InputError("no verdicts: neither id, gold and verdict, nor parent with label_<task> and verdict_<task>", where=str(path))
        for batch in batches(f, path, BLOCK, [row, *(name for pair in pairs for name in pair)]):
            rows = pl.DataFrame(pl.from_arrow(batch)).with_columns(pl.col(row).cast(pl.String).hash().alias("id"))
            for verdict, label in pairs:
                lines = rows.filter(pl.col(label).is_not_null())
                parts.append(lines.select("id", judged=pl.lit(1, pl.Int64), wrong=pl.col(verdict).ne_missing(pl.col(label)).cast(pl.Float64)))
            if len(parts) >= SUMMED:
                parts = [_by_id(parts)]
    return _by_id(parts)


def _by_id(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    schema = {"id": pl.UInt64, "judged": pl.Int64, "wrong": pl.Float64}
    return pl.concat([pl.DataFrame(schema=schema), *parts]).group_by("id").agg(pl.col("judged", "wrong").sum())
