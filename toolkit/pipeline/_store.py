"""A step's folder: rows, rejects, artefacts, and a manifest that is written last.

A folder with a manifest is whole (it appeared by one rename after fsync); its bytes hold no time and no host fact. Rows are parquet (zstd)
in row groups of a fixed size, so that the bytes depend neither on the batch size nor on the thread count.

    rows/rows.parquet    the kept rows (not for a sink)
    rejects.parquet      every row that was not kept (schemas/records/reject.yaml)
    <artefact>/…         whatever else the step made
    manifest.json        fingerprint, counts, figures, and every file with its size and sha256; sealed by a digest of itself
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.common.files import make_folder, write_atomic
from toolkit.common.folders import Kind
from toolkit.common.manifests import read_json, sealed
from toolkit.common.parquet import ParquetFile, Worker
from toolkit.common.reading import sha256_once
from toolkit.operators import Columns
from toolkit.operators.base import DETAIL, OUTCOME, REASON
from toolkit.pipeline._counts import ConservationError, Counts, Ids
from toolkit.pipeline._finished import FORMAT, MANIFEST, REJECTS, ROWS, read_blocks
from toolkit.records import Column, load_record, to_arrow, to_polars
from toolkit.shards import SUFFIX

if TYPE_CHECKING:
    from toolkit.operators.base import Mark

ROW_GROUP = 8192
MARKS = (OUTCOME, REASON, DETAIL)
"""Columns that carry a row's mark through an operator."""


