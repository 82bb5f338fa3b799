"""A worker process of the engine `toolkit.pipeline._processes`: blocks of rows come in on its stdin, what became of them goes out on its stdout.

It knows nothing but what it is sent: a group of row steps, pickled, and after that pieces of blocks. It writes no file and ends when its stdin does,
so that none outlives the run. What an operator prints goes to stderr; what it warns of and logs is sent along and shown by the run, once. An error of
an operator is sent as it is. A message is its length in 8 bytes and a pickle; both ends are processes of one run, started by it.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import IO, Any

import polars as pl

from toolkit.common.errors import InputError
from toolkit.pipeline._row_steps import Block, RowWork, row_block
from toolkit.pipeline._step_output import Lines

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from toolkit.pipeline._worker import main; main()"
"""What Python is given to run, with the run's ``sys.path`` and the level of its logging; until then no path but its own is looked at (``-P``)."""

Warned = tuple[str, type[Warning], str, int]
"""Text, category, file and line."""


@dataclass
class Reply:
    """What became of a piece: a block, or an error with where it was raised; and what was warned of and logged."""

    block: Block | None = None
    error: BaseException | None = None
    trace: str = ""
    warned: list[Warned] = field(default_factory=list)
    logged: list[logging.LogRecord] = field(default_factory=list)


def send(file: IO[bytes], message: bytes) -> None:
    """Write a message (OSError: nobody reads any more)."""
    file.write(len(message).to_bytes(8, "big"))
    file.write(message)
    file.flush()


def receive(file: IO[bytes]) -> bytes | None:
    """The next message; None where the other end is gone."""
    size = int.from_bytes(head, "big") if len(head := file.read(8)) == 8 else -1
    message = file.read(size) if size >= 0 else b""
    return message if len(message) == size else None


def packed(modules: Mapping[str, str | None], group: Sequence[RowWork], lines: Lines) -> bytes:
    """A group for a worker; `modules`: those of its operators, with their files."""
    return pickle.dumps((dict(modules), pickle.dumps((list(group), lines), 5)), 5)


def main() -> None:
    """Work until the run is gone."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    tasks, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    inbox: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(tasks, inbox), daemon=True).start()
    logged: list[logging.LogRecord] = []
    logging.root.addHandler(_Kept(logged))  # type: ignore[arg-type]
    logging.root.setLevel(int(sys.argv[2]))
    group: tuple[list[RowWork], Lines] | None = None
    while True:
        message, reply = inbox.get(), Reply()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                sent, piece = pickle.loads(message)  # noqa: S301  the run's own
                if sent is not None:
                    group = None  # nothing is done by the one before, should this one not load
                    group = _unpacked(sent)
                assert group is not None  # noqa: S101  it comes with the first piece
                reply.block = row_block(group[0], piece, group[1])
            except (Exception, pl.exceptions.PanicException) as e:  # noqa: BLE001  it is raised again by the run
                reply.error, reply.trace = _sendable(e), traceback.format_exc()
        reply.warned = list(dict.fromkeys((str(w.message), w.category, w.filename, w.lineno) for w in warned))
        reply.logged, logged[:] = list(logged), []
        send(results, _message(reply))


def _listen(tasks: IO[bytes], inbox: SimpleQueue[bytes]) -> None:
    """Take what comes; when the run is gone, end at once, whatever is being worked on."""
    while (message := receive(tasks)) is not None:
        inbox.put(message)
    os._exit(0)


def _message(reply: Reply) -> bytes:
    try:
        return pickle.dumps(reply, 5)
    except Exception:  # noqa: BLE001  what was logged may hold anything
        return pickle.dumps(Reply(reply.block, reply.error, reply.trace), 5)


class _Kept(QueueHandler):
    """Keeps records, as they can be sent."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.append(record)  # type: ignore[attr-defined]


def _unpacked(sent: bytes) -> tuple[list[RowWork], Lines]:
    modules, group = pickle.loads(sent)  # noqa: S301  the run's own
    try:
        for name, file in modules.items():
            _import(name, file)
        found: tuple[list[RowWork], Lines] = pickle.loads(group)  # noqa: S301
    except Exception as e:
        what = f"a worker process cannot load the operators of {', '.join(modules)}: {type(e).__name__}: {e}"
        raise InputError(what, hint="run it in one process") from e
    return found


def _import(name: str, file: str | None) -> None:
    """Import a module; one that is not to be found by its name, by its file."""
    try:
        import_module(name)
    except ModuleNotFoundError:
        spec = spec_from_file_location(name, file) if file is not None else None
        if spec is None or spec.loader is None:
            raise
        sys.modules[name] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


def _sendable(error: BaseException) -> BaseException:
    """The error, or its words where it cannot be sent."""
    with suppress(Exception):  # a foreign class may raise anything
        again: Any = pickle.loads(pickle.dumps(error, 5))  # noqa: S301
        if type(again) is type(error) and str(again) == str(error):
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")
