"""The engine of several processes on this machine, for row steps (`toolkit.pipeline._row_engine`).

Contract: the rows, lines and counts are those of the engine of one process. A group goes to the workers where each of its operators says that it may
(`Operator.row_local`); any other stays in this process, and so does one that cannot be sent, which is reported. A block is cut into pieces of `PIECE`
rows, each piece goes to the next worker that is free, and the pieces of a block are joined in their order. At most two blocks are under way, or,
where blocks are small, twice as many pieces as there are workers and one block.

A worker is a fresh Python (`toolkit.pipeline._worker`), started when it is first needed, kept for the rest of the run, and held by one thread of a
`ThreadPoolExecutor` that sends it a piece and waits for what became of it. No worker is a fork: polars has threads. None imports the program that
runs the recipe, so that a script needs no ``if __name__ == "__main__"``. They are sessions of their own: Ctrl-C reaches the run alone, which stops
them.

Failure semantics: what an operator raises is raised here, in the place of its block, with the words that it would have in this process. A worker
that is killed, ends or runs out of memory is `Stopped`: the step is not built, finished ones are kept, and the run goes on when it is run again.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any, cast

import polars as pl

from toolkit.common.errors import GuardkitError, InputError, Stopped
from toolkit.common.machine import how_ended
from toolkit.operators import RowOperator
from toolkit.pipeline._row_engine import LOCAL
from toolkit.pipeline._row_steps import Block, RowWork, joined
from toolkit.pipeline._step_output import Lines
from toolkit.pipeline._worker import START, Reply, packed, receive, send

PIECE = 1024
"""Rows that are sent at once."""


class Processes:
    """An `Engine`; a context manager, which stops the workers.

    Args:
        processes: how many, at most.
        note: is given the reason where a group that might have gone to the workers did not.
    """

    def __init__(self, processes: int, note: Callable[[str], None] = lambda words: None) -> None:
        if processes < 1:
            raise InputError(f"at least one process is needed, not {processes}", where="processes")
        self._most, self._note = processes, note
        self._pool = ThreadPoolExecutor(processes, "guardkit-worker")
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._over: Stopped | None = None
        self._registry: dict[Any, Any] = {}
        self._logged: set[tuple[str, int, str]] = set()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers, whatever they are at."""
        with self._lock:
            self._over = self._over or Stopped("the workers are stopped")
            for worker in self._workers:
                worker.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def rows(self, group: Sequence[RowWork], blocks: Iterable[pl.DataFrame], lines: Lines) -> Iterator[Block]:
        """As `Engine.rows`."""
        if self._most == 1 or (task := self._task(group, lines)) is None:
            yield from LOCAL.rows(group, blocks, lines)
            return
        waiting: deque[list[Future[Reply]]] = deque()
        try:
            for block in blocks:
                waiting.append([self._pool.submit(self._do, task, piece) for piece in list(block.iter_slices(PIECE)) or [block]])
                while sum(map(len, waiting)) - len(waiting[0]) >= 2 * self._most:
                    yield self._whole(waiting.popleft())
            while waiting:
                yield self._whole(waiting.popleft())
        finally:
            for piece in (p for pieces in waiting for p in pieces):
                piece.cancel()

    def _task(self, group: Sequence[RowWork], lines: Lines) -> _Task | None:
        """The group as it is sent; None where it stays here."""
        operators = [type(w.operator) for w in group]
        if not all(_row_local(w.operator) and "recipe" not in w.operator.used() for w in group):
            return None
        if any(o.__module__ == "__main__" for o in operators):
            self._note("runs in one process: its operator is part of the program that was started, not of a module")
            return None
        plain = [replace(w, ctx=replace(w.ctx, progress=_unheard, lineage=dict, history=dict)) for w in group]
        try:
            sent = packed({o.__module__: getattr(sys.modules[o.__module__], "__file__", None) for o in operators}, plain, lines)
        except Exception as e:  # noqa: BLE001  whatever an operator of another package holds
            self._note(f"runs in one process: its operator cannot be sent to another ({type(e).__name__}: {e})")
            return None
        return _Task(" + ".join(w.counts.step for w in group), sent)

    def _do(self, task: _Task, piece: pl.DataFrame) -> Reply:
        """On a thread: have a worker do a piece."""
        with self._lock:
            if self._over is not None:
                raise self._over
            if not self._idle:
                self._workers.append(worker := _Worker(max(1, pl.thread_pool_size() // self._most)))
                self._idle.append(worker)
            worker = self._idle.pop()
        reply = worker.do(task, piece)
        with self._lock:
            if reply is None or isinstance(reply.error, MemoryError):
                how = "ran out of memory" if reply is not None else worker.ended()
                again = "finished steps are kept; run it again to go on, with fewer {--processes|processes} where memory is short"
                self._over = self._over or Stopped(f"a worker process of step {task.steps!r} {how}", hint=again)
                raise self._over
            self._idle.append(worker)
        return reply

    def _whole(self, pieces: Sequence[Future[Reply]]) -> Block:
        """What became of a block, of whose pieces this is."""
        found = []
        for piece in pieces:
            reply = piece.result()
            self._tell(reply)
            if reply.error is not None:
                if not isinstance(reply.error, GuardkitError):
                    reply.error.add_note(f"In a worker process:\n{reply.trace}")
                raise reply.error
            found.append(cast("Block", reply.block))
        return joined(found)

    def _tell(self, reply: Reply) -> None:
        """Pass on what was warned of and logged; what several workers say in the same words, once."""
        for text, category, file, line in reply.warned:
            warnings.warn_explicit(text, category, file, line, registry=self._registry)
        for record in reply.logged:
            key = (record.name, record.levelno, record.getMessage())
            if key not in self._logged and (logger := logging.getLogger(record.name)).isEnabledFor(record.levelno):
                self._logged.add(key)
                logger.handle(record)


@dataclass(frozen=True, eq=False)
class _Task:
    """A group of row steps as it is sent."""

    steps: str
    sent: bytes


class _Worker:
    """A worker process, as one thread at a time uses it."""

    def __init__(self, threads: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603  this Python, our own module
            [sys.executable, "-P", "-c", START, json.dumps(list(map(str, sys.path))), str(logging.root.getEffectiveLevel())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "POLARS_MAX_THREADS": str(threads)},
            start_new_session=True,
        )
        self._task: _Task | None = None

    def do(self, task: _Task, piece: pl.DataFrame) -> Reply | None:
        """What became of a piece; None where the worker is gone."""
        tasks, results = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        try:
            send(tasks, pickle.dumps((None if self._task is task else task.sent, piece), 5))
            message = receive(results)
        except (OSError, ValueError):  # a closed pipe, or one that `stop` has closed
            message = None
        self._task = task
        return None if message is None else cast("Reply", pickle.loads(message))  # noqa: S301  a worker of this run's

    def ended(self) -> str:
        """How it did, in words."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "does not answer any more"
        return how_ended(code)

    def stop(self) -> None:
        """End it at once: it holds nothing that anybody needs."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout):
            with suppress(OSError, ValueError):
                cast("IO[bytes]", file).close()


def _row_local(operator: RowOperator) -> bool:
    """Whether it says that it is: not where only a class says so whose `apply` is not the one that runs."""
    classes = type(operator).__mro__
    says, applies = (next(i for i, c in enumerate(classes) if name in vars(c)) for name in ("row_local", "apply"))
    return operator.row_local and says <= applies


def _unheard(done: int, total: int | None, words: str) -> None:
    """Progress of a worker, which the run knows of."""
