"""Rate control without a clock: the window against simulated endpoints, ceilings, quota headers and the breaker."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.generation import _window
from toolkit.generation._quotas import ANSWERED, DROPPED, FAILED, REFUSED, REJECTED, Limits, Pacer, quota_pause, seconds_of
from toolkit.generation._window import Window

Endpoint = Callable[[float, random.Random], tuple[str, float]]


@dataclass
class Ran:
    """What a simulation saw: mean window, and (time, outcome) of every request."""

    window: float
    log: list[tuple[float, str]]

    def rate(self, outcome: str, begin: float, end: float) -> float:
        return sum(o == outcome and begin <= t < end for t, o in self.log) / (end - begin)

    def share(self, begin: float, end: float) -> float:
        """429s among all."""
        refused = self.rate(REFUSED, begin, end)
        return refused / max(1e-9, refused + self.rate(ANSWERED, begin, end))


def simulate(window: Window, endpoint: Endpoint, until: float, seed: int = 0) -> Ran:
    """An endless supply of requests through a window; the clock is a number."""
    rng = random.Random(seed)
    now = area = 0.0
    flying: list[tuple[float, int, _window.Ticket, str]] = []
    log: list[tuple[float, str]] = []
    sent = 0
    while now < until:
        wait = window.wait(now)
        if wait == 0.0:
            outcome, seconds = endpoint(now, rng)
            sent += 1
            heapq.heappush(flying, (now + seconds, sent, window.launched(now), outcome))
            continue
        following = min([until, *([flying[0][0]] if flying else []), *([now + wait] if wait else [])])
        area += window.size * (following - now)
        now = following
        while flying and flying[0][0] <= now:
            _, _, ticket, outcome = heapq.heappop(flying)
            if isinstance(endpoint, Places) and outcome == ANSWERED:
                endpoint.taken -= 1
            window.landed(ticket, outcome, now)
            log.append((now, outcome))
    return Ran(area / until, log)


@dataclass
class Random:
    """Refuses a share of the requests, whatever their number."""

    share: float
    spread: float = 0.3
    refusing: float = 0.005

    def __call__(self, now: float, rng: random.Random) -> tuple[str, float]:
        if rng.random() < self.share:
            return REFUSED, self.refusing
        return ANSWERED, 0.5 * rng.lognormvariate(0, self.spread)


@dataclass
class Bucket:
    """Answers `rate` requests a second, with a second's worth of burst."""

    rate: float
    refusing: float = 0.005
    tokens: float = field(init=False)
    last: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.rate

    def __call__(self, now: float, rng: random.Random) -> tuple[str, float]:
        self.tokens = min(self.rate, self.tokens + (now - self.last) * self.rate)
        self.last = now
        if self.tokens < 1:
            return REFUSED, self.refusing
        self.tokens -= 1
        return ANSWERED, 0.5 * rng.lognormvariate(0, 0.3)


@dataclass
class Places:
    """Answers `most(now)` requests at a time."""

    most: Callable[[float], int]
    refusing: float = 0.005
    taken: int = 0

    def __call__(self, now: float, rng: random.Random) -> tuple[str, float]:
        if self.taken >= self.most(now):
            return REFUSED, self.refusing
        self.taken += 1
        return ANSWERED, 0.5 * rng.lognormvariate(0, 0.3)


@pytest.mark.parametrize("refusing", [0.005, 0.5])
@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("asked", [32, 256])
def test_random_429s_do_not_shrink_the_window(asked: int, share: float, refusing: float) -> None:
    means = [simulate(Window(asked, slow_start=True), Random(share, refusing=refusing), 200, seed).window / asked for seed in range(3)]
    assert sum(means) / len(means) >= 0.9


def test_the_window_doubles_in_a_round_trip_up_to_what_was_asked_for() -> None:
    window = Window(1024, slow_start=True)
    assert window.size == 256
    simulate(window, Random(0.0, spread=0.0), 1.25)  # 2 round trips of 0.5 s
    assert window.size == 1024
    assert Window(32, slow_start=True).size == _window.FIRST
    assert Window(1024, slow_start=False).size == 1024


def test_a_window_that_is_not_used_does_not_grow() -> None:
    window = Window(1024, slow_start=True)
    for n in range(1000):
        window.landed(window.launched(float(n)), ANSWERED, n + 0.5)
    assert window.size == 256


