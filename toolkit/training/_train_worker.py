"""A process of a training that several do together; see `toolkit.training._train_processes`, which starts it, for what it is sent and what it leaves.

It ends when the process that started it is gone, however that went: none goes on for nobody.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.training._training_report import Watch

Job = Callable[["Watch"], dict[str, Any]]
"""What each process does, sent by pickle: given what reports, it gives the metrics."""

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from toolkit.training._train_worker import main; main(sys.argv[2])"
"""What Python is given to run, with the ``sys.path`` of the process that starts it; until then no path but its own is looked at (``-P``)."""

PARENT = "GUARDKIT_TRAINING_PARENT"
"""Environment variable with the number of the process that started it; only workers have it."""


class Events:
    """What the first process reports, a line of JSON each: ``[kind, *values]``."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "events").open("a", encoding="utf-8", buffering=1)

    def tell(self, kind: str, *values: Any) -> None:
        """Report."""
        self._file.write(json.dumps([kind, *values]) + "\n")


class _Logged(logging.Handler):
    """Reports what is logged."""

    def __init__(self, events: Events) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        self._events.tell("log", record.name, record.levelno, record.getMessage())


def main(folder: str) -> None:
    """Do the job in a folder, as the process that the environment says (``RANK``)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: who started it ends it
    threading.Thread(target=_end_with, args=(int(os.environ[PARENT]),), daemon=True).start()
    place, rank = Path(folder), int(os.environ["RANK"])
    try:
        events = Events(place) if rank == 0 else None
        if events is not None:
            logging.root.addHandler(_Logged(events))
        metrics = _done(pickle.loads((place / "job").read_bytes()), events)  # noqa: S301  of the process that started this one
        if events is not None:
            events.tell("done", metrics)
    except BaseException as e:  # noqa: BLE001  it is raised again by the process that started this one
        traceback.print_exc()
        (place / f"error-{rank}").write_bytes(pickle.dumps((time.time_ns(), *_sendable(e))))
        sys.stderr.flush()
        os._exit(1)  # at once, whatever waits for the others


def _done(job: Job, events: Events | None) -> dict[str, Any]:
    """Do a job, and leave the group of processes."""
    import torch.distributed

    from toolkit.training._training_report import Watch

    if events is None:
        watch = Watch(None)
    else:
        watch = Watch(lambda *done: events.tell("progress", *done), lambda settings: events.tell("begin", dict(settings)))
    metrics = job(watch)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return metrics


def _sendable(error: BaseException) -> tuple[BaseException, str]:
    """An error and where it was raised; one that cannot be pickled by its words."""
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001  whatever a library's error holds
        return RuntimeError(f"{type(error).__name__}: {error}"), trace
    return error, trace


def _end_with(parent: int) -> None:
    """End, and with this process those that it started, when `parent` is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)
