"""Pieces of work that are done in threads, a little ahead of whoever takes their results.

For work that waits or leaves the interpreter alone: reading, hashing, decoding. Results come in the order of what they were made of, and are those
of one thread; what fails is raised where its result is taken.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""Threads that work ahead: one for each processor of this process, four at most."""


def in_threads(work: Callable[[T], R], items: Iterable[T], cost: Callable[[T], int], most: int) -> Iterator[R]:
    """What `work` makes of each item, in order.

    Args:
        work: called in threads.
        items: taken as they are needed.
        cost: of what an item's result takes, bytes say.
        most: sum of the costs of items that are worked on or wait to be taken; an item that costs more is worked on alone.

    Example:
        >>> list(in_threads(str.upper, ["a", "b"], len, 1))
        ['A', 'B']
    """
    waiting: deque[tuple[Future[R], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(THREADS, "guardkit-ahead")
    try:
        for item in items:
            price = cost(item)
            while waiting and held + price > most:
                first, paid = waiting.popleft()
                yield first.result()
                held -= paid
            waiting.append((pool.submit(work, item), price))
            held += price
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)
