"""The engine: order, exactly one completion a request, nothing asked twice, a bounded window, and nothing lost when it is cut short."""

from __future__ import annotations

import queue
import random
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import Stopped
from toolkit.generation import Completion, Journal, Request, complete
from toolkit.generation._commit import LINGER


def ask(n: object, **more: Any) -> Request:
    return Request("m", "e", (("user", str(n)),), 0, 1, 1, **more)


def last_words(request: Request) -> str:
    return request.messages[-1][1]


class Scripted:
    """A backend that keeps the contract, holds up to `parallel` requests and answers them in an order of its own."""

    model_id, endpoint = "m", "e"

    def __init__(
        self, parallel: int = 4, seed: int = 0, failing: frozenset[str] = frozenset(), journalled: bool = True, slow: frozenset[str] = frozenset()
    ) -> None:
        self.parallel = parallel
        self.journalled = journalled
        self.failing = failing
        self.slow = slow
        self.asked: Counter[str] = Counter()
        self.most = 0
        self._rng = random.Random(seed)

    def close(self) -> None:
        pass

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        held: list[Request] = []
        ended = False
        while True:
            while not ended and len(held) < self.parallel:
                try:
                    request = next(requests)
                except StopIteration:
                    ended = True
                    break
                if request is None:
                    assert held, "None only while something is held"
                    break
                self.asked[last_words(request)] += 1
                held.append(request)
            self.most = max(self.most, len(held))
            if not held:
                return
            quick = [r for r in held if last_words(r) not in self.slow] or held
            request = self._rng.choice(quick)
            held.remove(request)
            yield self.answer(request)

    def answer(self, request: Request) -> Completion:
        if last_words(request) in self.failing:
            return Completion(request.key, None, error="timeout", detail="scripted")
        return Completion(request.key, f"answer {last_words(request)} {request.draw}", "stop", prompt_tokens=2, completion_tokens=3)


class Untouchable(Scripted):
    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        raise AssertionError("nothing was to be asked")


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.integers(0, 12), max_size=60),
    before=st.sets(st.integers(0, 12)),
    failing=st.sets(st.integers(0, 12)),
    parallel=st.integers(1, 6),
    window=st.integers(1, 20),
    seed=st.integers(0, 99),
    journalled=st.booleans(),
)
def test_one_completion_each_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[int],
    before: set[int],
    failing: set[int],
    parallel: int,
    window: int,
    seed: int,
    journalled: bool,
) -> None:
    backend = Scripted(parallel, seed, frozenset(map(str, failing)), journalled)
    requests = [ask(n, row=f"row {i}") for i, n in enumerate(rows)]
    with Journal(tmp_path_factory.mktemp("j")) as journal:
        journal.put([(ask(n), Completion(ask(n).key, "from before")) for n in sorted(before)])
        run = complete(iter(requests), backend, journal, window=window)
        out = list(run)
        assert [c.key for c in out] == [r.key for r in requests]
        for n, c in zip(rows, out, strict=True):
            if journalled and n in before:
                assert c.text == "from before"
            else:
                assert (c.error, c.text) == (("timeout", None) if n in failing else (None, f"answer {n} 0"))
        new = set(rows) - (before if journalled else set())
        assert set(backend.asked) == {str(n) for n in new}
        assert all(backend.asked[str(n)] == 1 for n in new - failing)
        s = run.stats
        assert s.completions == len(rows) == s.asked + s.from_journal + s.shared
        assert s.failed == sum(c.error is not None for c in out) == sum(s.errors.values())
        assert s.asked == sum(backend.asked.values())
        assert s.completion_tokens == 3 * len(new - failing)
        assert backend.most <= parallel
        if journalled:
            assert set(journal.get({r.key for r in requests})) == {ask(n).key for n in set(rows) - (failing - before)}
        else:
            assert journal.counts() == {"completions": len(before), "failures": 0}


def test_a_second_run_asks_only_what_failed(tmp_path: Path) -> None:
    requests = [ask(n) for n in range(3000)]
    with Journal(tmp_path) as journal:
        first = list(complete(requests, Scripted(16, failing=frozenset({"5", "2999"})), journal))
        again = Scripted(16)
        second = complete(requests, again, journal)
        assert [c.text for c in second] == [f"answer {n} 0" for n in range(3000)]
        assert set(again.asked) == {"5", "2999"}
        assert (second.stats.from_journal, second.stats.asked) == (2998, 2)
        third = list(complete(requests, Untouchable(), journal))
        assert [c.key for c in third] == [c.key for c in first]


@pytest.mark.parametrize("journalled", [True, False])
def test_no_request_at_all(tmp_path: Path, journalled: bool) -> None:
    with Journal(tmp_path) as journal:
        assert list(complete([], Untouchable(journalled=journalled), journal)) == []
        assert list(complete(iter(()), Untouchable(), None)) == []


