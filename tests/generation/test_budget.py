"""The meter: never past the cap in whatever order, what is booked for which outcome, and no price no run."""

from __future__ import annotations

import random
import sys
import threading
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.generation import Completion, Meter, OpenAIConfig, Price, Request, TemplateConfig
from toolkit.generation._request import failed
from toolkit.generation._usage import tokens_at_most

AT = ("http://teacher.example/v1", "teacher")
PRICE = Price(input=2.5, output=10.0)


def ask(i: int, words: int = 10, max_tokens: int = 100) -> Request:
    return Request(
        AT[1], AT[0], (("user", f"{i} " + "garden " * words),), temperature=0.0, top_p=1.0, max_tokens=max_tokens, max_tokens_name="max_tokens"
    )


def worst(request: Request) -> float:
    return (tokens_at_most(request) * PRICE.input + request.max_tokens * PRICE.output) / 1e6


def answer(request: Request, read: int | None = 50, written: int | None = 20, **more: object) -> Completion:
    return Completion(request.key, "Fine.", "stop", prompt_tokens=read, completion_tokens=written, **more)  # type: ignore[arg-type]


def end(request: Request, dice: random.Random, lost: int) -> Completion:
    """What may come of a request; never more tokens than its bound."""
    kind = dice.randrange(5)
    if kind == 0:
        return answer(request, None, None, lost=lost)
    if kind == 1:
        return Completion(request.key, None, error="timeout", lost=lost + 1)
    if kind == 2:
        return Completion(request.key, None, error="refused", finish="stop", lost=lost, prompt_tokens=30, completion_tokens=5)
    return answer(request, dice.randint(0, tokens_at_most(request)), dice.randint(0, request.max_tokens), lost=lost)


@given(st.randoms(use_true_random=False), st.floats(0, 0.02), st.integers(1, 60))
def test_never_past_the_cap_whatever_the_order(dice: random.Random, cap: float, n: int) -> None:
    meter = Meter({AT: PRICE}, cap)
    waiting = [ask(i, dice.randint(0, 40), dice.randint(1, 400)) for i in range(n)]
    flying: dict[str, tuple[Request, int]] = {}
    found = 0.0
    while waiting or flying:
        if waiting and (not flying or dice.random() < 0.5):
            request = waiting.pop()
            before = meter.spent + meter.reserved
            fits = before + worst(request) <= cap
            if meter.reserve(request):
                flying[request.key] = (request, 0)
            assert fits == (request.key in flying) or abs(before + worst(request) - cap) < 1e-9
        else:
            request, lost = flying.pop(dice.choice(list(flying)))
            if dice.random() < 0.3:
                if meter.lost(request):
                    flying[request.key] = (request, lost + 1)
                    continue
                done = Completion(request.key, None, error="budget", lost=lost + 1)
            else:
                done = end(request, dice, lost)
            cost = meter.settle(request, done).dollars
            assert cost is not None and cost >= 0
            found += cost
        assert meter.spent <= cap and meter.spent + meter.reserved <= cap + 1e-12
    assert meter.reserved == 0
    assert found == pytest.approx(meter.spent)


@dataclass
class Watch:
    """The most that was ever seen."""

    most: float = 0.0


def test_never_past_the_cap_from_many_threads() -> None:
    cap = 0.5
    meter, seen, numbers = Meter({AT: PRICE}, cap), Watch(), count()
    refused = threading.Event()

    def work(seed: int) -> None:
        dice = random.Random(seed)
        while not refused.is_set():
            request, lost = ask(next(numbers)), 0
            if not meter.reserve(request):
                refused.set()
                return
            while dice.random() < 0.2:
                lost += 1
                if not meter.lost(request):
                    meter.settle(request, failed(request, "budget", "no room"))
                    break
            else:
                meter.settle(request, end(request, dice, lost))
            seen.most = max(seen.most, meter.spent)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(switch)
    assert refused.is_set() and 0.9 * cap < meter.spent <= cap and seen.most <= cap
    assert meter.reserved == 0


