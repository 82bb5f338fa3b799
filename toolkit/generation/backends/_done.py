"""Outcomes of a backend's requests on their way from the event loop's thread to the caller's."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from toolkit.common.errors import GuardkitError
from toolkit.generation._request import Completion


class Done:
    """Outcomes from the loop's thread to the caller's, who is woken once for all that came together."""

    def __init__(self) -> None:
        self._items: deque[Completion | GuardkitError] = deque()
        self._there = threading.Event()
        self._woken = self._scheduled = False

    def put(self, outcome: Completion | GuardkitError) -> None:
        """Hand over an outcome."""
        self._items.append(outcome)
        self._soon()

    def wake(self) -> None:
        """Let the caller look again, whether there is an outcome or not."""
        self._woken = True
        self._soon()

    def wait(self, seconds: float) -> int | None:
        """Number of outcomes that are there, after waiting for one or for `wake`; None where neither came in that time."""
        while not (self._items or self._woken):
            self._there.clear()
            if not (self._items or self._woken) and not self._there.wait(seconds):
                return None
        self._woken = False
        return len(self._items)

    def pop(self) -> Completion | GuardkitError:
        """The oldest outcome."""
        return self._items.popleft()

    def left(self) -> list[Completion | GuardkitError]:
        """All that has come and was not taken."""
        out = list(self._items)
        self._items.clear()
        return out

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._set)

    def _set(self) -> None:
        self._scheduled = False
        self._there.set()
