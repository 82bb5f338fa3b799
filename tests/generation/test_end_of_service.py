"""An endpoint that serves nobody for now (no credit, a quota of a day) stops the run with all kept; one that refuses all alike is found out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import config, run
from server import Server, answer, chat, running

from toolkit.common.errors import Missing, Stopped
from toolkit.generation import Journal, build_request, open_backend

TEXTS = [f"t{n}" for n in range(40)]


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as s:
        yield s


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.generation.backends._http.FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def serves(server: Server, most: int, after: tuple[int, dict[str, str], Any]) -> None:
    """So many answers, then nothing but `after`."""
    given = 0

    def script(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        nonlocal given
        given += 1
        if given > most:
            return after
        server.answered[text] += 1
        return 200, {}, chat(answer(text))

    server.script = script


NO_CREDIT: dict[str, tuple[int, dict[str, str], Any]] = {
    "deepseek": (402, {}, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}}),
    "openrouter": (402, {}, {"error": {"message": "more credits are required", "code": 402}}),
    "anthropic": (400, {}, {"error": {"message": "Your credit balance is too low to access the API.", "type": "invalid_request_error"}}),
    "dashscope": (400, {}, {"error": {"message": "overdue", "code": "Arrearage"}}),
    "moonshot": (429, {}, {"error": {"message": "exceeded", "type": "exceeded_current_quota_error"}}),
    "in a 200": (200, {}, {"error": {"message": "more credits are required", "code": 402}}),
    "minimax": (200, {}, {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
}


@pytest.mark.parametrize("name", NO_CREDIT)
def test_an_account_without_credit_stops_the_run_and_only_what_is_missing_is_asked_later(server: Server, tmp_path: Path, name: str) -> None:
    serves(server, 10, NO_CREDIT[name])
    words = {"deepseek": "Insufficient Balance", "openrouter": "more credits"}.get(name, "no credit or quota left")
    with Journal(tmp_path) as journal:
        with pytest.raises(Stopped, match=words) as e:
            run(config(server, concurrency=4), TEXTS, journal)
        assert e.value.exit_code == 3
        assert "add credit" in (e.value.hint or "")
        assert len(server.requests) <= 10 + 8
        assert journal.counts()["completions"] == 10, "what was answered is kept, all of it"
        server.script = None
        before = server.asked.total()
        assert all(c.ok for c in run(config(server, concurrency=4), TEXTS, journal))
        assert server.asked.total() - before == len(TEXTS) - 10


def test_what_is_in_flight_at_the_end_of_service_comes_in(server: Server, tmp_path: Path) -> None:
    def script(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if text == "t0":
            return NO_CREDIT["deepseek"]
        time.sleep(0.2)  # paid for, and answered after the refusal
        return 200, {}, chat(answer(text))

    server.script = script
    with Journal(tmp_path) as journal:
        with pytest.raises(Stopped):
            run(config(server, concurrency=4), TEXTS[:4], journal)
        assert journal.counts()["completions"] == 3


DAILY: dict[str, tuple[int, dict[str, str], Any]] = {
    "retry-after": (429, {"Retry-After": "7200"}, {"error": {"message": "requests per day", "code": "rate_limit_exceeded"}}),
    "reset": (429, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2h0m0s"}, {"error": {"message": "per day"}}),
    "epoch": (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{ms}"}, {"error": {"message": "free-models-per-day", "code": 429}}),
    "google": (
        429,
        {},
        [{"error": {"code": 429, "message": "You exceeded your quota", "details": [{"@type": "RetryInfo", "retryDelay": "7200s"}]}}],
    ),
}


@pytest.mark.parametrize("name", DAILY)
def test_a_quota_of_a_day_stops_the_run_at_once_and_says_when_to_come_back(server: Server, tmp_path: Path, name: str) -> None:
    status, headers, body = DAILY[name]
    there = time.time() + 7200
    serves(server, 5, (status, {k: v.format(ms=int(there * 1000)) for k, v in headers.items()}, body))
    with Journal(tmp_path) as journal:
        with pytest.raises(Stopped, match="quota is used up") as e:
            run(config(server, concurrency=4), TEXTS, journal)
        assert journal.counts()["completions"] == 5
    days = {time.strftime("%Y-%m-%d %H:%M", time.localtime(there + s)) for s in range(-60, 61, 10)}
    assert any(day in (e.value.hint or "") for day in days), e.value.hint
    assert "(in 2 hours)" in (e.value.hint or "")
    assert len(server.requests) <= 5 + 8


def test_a_quota_of_a_day_that_names_no_time_stops_the_run_too(server: Server) -> None:
    violations = [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]
    server.script = lambda text, body: (429, {}, {"error": {"code": 429, "message": "quota", "details": [{"violations": violations}]}})
    with pytest.raises(Stopped, match="quota is used up"):
        run(config(server, concurrency=4), TEXTS)


def test_a_quota_of_a_minute_is_waited_for(server: Server) -> None:
    stated = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "100ms"}
    left = 3

    def script(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        nonlocal left
        left -= 1
        return (429, stated, {"error": {"message": "per minute"}}) if left >= 0 else (200, {}, chat(answer(text)))

    server.script = script
    assert all(c.ok for c in run(config(server, concurrency=2), TEXTS[:6]))


REFUSED = {"error": {"message": "'temperature' does not support 0 with this model.", "param": "temperature", "code": "unsupported_value"}}


def test_requests_that_are_all_refused_alike_stop_the_run_in_the_servers_words(server: Server) -> None:
    server.script = lambda text, body: (
        400,
        {},
        {"error": {**REFUSED["error"], "message": REFUSED["error"]["message"] + f" req_0{hash(text):x}abcdef"}},
    )
    with pytest.raises(Missing, match="'temperature' does not support 0") as e:
        run(config(server, concurrency=32), [f"t{n}" for n in range(400)])
    assert e.value.exit_code == 4
    assert len(server.requests) <= 24
    assert str(e.value).count("does not support 0") == 1


def test_requests_that_are_refused_for_reasons_of_their_own_do_not_stop_it(server: Server) -> None:
    words = ["too long", "a lone surrogate", "an odd letter"]
    server.script = lambda text, body: (400, {}, {"error": {"message": f"{words[int(text[1:]) % 3]} in {text}"}})
    assert {c.error for c in run(config(server), TEXTS)} == {"bad_request"}


def test_refusals_after_an_answer_do_not_stop_it(server: Server) -> None:
    server.script = lambda text, body: (200, {}, chat("Fine.")) if text == "t0" else (400, {}, REFUSED)
    out = run(config(server, concurrency=1), TEXTS)
    assert [c.error for c in out] == [None, *["bad_request"] * (len(TEXTS) - 1)]


def test_a_backend_whose_service_has_ended_says_so_again_and_does_not_wait(server: Server) -> None:
    server.script = lambda text, body: NO_CREDIT["deepseek"]
    backend = open_backend(c := config(server))
    try:
        for _ in range(2):
            with pytest.raises(Stopped):
                list(backend.generate(iter([build_request(backend, c, [{"role": "user", "content": "t"}])])))
    finally:
        backend.close()