@given(st.text(max_size=200), st.text(max_size=50))
def test_the_bound_holds_for_a_tokeniser_that_knows_no_merges(text: str, system: str) -> None:
    """Byte-level tokenisers make one token a byte at worst; the template around each message adds its few."""
    request = Request("m", "e", (("system", system), ("user", text)), temperature=None, top_p=None, max_tokens=1)
    assert tokens_at_most(request) >= len(text.encode("utf-8", "surrogatepass")) + len(system.encode("utf-8", "surrogatepass")) + 2 * 4 + 3


def test_what_is_booked_for_which_outcome() -> None:
    request = ask(0)
    prompt = tokens_at_most(request) * PRICE.input / 1e6
    for completion, dollars in (
        (answer(request), (50 * 2.5 + 20 * 10) / 1e6),
        (answer(request, None, None), worst(request)),  # an endpoint that counts nothing
        (answer(request, 50, None), (50 * 2.5 + 100 * 10) / 1e6),
        (answer(request, 50, 20, lost=2), (50 * 2.5 + 20 * 10) / 1e6 + 2 * worst(request)),
        (Completion(request.key, None, error="refused", finish="stop", prompt_tokens=50, completion_tokens=20), (50 * 2.5 + 20 * 10) / 1e6),
        (Completion(request.key, None, error="content_filter"), prompt),  # the prompt was filtered: nothing was written
        (Completion(request.key, None, error="rate_limit"), 0.0),
        (Completion(request.key, None, error="bad_request"), 0.0),
        (Completion(request.key, None, error="server_error", lost=1), worst(request)),
        (Completion(request.key, None, error="unanswered"), worst(request)),
    ):
        meter = Meter({AT: PRICE}, 10.0)
        assert meter.reserve(request) and meter.reserved == pytest.approx(worst(request))
        assert meter.settle(request, completion).dollars == pytest.approx(dollars) == meter.spent
        assert meter.reserved == 0


def test_a_lost_attempt_stays_booked_and_is_not_booked_twice() -> None:
    request = ask(0)
    meter = Meter({AT: PRICE}, 2.5 * worst(request))
    assert meter.reserve(request) and meter.lost(request)
    assert meter.spent == pytest.approx(worst(request)) == meter.reserved
    assert not meter.lost(request)  # the second is booked as well; a third has no room
    assert meter.settle(request, Completion(request.key, None, error="budget", lost=2)).dollars == pytest.approx(2 * worst(request))
    assert meter.spent == pytest.approx(2 * worst(request)) and meter.reserved == 0


class Opened:
    """A backend as the meter sees it."""

    def __init__(self, endpoint: str, model_id: str) -> None:
        self.endpoint, self.model_id = endpoint, model_id


def test_no_price_no_run_with_a_cap() -> None:
    config = OpenAIConfig(backend="openai", model="house-model", base_url="http://localhost:8000/v1")
    text = r"'house-model' at http://localhost:8000/v1\n  .*price: \{input: …, output: …\} \(price: \{input: 0, output: 0\}"
    with pytest.raises(InputError, match=text):
        Meter(cap=5.0).register(Opened("http://localhost:8000/v1", "house-model"), config)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'teacher' at http://teacher\.example/v1"):
        Meter(cap=5.0).reserve(ask(0))
    free = Meter()
    free.register(Opened("http://localhost:8000/v1", "house-model"), config)  # type: ignore[arg-type]
    assert free.reserve(ask(0)) and free.settle(ask(0), answer(ask(0))).dollars is None and free.spent == 0


def test_a_stated_price_counts_and_what_runs_here_is_free() -> None:
    meter = Meter(cap=1.0)
    config = OpenAIConfig(backend="openai", model=AT[1], base_url=AT[0], price=PRICE)
    meter.register(Opened(*AT), config)  # type: ignore[arg-type]
    meter.register(Opened("template", "t"), TemplateConfig(backend="template"))  # type: ignore[arg-type]
    assert meter.reserve(ask(0)) and meter.settle(ask(0), answer(ask(0))).dollars == pytest.approx(0.000325)
    here = Request("t", "template", (("user", "x"),), temperature=0.0, top_p=1.0, max_tokens=10**9)
    assert meter.reserve(here) and meter.settle(here, Completion(here.key, "Fine.")) == (0.0, 0.0)
