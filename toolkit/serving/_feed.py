"""Requests of many threads through one backend, whose batch they share.

Contract of `Feed`: one thread of its own runs `Backend.generate` and pulls what was submitted, oldest first; where nothing is under way it waits, and
`generate` is called again with the next request. Each submitted request's future gets exactly one completion or one error. Equal requests (of
one key) that are under way at the same time are asked once, and each of them is answered. A request takes a place from when it is submitted until its
future is done; there are `places` of them, and who finds none gets `Full`. Cancelling a future gives its place back at once: one that the
backend has not pulled is not asked at all; the work on one that it has ends where the backend can end it (`Drops`), else it is done for nobody.

Failure semantics: a backend that raises what is no fault of a single request (`GuardkitError`) fails what it has pulled and what waits (`Down`), is
closed, and opened again for the next request after a pause that doubles up to `LONGEST` seconds. Anything else that comes out of it may be one
request's doing (memory, a bug): what was under way is asked again, one by one, and what fails alone is answered with a failed completion
(``server_error``); `_GIVE_UP` of these in a row count as the backend's own fault. An answer to a prompt of which the server has read a part only
(`toolkit.generation.handed_out`) is a failed completion, too (``bad_request``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from toolkit.common.errors import GuardkitError
from toolkit.generation import FAILURES, Completion, Drops, HandsOn, Wakes, handed_out

if TYPE_CHECKING:
    from toolkit.generation import Backend, Request

_log = logging.getLogger(__name__)

FIRST, LONGEST = 1.0, 30.0
"""Seconds of the first and of the longest pause before a backend that failed as a whole is opened again."""

_GIVE_UP = 2
"""Requests that bring a backend down alone, one after the other, after which it is the backend that is at fault."""

_ENDING = 0.5
"""Seconds for which a feed that is closed waits for its thread."""

_WEIGHT = 0.1
"""Weight of the last answer's time in the mean that `Full.after` is taken from."""


class Full(Exception):  # noqa: N818 (named by what happened)
    """All places are taken; `after`: seconds after which some may be free."""

    def __init__(self, after: float) -> None:
        super().__init__("all places are taken")
        self.after = after


class Down(Exception):  # noqa: N818 (named by what happened)
    """The backend cannot answer now; `after`: seconds until it is tried again; `fault`: its message."""

    def __init__(self, fault: GuardkitError, after: float) -> None:
        super().__init__(str(fault))
        self.fault, self.after = fault, after


class Closed(Exception):  # noqa: N818 (named by what happened)
    """Nothing more is taken: the feed is being closed, or is."""


@dataclass(eq=False)
class _Ticket:
    """One request, and who waits for what comes of it."""

    request: Request
    waiting: list[Future[Completion]] = field(default_factory=list)
    dropped: bool = False
    since: float = field(default_factory=time.monotonic)


