"""The folder of an evaluation: ``rows.parquet``, a line for each benchmark, row, model, draw and task (`ROWS`), and ``evaluation.json`` beside it.

``evaluation.json``::

    {"guardkit": version, "kind": "evaluation", "format": 1,
     "models": [{name, guard, model_id, …}], "benchmarks": [{name, title, task, n, rows_digest, …}],
     "results": […], "means": […], "rows": {"file": "rows.parquet", "rows": n, "sha256": …}}

Where rows were also asked about under changes that keep their labels, ``changed.parquet`` has the lines about these (`CHANGED`), and the document a
part ``robustness`` that names it; where look-alikes were named, a part ``look_alikes`` with their figures; where labels are on a
scale, a part ``ordinal``.

The rows are the artefact: every figure of the document is computed from them and can be computed from them again. Equal rows and an equal document
give equal bytes. The folder appears whole or not at all, and takes the place of nothing but another evaluation that nobody has changed
(`toolkit.common.folders`).

Memory: a row group while writing, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit._version import __version__
from toolkit.common.errors import InputError
from toolkit.common.files import write_atomic
from toolkit.common.folders import Kind, new_folder
from toolkit.common.manifests import Sha256, checked, read_manifest
from toolkit.common.parquet import ParquetFile, Written, open_parquet
from toolkit.common.text import json_text
from toolkit.evaluation._row_table import CHANGED, ROWS

if TYPE_CHECKING:
    import polars as pl

DOCUMENT, TABLE, CHANGED_TABLE = "evaluation.json", "rows.parquet", "changed.parquet"
FORMAT = 1
"""Format of the document; another one is refused."""
GROUP = 65_536
"""Rows of a row group."""
WORDS = ("benchmark", "model", "task", "gold", "verdict", "unread")
"""Columns that hold few different words: the file marks them so, and scoring reads them as numbers. To a reader they are texts like the others."""
_AGAIN = "evaluate again"


class _Rows(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="allow")

    file: Literal["rows.parquet"]
    sha256: Sha256


class _Changed(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="allow")

    file: Literal["changed.parquet"]
    sha256: Sha256


class _Robustness(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="allow")

    flips: list[dict[str, Any]]
    rows: _Changed | None = None


class _Document(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="allow")

    guardkit: str
    kind: Literal["evaluation"]
    format: Literal[1]
    models: list[dict[str, Any]]
    benchmarks: list[dict[str, Any]]
    results: list[dict[str, Any]]
    means: list[dict[str, Any]]
    rows: _Rows
    robustness: _Robustness | None = None


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is in a folder.

    Attributes:
        folder: where.
        document: what its ``evaluation.json`` says.
    """

    folder: Path
    document: dict[str, Any] = field(repr=False)

    def rows(self) -> pl.LazyFrame:
        """The lines of `ROWS`.

        Raises:
            InputError: the file is not there, or not the one that the document names.
        """
        return self._table(TABLE, self.document["rows"]["sha256"], ROWS)

    def changed(self) -> pl.LazyFrame | None:
        """The lines of `CHANGED` (InputError: as `rows`); None where no changed row was asked about."""
        about = (self.document.get("robustness") or {}).get("rows")
        return None if about is None else self._table(CHANGED_TABLE, about["sha256"], CHANGED)

    def _table(self, name: str, sha256: str, columns: Mapping[str, Any]) -> pl.LazyFrame:
        import polars as pl

        path = self.folder / name
        with open_parquet(path, sha256=sha256, hint=_AGAIN) as file:
            there = set(file.schema_arrow.names)
        if lacking := [column for column in columns if column not in there]:
            raise InputError(f"no column {lacking[0]!r}", where=str(path), hint=_AGAIN)
        return pl.scan_parquet(path, glob=False).select(pl.col(c).cast(kind) for c, kind in columns.items())


