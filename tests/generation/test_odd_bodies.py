"""A body of a 200 that is no JSON is reported as what it is, and an endpoint that sends nothing else is found out."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from asking import config, run
from raw_server import answer, http, running
from server import Server
from server import running as serving

from toolkit.common.errors import Missing
from toolkit.generation import OpenAIConfig

STREAM = b'data: {"id": "x", "choices": [{"delta": {"content": "Fi"}}]}\n\ndata: [DONE]\n\n'
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in -\n the gateway</title></head><body>\xc3\xa9</body></html>"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.generation.backends._http.FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as s:
        yield s


def at(url: str, **more: object) -> OpenAIConfig:
    return config(None, base_url=url, **more)


@pytest.mark.parametrize("body", [STREAM, b": keep-alive\n\n" + STREAM, b"event: message\n" + STREAM])
def test_a_stream_of_events_is_reported_as_one_and_not_asked_for_again(body: bytes) -> None:
    with running(lambda head, asked: http(body)) as server:
        (c,) = run(at(server.base_url, retries=3), ["t"])
        assert c.error == "malformed" and "a stream of events, which was not asked for" in str(c.detail)
        assert server.asked == 1


def test_a_web_page_is_reported_as_one_with_its_title() -> None:
    with running(lambda head, asked: http(PAGE)) as server:
        (c,) = run(at(server.base_url, retries=0), ["t"])
        assert c.error == "malformed" and "a web page and no answer, 'Sign in - the gateway'" in str(c.detail) and "/v1" in str(c.detail)


@pytest.mark.parametrize(("body", "message"), [(STREAM, "a stream of events"), (PAGE, "a web page and no answer")])
def test_an_endpoint_that_sends_nothing_else_stops_the_run(body: bytes, message: str) -> None:
    with running(lambda head, asked: http(body)) as server:
        with pytest.raises(Missing, match=f"gave no answer that can be read to the first 8 requests alike.*{message}") as e:
            run(at(server.base_url, retries=0, concurrency=16), [f"t{n}" for n in range(300)])
        assert e.value.exit_code == 4 and server.asked <= 40


def test_a_page_of_a_gateway_now_and_then_is_asked_for_again() -> None:
    seen: list[bytes] = []

    def reply(head: str, asked: bytes) -> bytes:
        seen.append(asked)
        return http(PAGE) if len(seen) % 3 == 1 else http(json.dumps(answer()).encode())

    with running(reply) as server:
        assert all(c.ok for c in run(at(server.base_url, retries=3, concurrency=4), [f"t{n}" for n in range(12)]))


def test_answers_that_are_odd_each_in_its_own_way_do_not_stop_it(server: Server) -> None:
    server.script = lambda text, body: (200, {}, {"choices": {text: 1}})
    assert {
        c.error for c in run(config(server, retries=0), ["ant", "bee", "cow", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay", "kite", "lynx"])
    } == {"malformed"}
