"""Progress of a run on stderr: a bar on a terminal, plain lines elsewhere, nothing when silent. stdout is never written to.

On a terminal a bar shows the step at hand with count, rate and remaining time, and each finished step leaves a line. Elsewhere (a file, a
pipe, CI) a finished step is one plain line, and one that takes long gives a sign of life every `EVERY` seconds.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from toolkit.common.text import one_line

EVERY = 30.0
"""Seconds between two lines about the same step where there is no terminal."""

_REDRAW = 0.1


class Progress:
    """Shows one step at a time; a context manager.

    Args:
        stream: default stderr.
        quiet: show nothing.
        every: seconds between two lines about the same step where there is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False, every: float = EVERY) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live = not quiet and self._stream.isatty()
        self._every = every
        self._bar: Any = None
        self._task: Any = None
        self._name = ""
        self._began = self._shown = time.monotonic()

    @classmethod
    def silent(cls) -> Progress:
        """Shows nothing."""
        return cls(quiet=True)

    def __enter__(self) -> Progress:
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bar = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(file=self._stream, emoji=False),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None

    def start(self, name: str) -> None:
        """A step begins."""
        self._name = one_line(name)
        self._began = self._shown = time.monotonic()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(self._name, total=None, rate="")

    def update(self, done: int, total: int | None, words: str) -> None:
        """`done` of `total` things, called as often as one likes."""
        if self._quiet:
            return
        now = time.monotonic()
        if now - self._shown < (_REDRAW if self._live else self._every) and not (self._live and done == total):
            return
        self._shown = now
        seconds = now - self._began
        rate = f"{_rate(done, seconds)} {one_line(words)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, rate=rate)
        elif not self._live:
            of, left = "", ""
            if total:
                of = f" of {total:,}"
                left = f", {_time(seconds / done * (total - done))} left" if 0 < done < total else ""
            self._line(f"{self._name}: {done:,}{of}, {rate}{left}")

    def note(self, words: str) -> None:
        """A line about the step before it is done."""
        self.finish(words)

    def finish(self, words: str) -> None:
        """The step is done."""
        if not self._quiet:
            self._line(f"{self._name}: {one_line(words)}")

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()


def _rate(done: int, seconds: float) -> str:
    rate = done / max(seconds, 1e-6)
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2f}/s"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
