"""Group commit: completions handed in one by one are written to the journal together, by a thread of its own.

Contract: a completion comes out of `Committer.durable`, as the journal takes it (`storable`), only once it is on disk, at most `LINGER` seconds and
one transaction after it was handed in. Meanwhile the backend goes on. The thread wakes once a group, not once a completion.

Failure semantics: a group that cannot be written is written one by one, so that a record that the journal cannot take loses no other. The first
error is raised in the caller by the next call, once. One of the journal itself (`GuardkitError`: a full disk, damage) ends the thread; after
another, which is a record's own, it goes on with the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from toolkit.common.errors import GuardkitError, Stopped
from toolkit.generation._journal_records import storable
from toolkit.generation._journal_store import Journal, Pair
from toolkit.generation._request import Completion, Request

Done = tuple[Request, Completion]

GROUP = 256
"""Completions that are written in one transaction at most."""

LINGER = 0.05
"""Seconds that the first completion of a group waits for others."""


class Committer:
    """Writes to `journal` in groups."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changed = threading.Condition()
        self._todo: list[Done] = []  # this and all below: under `_changed`
        self._shared: list[Pair] = []
        self._durable: list[Done] = []
        self._writing = self._hurry = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="guardkit-journal", daemon=True)
        self._thread.start()

    def add(self, request: Request, completion: Completion) -> None:
        """Hand in one completion."""
        with self._changed:
            self._todo.append((request, storable(completion)))
            if len(self._todo) in (1, GROUP):
                self._changed.notify_all()

    def share(self, pairs: Iterable[Pair]) -> None:
        """Hand in rows that share a record (`Journal.share`)."""
        with self._changed:
            self._shared.extend(pairs)
            if self._shared and not self._todo:
                self._changed.notify_all()

    def durable(self) -> list[Done]:
        """What became durable since the last call.

        Raises:
            Stopped, InputError: as `Journal.put`.
        """
        if not self._durable and self._error is None:
            return []
        with self._changed:
            self._raise()
            out, self._durable = self._durable, []
            return out

    def flush(self) -> list[Done]:
        """As `durable`, after waiting for all that was handed in."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._todo or self._shared or self._writing) or not self._thread.is_alive())
            self._hurry = False
        return self.durable()

    def close(self) -> None:
        """Write what is left and end the thread.

        Raises:
            Stopped, InputError: as `Journal.put`, unless it has been raised before.
        """
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self) -> None:
        while (group := self._group()) is not None:
            written, error = self._put(*group)
            with self._changed:
                self._durable.extend(written)
                self._error = self._error or error
                self._writing = False
                if ends := isinstance(error, GuardkitError):
                    self._todo, self._shared = [], []
                self._changed.notify_all()
            if ends:
                return

    def _put(self, done: list[Done], shared: list[Pair]) -> tuple[list[Done], BaseException | None]:
        """What of a group was written, and why the rest was not: the journal's own error before a record's."""
        try:
            self._journal.put(done, shared)
        except BaseException as e:  # noqa: BLE001  carried to the caller's thread, whatever it is
            if isinstance(e, Stopped) or len(done) + len(shared) == 1:
                return [], e
        else:
            return done, None
        written: list[Done] = []
        error: BaseException | None = None
        for some, pairs in [*(([one], []) for one in done), *(([], [pair]) for pair in shared)]:
            part, fault = self._put(some, pairs)
            written += part
            if fault is not None and (error is None or isinstance(fault, GuardkitError)):
                error = fault
            if isinstance(fault, Stopped):
                break
        return written, error

    def _group(self) -> tuple[list[Done], list[Pair]] | None:
        """The next group; None when all is written and the end has come."""
        with self._changed:
            self._changed.wait_for(lambda: self._todo or self._shared or self._ended)
            deadline = time.monotonic() + LINGER
            while len(self._todo) < GROUP and not (self._hurry or self._ended) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            if not (self._todo or self._shared):
                return None
            done, self._todo = self._todo[:GROUP], self._todo[GROUP:]
            shared, self._shared = self._shared, []
            self._writing = True
            return done, shared
