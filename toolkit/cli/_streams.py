"""stdin, stdout and stderr of a command, whoever is at their other ends, or nobody.

What nobody reads goes nowhere: a closed pipe ends no work and changes no exit code, on stdout (``guardkit … | head -1``) as on stderr. A stream
that was closed before the command began is opened on the null device, so that no file of ours ever gets its number and is written to by a
library that prints. A full disk under stdout is an error, since what was asked for is then not there; under stderr it is none. Letters that
the stream's encoding lacks are written as escapes. Warnings and log records of libraries are shown plain, like all text.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from typing import Any

from toolkit.common.text import plain


class _Stream(io.TextIOWrapper):
    """A text stream on a descriptor, where nobody need read: see `needed`."""

    def __init__(self, fd: int, encoding: str, *, needed: bool) -> None:
        raw = io.FileIO(fd, "w", closefd=False)
        super().__init__(io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=not needed or raw.isatty())
        self._lost: type[OSError] = BrokenPipeError if needed else OSError

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except self._lost:
            to_nowhere(self.fileno())
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except self._lost:
            to_nowhere(self.fileno())


def to_nowhere(fd: int) -> None:
    """From now on what is written to a descriptor is thrown away, with what waits to be written."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)


def open_streams() -> None:
    """Make the three streams what this module says. A stream that somebody else has put in place (a test, a notebook) stays."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  for as long as we run
    for name, fd in (("stdout", 1), ("stderr", 2)):
        now = getattr(sys, name)
        if now is None or now is getattr(sys, f"__{name}__"):
            if now is not None:
                now.flush()
            setattr(sys, name, _Stream(fd, now.encoding if now is not None else "utf-8", needed=fd == 1))
    if logging.getLogRecordFactory() is logging.LogRecord:
        logging.setLogRecordFactory(_Record)
        warnings.formatwarning = _warning


class _Record(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802 (logging's name)
        return plain(super().getMessage())


_as_it_was = warnings.formatwarning


def _warning(*args: Any, **more: Any) -> str:
    return plain(_as_it_was(*args, **more))