def conform(rows: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """`rows` with exactly these columns in these types.

    Raises:
        ConservationError: a column is missing, or has nulls where none may be.
    """
    if missing := [n for n in columns if n not in rows.columns]:
        raise ConservationError(f"an operator declares the column {missing[0]!r} and did not write it")
    out = rows.select(list(columns)).cast(to_polars(tuple(columns.values())))  # type: ignore[arg-type]
    for c in columns.values():
        if not c.nullable and out[c.name].null_count():
            raise ConservationError(f"the column {c.name!r} may not be null, but an operator wrote nulls")
    return out


def _wrote(folder: Path) -> dict[str, str | None] | None:
    """The files of a finished step, of whatever format; see `toolkit.common.folders.Kind`. A copy under another name is the user's."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, InputError):
        return None
    if not isinstance(manifest, dict) or not {"step", "fingerprint", "counts"} <= manifest.keys() or manifest["step"] != folder.name:
        return None
    if not isinstance(files := manifest.get("files"), dict):
        return None
    signatures = {f"{name}{SUFFIX}": None for name in files if str(name).endswith(f"/{MANIFEST}")}  # of shards; they come later
    return {MANIFEST: None, **signatures, **files}


STEP = Kind("step", _wrote, "move the folder elsewhere, or delete it if it is not needed, and run again")
"""A step whose files are no more what its manifest says is built anew, and that is told (`toolkit.pipeline._fingerprints.damage`)."""


class StepWriter:
    """Writes a step's folder; an `Output` for dataset operators. Parquet is encoded on a thread of its own.

    Args:
        folder: the hidden folder that becomes the step's.
        columns: of the kept rows; empty for a sink.
        counts: one for each step that is written here, the last being the one that gives the folder its name.
    """

    def __init__(self, folder: Path, columns: Columns, counts: Sequence[Counts]) -> None:
        self._folder = folder
        self._counts = counts
        self._last = counts[-1]
        reject = load_record("reject").columns
        self._worker = Worker()
        self._kept = self._file(ROWS, tuple(columns.values())) if columns else None
        self._reject_types = to_polars(reject)
        self._rejects = self._file(REJECTS, reject)
        self._columns = columns
        self._later: dict[str, ParquetFile] = {}
        self._parents: set[str] = set()
        self._ids = Ids()
        self._stats: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self.asked = self.failed = self.retry = 0

    def _file(self, name: str, columns: Sequence[Column]) -> ParquetFile:
        return ParquetFile(self._folder / name, to_arrow(tuple(columns)), group=ROW_GROUP, worker=self._worker)

    # The Output of a dataset operator -------------------------------------------------------------------------------

    def keep(self, rows: pl.DataFrame) -> None:
        self._last.kept += rows.height
        if self._last.shape == "pick":
            self._parents.update(rows["parent"])
            self._last.parents = len(self._parents)
        if self._kept is not None and rows.height:
            rows = conform(rows, self._columns)
            self._kept.write(rows)
            if "id" in self._columns:
                self._ids.add(rows["id"])

    def leave(self, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None) -> None:
        if rows.height:
            self.write_lines(self.lines(self._last, rows, outcome, reason, detail, survivor))

    def reject(self, rows: pl.DataFrame, reason: Mark, detail: Mark = None) -> None:
        self.leave(rows, "rejected", reason, detail)

    def set_aside(self, rows: pl.DataFrame, reason: Mark, detail: Mark = None) -> None:
        self.leave(rows, "set_aside", reason, detail)

    def merge(self, rows: pl.DataFrame, survivor: Mark) -> None:
        self.leave(rows, "merged", "merged", None, survivor)

    def merge_count(self, n: int) -> None:
        self._last.merged += n

    def use(self, n: int) -> None:
        self._last.kept += n

    def count_in(self, n: int) -> None:
        self._last.came += n

    def folder(self, name: str) -> Path:
        path = self._folder / name
        make_folder(path)
        return path

    def stat(self, name: str, value: Any) -> None:
        self._stats[name] = value

    def note(self, name: str, value: Any) -> None:
        self.notes[name] = value

    # The pipeline's side --------------------------------------------------------------------------------------------

    def lines(self, counts: Counts, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None) -> pl.DataFrame:
        """Lines for the rejects, one for each row, counted under a step. The row goes in as JSON, without its marks.

        Args:
            counts: of the step that the rows leave.
            rows: at least one, as they came into it.
            outcome, reason, detail, survivor: as in `Output`.
        """
        data = [c for c in rows.columns if c not in MARKS]
        given = {"outcome": outcome, "reason": reason, "detail": detail, "survivor": survivor}
        out = rows.select(
            (pl.col("id") if "id" in data else pl.lit(None, pl.String)).alias("id"),
            *(pl.lit(v, pl.String).alias(n) if v is None or isinstance(v, str) else v.alias(n) for n, v in given.items()),
            # A row that never became a record is its text as far as that can be shown.
            (pl.col("raw") if data == ["raw"] else pl.struct(data).struct.json_encode()).alias("row"),
            pl.lit(counts.step).alias("step"),
        )
        for kind, why, n in out.group_by("outcome", "reason").len().iter_rows():
            if why is None or kind not in ("rejected", "set_aside", "merged"):
                raise ConservationError(f"the operator {counts.use!r} gave a row the outcome {kind!r} with the reason {why!r}")
            if kind == "merged":
                counts.merged += n
            else:
                getattr(counts, kind)[why] += n
        return out.select(list(self._reject_types)).cast(self._reject_types)  # type: ignore[arg-type]

    def write_lines(self, lines: pl.DataFrame) -> None:
        """Write lines of the rejects, in their order."""
        self._rejects.write(lines)

    def later(self, kind: str, lines: pl.DataFrame) -> None:
        """Lines of what left a stream on its way here. They come after the step's own, those of one kind together, so that their order does not
        hang on the blocks.
        """
        if kind not in self._later:
            self._later[kind] = self._file(f".later-{kind}.parquet", load_record("reject").columns)
        self._later[kind].write(lines)

    def __enter__(self) -> StepWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """After an error no thread writes any more; the folder is not whole."""
        if error is None:
            return
        self._worker.stop()
        for file in (self._kept, self._rejects, *self._later.values()):
            if file is not None:
                file.stop()

    def close(self, header: dict[str, Any]) -> None:
        """Check counts and ids, close the files and write the manifest."""
        for _, later in sorted(self._later.items()):
            later.close()
            for lines in read_blocks(later.path):
                self._rejects.write(lines)
            later.path.unlink()
        for file in (self._kept, self._rejects):
            if file is not None:
                file.close()
        self._worker.stop()
        for c in self._counts:
            c.check()
        if self._kept is not None:
            kept = self._kept.path
            self._ids.check(self._last, lambda: (block["id"] for block in read_blocks(kept, ["id"])))
        there = {p.relative_to(self._folder).as_posix(): p for p in sorted(self._folder.rglob("*")) if p.is_file()}
        files = {n: sha256_once(p, p) for n, p in there.items()}  # those that were digested as they were written are not read again
        manifest = {
            "format": FORMAT,
            **header,
            "rows": self._kept.rows if self._kept is not None else 0,
            "columns": list(self._columns),
            "counts": [c.as_dict() for c in self._counts],
            "stats": self._stats,
            "asked": self.asked,
            "failed": self.failed,
            "retry": self.retry,
            "files": files,
            "sizes": {n: p.stat().st_size for n, p in there.items()},
        }
        manifest = sealed(json.loads(json.dumps(manifest)))  # the seal is over what a reader will find
        write_atomic(self._folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
