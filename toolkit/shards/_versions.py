"""Versions: shards that extend others, without making those again.

The files of the version extended are in the new folder as they are, as hard links where the file system has them, else as copies; they come first in
each split. Nothing is ever written into them. The new manifest holds the one of the version extended word for word under ``extends``, so that a
folder tells on its own which of its rows came with which version, and proves it: each file of the old manifest is there with its sha256.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import FULL, InputError
from toolkit.common.manifests import SEAL, sealed
from toolkit.common.manifests import read_manifest as read_sealed
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.reading import sha256_once
from toolkit.shards._manifest import AGAIN, MANIFEST, read_manifest

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

BATCH = 8192
"""Rows of a file that are read at a time."""

MOST_VERSIONS = 20
"""Versions that may follow each other: a manifest has those of all before it, one in the other."""


@dataclass(frozen=True)
class OldVersion:
    """A version that is to be extended: its folder, its manifest as the file has it, and the sha256 of that file."""

    folder: Path
    manifest: dict[str, Any]
    sha256: str

    @property
    def title(self) -> str:
        """Its name."""
        return title_of(self.manifest)

    @property
    def schema(self) -> pa.Schema:
        """The columns of its files.

        Raises:
            InputError: the first of them is not what the manifest says.
        """
        import pyarrow as pa

        name = ordered(self.manifest["files"])[0]
        with open_parquet(self.folder / name, sha256=self.manifest["files"][name]["sha256"]) as f:
            return pa.schema([pa.field(c.name, c.type, c.nullable) for c in f.schema_arrow])


def old_version(folder: Path) -> OldVersion:
    """The shards in a folder, to be extended; their files are not looked at.

    Raises:
        InputError: no shards, of format 1, or the last of too many versions.
    """
    if read_manifest(folder)["format"] == 1:
        raise InputError("shards of format 1 cannot be extended", where=str(folder), hint=AGAIN)
    manifest = read_sealed(folder / MANIFEST)
    if sum(1 for _ in versions(manifest)) >= MOST_VERSIONS:
        hint = "write all rows into one set once, without `extends`"
        raise InputError(f"it is version {MOST_VERSIONS}, the last that may extend another one", where=str(folder), hint=hint)
    sha256 = hashlib.sha256(text_of(manifest).encode()).hexdigest()
    if sha256 != sha256_once(folder / MANIFEST, folder / MANIFEST):
        raise InputError("its manifest is not as guardkit writes it", where=str(folder / MANIFEST), hint=AGAIN)
    return OldVersion(folder, manifest, sha256)


def shard_rows(folder: Path, manifest: Mapping[str, Any], columns: Sequence[str] | None = None, split: str | None = None) -> Iterator[pl.DataFrame]:
    """The rows of shards, of one split or of all, in order, a block at a time (InputError: they are not what the manifest says)."""
    import polars as pl

    files = manifest["files"]
    for name in ordered(files):
        if split in (None, files[name]["split"]):
            with open_parquet(folder / name, sha256=files[name]["sha256"]) as f:
                for batch in batches(f, folder / name, BATCH, columns):
                    yield pl.DataFrame(pl.from_arrow(batch))


def text_of(manifest: Mapping[str, Any]) -> str:
    """The text of a manifest's file."""
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def title_of(manifest: Mapping[str, Any]) -> str:
    """The name of a version."""
    return str(manifest.get("title") or "guardkit shards")


def versions(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The manifests of a set and of the versions before it, the newest first."""
    now: Mapping[str, Any] | None = manifest
    while now is not None:
        yield now
        now = now["extends"]["manifest"] if now.get("extends") else None


def added_rows(manifest: Mapping[str, Any]) -> int:
    """The rows that came with this version."""
    before = manifest["extends"]["manifest"]["rows"] if manifest.get("extends") else 0
    return int(manifest["rows"]) - int(before)


def left_out(manifest: Mapping[str, Any]) -> int:
    """Rows that were not added, as they clash with the version extended."""
    return sum((manifest.get("extends") or {}).get("left_out", {}).values())


def ordered(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of files, split by split, in the order of their parts."""
    return sorted(files, key=lambda name: (files[name]["split"], len(name), name))


def take_file(old: Path, new: Path, sha256: str) -> None:
    """Have the file `old` as `new`, too: as a hard link, or a copy where the file system has no such link.

    Raises:
        InputError: its bytes have another sha256; OSError: the disk is full.
    """
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as e:
        if e.errno in FULL:
            raise
        shutil.copyfile(old, new)
    if sha256_once(new, old) != sha256:
        raise InputError("its bytes are not those of its manifest (sha256)", where=str(old), hint=AGAIN)


def false_extension(manifest: Mapping[str, Any]) -> list[str]:
    """What a manifest says of the version that it extends, and the rest of it contradicts; of that one's own, too."""
    if not (extends := manifest.get("extends")):
        return []
    old, files = extends["manifest"], extends["files"]
    named = f"the version extended, {title_of(old)[:60]!r}"
    out = []
    if old.get(SEAL) != sealed(old)[SEAL] or hashlib.sha256(text_of(old).encode()).hexdigest() != extends["manifest_sha256"]:
        out.append(f"extends: the manifest of {named} is not the one with this sha256")
    if old["columns"] != manifest["columns"] or old.get("kind") != manifest.get("kind"):
        out.append(f"extends: {named} has other columns, or is of another kind")
    if sorted(files.values()) != sorted(old["files"]):
        out.append(f"extends: its files are not those of {named}")
    for split in sorted({about["split"] for about in old["files"].values()}):
        here, theirs = ([n for n in ordered(m["files"]) if m["files"][n]["split"] == split] for m in (manifest, old))
        for name, wanted in zip(here, theirs, strict=False):
            if files.get(name) != wanted or manifest["files"][name] != old["files"][wanted]:
                out.append(f"extends: {name} is not {wanted} of {named}")
        if len(here) < len(theirs):
            out.append(f"extends: files of {named} are missing in the split {split!r}")
    return out + [f"{named}: {fault}" for fault in false_extension(old)]


def of_old(manifest: Mapping[str, Any], name: str) -> str:
    """For a message on a file: whose it is, where it came with a version before; else nothing."""
    extends = manifest.get("extends")
    if not extends or name not in extends["files"]:
        return ""
    old, known = extends["manifest"], extends["files"][name]
    return of_old(old, known) or f"; it is {known} of the version extended, {title_of(old)[:60]!r} (manifest {extends['manifest_sha256'][:16]}…)"