@pytest.mark.parametrize("refusing", [0.005, 0.5])
@pytest.mark.parametrize("slow_start", [True, False])
def test_an_endpoint_with_a_rate_gets_that_rate(slow_start: bool, refusing: float) -> None:
    ran = simulate(Window(512, slow_start=slow_start), Bucket(100, refusing=refusing), 120)
    assert ran.rate(ANSWERED, 40, 120) >= 90
    assert ran.share(40, 120) <= 0.1


@pytest.mark.parametrize("refusing", [0.005, 0.5])
@pytest.mark.parametrize("slow_start", [True, False])
def test_an_endpoint_with_so_many_places_gets_so_many_requests(slow_start: bool, refusing: float) -> None:
    window = Window(512, slow_start=slow_start)
    ran = simulate(window, Places(lambda now: 64, refusing), 120)
    assert ran.rate(ANSWERED, 40, 120) >= 0.9 * 64 / (0.5 * 1.046)  # mean of the lognormal round trip
    assert ran.share(40, 120) <= 0.1
    assert 50 <= window.size <= 80


def test_a_limit_that_falls_and_comes_back_is_followed_both_ways() -> None:
    ran = simulate(Window(512, slow_start=True), Places(lambda now: 40 if 100 <= now < 200 else 160), 340)
    whole = 1 / (0.5 * 1.046)
    assert ran.rate(ANSWERED, 40, 100) >= 0.9 * 160 * whole
    assert ran.rate(ANSWERED, 120, 200) >= 0.9 * 40 * whole
    assert ran.share(120, 200) <= 0.1
    assert ran.rate(ANSWERED, 280, 340) >= 0.9 * 160 * whole  # it is tried now and then whether there is more


def test_an_endpoint_that_refuses_everything_is_hardly_asked_and_found_again() -> None:
    window = Window(256, slow_start=True)
    ran = simulate(window, Places(lambda now: 0 if 20 <= now < 60 else 10_000), 90)
    assert ran.rate(REFUSED, 30, 60) <= 5  # about two a round trip
    assert ran.rate(ANSWERED, 75, 90) >= 0.9 * 256 / 0.53


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), st.booleans(), st.lists(st.tuples(st.sampled_from([ANSWERED, REFUSED, _window.OTHER]), st.floats(0, 3)), max_size=400))
def test_whatever_comes_the_window_stays_within_its_bounds(asked: int, slow_start: bool, outcomes: list[tuple[str, float]]) -> None:
    window, now = Window(asked, slow_start=slow_start), 0.0
    flying: list[_window.Ticket] = []
    for outcome, seconds in outcomes:
        while window.wait(now) == 0.0:
            flying.append(window.launched(now))
        assert window.flying == len(flying)
        now += seconds
        if flying:
            window.landed(flying.pop(0), outcome, now)
        assert 1 <= window.size <= asked
        assert flying or window.wait(now) is not None  # it never waits for nothing


def test_ceilings_are_kept_without_bursts() -> None:
    for per_minute in (60, 600):
        pacer, now, times = Pacer(per_minute), 1000.0, []
        while now < 1120:
            now += pacer.wait(now)
            pacer.take(1, now)
            times.append(now)
        for begin in (1000, 1030, 1060):
            assert sum(begin <= t < begin + 60 for t in times) <= per_minute + 1
        assert sum(t < 1001 for t in times) <= per_minute / 60 + 1
        assert len(times) >= 2 * per_minute - 1


def test_tokens_are_estimated_before_and_settled_after() -> None:
    limits, now, used = Limits(100, slow_start=False, tokens_per_minute=60_000), 0.0, 0
    while now < 120:
        wait = limits.wait(now)
        if wait:
            now += wait
            continue
        sent = limits.sent(400, 4000, now)  # at most 4,100; it turns out as 300
        limits.landed(sent, ANSWERED, now + 0.01)
        limits.used(sent, 100, 200)
        used += 300
    assert 0.85 * 120_000 <= used <= 1.1 * 120_000


