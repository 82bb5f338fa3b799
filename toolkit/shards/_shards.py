"""Writing a shard folder.

``DIR/data/<split>-00000-of-00003.parquet`` (zstd), ``DIR/README.md`` (the data card) and ``DIR/manifest.json``, and nothing else:
`datasets.load_dataset` and TRL's command line read such a folder as it is. The manifest is written last; it has the sha256 and the row count of
every file. Equal rows give equal bytes, in whatever blocks they come: no time, no host, no thread count goes in. A folder without a manifest
was never finished.

Row groups have 1,024 rows: about 3 MB of reasoning, 1 MB compressed. A reader that streams has its first rows after one such piece
(`datasets` reads a row group at a time), shuffling by buffers costs little, and a filter skips whole groups by their statistics, which are
written for every column together with the page index. zstd level 2: on the benchmark's corpus (reasoning of 2 KB a row) the files are smaller
than those of polars at its level 3, for two thirds of the processor time of level 3 here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.files import make_folder, write_atomic
from toolkit.common.manifests import sealed
from toolkit.common.parquet import ParquetFile, Worker, Written, batches, open_parquet
from toolkit.records import Column, to_arrow
from toolkit.shards._card import card
from toolkit.shards._licences import licence_section, load_licences, models_section
from toolkit.shards._manifest import CARD, FORMAT, MANIFEST, with_card
from toolkit.shards._row_counts import RowCounts
from toolkit.shards._versions import BATCH, OldVersion, ordered, take_file, text_of

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

ROW_GROUP = 1024
"""Rows in a row group."""
LEVEL = 2
"""Of zstd."""
LONGEST = 200
"""Bytes of a split's name: with what else a file's name says, a file system's 255 are not reached."""
SPLITS = 100
"""Splits of a folder at most: each keeps a file open, and up to a row group in memory."""
SPLIT_HINT = f"letters, digits and underscores, {LONGEST} bytes at most, but not `all`; parts may be joined by dots"


def names_split(name: str) -> bool:
    """Whether a split of shards can have this name: `datasets` takes it for one (datasets.splits, 5.2; `all` is its own), and files can have it."""
    return re.fullmatch(r"\w+(\.\w+)*", name) is not None and name != "all" and len(name.encode()) <= LONGEST


def check_columns(names: list[str]) -> None:
    """Refuse columns that no shard can have (InputError): ``labels``, which TRL's collators claim for themselves, or two of one name."""
    if "labels" in names:
        raise InputError("a shard may not have a column called 'labels': TRL's collators claim that name")
    if len(set(names)) < len(names):
        raise InputError(f"two columns of the shards have one name: {', '.join(names)}")


@dataclass(frozen=True)
class _Part:
    """A file that is whole; `old`: its name in the version extended, whose file it is."""

    path: Path
    written: Written
    old: str | None = None