class Feed:
    """See the module's docstring.

    Args:
        backend: what answers; nobody else may ask it meanwhile.
        places: requests that may be waiting or under way.
    """

    def __init__(self, backend: Backend, *, places: int) -> None:
        self.places = places
        self.taken = 0
        """Places that are taken."""
        self.seconds = 0.0
        """Mean time of an answer, recent ones counting most; 0 before the first."""
        self._backend = backend
        if isinstance(backend, HandsOn):  # many requests of clients that are refused alike say nothing of the next one
            backend.handed_on = frozenset(FAILURES)
        self._lock = threading.Lock()
        self._more, self._free = threading.Condition(self._lock), threading.Condition(self._lock)
        self._queued: dict[str, _Ticket] = {}  # by key, oldest first
        self._flying: dict[str, _Ticket] = {}
        self._alone: deque[_Ticket] = deque()  # under way when something broke: asked again one by one
        self._lone = False  # one of these is under way
        self._broken = 0  # of these, one after the other
        self._pause, self._until = FIRST, 0.0
        self._fault: GuardkitError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="guardkit-feed", daemon=True)
        self._thread.start()

    @property
    def flying(self) -> int:
        """Requests that the backend works on."""
        return len(self._flying)

    @property
    def fault(self) -> GuardkitError | None:
        """Why the backend could not be asked last; None once it has answered."""
        return self._fault

    def submit(self, requests: Sequence[Request]) -> list[Future[Completion]]:
        """Take requests in, all of them or none.

        Raises:
            Full: there are not places enough.
            Down: the backend has just failed as a whole.
            Closed: nothing more is taken.
        """
        taken: list[tuple[_Ticket, Future[Completion]]] = []
        with self._lock:
            if self._closing:
                raise Closed("the guard is being closed")
            now = time.monotonic()
            if self._fault is not None and now < self._until:
                raise Down(self._fault, self._until - now)
            if self.taken + len(requests) > self.places:
                raise Full(self.seconds)
            for request in requests:
                ticket = self._flying.get(request.key) or self._queued.get(request.key)
                if ticket is None:
                    ticket = self._queued[request.key] = _Ticket(request)
                future: Future[Completion] = Future()
                ticket.waiting.append(future)
                taken.append((ticket, future))
            self.taken += len(taken)
            under_way = bool(self._flying)
            self._more.notify()
        for ticket, future in taken:
            future.add_done_callback(partial(self._left, ticket))
        if under_way and isinstance(self._backend, Wakes):
            self._backend.wake()
        return [future for _, future in taken]

    def close(self, seconds: float | None = None) -> bool:
        """Take nothing more, answer what was taken, and end; whether all of it was answered.

        Args:
            seconds: how long that may take; what is not answered then gets `Closed`. None: as long as it takes.
        """
        with self._lock:
            self._closing = True
            self._more.notify()
            whole = self._free.wait_for(lambda: not self.taken, seconds)
            left = [*self._flying.values(), *self._alone, *self._queued.values()]
            self._queued.clear()
            self._alone.clear()
        for ticket in left:
            _fail(ticket, Closed("the guard was closed before it had answered"))
        self._thread.join(_ENDING)  # longer only where it works on for nobody
        return whole

    # In the feed's thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait():
            try:
                for completion in self._backend.generate(self._requests()):
                    if completion is not None:
                        self._arrived(completion)
                for ticket in self._take_flying():
                    _answer(ticket, _lost(ticket.request, "unanswered", "the backend ended without an answer"))
            except GuardkitError as e:
                self._down(e, self._take_flying())
            except Exception as e:  # noqa: BLE001  whatever it is, the next request must find somebody here
                self._broke(e, self._take_flying())

    def _wait(self) -> bool:
        """Wait until there is something to ask; False once there is not and will not be."""
        with self._lock:
            while not (self._queued or self._alone or self._closing):
                self._more.wait()
            return bool(self._queued or self._alone)

    def _requests(self) -> Iterator[Request | None]:
        """What the backend pulls: None for nothing more now, the end where nothing is under way either."""
        while True:
            with self._lock:
                ticket = self._next()
                if ticket is None and not self._flying:
                    return
                if ticket is not None:
                    self._flying[ticket.request.key] = ticket
            yield None if ticket is None else ticket.request

    def _next(self) -> _Ticket | None:
        if self._lone and self._flying:
            return None
        self._lone = False
        while self._alone:
            ticket = self._alone.popleft()
            if ticket.waiting:
                self._lone = True
                return ticket
        return self._queued.pop(next(iter(self._queued))) if self._queued else None

    def _arrived(self, completion: Completion) -> None:
        with self._lock:
            ticket = self._flying.pop(completion.key, None)
            if ticket is not None and ticket.waiting and completion.error == "unanswered" and isinstance(self._backend, Drops):
                ticket.dropped = False  # somebody has asked for it anew meanwhile
                self._queued[completion.key] = ticket
                return
            self._pause, self._fault, self._broken = FIRST, None, 0
            if ticket is not None:
                self.seconds += (_WEIGHT if self.seconds else 1.0) * (time.monotonic() - ticket.since - self.seconds)
        if ticket is not None:
            _answer(ticket, completion)

    def _take_flying(self) -> list[_Ticket]:
        with self._lock:
            tickets = list(self._flying.values())
            self._flying.clear()
            return tickets

    def _down(self, fault: GuardkitError, tickets: list[_Ticket]) -> None:
        """The backend as a whole is at fault."""
        if self._closing and not self.taken:
            return  # it was closed under what it did for nobody
        _log.info("the backend cannot be asked (%s); it is tried again after %.0f s", type(fault).__name__, self._pause)
        with suppress(Exception):  # what is broken need not close well
            self._backend.close()
        with self._lock:
            self._fault, self._until = fault, time.monotonic() + self._pause
            after, self._pause = self._pause, min(LONGEST, 2 * self._pause)
            tickets += [*self._alone, *self._queued.values()]
            self._alone.clear()
            self._queued.clear()
            self._broken = 0
        for ticket in tickets:
            _fail(ticket, Down(fault, after))

    def _broke(self, error: Exception, tickets: list[_Ticket]) -> None:
        """Something broke that may be one request's doing."""
        name = type(error).__name__
        _log.info("the backend broke with %d requests under way: %s", len(tickets), name)
        if len(tickets) > 1:
            with self._lock:
                self._alone.extend(tickets)
            return
        self._broken += 1
        for ticket in tickets:
            _answer(ticket, _lost(ticket.request, "server_error", f"the backend broke: {name}"))
        if self._broken >= _GIVE_UP:
            self._down(GuardkitError(f"the backend breaks: {name}"), [])

    def _left(self, ticket: _Ticket, future: Future[Completion]) -> None:
        """A future is done, be it that its asker has gone."""
        drops = False
        with self._lock:
            self.taken -= 1
            if not self.taken:
                self._free.notify_all()
            if future.cancelled() and future in ticket.waiting:
                ticket.waiting.remove(future)
                key = ticket.request.key
                if not ticket.waiting and self._queued.get(key) is ticket:
                    del self._queued[key]
                drops = not ticket.waiting and not ticket.dropped and self._flying.get(key) is ticket and isinstance(self._backend, Drops)
                ticket.dropped = ticket.dropped or drops
        if drops and isinstance(self._backend, Drops):
            self._backend.drop(ticket.request.key)


def _answer(ticket: _Ticket, completion: Completion) -> None:
    whole = replace(handed_out(ticket.request, completion), asked=ticket.request)
    if whole.error is None and whole.detail is not None:  # a verdict on a part of the text is none on the text
        whole = replace(_lost(ticket.request, "bad_request", whole.detail), asked=ticket.request)
    for future in _open(ticket):
        future.set_result(whole)


def _fail(ticket: _Ticket, error: Exception) -> None:
    for future in _open(ticket):
        future.set_exception(error)


def _open(ticket: _Ticket) -> Iterator[Future[Completion]]:
    """Who still waits."""
    for future in list(ticket.waiting):
        if not future.done() and future.set_running_or_notify_cancel():
            yield future


def _lost(request: Request, error: str, detail: str) -> Completion:
    return Completion(request.key, None, error=error, detail=detail)
