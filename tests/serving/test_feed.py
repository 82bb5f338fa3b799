"""Requests of many threads through one backend: each is answered once, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from asking import config
from behind import until
from server import Server, chat

from toolkit.common.errors import GuardkitError, Missing
from toolkit.generation import Completion, Request, as_messages, build_request, open_backend
from toolkit.serving import Closed, Down, Feed, Full


def request(text: str, **more: Any) -> Request:
    return Request("m", "e", as_messages([{"role": "user", "content": text}]), temperature=0.0, top_p=1.0, max_tokens=9, **more)


def text_of(asked: Request) -> str:
    return asked.messages[-1][1]


class Engine:
    """A backend that takes all there is and answers it as a batch, whenever it is let; `does` may raise in an answer's place."""

    model_id, endpoint, journalled, parallel = "m", "e", True, 64

    def __init__(self, does: Callable[[str], None] = lambda text: None) -> None:
        self.does, self.go = does, threading.Event()
        self.batches: list[list[str]] = []
        self.closed = self.sessions = 0
        self.go.set()

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion | None]:
        self.sessions += 1
        pool: list[Request] = []
        for asked in requests:
            if asked is not None:
                pool.append(asked)
                if len(pool) < self.parallel:
                    continue
            assert pool, "None came though nothing was under way"
            self.go.wait()
            self.batches.append([text_of(r) for r in pool])
            for text in self.batches[-1]:
                self.does(text)
            yield from (Completion(r.key, f"re: {text_of(r)}", "stop") for r in pool)
            pool = []

    def close(self) -> None:
        self.closed += 1


def _under_way(feed: Feed) -> bool:
    return feed.flying > 0


def answer(future: Future[Completion]) -> str | None:
    completion = future.result(20)
    assert completion.asked is not None and completion.key == completion.asked.key
    return completion.text or completion.error


def test_what_waits_while_the_engine_works_is_its_next_batch() -> None:
    engine = Engine()
    engine.go.clear()
    feed = Feed(engine, places=100)
    first = feed.submit([request("first")])
    until(lambda: feed.flying == 1)
    futures = feed.submit([request(f"t{n}") for n in range(50)]) + feed.submit([request("t7"), request("first")])
    engine.go.set()
    assert answer(first[0]) == "re: first"
    assert [answer(f) for f in futures] == [*(f"re: t{n}" for n in range(50)), "re: t7", "re: first"], "equal ones are asked once, and all answered"
    assert engine.batches == [["first"], [f"t{n}" for n in range(50)]]
    until(lambda: feed.taken == 0)
    assert answer(feed.submit([request("later")])[0]) == "re: later"
    assert feed.close() and answer(first[0])
    with pytest.raises(Closed):
        feed.submit([request("too late")])


def test_places_are_bounded_and_given_back_by_whoever_goes() -> None:
    engine = Engine()
    engine.go.clear()
    feed = Feed(engine, places=3)
    (flying,) = feed.submit([request("flying")])
    until(lambda: feed.flying == 1)
    a, b = feed.submit([request("a"), request("b")])
    for size in (1, 4):
        with pytest.raises(Full):
            feed.submit([request(f"more{n}") for n in range(size)])
    assert a.cancel() and feed.taken == 2
    (c,) = feed.submit([request("c")])
    assert flying.cancel() and feed.taken == 2, "its place is free, though the engine works on it"
    (d,) = feed.submit([request("flying")])
    engine.go.set()
    assert [answer(x) for x in (b, c, d)] == ["re: b", "re: c", "re: flying"]
    assert engine.batches == [["flying"], ["b", "c"]], "what nobody waits for is not asked, and what is under way is not asked again"
    with pytest.raises(CancelledError):
        a.result()
    assert feed.close() and feed.taken == 0


def test_an_engine_that_can_ends_the_work_that_nobody_waits_for() -> None:
    class Dropping(Engine):
        def __init__(self) -> None:
            super().__init__()
            self.dropped: list[str] = []

        def drop(self, key: str) -> None:
            self.dropped.append(key)

        def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion | None]:
            for completion in super().generate(requests):
                if completion is not None and completion.key in self.dropped:
                    self.dropped.remove(completion.key)
                    completion = Completion(completion.key, None, error="unanswered", detail="given up")
                yield completion

    engine = Dropping()
    engine.go.clear()
    feed = Feed(engine, places=10)
    gone, joined = feed.submit([request("a"), request("b")])
    until(lambda: feed.flying == 2)
    assert gone.cancel() and engine.dropped == [request("a").key]
    (again,) = feed.submit([request("a")])
    (second,) = feed.submit([request("b")])
    assert joined.cancel() and engine.dropped == [request("a").key], "somebody else waits for it"
    engine.go.set()
    assert [answer(again), answer(second)] == ["re: a", "re: b"] and engine.batches == [["a", "b"], ["a"]]
    assert feed.close()


