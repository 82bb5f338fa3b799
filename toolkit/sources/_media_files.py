"""Media of rows that come as files: what a source says of them, and their references.

A column may hold the file's name (relative to the folder of the rows' own file), its bytes, the ``{bytes, path}`` of the ``datasets`` library, a
member of an archive, or a list of these. Each file is opened, read to its end and measured (`toolkit.common.mediafiles`); one that has a fault costs
its row, with the reason. A file that has a place below the dataset's folder stays there. Bytes and members are put there under their sha256,
``<place>/<first two digits>/<sha256>.<suffix>``, each once, whole or not at all.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.errors import InputError
from toolkit.common.in_threads import THREADS
from toolkit.common.mediafiles import MOST_PIXELS, Limits, Measured, keep_file, measure, open_media
from toolkit.common.mediatypes import BadMedia, type_of
from toolkit.common.paths import below_fault
from toolkit.records import MOST, Media, media_of
from toolkit.sources._faults import RowError
from toolkit.sources._members import Member, spooled

_TOGETHER = 16
"""Files that a thread measures before it says what it found."""
Kind = Literal["image", "video", "audio"]


class MediaFiles(BaseModel):
    """Files that a column names or holds (`columns.media` of a source)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    kind: Kind = "image"
    archive: str | None = None
    """The names are those of members of this zip or tar archive, which is beside the rows' file."""
    decode: bool = True
    """Decode each file (extra ``media``): finds those that end too early, animated images and decompression bombs, and measures pixels, frames and
    seconds. Without, sha256, size and type alone are known."""
    misnamed: bool = False
    """Take files whose name says another type than their bytes."""
    most_bytes: int | None = Field(None, ge=1)
    """Bytes of a file at most; null: 64 MiB for an image, 512 MiB for a sound, 4 GiB for a video."""
    most_pixels: int = Field(MOST_PIXELS, ge=1, le=MOST_PIXELS)
    """Pixels of an image, or of a video's frame, at most."""