def test_two_backends_share_the_wider_window_and_the_stricter_ceiling() -> None:
    limits = Limits(10, slow_start=False, requests_per_minute=600)
    limits.join(30, 60, None)
    assert limits.window.asked == 30
    limits.sent(1, 1, 100.0)
    assert limits.wait(100.0) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("7.66s", 7.66),
        ("12", 12),
        ("", None),
        ("soon", None),
        ("-1", None),
        (None, None),
    ],
)
def test_reset_times(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_nothing_is_sent_while_a_quota_is_used_up() -> None:
    limits = Limits(10, slow_start=False)
    assert quota_pause({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s"}) is None
    assert quota_pause({"x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "9s"}, needed=101) == 9
    assert quota_pause({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "tomorrow"}) is None
    limits.heard({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"}, 0, 5.0)
    assert limits.wait(5.0) == 20
    assert limits.wait(24.9) == pytest.approx(0.1)
    assert limits.wait(25.0) == 0
    limits.heard({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12h"}, 0, 30.0)
    assert limits.wait(30.0) == 60


def fail(limits: Limits, who: int, now: float, *, first: bool = True) -> None:
    sent = limits.sent(1, 1, now)
    limits.landed(sent, FAILED, now)
    limits.failed(sent, who, first=first, now=now)


def test_an_outage_opens_the_breaker_and_an_answer_closes_it() -> None:
    limits = Limits(100, slow_start=True)
    for n in range(20):
        fail(limits, n, 10 + n / 10)
    assert limits.breaker.opened is not None
    probes, now = 0, 12.0
    while now < 300:  # single probes with growing pauses
        wait = limits.wait(now)
        assert wait is not None
        if wait:
            assert wait <= 30
            now += wait
            continue
        sent = limits.sent(1, 1, now)
        assert limits.wait(now) is None
        limits.landed(sent, FAILED, now + 1)
        limits.failed(sent, probes, first=False, now=now + 1)
        probes, now = probes + 1, now + 1
    assert 8 <= probes <= 24
    while wait := limits.wait(now):
        now += wait
    sent = limits.sent(1, 1, now)
    limits.landed(sent, REJECTED, now + 1)  # even a 400 is a sign of life
    assert limits.breaker.opened is None
    assert limits.wait(now + 1) == 0
    assert limits.window.size == 25


def test_where_an_outage_is_suspected_only_a_few_requests_go_on() -> None:
    limits = Limits(100, slow_start=False)
    for n in range(8):
        assert limits.wait(10.0) == 0
        fail(limits, n, 10.0)
    assert limits.wait(10.0) == pytest.approx(0.1)
    assert limits.breaker.opened is None
    flying = [limits.sent(1, 1, 10.1) for _ in range(9)]
    assert limits.wait(10.1) == 0  # more are under way than have failed: a slow endpoint, for all we know
    limits.landed(flying.pop(), ANSWERED, 10.2)
    assert limits.wait(10.2) == 0
    for n in range(8, 16):
        fail(limits, n, 10.3)
    for sent in flying:
        limits.landed(sent, DROPPED, 10.3)
    assert limits.wait(10.3) == pytest.approx(0.1)


def test_a_probe_that_is_dropped_makes_room_for_another() -> None:
    limits = Limits(100, slow_start=True)
    for n in range(20):
        fail(limits, n, 10 + n / 10)
    sent = limits.sent(1, 1, 20.0)
    limits.landed(sent, DROPPED, 21.0)
    assert limits.wait(100.0) == 0


def test_random_500s_poisoned_rows_and_slow_answers_leave_the_breaker_closed() -> None:
    rng = random.Random(1)
    limits, now = Limits(64, slow_start=False), 0.0
    for n in range(20_000):
        now += 0.05
        sent = limits.sent(1, 1, now)
        bad = rng.random() < 0.3
        limits.landed(sent, FAILED if bad else ANSWERED, now)
        if bad:
            limits.failed(sent, n, first=True, now=now)
        assert limits.breaker.opened is None
    for n in range(200):  # the end of a run: rows that have failed before, and nothing else is left
        fail(limits, n % 10, now + n, first=False)
    assert limits.breaker.opened is None
    slow = Limits(256, slow_start=False)
    for _ in range(200):  # answers take a minute, some requests fail at once
        slow.sent(1, 1, 0.0)
    for n in range(13):
        fail(slow, n, n / 5)
    assert slow.breaker.opened is None