class ShardWriter:
    """Writes a shard folder. Rows are encoded on a thread of its own; what fails there is raised by the next `write`, or by `finish`.

    Args:
        folder: a fresh folder; made if it is not there.
        columns: of the shards, in order; of a new version of others those of these: `OldVersion.schema`.
        rows_per_shard: rows in one file at most.

    Raises:
        InputError: a column called ``labels``, which TRL's collators claim for themselves, or two of one name; something is in the folder.
    """

    def __init__(self, folder: Path, columns: tuple[Column, ...] | pa.Schema, rows_per_shard: int) -> None:
        self._schema = to_arrow(columns) if isinstance(columns, tuple) else columns
        check_columns(self._schema.names)
        self._folder = folder
        self._limit = rows_per_shard
        self._worker = Worker()
        self._parts: dict[str, list[_Part]] = {}
        self._open: dict[str, ParquetFile] = {}
        self._counted = RowCounts(self._schema.names)
        self._old: OldVersion | None = None
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
            raise InputError("shards are written into a fresh folder: this one is not empty", where=str(folder), hint="give another folder")
        make_folder(folder / "data")

    def extend(self, old: OldVersion) -> None:
        """Take the files of another version first: see `toolkit.shards._versions`. Called before any row is written.

        Raises:
            InputError: a file is not what its manifest says.
        """
        import polars as pl

        self._old = old
        for name in ordered(old.manifest["files"]):
            about = old.manifest["files"][name]
            parts = self._parts.setdefault(about["split"], [])
            path = self._folder / "data" / f".{about['split']}-{len(parts):05d}.parquet"
            take_file(old.folder / name, path, about["sha256"])
            parts.append(_Part(path, Written(about["rows"], about["bytes"], about["sha256"]), name))
            with open_parquet(path, sha256=about["sha256"]) as f:
                for batch in batches(f, path, BATCH, self._counted.columns):
                    self._counted.add(pl.DataFrame(pl.from_arrow(batch)), about["split"])

    def write(self, rows: pl.DataFrame, split: str) -> None:
        """Add rows to a split. Columns are taken by name.

        Raises:
            InputError: a name that `datasets` does not take for a split, or more than `SPLITS` of them.
        """
        if not names_split(split):
            raise InputError(f"{split[:80]!r} cannot name a split", hint=SPLIT_HINT)
        known = {*self._parts, *self._open}
        if split not in known and len(known) == SPLITS:
            raise InputError(f"more than {SPLITS} splits: {split!r} is one too many", hint="is the column `split` another one's?")
        rows = rows.select(self._schema.names)
        if rows.height:
            self._counted.add(rows, split)
        while rows.height:
            if split not in self._open:
                path = self._folder / "data" / f".{split}-{len(self._parts.get(split, [])):05d}.parquet"
                self._open[split] = ParquetFile(path, self._schema, group=ROW_GROUP, level=LEVEL, index=True, worker=self._worker)
            file = self._open[split]
            room = self._limit - file.rows
            file.write(rows[:room])
            rows = rows[room:]
            if file.rows == self._limit:
                self._close(split)

    def _close(self, split: str) -> None:
        file = self._open.pop(split)
        self._parts.setdefault(split, []).append(_Part(file.path, file.close()))

    def finish(self, about: dict[str, Any] | Callable[[dict[str, dict[str, int]]], dict[str, Any]]) -> dict[str, Any]:
        """Close the files, give them their names, write the card and the manifest, return the manifest.

        Args:
            about: what else the manifest says (title, guard, made_from, …; a licence that was asked for), or a function that makes it of the
                manifest's `counts`; it must be the same for the same data. Of a version extended: ``extends`` with ``left_out`` and ``moved``.

        Raises:
            InputError: there is no row at all.
        """
        for split in list(self._open):
            self._close(split)
        self._worker.stop()
        if not self._parts:
            raise InputError("no rows to write: the shards would be empty", hint="see the rejects of the steps before")
        files, taken = {}, {}
        for split, parts in sorted(self._parts.items()):
            for i, part in enumerate(parts):
                final = part.path.with_name(f"{split}-{i:05d}-of-{len(parts):05d}.parquet")
                part.path.rename(final)
                files[f"data/{final.name}"] = {**vars(part.written), "split": split}
                if part.old is not None:
                    taken[f"data/{final.name}"] = part.old
        counts, table = self._counted.counts(), load_licences()
        manifest = {
            "title": "guardkit shards",
            "licence": licence_section(counts["licence"], None, table),
            "models": models_section(counts, table),
            **(about(counts) if callable(about) else about),
            "format": FORMAT,
            "made_by": "guardkit",
            "rows": sum(part.written.rows for parts in self._parts.values() for part in parts),
            "columns": [{"name": f.name, "type": str(f.type), "nullable": f.nullable} for f in self._schema],
            "files": files,
            "counts": counts,
            "tables": self._counted.tables(),
        }
        if self._old is not None:
            old = {"manifest": self._old.manifest, "manifest_sha256": self._old.sha256, "files": taken}
            manifest["extends"] = {**manifest.get("extends", {}), **old}
        text = card(manifest)
        write_atomic(self._folder / CARD, text)
        manifest = sealed(with_card(manifest, text))
        write_atomic(self._folder / MANIFEST, text_of(manifest))
        return manifest

    def discard(self) -> None:
        """Give up: end the thread and remove what was written, and the folder where nothing else is in it. Raises nothing."""
        self._worker.stop()
        for file in self._open.values():
            file.stop()
        with suppress(OSError):
            for part in (self._folder / "data").iterdir():
                if part.name.endswith(".parquet"):
                    part.unlink()
            for name in (CARD, MANIFEST):
                (self._folder / name).unlink(missing_ok=True)
            (self._folder / "data").rmdir()
            self._folder.rmdir()