def test_what_breaks_the_engine_costs_itself_alone() -> None:
    def does(text: str) -> None:
        if text == "bomb":
            raise MemoryError("one request too large")

    engine = Engine(does)
    engine.go.clear()
    feed = Feed(engine, places=100)
    feed.submit([request("first")])
    until(lambda: feed.flying == 1)
    futures = feed.submit([request(t) for t in ("a", "bomb", "b", "c")])
    engine.go.set()
    assert [answer(f) for f in futures] == ["re: a", "server_error", "re: b", "re: c"]
    assert engine.batches[1:] == [["a", "bomb", "b", "c"], ["a"], ["bomb"], ["b"], ["c"]]
    assert feed.fault is None and engine.closed == 0 and answer(feed.submit([request("next")])[0]) == "re: next"
    assert feed.close()


def test_an_engine_that_cannot_be_asked_is_reported_at_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.serving._feed.FIRST", 0.05)
    down = True

    def does(text: str) -> None:
        if down:
            raise Missing("no service")

    engine = Engine(does)
    engine.go.clear()
    feed = Feed(engine, places=100)
    futures = feed.submit([request("a")])
    until(lambda: feed.flying == 1)
    futures += feed.submit([request("b")])
    engine.go.set()
    for future in futures:
        with pytest.raises(Down) as e:
            future.result(20)
        assert isinstance(e.value.fault, Missing) and e.value.after > 0
    assert isinstance(feed.fault, GuardkitError) and engine.closed == 1
    with pytest.raises(Down):
        feed.submit([request("at once")])
    down = False

    def asked() -> bool:
        try:
            return answer(feed.submit([request("c")])[0]) == "re: c"
        except Down:
            return False

    until(asked)
    assert feed.fault is None and feed.close()


def test_an_engine_that_breaks_every_request_is_at_fault_itself() -> None:
    def does(text: str) -> None:
        raise RuntimeError("no engine")

    feed = Feed(Engine(does), places=10)
    assert answer(feed.submit([request("a")])[0]) == "server_error"
    feed.submit([request("b")])
    until(lambda: feed.fault is not None)
    with pytest.raises(Down):
        feed.submit([request("c")])
    assert feed.close()


def test_closing_answers_what_was_taken_or_says_that_it_did_not() -> None:
    for patient in (True, False):
        engine = Engine()
        engine.go.clear()
        feed = Feed(engine, places=10)
        futures = feed.submit([request("a"), request("b")])
        until(partial(_under_way, feed))
        if patient:
            threading.Timer(0.05, engine.go.set).start()
        assert feed.close(None if patient else 0.05) is patient
        if patient:
            assert [answer(f) for f in futures] == ["re: a", "re: b"]
        else:
            for future in futures:
                with pytest.raises(Closed):
                    future.result(20)
            engine.go.set()


def test_an_endpoint_is_asked_at_once_though_it_is_still_answering_another(server: Server) -> None:
    server.script = None
    server.faults = {"slow": ["hang"]}
    c = config(server)
    backend = open_backend(c)

    def asked(text: str) -> Request:
        return build_request(backend, c, [{"role": "user", "content": text}])

    feed = Feed(backend, places=100)
    feed.submit([asked("slow")])
    until(lambda: server.in_flight == 1)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda n: feed.submit([asked(f"t{n % 40}")])[0].result(20).text, range(80)))
    assert found == [f"answer to 't{n % 40}' (0)" for n in range(80)] and server.in_flight == 1
    assert not feed.close(0.0)
    backend.close()


def test_requests_of_clients_that_are_refused_alike_say_nothing_of_the_next_one(server: Server) -> None:
    server.script = lambda text, body: (400, {}, {"error": {"message": "too long"}}) if "long" in text else (200, {}, chat("fine"))
    c = config(server)
    backend = open_backend(c)
    feed = Feed(backend, places=100)
    futures = feed.submit([build_request(backend, c, [{"role": "user", "content": f"long {n}"}]) for n in range(40)])
    assert {f.result(20).error for f in futures} == {"bad_request"}
    assert feed.submit([build_request(backend, c, [{"role": "user", "content": "short"}])])[0].result(20).text == "fine"
    assert feed.close()
    backend.close()
