"""Iterators that run in threads of their own, a few items ahead of whoever works on them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")
AHEAD = 2
"""Items that are made before they are asked for."""


class _End(Generic[T]):
    """The last thing in the queue: the items are out, or what was raised."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Running(Generic[T]):
    """An iterator that has been started in a thread of its own."""

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._items = items
        self._waiting: queue.Queue[T | _End[T]] = queue.Queue(depth)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guardkit-ahead", daemon=True)
        self._thread.start()

    def _put(self, item: T | _End[T]) -> None:
        while not self._left.is_set():
            try:
                self._waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def _run(self) -> None:
        try:
            for item in self._items:
                self._put(item)
                if self._left.is_set():
                    return
            self._put(_End())
        except BaseException as e:  # noqa: BLE001  it is raised again in the reader's thread
            self._put(_End(e))

    def __iter__(self) -> Iterator[T]:
        while True:
            item = self._waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def stop(self) -> None:
        """Nobody wants more of it."""
        self._left.set()
        self._thread.join()


def in_turn(sources: Iterable[Iterator[T]], width: int = AHEAD, depth: int = AHEAD) -> Iterator[Iterator[T]]:
    """Iterators one after the other, of which `width` run at once, each in a thread of its own and `depth` items ahead at most.

    Each is to be used up before the next is asked for. What it raises is raised here, in its place. No two may share what is not made for it.
    """
    left = iter(sources)
    running = deque(_Running(items, depth) for items in islice(left, width))
    try:
        while running:
            yield iter(running[0])
            running.popleft().stop()
            running.extend(_Running(items, depth) for items in islice(left, 1))
    finally:
        for one in running:
            one.stop()


def ahead(items: Iterator[T], depth: int = AHEAD) -> Iterator[T]:
    """The items of an iterator that runs in a thread of its own, `depth` items ahead at most. What it raises is raised here, in its place."""
    for one in in_turn([items], 1, depth):
        yield from one