def read_evaluation(folder: str | Path) -> Evaluation:
    """The evaluation in a folder.

    Raises:
        InputError: there is none, or its document cannot be read.
    """
    if not isinstance(folder, str | Path):
        raise InputError(f"the folder of an evaluation is a text or a Path, not {type(folder).__name__}")
    place = Path(folder)
    path = place / DOCUMENT
    try:
        value = read_manifest(path, again=_AGAIN)
    except FileNotFoundError:
        hint = "name a folder that `guardkit evaluate --output` wrote"
        raise InputError(f"no {DOCUMENT}: not the folder of an evaluation", where=str(place), hint=hint) from None
    if value.get("kind") != "evaluation" or value.get("format") != FORMAT:
        raise InputError("not an evaluation of guardkit's, or of another version", where=str(path), hint=_AGAIN)
    return Evaluation(place, checked(value, _Document, path, _AGAIN))


def write_evaluation(
    folder: str | Path,
    document: Mapping[str, Any] | Callable[..., Mapping[str, Any]],
    rows: pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame],
) -> Evaluation:
    """Write the folder of an evaluation, whole or not at all.

    Args:
        folder: its place; an evaluation that is there is replaced.
        document: `models`, `benchmarks`, `results`, `means` and whatever else belongs to it; or what makes it of the rows once they are on disk: of
            the lines of `ROWS` and, where there are any, those of `CHANGED`.
        rows: lines of `ROWS`, in one table or in blocks; a column that is not there is null. Blocks with a column `change` are lines of `CHANGED`.

    Raises:
        InputError: something else is there, or an evaluation that was changed since.
    """
    place = Path(folder)
    with new_folder(place, EVALUATION) as new:
        fill_evaluation(new, document, rows)
    return read_evaluation(place)


def fill_evaluation(
    folder: Path,
    document: Mapping[str, Any] | Callable[..., Mapping[str, Any]],
    rows: pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame],
) -> None:
    """As `write_evaluation`, into a folder that somebody else makes and brings to its place."""
    import polars as pl

    written, changed = _write_rows(folder, rows)
    tables = [pl.scan_parquet(folder / name, glob=False) for name, there in ((TABLE, written), (CHANGED_TABLE, changed)) if there is not None]
    stated = document(*tables) if callable(document) else document
    whole = {"guardkit": __version__, "kind": "evaluation", "format": FORMAT, **stated, "rows": _about(TABLE, written)}
    if changed is not None:
        whole["robustness"] = {**stated.get("robustness", {}), "rows": _about(CHANGED_TABLE, changed)}
    write_atomic(folder / DOCUMENT, json_text(whole) + "\n")


def _about(name: str, written: Written) -> dict[str, Any]:
    return {"file": name, "rows": written.rows, "sha256": written.sha256}


def _write_rows(folder: Path, rows: pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame]) -> tuple[Written, Written | None]:
    """Write both tables, that of changed rows where there is a line about one."""
    import polars as pl

    if isinstance(rows, pl.LazyFrame):
        rows = rows.collect(engine="streaming")
    files = {TABLE: _table(folder / TABLE, ROWS)}
    try:
        for block in [rows] if isinstance(rows, pl.DataFrame) else rows:
            name, columns = (CHANGED_TABLE, CHANGED) if "change" in block.columns else (TABLE, ROWS)
            if name not in files:
                files[name] = _table(folder / name, columns)
            missing = [pl.lit(None, kind).alias(name) for name, kind in columns.items() if name not in block.columns]
            files[name].write(block.with_columns(missing).cast(columns) if missing else block.cast(columns))  # type: ignore[arg-type]
        done = {name: file.close() for name, file in files.items()}
        return done[TABLE], done.get(CHANGED_TABLE)
    except BaseException:
        for file in files.values():
            file.stop()
        raise


def _table(path: Path, columns: Mapping[str, Any]) -> ParquetFile:
    import polars as pl

    kinds = {c: pl.Categorical() if c in WORDS else kind for c, kind in columns.items()}
    return ParquetFile(path, pl.DataFrame(schema=kinds).to_arrow().schema, group=GROUP)


def _wrote(folder: Path) -> dict[str, str | None] | None:
    """The files of an evaluation; see `toolkit.common.folders.Kind`."""
    try:
        stated = read_evaluation(folder).document
        changed = {CHANGED_TABLE: stated["robustness"]["rows"]["sha256"]} if (stated.get("robustness") or {}).get("rows") else {}
        return {DOCUMENT: None, TABLE: stated["rows"]["sha256"], **changed}
    except InputError:
        return None


EVALUATION = Kind("evaluation", _wrote, "give another folder with {--output|output}")
