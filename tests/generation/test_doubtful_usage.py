"""A budget holds whatever an endpoint says, or does not say, of its tokens; what is charged without a count is marked as an estimate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer
from batch_server import config as batch_config
from batch_server import running as running_batches
from hypothesis import given
from hypothesis import strategies as st
from raw_server import answer, http, running
from test_hostile_answers import ask

from toolkit.common.errors import Stopped
from toolkit.generation import Completion, Journal, Meter, Price, Request, build_request, complete, open_backend
from toolkit.generation._quotas import ANSWERED, Limits
from toolkit.generation._usage import believed, tokens_at_most, written_at_most

TEXT = "The garden is quiet. " * 20
LIES: dict[str, Any] = {
    "none": ...,
    "null": None,
    "zero": {"prompt_tokens": 0, "completion_tokens": 0},
    "few": {"prompt_tokens": 1, "completion_tokens": 1},
    "negative": {"prompt_tokens": -1_000_000, "completion_tokens": -5},
    "absurd": {"prompt_tokens": 2**52, "completion_tokens": 2**52},
    "text": {"prompt_tokens": "10", "completion_tokens": "5"},
    "nan": {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
    "list": [1],
}


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def lying(usage: Any) -> bytes:
    body = answer(TEXT, usage=usage)
    if usage is ...:
        del body["usage"]
    return http(json.dumps(body).encode())


@pytest.mark.parametrize("kind", LIES)
def test_a_cap_holds_whatever_the_endpoint_counts(kind: str, tmp_path: Path) -> None:
    """At 1,000 dollars a million tokens an answer of at most 1,000 tokens may cost a dollar and more: with five, four or fewer fit."""
    price = {"input": 1000, "output": 1000}
    with running(lambda head, body: lying(LIES[kind])) as server:
        with pytest.raises(Stopped, match=r"the budget of \$5\.00 is used up"):
            ask(tmp_path, server.base_url, 50, price=price, max_tokens=1000, budget=5.0, concurrency=4)
        assert 1 <= server.asked <= 4
        more, _ = ask(tmp_path, server.base_url, 5, price=price, max_tokens=1000, budget=50.0)
    assert more["asked"] == 5 - more["from_journal"] and more["cost"] >= more["asked"]
    assert 0.99 * more["cost"] <= more["estimated"] <= more["cost"]


def test_what_an_honest_endpoint_counts_is_charged_as_it_says(tmp_path: Path) -> None:
    with running(lambda head, body: lying({"prompt_tokens": 9, "completion_tokens": 100})) as server:
        found, _ = ask(tmp_path, server.base_url, 5, price={"input": 1000, "output": 1000}, budget=50.0)
    assert (found["cost"], found["estimated"]) == (pytest.approx(5 * 109 / 1000), 0.0)


@pytest.fixture
def batches() -> Iterator[BatchServer]:
    with running_batches(BatchServer()) as server:
        yield server


def test_batches_are_charged_alike(batches: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven tokens read, it says, of prompts of thousands of letters: the worst case of what was read, and what it says of what was written."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    c = batch_config(batches, price=Price(input=1000, output=1000), max_tokens=10)
    meter = Meter(cap=100.0)
    backend = open_backend(c, work=tmp_path)
    meter.register(backend, c)
    requests = [build_request(backend, c, [{"role": "user", "content": f"{n} " + "garden " * 500}]) for n in range(3)]
    with Journal(tmp_path) as journal:
        run = complete(iter(requests), backend, journal, meter=meter)
        assert all(c.ok for c in run)
        backend.close()
    read = sum(map(tokens_at_most, requests)) / 1000
    assert run.stats.estimated == pytest.approx(meter.estimated)
    assert read <= meter.estimated <= meter.spent <= read + 3 * 4000 / 1000


def request(letters: int, max_tokens: int) -> Request:
    return Request("m", "e", (("user", "x" * letters),), temperature=None, top_p=None, max_tokens=max_tokens)


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 3000), st.integers(0, 1 << 53), st.integers(0, 1 << 53))
def test_a_count_is_believed_within_the_bounds_of_the_text(asked: int, stated: int, most: int, read: int, written: int) -> None:
    one = request(asked, most)
    completion = Completion(one.key, "y" * stated, prompt_tokens=read, completion_tokens=written)
    r, w = believed(one, completion)
    assert r == (read if max(1, asked // 16) <= read <= 16 * asked + 100_000 else None)
    assert w is None or (w == written and w >= stated / 16 and w <= 16 * max(most, stated) + 100_000)
    if 1 <= asked <= 4 * read and read <= asked + 100 and 1 <= stated <= 4 * written and written <= max(stated, most):
        assert (r, w) == (read, written), "what any tokeniser may count"
    assert written_at_most(one, completion) >= min(most, stated) and (stated <= 16 * most or written_at_most(one, completion) >= stated)


def test_an_absurd_count_does_not_stop_the_requests_that_follow() -> None:
    """A ceiling of tokens a minute is settled by what is believed of the count."""
    limits = Limits(4, slow_start=False, tokens_per_minute=60_000)
    sent = limits.sent(400, 100, 0.0)
    limits.landed(sent, ANSWERED, 1.0)
    one = request(100, 100)
    limits.used(sent, *believed(one, Completion(one.key, "Fine.", prompt_tokens=2**52, completion_tokens=2**52)))
    assert (limits.wait(1.0) or 0.0) < 60
