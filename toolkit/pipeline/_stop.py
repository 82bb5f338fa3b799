"""Stopping early with all progress kept: interrupt, SIGTERM, SIGHUP, a disk that is full or fails become `Stopped` (exit code 3).

Nothing has to be saved at that moment: finished steps have their names, answers are in the journal, and what was being written is removed on the way
out. Signals are handled in the main thread only, where Python delivers them; a disposition that the user has set (``nohup``, say) stays.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from toolkit.common.errors import FAILS, FULL, GuardkitError, Stopped
from toolkit.common.interrupts import forget_interrupts, note_interrupt

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_FULL_WORDS = re.compile(r"No space left on device|Disk quota exceeded|File too large|\bos error (28|122|27)\b")
"""How libraries that do not hand on the error number say it: polars, safetensors, torch."""
_FAILS_WORDS = re.compile(r"Input/output error|Read-only file system|\bos error (5|30)\b")

_AGAIN = "run the same command again to go on: finished steps and answers are kept"


class _Signals:
    """Handlers while a run lasts. The first signal interrupts; while that is unwinding, others do not, up to the third."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._before: dict[int, object] = {}

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        if self._before:
            forget_interrupts()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.names.append(signal.Signals(number).name)
        note_interrupt(self.names[-1])
        # polars raises KeyboardInterrupt by itself before Python runs this handler: once is enough
        if len(self.names) < 3 and isinstance(sys.exc_info()[1], KeyboardInterrupt):
            return
        raise KeyboardInterrupt


@contextmanager
def stopping(again: str = _AGAIN) -> Iterator[None]:
    """Within the block an interrupt, a termination, a full disk or one that cannot be written is `Stopped`.

    Args:
        again: what running the same again does.

    Raises:
        Stopped: with what stopped it.
        RuntimeError: a library panicked (an exception that is no `Exception` would pass for an exit).
    """
    signals = _Signals()
    signals.install()
    try:
        yield
    except KeyboardInterrupt:
        by = f" by {signals.names[0]}" if signals.names and signals.names[0] != "SIGINT" else ""
        raise Stopped(f"interrupted{by}", hint=again) from None
    except GuardkitError:
        raise
    except Exception as e:
        if (what := _full(e)) is not None:
            raise Stopped(f"the disk is full ({what})", hint=f"make room, then {again}") from e
        if (failing := _failing(e)) is not None:
            raise Stopped(f"the disk cannot be written ({failing})", hint=f"see to it (dmesg says more), then {again}") from e
        raise
    except BaseException as e:
        if type(e).__name__ == "PanicException":
            raise RuntimeError(f"a library panicked: {e}") from e
        raise
    finally:
        signals.restore()


def _full(error: BaseException | None) -> str | None:
    """What says that the disk is full, in an exception or one that it came from."""
    while error is not None:
        if is_full(error) or _FULL_WORDS.search(str(error)):
            return str(error).splitlines()[0][:200]
        error = error.__cause__ or error.__context__
    return None


def _failing(error: BaseException | None) -> str | None:
    """What says that the disk fails: an I/O error, a file system that has become read-only."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in FAILS) or _FAILS_WORDS.search(str(error)):
            return str(error).splitlines()[0][:200]
        error = error.__cause__ or error.__context__
    return None


def is_full(error: BaseException) -> bool:
    """Whether an error's number says that there is no room: disk, quota, size of a file."""
    return isinstance(error, OSError) and error.errno in FULL
