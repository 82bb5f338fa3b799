"""A step's folder: rows, rejects, artefacts, and a manifest that is written last.

A folder with a manifest is whole (it appeared by one rename after fsync); its bytes hold no time and no host fact, but
for a training's `metrics.jsonl`. Rows are parquet (zstd)
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
from typing import Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.common.files import make_folder, write_atomic
from toolkit.common.folders import Kind, kept_beside
from toolkit.common.manifests import read_json, sealed
from toolkit.common.parquet import ParquetFile, Worker
from toolkit.common.reading import sha256_once
from toolkit.operators import Columns
from toolkit.pipeline._counts import Counts, Ids
from toolkit.pipeline._finished import FORMAT, MANIFEST, REJECTS, ROWS, read_blocks
from toolkit.pipeline._step_output import StepOutput, conform
from toolkit.records import Column, load_record, to_arrow
from toolkit.shards import SUFFIX

ROW_GROUP = 8192


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
"""A step whose files are no longer what its manifest says is built anew, and that is reported (`toolkit.pipeline._fingerprints.damage`)."""


class StepWriter(StepOutput):
    """Writes a step's folder. Parquet is encoded on a thread of its own.

    Args:
        folder: the hidden folder that becomes the step's.
        columns: of the kept rows; empty for a sink.
        counts: as for every `StepOutput`.
    """

    def __init__(self, folder: Path, columns: Columns, counts: Sequence[Counts]) -> None:
        super().__init__(counts)
        self._folder = folder
        self._worker = Worker()
        self._kept = self._file(ROWS, tuple(columns.values())) if columns else None
        self._rejects = self._file(REJECTS, load_record("reject").columns)
        self._columns = columns
        self._later: dict[str, ParquetFile] = {}
        self._ids = Ids()

    def _file(self, name: str, columns: Sequence[Column]) -> ParquetFile:
        return ParquetFile(self._folder / name, to_arrow(tuple(columns)), group=ROW_GROUP, worker=self._worker)

    def write(self, rows: pl.DataFrame) -> None:
        if self._kept is not None and rows.height:
            rows = conform(rows, self._columns)
            self._kept.write(rows)
            if "id" in self._columns:
                self._ids.add(rows["id"])

    def write_lines(self, lines: pl.DataFrame) -> None:
        self._rejects.write(lines)

    def folder(self, name: str) -> Path:
        path = self._folder / name
        make_folder(path)
        return path

    def kept_folder(self) -> Path | None:
        return kept_beside(self._folder)

    def later(self, kind: str, lines: pl.DataFrame) -> None:
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
        self.check()
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
            "stats": self.stats,
            "asked": self.asked,
            "failed": self.failed,
            "retry": self.retry,
            "files": files,
            "sizes": {n: p.stat().st_size for n, p in there.items()},
        }
        manifest = sealed(json.loads(json.dumps(manifest)))  # the seal is over what a reader will find
        write_atomic(self._folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