def test_more_draws_and_fewer_rows_cost_only_what_is_new(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        list(complete([ask(n, draw=k) for n in range(50) for k in range(2)], Scripted(), journal))
        more = Scripted()
        list(complete([ask(n, draw=k) for n in range(40) for k in range(3)], more, journal))
        assert sum(more.asked.values()) == 40


def test_the_source_is_read_no_further_than_the_window(tmp_path: Path) -> None:
    pulled = 0

    def source() -> Iterator[Request]:
        nonlocal pulled
        for n in range(100_000):
            pulled = n
            yield ask(n)

    with Journal(tmp_path) as journal, complete(source(), Scripted(8), journal, window=32) as run:
        for _ in range(500):
            next(run)
        assert pulled <= 500 + 32 + 256 + 64


def test_one_slow_row_does_not_stall_the_rest() -> None:
    done: list[str] = []
    backend = Scripted(8, slow=frozenset({"0"}))
    run = complete((ask(n) for n in range(2000)), backend, None, lambda c: done.append(c.text or ""), window=1000)
    assert next(run).text == "answer 0 0"
    assert len(done) >= 1000  # all that fitted into the window was answered before the slow one
    assert [c.text for c in run] == [f"answer {n} 0" for n in range(1, 2000)]


def test_memory_does_not_grow_with_the_rows() -> None:
    class Wordy(Scripted):
        def answer(self, request: Request) -> Completion:
            self.asked.clear()
            return Completion(request.key, f"{last_words(request):2000}")

    peaks = []
    for rows in (3000, 12_000):
        tracemalloc.start()
        for _ in complete((ask(n) for n in range(rows)), Wordy(8), None, window=256):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


class Blocking(Scripted):
    """Answers one request, then waits for a word before it goes on."""

    def __init__(self) -> None:
        super().__init__(2)
        self.go: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        for request in requests:
            assert request is not None
            yield self.answer(request)
            if error := self.go.get():
                raise error


def test_an_answer_is_durable_while_the_backend_is_still_busy(tmp_path: Path) -> None:
    backend = Blocking()
    out: list[Completion] = []
    with Journal(tmp_path) as journal:
        thread = threading.Thread(target=lambda: out.extend(complete([ask(0), ask(1)], backend, journal)))
        thread.start()
        deadline = time.monotonic() + 100 * LINGER + 10
        while not journal.get([ask(0).key]) and time.monotonic() < deadline:
            time.sleep(LINGER / 5)
        assert journal.get([ask(0).key])
        assert out == []
        for _ in range(2):
            backend.go.put(None)
        thread.join()
    assert len(out) == 2


class Interrupted(Scripted):
    """Is interrupted while an answer is there that nobody has taken."""

    def __init__(self, after: int, error: type[BaseException]) -> None:
        super().__init__(8)
        self.after, self.error = after, error
        self.left: list[Completion] = []

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        for n, completion in enumerate(super().generate(requests)):
            if n == self.after:
                self.left.append(completion)
                raise self.error
            yield completion

    def salvage(self) -> list[Completion]:
        return self.left


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_what_is_done_in_the_journal(tmp_path: Path, error: type[BaseException]) -> None:
    requests = [ask(n) for n in range(500)]
    with Journal(tmp_path) as journal:
        run = complete(requests, Interrupted(130, error), journal)
        with pytest.raises(error):
            list(run)
        assert len(journal.get(r.key for r in requests)) == 131
        again = Scripted(8)
        assert len(list(complete(requests, again, journal))) == 500
        assert sum(again.asked.values()) == 369


def test_a_consumer_that_stops_loses_nothing(tmp_path: Path) -> None:
    backend = Scripted(8)
    with Journal(tmp_path) as journal:
        with complete((ask(n) for n in range(5000)), backend, journal) as run:
            for _ in range(100):
                next(run)
        answered = journal.counts()["completions"]
        assert sum(backend.asked.values()) - 8 <= answered
        assert next(run, None) is None


def test_an_interrupt_in_the_source_loses_nothing(tmp_path: Path) -> None:
    def source() -> Iterator[Request]:
        yield from (ask(n) for n in range(1000))
        raise KeyboardInterrupt

    backend = Scripted(8)
    with Journal(tmp_path) as journal:
        with pytest.raises(KeyboardInterrupt):
            list(complete(source(), backend, journal))
        assert journal.counts()["completions"] >= sum(backend.asked.values()) - 8


def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    class Full(Journal):
        room = 3

        def put(self, done: Any, shared: Any = ()) -> None:
            self.room -= 1
            if self.room < 0:
                raise Stopped("the journal could not be written")
            super().put(done, shared)

    with Full(tmp_path) as journal:
        run = complete((ask(n) for n in range(100_000)), Scripted(8), journal)
        out = 0
        with pytest.raises(Stopped):  # noqa: PT012
            for _ in run:
                out += 1
        assert out <= journal.counts()["completions"] <= 3 * 64  # nothing counts that is not durable


def test_a_backend_that_forgets_a_request_is_found_out() -> None:
    class Forgetful(Scripted):
        def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
            return (c for c in super().generate(requests) if c.text != "answer 3 0")

    out = list(complete([ask(n) for n in range(6)], Forgetful(), None))
    assert [c.error for c in out] == [None, None, None, "unanswered", None, None]


def test_a_backend_that_makes_up_an_answer_is_found_out() -> None:
    class Inventive(Scripted):
        def answer(self, request: Request) -> Completion:
            return Completion(ask("something else").key, "text")

    with pytest.raises(RuntimeError, match="was not asked"):
        list(complete([ask(1)], Inventive(), None))


def test_progress_hears_of_every_answer(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        list(complete([ask(n) for n in range(10)], Scripted(), journal))
        heard: list[Completion] = []
        list(complete([ask(n) for n in range(20)], Scripted(), journal, heard.append))
        assert len(heard) == 20
