"""Files that are read, held to a digest: what is parsed is what was digested.

A file is opened once and digested through the descriptor that it is parsed through; its size and times (`Identity`) are the same before and after,
else it is an error. Two uses:

- a file of a finished step has the sha256 that its manifest states: it is digested before a byte of it is handed on, once a process as long as its
  identity stays (`sha256_once`);
- an outside file (`Files`) has the digest that it had when the plan was made. Where its identity is no longer the one that was digested, it is
  digested again on a second thread while it is parsed, and the verdict falls before its last rows are handed on. What a library opens by name (a
  model's folder) is looked at before and after.

An identity holds device, inode, size and both times (mtime, and ctime, which no program can set). A file that was written within `TICK` of being
digested is not remembered: clocks of file systems are coarse. Memory-mapped writes may leave the times
alone for a while: no digest is fooled by them, only the second look at a file that has been digested.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from toolkit.common.errors import InputError
from toolkit.common.files import digest

Kind = Literal["sha256", "pieces"]
"""How the bytes of a file are digested; `pieces`: sha256 over the sha256 of each `PIECE` and the size, which two threads can share."""
PIECE = 64 << 20
"""Bytes of a piece."""
SMALL = 1 << 20
"""Bytes up to which a file is digested at once, without a thread."""
TICK = 50_000_000
"""Nanoseconds within which a file system may give two writes one time."""
_AT_ONCE = 1 << 20
_LATER = "run it again once nothing writes to it"


class Identity(NamedTuple):
    """What tells, without reading a file, that it is the one of before."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def identity(file: int | str | Path) -> Identity:
    """The identity of an open file, or of the one at a path (OSError: there is none)."""
    s = os.stat(file)  # noqa: PTH116  takes descriptors, too
    return Identity(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)


def _settled(one: Identity, began: int) -> bool:
    """Whether a file had been left alone for so long (`began`: Unix time in ns) that a later write gives it another identity."""
    return began - max(one.changed, one.modified) > TICK


class _Ended(Exception):  # noqa: N818 (no error: nobody wants the digest any more)
    pass


def digest_open(fd: int, kind: Kind = "sha256", ended: threading.Event | None = None) -> str:
    """Digest (hex) of an open file; its position stays."""
    if kind == "sha256":
        return _sha256(fd, 0, None, ended)
    size = os.fstat(fd).st_size
    starts = range(0, size, PIECE)
    piece = partial(_sha256, fd, length=PIECE, ended=ended)
    if len(starts) < 2:
        return digest([size, *map(piece, starts)])
    with ThreadPoolExecutor(2) as pool:
        return digest([size, *pool.map(piece, starts)])


def _sha256(fd: int, start: int, length: int | None, ended: threading.Event | None) -> str:
    found, at = hashlib.sha256(), start
    end = None if length is None else start + length
    while data := os.pread(fd, _AT_ONCE if end is None else min(_AT_ONCE, end - at), at):
        if ended is not None and ended.is_set():
            raise _Ended
        found.update(data)
        at += len(data)
    return found.hexdigest()


