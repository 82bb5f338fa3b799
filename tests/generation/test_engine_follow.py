"""The engine where a row is asked again: attempts, other backends, a budget, and a slow row that many others wait behind."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import Scripted, Untouchable, ask, last_words

from toolkit.common.errors import Stopped
from toolkit.generation import Completion, Journal, Meter, Price, Request, complete
from toolkit.generation import _engine as engine


class Other(Scripted):
    model_id, endpoint = "m2", "e2"

    def answer(self, request: Request) -> Completion:
        return replace(super().answer(request), text=f"other {last_words(request)}")


def numbered(index: int, request: Request) -> bool:
    return last_words(request) == str(index)


@settings(max_examples=80, deadline=None)
@given(
    wants=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    refused=st.sets(st.integers(0, 40)),
    parallel=st.integers(1, 6),
    window=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_each_row_is_asked_until_it_is_taken(
    tmp_path_factory: pytest.TempPathFactory, wants: list[int], refused: set[int], parallel: int, window: int, seed: int
) -> None:
    """Row i is asked `wants[i]` times more; where its last number is in `refused`, another model has the last word."""

    def follow(index: int, request: Request, completion: Completion, trail: tuple[Completion, ...]) -> Request | None:
        assert numbered(index, request)
        assert completion.key == request.key
        assert all(c.asked is not None for c in trail)
        if request.endpoint == "e2":
            return None
        if request.attempt < wants[index]:
            assert [c.asked.attempt for c in trail if c.asked] == list(range(request.attempt))
            return replace(request, attempt=request.attempt + 1)
        return replace(request, model_id="m2", endpoint="e2") if index in refused else None

    requests = [ask(i) for i in range(len(wants))]
    with Journal(tmp_path_factory.mktemp("j")) as journal:
        first, second = Scripted(parallel, seed), Other(parallel, seed)
        run = complete(iter(requests), [first, second], journal, follow=follow, window=window)
        out = list(run)
        for i, c in enumerate(out):
            assert c.text == (f"other {i}" if i in refused else f"answer {i} 0")
            assert len(c.trail) == wants[i] + (i in refused)
            assert c.asked is not None
            assert c.asked.attempt == wants[i]
        assert first.asked == Counter({str(i): n + 1 for i, n in enumerate(wants)})
        assert second.asked == Counter({str(i): 1 for i in refused if i < len(wants)})
        assert run.stats.followed == sum(len(c.trail) for c in out)
        again = complete(iter(requests), [Untouchable(), Untouchable()], journal, follow=follow, window=window)
        assert [(c.key, c.text, [t.text for t in c.trail]) for c in again] == [(c.key, c.text, [t.text for t in c.trail]) for c in out]


def test_rows_that_ask_the_same_are_answered_each_in_its_own_way(tmp_path: Path) -> None:
    backend = Scripted(4)

    def follow(index: int, request: Request, completion: Completion, trail: tuple[Completion, ...]) -> Request | None:
        return replace(request, attempt=1) if index % 2 and not trail else None

    with Journal(tmp_path) as journal:
        out = list(complete([ask("x", row=f"row {i}") for i in range(6)], backend, journal, follow=follow))
    assert [len(c.trail) for c in out] == [0, 1] * 3
    assert [c.asked.row for c in out if c.asked] == [f"row {i}" for i in range(6)]
    assert backend.asked["x"] == 2


def test_a_row_that_would_go_round_for_ever_is_taken(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        out = list(complete([ask(1)], Scripted(), journal, follow=lambda index, request, completion, trail: request))
    assert [c.text for c in out] == ["answer 1 0"]


def test_another_request_is_given_only_once_all_answers_are_durable(tmp_path: Path) -> None:
    """What a kill can lose is what is in flight: at each pull the journal holds all that was yielded."""

    class Watching(Scripted):
        def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
            def watched() -> Iterator[Request | None]:
                for request in requests:
                    assert set(journal.get(self.yielded)) == set(self.yielded)
                    yield request

            self.yielded: list[str] = []
            for completion in super().generate(watched()):
                self.yielded.append(completion.key)
                yield completion

    with Journal(tmp_path) as journal:
        assert len(list(complete([ask(n) for n in range(300)], Watching(8), journal))) == 300


def test_one_slow_row_stalls_nobody_and_fills_no_memory(tmp_path: Path) -> None:
    """Its successors are asked and answered behind it; what waits is in a file, a long answer sooner than a short one."""
    n, size = 4000, 20_000
    assert n < engine.HELD

    class Long(Scripted):
        def answer(self, request: Request) -> Completion:
            return replace(super().answer(request), text=last_words(request) + " " + "x" * size)

    backend = Long(4, slow=frozenset({"0"}))
    done: list[str] = []
    with Journal(tmp_path) as journal:
        tracemalloc.start()
        run = complete((ask(i) for i in range(n)), backend, journal, lambda c: done.append(c.key))
        first = next(run)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert first.text is not None
        assert first.text.startswith("0 ")
        assert len(done) == n  # all others were settled before the slow one
        assert peak < n * size / 2
        assert [c.text.split()[0] for c in run if c.text] == [str(i) for i in range(1, n)]


def price(dollars: float) -> dict[tuple[str, str], Price]:
    return {("e", "m"): Price(input=0, output=dollars * 1e6)}


def test_the_cap_is_never_passed_and_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    """An answer costs 3 dollars, 10 at worst: requests go on while answers come in cheaper than was reserved for them."""
    requests = [replace(ask(n), max_tokens=10) for n in range(200)]
    spent = []

    class Watching(Scripted):
        def answer(self, request: Request) -> Completion:
            spent.append(meter.spent + meter.reserved)
            return super().answer(request)

    meter = Meter(price(1), cap=100)
    with Journal(tmp_path) as journal:
        backend = Watching(50)
        run = complete(requests, backend, journal, meter=meter)
        with pytest.raises(Stopped, match=r"the budget of \$100\.00 is used up: \$93\.00 spent") as stop:
            list(run)
        assert stop.value.exit_code == 3
        assert max(spent) <= 100
        assert backend.asked.total() == 31  # 31 x 3 = 93, and another could cost 10
        assert run.stats.cost == 93
        assert journal.counts()["completions"] == 31
        more = complete(requests, Scripted(50), journal, meter=Meter(price(1), cap=1000))
        assert len(list(more)) == 200
        assert more.stats.cost == 3 * 169


def test_answers_from_the_journal_cost_nothing(tmp_path: Path) -> None:
    requests = [ask(n) for n in range(10)]
    with Journal(tmp_path) as journal:
        list(complete(requests, Scripted(), journal))
        run = complete(requests, Untouchable(), journal, meter=Meter(price(1), cap=0))
        assert len(list(run)) == 10
        assert run.stats.cost == 0
