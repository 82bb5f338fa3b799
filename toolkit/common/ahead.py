"""An iterator that runs in a thread of its own, a few items ahead of whoever works on them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
AHEAD = 2
"""Items that are made before they are asked for."""


class _End(Generic[T]):
    """The last thing in the queue: the items are out, or what was raised."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterator[T], depth: int = AHEAD) -> Iterator[T]:
    """The items of an iterator that runs in a thread of its own, `depth` items ahead at most. What it raises is raised here, in its place."""
    waiting: queue.Queue[T | _End[T]] = queue.Queue(depth)
    left = threading.Event()

    def put(item: T | _End[T]) -> None:
        while not left.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item)
                if left.is_set():
                    return
            put(_End())
        except BaseException as e:  # noqa: BLE001  it is raised again in the reader's thread
            put(_End(e))

    thread = threading.Thread(target=run, name="guardkit-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        left.set()
        thread.join()
