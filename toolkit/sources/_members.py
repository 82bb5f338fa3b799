"""Rows that are files themselves: those of a folder, or of a zip or tar archive (`format: files` of a source).

Each file is a row with the columns `COLUMNS`: ``file`` is the file itself, the others are texts of its place. Files are taken in the order of their
names in a folder, and in that of the archive, which is read from front to back once; nothing is unpacked. Hidden files are left out, and so are
those whose names the source's patterns do not match; without patterns those with a suffix of no image, video or sound.

Memory: `BLOCK_BYTES` of members and 8 MiB; what is larger waits in a temporary file.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from toolkit.common.errors import InputError
from toolkit.common.files import digest
from toolkit.common.mediatypes import BadMedia, has_suffix
from toolkit.common.paths import below_fault
from toolkit.common.reading import Files
from toolkit.common.sizes import BLOCK_BYTES
from toolkit.sources._faults import Fault

COLUMNS = ("file", "path", "folder", "top", "stem")
"""The file; its place below the folder or in the archive; the folder that it is in, by its own name; the first folder of its place; its name
without the suffix. `folder` and `top` are empty for a file that is in none."""

_IN_MEMORY = 8 << 20
Row = dict[str, Any]


@dataclass
class Member:
    """A file of an archive, whose bytes are at hand; or why it cannot be had."""

    name: str
    data: IO[bytes] | None = None
    fault: BadMedia | None = field(default=None)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, from their beginning (BadMedia: they cannot be had)."""
        if self.fault is not None or self.data is None:
            raise self.fault or BadMedia("media_unreadable", "its bytes are not at hand any more")
        self.data.seek(0)
        yield self.data

    def __repr__(self) -> str:
        return self.name


@contextmanager
def spooled(file: IO[bytes], name: str, most: int | None) -> Iterator[IO[bytes]]:
    """A copy of a stream that can be sought in, of `most` bytes and one more; None: of its first 64.

    Raises:
        BadMedia: the stream cannot be read.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as data:
        _copy(file, data, most)
        yield data


def _copy(file: IO[bytes], out: IO[bytes], most: int | None) -> int:
    left = 64 if most is None else most + 1
    size = 0
    while left > 0:
        try:
            chunk = file.read(min(left, 1 << 20))
        except Exception as e:  # noqa: BLE001  a decompressor meets data of strangers; what fails in writing is no fault of theirs
            raise BadMedia("media_unreadable", f"cannot be read from its archive: {str(e)[:100]}") from None
        if not chunk:
            break
        out.write(chunk)
        size += len(chunk)
        left -= len(chunk)
    out.seek(0)
    return size


def member_blocks(
    path: Path, patterns: Sequence[str], block_rows: int, held: Files | None = None, *, most: int | None = None
) -> Iterator[list[Row | Fault]]:
    """The files of a folder or archive as rows.

    Args:
        path: the folder or archive.
        patterns: of names; none: whatever has the suffix of an image, a video or a sound.
        block_rows: most rows a block.
        held: files of a step: what is read must be what the plan has digested.
        most: bytes of a member that are read at most; None: the first 64 of each, for a look.

    Raises:
        InputError: it is neither, or damaged.
    """
    if path.is_dir():
        names = folder_names(path, patterns)
        for at in range(0, len(names), block_rows):
            yield [_row(name, name) for name in names[at : at + block_rows]]
        return
    block: list[Row | Fault] = []
    size = 0
    with path.open("rb") as f, (held or Files()).reading(f.fileno(), path):
        for name, file in _members(f, path, patterns):
            data, fault, n = tempfile.SpooledTemporaryFile(_IN_MEMORY), None, 0  # noqa: SIM115  closed when its row is gone
            try:
                if file is None:
                    raise BadMedia("media_unreadable", "is a link in its archive, or has a password")
                n = _copy(file, data, most)
            except BadMedia as e:
                fault = e
            if below_fault(name) is not None:
                fault = BadMedia("media_outside", below_fault(name) or "")
            if fault is not None:
                data.close()  # else what was read of it would wait with the block, uncounted
                n = 0
            block.append(_row(name, Member(name, data, fault)))
            size += n
            if len(block) >= block_rows or size >= BLOCK_BYTES:
                yield block
                block, size = [], 0
    if block:
        yield block


def _row(name: str, file: Any) -> Row:
    folders, _, last = name.rpartition("/")
    return {
        "file": file,
        "path": name,
        "folder": folders.rpartition("/")[2],
        "top": folders.partition("/")[0],
        "stem": last.rpartition(".")[0] or last,
    }


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    parts = name.split("/")
    if any(part.startswith(".") and part != ".." for part in parts) or parts[0] == "__MACOSX":
        return False
    return any(fnmatchcase(parts[-1], p) or fnmatchcase(name, p) for p in patterns) if patterns else has_suffix(name)


def _members(f: IO[bytes], path: Path, patterns: Sequence[str]) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Names and streams of an archive's files; None for one that cannot be opened."""
    at = "its beginning"
    try:
        if zipfile.is_zipfile(f):
            with zipfile.ZipFile(f) as archive:
                for info in archive.infolist():
                    at = info.filename
                    if info.is_dir() or not _wanted(at, patterns):
                        continue
                    if info.flag_bits & 1:
                        yield at, None
                        continue
                    try:
                        member = archive.open(info)
                    except (zipfile.BadZipFile, NotImplementedError):
                        yield at, None
                        continue
                    with member:
                        yield at, member
            return
        f.seek(0)
        with tarfile.open(fileobj=f, mode="r|*") as tar:
            for one in tar:
                at = one.name.removeprefix("./")
                if not one.isdir() and _wanted(at, patterns):
                    yield at, tar.extractfile(one) if one.isreg() else None
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as e:
        hint = "format: files reads a folder, a zip or a tar archive (.tar, .tar.gz, .tar.xz, .tar.bz2)"
        raise InputError(f"cannot be read as an archive after {at}: {str(e)[:200]}", where=str(path), hint=hint) from None


def folder_names(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Names of a folder's files, relative to it and sorted; links to folders are not followed."""
    out: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(folder).as_posix()
        if below.partition("/")[0] == "__MACOSX":
            folders.clear()
            continue
        before = "" if below == "." else f"{below}/"
        if patterns:
            out += [name for file in files if _wanted(name := f"{before}{file}", patterns)]
        else:
            out += [f"{before}{file}" for file in files if file[:1] != "." and has_suffix(file)]
    return sorted(out)


def count_members(path: Path, patterns: Sequence[str]) -> int:
    """Rows that a folder or archive has."""
    if path.is_dir():
        return len(folder_names(path, patterns))
    with path.open("rb") as f:
        return sum(1 for _ in _members(f, path, patterns))


def listing_digest(folder: Path, patterns: Sequence[str]) -> str:
    """Digest of the names and sizes of a folder's files: what they hold counts when they are read, by their sha256."""
    return digest([[name, os.lstat(f"{folder}/{name}").st_size] for name in folder_names(folder, patterns)])


def source_digest(path: Path, patterns: Sequence[str], files: Files) -> str:
    """Digest of a file that a source is read from, or, of a folder whose files are the rows, of its listing."""
    if not path.is_dir():
        return files.digest(path)

    def listing(folder: Path) -> str:
        return listing_digest(folder, patterns)

    return files.digest(path, listing, lambda folder: [f"{folder}/{name}" for name in folder_names(folder, patterns)])
