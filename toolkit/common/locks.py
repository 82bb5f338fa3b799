"""One writer at a time: a lock file held by ``flock``, which the kernel drops when its process ends, kill -9 included.

A second taker is refused at once, with the process that holds the lock. The file says whose it is (``guardkit <process>``), so that it also marks a
folder as guardkit's. It stays behind after `release`; whoever takes it away (`remove`) does so while it is held, and a taker who meets it then looks
again. No link is followed, and no file is written over that is not such a lock.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from toolkit.common.errors import InputError
from toolkit.common.files import hold

_MOST = 64
_WORD = b"guardkit "
_OWN = re.compile(rb"(guardkit )?[0-9]{0,20}\s*")
"""What a lock file holds; without the word in one of an earlier version."""


class Busy(InputError):  # noqa: N818 (named by what happened)
    """Another process holds the lock (exit code 2)."""


class Lock:
    """An exclusive lock on `path`, taken on construction.

    Args:
        path: of the lock file.
        what: it locks, for the message of a refusal.
        hint: what a second taker is to do.

    Raises:
        Busy: another writer holds it; the message names its process.
        InputError: a link, or a file of somebody else's, has the name.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, what: str, hint: str = "wait until it ends") -> None:
        self.path = path
        self._fd: int | None = hold(path)
        if self._fd is None:
            holder = _holder(path)
            own = " (this one)" if holder == str(os.getpid()) else ""
            raise Busy(f"{what} is in use by process {holder}{own}", where=str(path.parent), hint=hint)
        if not (_OWN.fullmatch(text := os.pread(self._fd, _MOST, 0)) or _WORD.startswith(text)):  # a kill may have cut it
            self.release()
            raise InputError("a file that guardkit did not write has the name of its lock", where=str(path), hint="move it elsewhere")
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, _WORD + b"%d" % os.getpid(), 0)
        except BaseException:  # a full disk: nobody else need wait for us
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back; harmless when called twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def remove(self) -> None:
        """Take the file away and give the lock back."""
        if self._fd is not None:
            with suppress(OSError):
                self.path.unlink()
            self.release()


def is_lock(path: Path) -> bool:
    """Whether a file is a lock of this guardkit's: a regular file that says so."""
    return path.is_file() and not path.is_symlink() and _content(path).startswith(_WORD) and _OWN.fullmatch(_content(path)) is not None


def holder_of(path: Path) -> str | None:
    """The number of the process that holds a lock ("unknown": the file does not say); None where nobody does, or where there is no lock. Nothing is
    taken, and a file of any other kind is not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path)
    except OSError:  # a disk that knows no locks
        return None
    finally:
        os.close(fd)
    return None


def is_alive(pid: object) -> bool:
    """Whether this is the number of a process of this machine, whoever's it is."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _holder(path: Path) -> str:
    return _content(path).rpartition(b" ")[2].decode("ascii", "replace").strip() or "unknown"


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as f:
            return f.read(_MOST)
    except OSError:
        return b""