def digest_path(path: Path, kind: Kind = "sha256") -> str:
    """Digest (hex) of the file at a path.

    Raises:
        InputError: it cannot be read, is no regular file, or changes meanwhile.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise unreadable(e, path) from None
    try:
        regular(fd, path)
        before = identity(fd)
        try:
            found = digest_open(fd, kind)
        except OSError as e:
            raise unreadable(e, path) from None
        if identity(fd) != before:
            raise InputError("has changed while it was read", where=str(path), hint=_LATER)
        return found
    finally:
        os.close(fd)


def unreadable(error: OSError, path: Path) -> InputError:
    """The error of a file that the system does not give."""
    return InputError(f"cannot be read: {error.strerror or error}", where=str(path))


def regular(file: int | Path, path: Path) -> None:
    """Refuse what is no regular file (InputError): a folder, or a pipe, which would be waited for."""
    try:
        mode = os.stat(file).st_mode  # noqa: PTH116  takes descriptors, too
    except OSError as e:
        raise unreadable(e, path) from None
    if not stat.S_ISREG(mode):
        raise InputError("is a folder, not a file" if stat.S_ISDIR(mode) else "is no regular file", where=str(path))


# Files of finished steps ------------------------------------------------------------------------------------------------

_known: dict[Identity, str] = {}


def sha256_once(file: int | Path, path: Path) -> str:
    """sha256 (hex) of a file, open or at a path, which is read once a process as long as its identity stays.

    Raises:
        InputError: it cannot be read, or changes meanwhile.
    """
    if isinstance(file, Path):
        regular(file, path)
    before, began = identity(file), time.time_ns()
    if (known := _known.get(before)) is not None:
        return known
    if isinstance(file, Path):
        found = digest_path(file)
    else:
        try:
            found = digest_open(file)
        except OSError as e:
            raise unreadable(e, path) from None
    if identity(file) != before:
        raise InputError("has changed while it was read", where=str(path), hint=_LATER)
    if _settled(before, began):
        if len(_known) > 100_000:
            _known.clear()
        _known[before] = found
    return found


def written(path: Path, sha256: str) -> None:
    """Note the sha256 of a file that this process has just written and closed: its bytes were digested as they were written."""
    _known[identity(path)] = sha256


@contextmanager
def unchanged(fd: int, path: Path) -> Iterator[None]:
    """A file that stays what it is while it is read (InputError at the end of the block: it has not)."""
    before = identity(fd)
    yield
    if identity(fd) != before:
        raise InputError("has changed while it was read", where=str(path), hint=_LATER)


# Outside files ----------------------------------------------------------------------------------------------------------


class Reading:
    """One reading of an open file. The digest is taken beside it, from the same descriptor, which stays open until `check` or `stop`.

    Args:
        fd: of the file.
        path: names it in messages.
        expected: the digest that it must have; None: it must only not change.
        kind: of the digest.
    """

    def __init__(self, fd: int, path: Path, expected: str | None = None, kind: Kind = "sha256") -> None:
        self._fd, self._path, self._expected, self._kind = fd, path, expected, kind
        self._before = identity(fd)
        self._ended = threading.Event()
        self._found: str | None = None
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None
        if expected is not None:
            if self._before.size <= SMALL:
                self._digest()
            else:
                self._thread = threading.Thread(target=self._digest, name="guardkit-digest", daemon=True)
                self._thread.start()

    def _digest(self) -> None:
        try:
            self._found = digest_open(self._fd, self._kind, self._ended)
        except OSError as e:
            self._error = e
        except _Ended:
            pass

    def check(self) -> None:
        """The verdict; to be asked before the last of the file counts.

        Raises:
            InputError: the file is not what it was expected to be, has changed meanwhile, or cannot be read.
        """
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise unreadable(self._error, self._path)
        if self._expected is not None and self._found != self._expected:
            raise InputError("has changed since the run was planned", where=str(self._path), hint=_LATER)
        if identity(self._fd) != self._before:
            raise InputError("has changed while it was read", where=str(self._path), hint=_LATER)

    def stop(self) -> None:
        """Give up, so that the descriptor can be closed. Raises nothing."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()


@dataclass
class _Note:
    digest: str
    make: Kind | Callable[[Path], str]
    paths: tuple[Path | str, ...]
    identity: tuple[Identity, ...]
    settled: bool
    """Whether the files had been left alone for longer than `TICK` when they were digested: only then does their identity stand for their bytes."""

    @property
    def kind(self) -> Kind | None:
        """Of the digest of a file; None for a folder's."""
        return None if callable(self.make) else self.make

    def same(self, path: Path) -> bool:
        """Whether it is as it was. New permissions or another link to a file (ctime alone) have it digested again."""
        now = _identities(self.paths)
        if now == self.identity:
            return True
        rewritten = [(a, b) for a, b in zip(now, self.identity, strict=True) if a[:4] != b[:4]]
        return not rewritten and _digest(path, self.make) == self.digest


