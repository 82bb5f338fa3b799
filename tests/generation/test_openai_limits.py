"""The openai backend under rate limits, faults, outages, budgets, interrupts and kill -9, against a real server on this machine."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import CLIENT, bare, config, run
from server import Server, answer, running

from toolkit.common.errors import Stopped
from toolkit.generation import Journal, Meter, Price, build_request, complete, open_backend


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as s:
        yield s


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.generation.backends._http.FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_concurrency_is_what_was_asked_for() -> None:
    with running(Server(latency=0.2)) as server:
        run(config(server, concurrency=150, slow_start=False), [f"t{n}" for n in range(450)])
        assert server.most_in_flight == 150


def test_slow_start_begins_with_few() -> None:
    with running(Server(latency=0.2)) as server:
        backend = open_backend(c := config(server, concurrency=150))
        answers = backend.generate(iter([build_request(backend, c, [{"role": "user", "content": f"t{n}"}]) for n in range(600)]))
        next(answers)
        assert server.most_in_flight == 37
        assert sum(c is not None for c in answers) == 599
        assert server.most_in_flight == 150
        backend.close()


def test_a_429_spends_no_attempt_but_patience_ends(server: Server) -> None:
    server.faults["t"] = [*["429:0.02"] * 6, "said-429"]
    assert run(config(server, retries=0), ["t"])[0].ok
    server.faults["u"] = ["429:5"] * 6
    begun = time.monotonic()
    [failure] = run(config(server, retries=0, patience=1), ["u"])
    assert (failure.error, server.asked["u"]) == ("rate_limit", 1)
    assert time.monotonic() - begun < 5


def test_retry_after_is_waited_for(server: Server) -> None:
    server.faults["t"] = ["429:0.6"]
    [c] = run(config(server), ["t"])
    assert c.ok
    assert c.seconds is not None
    assert c.seconds >= 0.6


def test_a_run_cut_short_can_go_on_with_the_same_backend(tmp_path: Path) -> None:
    with running(Server(latency=0.05)) as server, Journal(tmp_path) as journal:
        c = config(server, concurrency=16)
        backend = open_backend(c)
        requests = [build_request(backend, c, [{"role": "user", "content": f"t{n}"}]) for n in range(300)]
        with complete(requests, backend, journal) as first:
            for _ in range(40):
                next(first)
        assert [x.text for x in complete(requests, backend, journal)] == [answer(f"t{n}", 0) for n in range(300)]
        backend.close()
        backend.close()
        asked_twice = sum(n - 1 for n in server.asked.values())
        assert asked_twice <= 16  # what was in flight when it was cut


def test_an_interrupt_while_waiting_keeps_what_was_answered(tmp_path: Path) -> None:
    with running(Server(latency=0.02)) as server, Journal(tmp_path) as journal:
        server.faults["t50"] = ["hang"]
        c = config(server, concurrency=8)
        backend = open_backend(c)
        requests = [build_request(backend, c, [{"role": "user", "content": f"t{n}"}]) for n in range(100)]
        timer = threading.Timer(1.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            list(complete(requests, backend, journal))
        timer.join()
        backend.close()
        assert journal.counts()["completions"] == 99


def test_after_kill_9_only_what_was_in_flight_is_asked_again(tmp_path: Path) -> None:
    rows, kills = 600, 3
    with running(Server(latency=0.03)) as server:
        command = [sys.executable, "-c", CLIENT, server.base_url, str(tmp_path / "j"), str(rows)]
        in_flight = 0
        for k in range(kills):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            for _ in range(150 * k + 100):  # the rows of the earlier runs come from the journal
                process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            in_flight += 16
        last = subprocess.run(command, capture_output=True, text=True, check=True)
        assert last.stdout.splitlines() == [f"{n} {answer(f't{n}', 0)}" for n in range(rows)]
        assert sum(server.asked.values()) <= rows + in_flight
        before = sum(server.asked.values())
        again = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (again.stdout, sum(server.asked.values())) == (last.stdout, before)


def test_endless_429_from_a_server_that_names_no_time(server: Server) -> None:
    server.faults["t"] = ["429:0"] * 10_000
    [failure] = run(config(server, patience=0.5), ["t"])
    assert failure.error == "rate_limit"
    assert server.asked["t"] < 30


def test_among_faults_of_all_kinds_every_row_ends_and_none_is_answered_twice(server: Server, tmp_path: Path) -> None:
    rng, kinds = random.Random(5), ["429:0.2", "500", "hang", "torn", "cut", "reset", "400", "503", "html"]
    weights = [5, 1, 0.5, 0.5, 0.5, 0.5, 0.2, 0.5, 0.3]
    texts = [f"t{n}" for n in range(3000)]
    for text in texts:
        while rng.random() < sum(weights) / 100:
            server.faults.setdefault(text, []).extend(rng.choices(kinds, weights))
    bad = {t for t, faults in server.faults.items() if "400" in faults}
    server.latency = 0.02
    with Journal(tmp_path) as journal:
        out = run(config(server, concurrency=128, timeout=1, retries=8), texts, journal)
        assert {t for t, c in zip(texts, out, strict=True) if not c.ok} == bad
        assert {c.error for c in out} == {None, "bad_request"}
        assert [c.text for t, c in zip(texts, out, strict=True) if t not in bad] == [answer(t, 0) for t in texts if t not in bad]
        again = run(config(server), texts, journal)
        assert [c.text for t, c in zip(texts, again, strict=True)] == [answer(t, 0) for t in texts]  # the 400s are asked once more, and pass
    assert server.answered == dict.fromkeys(texts, 1)


def test_an_attempt_that_may_have_been_charged_for_is_repeated_only_within_the_budget(server: Server) -> None:
    server.faults |= {"t": ["torn", "500", "reset", "429"], "u": ["torn"] * 9}
    c = config(server, price=Price(input=1, output=1))
    meter = Meter({(c.endpoint_name, "m"): Price(input=1, output=1)}, cap=5 * 2300 / 1e6)
    [t] = bare(c, ["t"], meter)
    assert (t.ok, t.lost) == (True, 2)
    [u] = bare(c, ["u"], meter)
    assert (u.error, server.asked["u"]) == ("budget", 2)
    assert meter.spent <= 5 * 2300 / 1e6


def test_a_request_that_waits_for_the_rate_limit_holds_no_place(server: Server) -> None:
    server.faults |= {f"t{n}": ["429:1"] for n in range(4)}
    begun = time.monotonic()
    out = bare(config(server, concurrency=2), [f"t{n}" for n in range(40)])
    assert all(c.ok for c in out)
    others = server.times[: 4 + 36]
    assert others[-1] - begun < 1  # all that were not refused went before the first of those that were came back
    assert max(server.asked.values()) == 2


def test_a_used_up_quota_stops_the_traffic_until_its_reset(server: Server) -> None:
    server.faults["t0"] = ["spent:0.6"]
    assert all(c.ok for c in run(config(server, concurrency=1), ["t0", "t1", "t2"]))
    assert server.times[1] - server.times[0] >= 0.6
    assert server.times[2] - server.times[1] < 0.5


def test_two_backends_of_one_endpoint_and_model_share_its_limits(server: Server) -> None:
    c = config(server, requests_per_minute=600)
    backends = [open_backend(c) for _ in range(2)]
    threads = []
    for k, backend in enumerate(backends):
        requests = [build_request(backend, c, [{"role": "user", "content": f"{k}-{n}"}]) for n in range(6)]
        threads.append(threading.Thread(target=lambda b=backend, r=requests: list(b.generate(iter(r)))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    for backend in backends:
        backend.close()
    assert len(server.times) == 12
    assert server.times[-1] - server.times[0] >= 1.0  # 12 requests, 0.1 s apart


def test_an_outage_costs_no_attempt_and_ends_by_itself(server: Server) -> None:
    server.latency = 0.01
    server.always = "503"
    server.faults["early"] = []

    def heal() -> None:
        time.sleep(2.2)
        server.always = None

    threading.Thread(target=heal, daemon=True).start()
    out = run(config(server, retries=12, concurrency=16), [f"t{n}" for n in range(60)])
    assert [c.text for c in out] == [answer(f"t{n}", 0) for n in range(60)]
    quiet = [t for t in server.times if 1.5 <= t - server.times[0] <= 2.2]
    assert len(quiet) <= 5  # single probes, where 16 requests would have gone round all the time


@pytest.mark.parametrize("fault", ["503", "reset"])
@pytest.mark.parametrize("concurrency", [1, 16])
def test_an_outage_costs_no_row_even_without_retries(server: Server, fault: str, concurrency: int) -> None:
    server.latency = 0.01
    texts = [f"t{n}" for n in range(60)]

    def outage() -> None:
        while len(server.answered) < 10:
            time.sleep(0.005)
        server.always = fault
        time.sleep(1.6)
        server.always = None

    threading.Thread(target=outage, daemon=True).start()
    out = run(config(server, retries=0, concurrency=concurrency), texts)
    assert [c.text for c in out] == [answer(t, 0) for t in texts]


def test_an_outage_at_the_very_end_costs_no_row_either(server: Server) -> None:
    server.always = "503"
    timer = threading.Timer(1.6, setattr, [server, "always", None])
    timer.start()
    out = run(config(server, retries=0, concurrency=16), [f"t{n}" for n in range(10)])
    assert all(c.ok for c in out)
    timer.join()


def test_single_failures_without_retries_are_judged_after_one_attempt(server: Server) -> None:
    bad = {*(f"t{n}" for n in range(0, 300, 20)), "t299"}  # the last one has nobody after it
    server.faults |= {t: ["500"] for t in bad}
    texts = [f"t{n}" for n in range(300)]
    out = run(config(server, retries=0, concurrency=8), texts)
    assert {t for t, c in zip(texts, out, strict=True) if c.error == "server_error"} == bad
    assert set(server.asked.values()) == {1}


def test_an_outage_that_outlasts_the_patience_stops_the_run_with_all_kept(server: Server, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        run(config(server), [f"t{n}" for n in range(20)], journal)
        server.always = "503"
        with pytest.raises(Stopped, match=r"has answered nothing for .*503"):
            run(config(server, retries=50, patience=1), [f"t{n}" for n in range(60)], journal)
        server.always = None
        out = run(config(server), [f"t{n}" for n in range(60)], journal)
        assert [c.text for c in out] == [answer(f"t{n}", 0) for n in range(60)]
        assert all(server.answered[f"t{n}"] == 1 for n in range(60))


def test_an_endpoint_that_never_answers_stops_the_run_and_fails_no_row(server: Server, tmp_path: Path) -> None:
    server.always = "hang"
    with Journal(tmp_path) as journal:
        with pytest.raises(Stopped, match=r"has answered nothing for .*no answer within"):
            run(config(server, timeout=0.4, retries=20, patience=1), [f"t{n}" for n in range(60)], journal)
        assert journal.counts() == {"completions": 0, "failures": 0}


def test_a_row_that_always_fails_is_its_own_trouble(server: Server) -> None:
    server.faults |= {f"t{n}": ["500"] * 99 for n in (3, 7, 11)}
    out = run(config(server, retries=3, concurrency=4), [f"t{n}" for n in range(200)])
    assert [n for n, c in enumerate(out) if c.error == "server_error"] == [3, 7, 11]
    assert sum(c.ok for c in out) == 197


def test_what_a_closed_backend_leaves_free_another_one_takes(server: Server) -> None:
    server.faults["a"] = ["hang"]
    c = config(server, concurrency=1)
    first, second = open_backend(c), open_backend(c)
    a, b = (build_request(first, c, [{"role": "user", "content": t}]) for t in "ab")
    ended: list[str] = []

    def ask() -> None:
        try:
            list(first.generate(iter([a])))
        except Stopped as e:
            ended.append(e.message)

    stuck = threading.Thread(target=ask, daemon=True)
    stuck.start()
    while not server.in_flight:
        time.sleep(0.01)
    timer = threading.Timer(0.3, first.close)
    timer.start()
    begun = time.monotonic()
    assert [x.text for x in second.generate(iter([b])) if x is not None] == [answer("b", 0)]
    assert time.monotonic() - begun >= 0.2
    second.close()
    timer.join()
    stuck.join(5)
    assert "closed" in ended[0]
