"""Work in threads, results in order."""

from __future__ import annotations

import threading

import pytest

from toolkit.common.in_threads import in_threads


def test_results_come_in_order_and_no_more_waits_than_may() -> None:
    lock, held, most = threading.Lock(), 0, 0

    def work(n: int) -> int:
        nonlocal held, most
        with lock:
            held += n
            most = max(most, held)
        return n

    out = []
    for n in in_threads(work, [3, 1, 4, 1, 5, 9, 2, 6] * 20, int, 9):
        with lock:
            held -= n
        out.append(n)
    assert out == [3, 1, 4, 1, 5, 9, 2, 6] * 20 and most <= 9


def test_what_fails_is_raised_where_its_result_is_taken() -> None:
    results = in_threads(lambda n: 6 // n, [3, 0, 2], int, 100)
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)