class Files:
    """The outside files of a step: digested when the plan is made, and held to that when they are read.

    `digest` is for the plan. From `begin` to `end` the step is built: each file must have the digest of the plan as it is read (`reading`), and one
    that a library opens by name must not have been touched. A file that has no digest yet must only stay as it is while it is read, as long as
    nothing was planned (`begin`).
    """

    def __init__(self) -> None:
        self._notes: dict[Path, _Note] = {}
        self._planned = False
        self._read: dict[Path, Identity] = {}
        self._fault: InputError | None = None

    def digest(self, path: Path, make: Kind | Callable[[Path], str] = "sha256", parts: Callable[[Path], Sequence[Path | str]] | None = None) -> str:
        """Digest of a file, or of a folder; taken again only where something of it has been touched.

        Args:
            path: the file or folder.
            make: how; a function for what is more than a file.
            parts: the files that a folder's digest depends on.

        Raises:
            InputError: it cannot be read, or changes meanwhile; or what `make` raises.
        """
        key = path.absolute()
        paths: tuple[Path | str, ...] = tuple(parts(path)) if parts is not None else (path,)
        before, began = _identities(paths), time.time_ns()
        note = self._notes.get(key)
        if note is not None and note.identity == before:
            return note.digest
        found = _digest(path, make)
        if _identities(tuple(parts(path)) if parts is not None else (path,)) != before:
            raise InputError("has changed while it was read", where=str(path), hint=_LATER)
        self._notes[key] = _Note(found, make, paths, before, all(_settled(one, began) for one in before))
        return found

    def begin(self) -> None:
        """The step is to be built now: what is read from now on must be what is noted."""
        self._planned, self._fault = True, None
        self._read.clear()

    def end(self) -> None:
        """The step has been built.

        Raises:
            InputError: a file was not what the plan says when it was read, or was touched although nobody has read it to its end.
        """
        if self._fault is not None:
            raise self._fault
        for key, note in self._notes.items():
            if key not in self._read and not note.same(key):
                raise InputError("has changed since it was digested", where=str(key), hint=_LATER)

    @contextmanager
    def reading(self, fd: int, path: Path) -> Iterator[Reading]:
        """A reading of an open file, which is checked when the block ends; also where the reader stops early.

        Raises:
            InputError: the plan knows no such file; or as `Reading.check`.
        """
        key = path.absolute()
        note = self._notes.get(key)
        if note is None and self._planned:
            raise InputError("was not there when the run was planned", where=str(path), hint="run it again")
        now = identity(fd)
        again = self._read.get(key) == now or (note is not None and note.settled and note.identity == (now,))  # digested before, not touched since
        fd = os.dup(fd)  # whoever reads may close the file before the verdict
        reading = Reading(fd, path, None if again or note is None or note.kind is None else note.digest, (note and note.kind) or "sha256")
        try:
            yield reading
        except GeneratorExit:
            self._check(reading, key, fd)
            raise
        except BaseException:
            reading.stop()
            raise
        else:
            self._check(reading, key, fd)
        finally:
            os.close(fd)

    def _check(self, reading: Reading, key: Path, fd: int) -> None:
        try:
            reading.check()
        except InputError as e:
            self._fault = self._fault or e  # who has stopped early may not hear of it
            raise
        self._read[key] = identity(fd)


def _digest(path: Path, make: Kind | Callable[[Path], str]) -> str:
    return make(path) if callable(make) else digest_path(path, make)


def _identities(paths: Sequence[Path | str]) -> tuple[Identity, ...]:
    out = []
    for path in paths:
        try:
            out.append(identity(path))
        except OSError as e:
            raise unreadable(e, Path(path)) from None
    return tuple(out)
