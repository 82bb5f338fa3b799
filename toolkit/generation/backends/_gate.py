"""Who may send next: all backends of this process that ask one model at one endpoint pass one gate, and its `Limits`.

Contract: everything here runs on the loop's thread. A `Lane` (a backend's requests) hands ready items to its gate, which starts them, lane by lane
in turn, whenever the limits allow; an item that waits to be sent again is with its lane's timers and holds no place in the window.

An item whose attempts are used up by failures of the endpoint is held by its lane until it is known what they were:
- the endpoint answers something: the item's own trouble, so it fails;
- an outage is found: what was spent on it since the last answer is given back, and the item is asked again;
- nothing else is under way that could tell: where an outage is suspected the held ones are asked again, one by one; else they fail after `_GRACE`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Protocol

from toolkit.generation._quotas import Limits, Sent
from toolkit.generation._request import Request

_GRACE = 0.25
"""Seconds that held items wait for further requests where nothing is under way."""


@dataclass(slots=True, eq=False)
class Item:
    """A request on its way through its attempts."""

    request: Request
    body: bytes  # empty where it is made when it is sent
    size: int  # bytes of the text that is sent
    begun: float | None = None  # first sent
    attempts: int = 0  # failed ones that count
    refusals: int = 0
    waited: float = 0.0  # for the rate limit
    faulted: bool = False  # the endpoint has failed it before
    lost: int = 0


class Lane(Protocol):
    """A backend's side of the gate."""

    ready: deque[Item]
    flying: int
    most: int
    patience: float

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight, ready, or waits for its time."""

    @property
    def holds(self) -> bool:
        """Whether there are held items."""

    def start(self, item: Item, sent: Sent) -> None:
        """Send it."""

    def outage(self, seconds: float) -> None:
        """The endpoint has been out for longer than `patience`."""

    def fail_held(self) -> None:
        """Let the held items fail."""

    def release(self, most: int | None = None) -> None:
        """Make held items ready again: all, or so many."""


class Gate:
    """See the module's docstring."""

    _all: ClassVar[dict[tuple[str, str], Gate]] = {}

    def __init__(self, name: tuple[str, str], limits: Limits) -> None:
        self.limits = limits
        self._name = name
        self._lanes: deque[Lane] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._doubtful: list[Item] = []  # one entry for each attempt that was spent since the last answer

    @classmethod
    def enter(cls, name: tuple[str, str], lane: Lane, limits: Limits, requests_per_minute: int | None, tokens_per_minute: int | None) -> Gate:
        """The gate of an endpoint and model: `limits` for the first who enters, widened for those who follow."""
        gate = cls._all.get(name)
        if gate is None:
            gate = cls._all[name] = cls(name, limits)
        else:
            gate.limits.join(limits.window.asked, requests_per_minute, tokens_per_minute)
        gate._lanes.append(lane)
        return gate

    def leave(self, lane: Lane) -> None:
        """A backend is closed; the last one takes the gate along."""
        if lane in self._lanes:
            self._lanes.remove(lane)
        if not self._lanes:
            self._all.pop(self._name, None)
            for timer in (self._timer, self._watch, self._grace):
                if timer is not None:
                    timer.cancel()

    def pump(self) -> None:
        """Start what may be started now, and come back when more may be."""
        loop = asyncio.get_running_loop()
        while (lane := self._next_lane() or self._released()) is not None:
            now = time.monotonic()
            wait = self.limits.wait(now)
            if wait is None:
                return
            if wait > 0.0:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = loop.call_later(wait, self._pump_again)
                return
            item = lane.ready.popleft()
            lane.start(item, self.limits.sent(item.size, item.request.max_tokens, now))

    def landed(self, sent: Sent, outcome: str) -> None:
        """What came of a request; for a failure, `failed` besides."""
        if self.limits.landed(sent, outcome, time.monotonic()) and self._doubtful:
            self._doubtful.clear()
            self._fail_held()

    def failed(self, item: Item, sent: Sent) -> bool:
        """The endpoint failed an item; whether that spends an attempt."""
        breaker = self.limits.breaker
        was_open = breaker.opened is not None
        self.limits.failed(sent, id(item), first=not item.faulted, now=time.monotonic())
        if breaker.opened is None:
            self._doubtful.append(item)
            return True
        if not was_open:
            for spent in self._doubtful:
                spent.attempts -= 1
            self._doubtful.clear()
            for lane in self._lanes:
                lane.release()
            self.check_outage()
        return False

    def check_outage(self) -> None:
        """Tell the lanes whose patience an outage has outlasted; look again when the next one's has."""
        opened = self.limits.breaker.opened
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if opened is None:
            return
        lasted = time.monotonic() - opened
        for lane in list(self._lanes):
            if lasted >= lane.patience:
                lane.outage(lasted)
        left = [lane.patience - lasted for lane in self._lanes if lane.patience > lasted]
        if left:
            self._watch = asyncio.get_running_loop().call_later(min(left) + 0.001, self.check_outage)

    def _pump_again(self) -> None:
        self._timer = None
        self.pump()

    def _released(self) -> Lane | None:
        """A lane with a held item to be asked again: where nothing else can tell what became of the endpoint, and an outage is suspected."""
        if not any(lane.holds for lane in self._lanes) or not all(lane.idle for lane in self._lanes):
            return None
        if not self.limits.breaker.suspects(0):
            if self._grace is None:
                self._grace = asyncio.get_running_loop().call_later(_GRACE, self._after_grace)
            return None
        for lane in self._lanes:
            lane.release(1)
        return self._next_lane()

    def _after_grace(self) -> None:
        self._grace = None
        if all(lane.idle for lane in self._lanes) and not self.limits.breaker.suspects(0):
            self._fail_held()
        self.pump()

    def _fail_held(self) -> None:
        for lane in self._lanes:
            lane.fail_held()

    def _next_lane(self) -> Lane | None:
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            if len(self._lanes) > 1:
                self._lanes.rotate(-1)
            if lane.ready and lane.flying < lane.most:
                return lane
        return None