@dataclass
class MediaReader:
    """Makes references of what rows hold.

    Attributes:
        folder: the dataset's.
        below: the place below it that bytes and members are put in, ``set/`` say; empty for the folder itself.
        beside: folder of the rows' file; None where there is none.
        look: only see whether the files are there and of their kind; nothing is measured or written.
    """

    folder: Path
    below: str = ""
    beside: Path | None = None
    look: bool = False
    _archives: dict[str, Any] = field(init=False, default_factory=dict)
    _stack: ExitStack = field(init=False, default_factory=ExitStack)
    _within: str | None = field(init=False, default=None)
    _pool: ThreadPoolExecutor | None = field(init=False, default=None)
    _ahead: dict[tuple[int, str], tuple[Future[list[Measured | BadMedia]], int]] = field(init=False, default_factory=dict)

    def close(self) -> None:
        """Close the archives, end the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._ahead.clear()
        self._stack.close()
        self._archives.clear()

    def read_ahead(self, rows: Iterable[dict[str, Any]], specs: Sequence[MediaFiles]) -> None:
        """Begin to measure, in threads, the files that rows name by their place; `references` then takes what was found."""
        if self.look or THREADS < 2:
            return
        named = [spec for spec in specs if spec.archive is None]
        names = {(id(spec), one): spec for row in rows for spec in named for one in _values(row.get(spec.column)) if isinstance(one, str)}
        wanted = [(key, spec) for key, spec in names.items() if key not in self._ahead and below_fault(key[1]) is None]
        for at in range(0, len(wanted), _TOGETHER):
            part = wanted[at : at + _TOGETHER]
            self._pool = self._pool or ThreadPoolExecutor(THREADS, "guardkit-media")
            future = self._pool.submit(self._some, self._place_of_rows(), [(name, spec) for (_, name), spec in part])
            self._ahead |= {key: (future, n) for n, (key, _) in enumerate(part)}

    def forget(self) -> None:
        """Let go of what `read_ahead` has found."""
        self._ahead.clear()

    def _some(self, place: str, files: list[tuple[str, MediaFiles]]) -> list[Measured | BadMedia]:
        out: list[Measured | BadMedia] = []
        for name, spec in files:
            try:
                out.append(self._placed(f"{place}{name}", name, spec))
            except BadMedia as e:
                out.append(BadMedia(e.reason, e.detail))  # without the frames that hold the file's bytes
        return out

    def references(self, row: dict[str, Any], specs: Sequence[MediaFiles]) -> tuple[Media, ...]:
        """The references of a row, in the order of the columns.

        Raises:
            RowError: a file has a fault, with a reason of `toolkit.common.mediatypes.REASONS`; ``missing_key``; ``bad_media``.
        """
        out: list[Media] = []
        for spec in specs:
            if spec.column not in row:
                continue
            for one in _values(row[spec.column]):
                try:
                    out.append(self._reference(one, spec))
                except BadMedia as e:
                    raise RowError(e.reason, f"{spec.column}: {_name_of(one)}{e.detail}") from None
        if len(out) > MOST:
            raise RowError("bad_media", f"{len(out):,} files, and a row may have {MOST}")
        return tuple(out)

    def _reference(self, value: Any, spec: MediaFiles) -> Media:
        if isinstance(value, Member):
            with value.open() as data:
                return self._kept(data, value.name, spec)
        name = value
        if isinstance(value, dict):
            name, value = value.get("path"), value.get("bytes")
            value = name if value is None else value
        if isinstance(value, bytes | bytearray | memoryview):
            return self._kept(io.BytesIO(value), name if isinstance(name, str) else "", spec)
        if not isinstance(value, str):
            raise BadMedia("media_type", f"no name of a file and no bytes but {type(value).__name__}")
        if (fault := below_fault(value)) is not None:
            raise BadMedia("media_outside", fault)
        if spec.archive is not None:
            return self._member(spec.archive, value, spec)
        return self._there(value, spec)

    def _there(self, name: str, spec: MediaFiles) -> Media:
        """A file that has its place."""
        uri = f"{self._place_of_rows()}{name}"
        future, n = self._ahead.get((id(spec), name), (None, 0))
        found = self._placed(uri, name, spec) if future is None else future.result()[n]
        if isinstance(found, BadMedia):
            raise found
        return _media(spec, uri, found)

    def _placed(self, uri: str, name: str, spec: MediaFiles) -> Measured:
        with open_media(self.folder, uri) as file:
            return self._measured(file, name, spec)

    def _place_of_rows(self) -> str:
        """The folder of the rows' file below the dataset's, with its last /."""
        if self._within is None:
            if self.beside is None:
                raise BadMedia("media_missing", "a name, and no folder that it is relative to")
            try:
                place = self.beside.resolve().relative_to(self.folder.resolve()).as_posix()
            except ValueError:
                hint = "names of files are relative to the file of the rows, which must be in it: `media: FOLDER` of the recipe says where it is"
                raise InputError(f"the rows are not in the dataset's folder, {self.folder}", where=str(self.beside), hint=hint) from None
            self._within = "" if place == "." else f"{place}/"
        return self._within

    def _member(self, archive: str, name: str, spec: MediaFiles) -> Media:
        held = self._opened(archive)
        try:
            if isinstance(held, zipfile.ZipFile):
                file: IO[bytes] | None = held.open(name)
            else:
                file = held[0].extractfile(held[1][name])
        except KeyError:
            raise BadMedia("media_missing", f"is not in {archive}") from None
        except (OSError, RuntimeError, NotImplementedError, tarfile.TarError, zipfile.BadZipFile) as e:  # RuntimeError: it has a password
            raise BadMedia("media_unreadable", f"cannot be read from {archive}: {str(e)[:100]}") from None
        if file is None:
            raise BadMedia("media_unreadable", f"is no file in {archive}")
        with file, spooled(file, name, None if self.look else spec.most_bytes or Limits().bytes_of(spec.kind)) as data:
            return self._kept(data, name, spec)

    def _opened(self, archive: str) -> Any:
        """A zip file, or a tar file with its members by name."""
        if archive not in self._archives:
            path = (self.beside or self.folder) / archive
            if not path.is_file():
                raise InputError("no such archive", where=str(path), hint="it must be beside the file of the rows")
            try:
                if zipfile.is_zipfile(path):
                    self._archives[archive] = self._stack.enter_context(zipfile.ZipFile(path))
                else:
                    tar = self._stack.enter_context(tarfile.open(path, "r:"))  # noqa: SIM115  closed by `close`
                    self._archives[archive] = (tar, {m.name.removeprefix("./"): m for m in tar if m.isreg()})
            except (OSError, tarfile.TarError, zipfile.BadZipFile) as e:
                hint = "names in a table need a zip or an uncompressed tar: a compressed tar can only be read from front to back (format: files)"
                raise InputError(f"cannot be read as an archive: {str(e)[:200]}", where=str(path), hint=hint) from None
        return self._archives[archive]

    def _kept(self, data: IO[bytes], name: str, spec: MediaFiles) -> Media:
        """A file that is put into its place."""
        found = self._measured(data, name, spec)
        data.seek(0)
        uri = "" if self.look else keep_file(self.folder, self.below, data, found.sha256, found.mime, found.size)
        return _media(spec, uri, found)

    def _measured(self, file: IO[bytes], name: str, spec: MediaFiles) -> Measured:
        if self.look:
            return Measured("0" * 64, type_of(file.read(64), spec.kind, name, misnamed=spec.misnamed), 0)
        limits = Limits(spec.most_bytes, spec.most_pixels)
        return measure(file, spec.kind, name, limits, decode=spec.decode, misnamed=spec.misnamed)


def archives_of(path: Path, specs: Sequence[MediaFiles]) -> list[Path]:
    """Archives beside a file of rows whose members these name."""
    return [path.parent / name for name in dict.fromkeys(spec.archive for spec in specs if spec.archive)]


def row_media(row: dict[str, Any], column: str | list[MediaFiles], files: MediaReader | None) -> tuple[Media, ...]:
    """The references of a row.

    Args:
        row: of a source.
        column: that holds references, or says which files there are.
        files: reads these.

    Raises:
        RowError: ``bad_media``: no references; as `MediaReader.references`.
        InputError: files, and nobody says which folder is theirs.
    """
    if not isinstance(column, str):
        if files is None:
            raise InputError("the rows come with files, and only a recipe's `load` reads these", hint='toolkit.apply("load", media=".", …)')
        return files.references(row, column)
    value = row.get(column)
    try:
        return media_of(None if isinstance(value, float) and value != value else value)
    except ValueError as e:
        raise RowError("bad_media", f"{column}: {e}") from None


def _media(spec: MediaFiles, uri: str, found: Measured) -> Media:
    return Media(spec.kind, uri, found.sha256, found.mime, found.size, found.width, found.height, found.frames, found.seconds)


def _values(value: Any) -> Iterator[Any]:
    """The files of a column's value."""
    for one in value if isinstance(value, list | tuple) else [value]:
        if one is not None and not (isinstance(one, float) and one != one):  # NaN is what pandas writes for nothing
            yield one


def _name_of(value: Any) -> str:
    name = value.get("path") if isinstance(value, dict) else value.name if isinstance(value, Member) else value
    return f"{name[:80]}: " if isinstance(name, str) and name else ""
