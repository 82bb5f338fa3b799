"""The openai backend against a real server on this machine: answers and failures by name, secrets, proxies, the end of a program."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import CLIENT, bare, config, run
from server import Server, answer, running

from toolkit.common.errors import InputError, Missing, Stopped
from toolkit.generation import FINAL, Journal, Meter, Price, build_request, complete, open_backend

SECRET = "sk-very-secret-0123456789"  # noqa: S105


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as s:
        yield s


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.generation.backends._http.FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_answers_come_in_order_with_their_usage(server: Server) -> None:
    out = run(config(server, seed=5), [f"t{n}" for n in range(200)])
    assert [c.text for c in out] == [answer(f"t{n}", 5) for n in range(200)]
    assert {(c.finish, c.model, c.prompt_tokens, c.completion_tokens) for c in out} == {("stop", "served-m", 7, 3)}
    assert set(server.asked.values()) == {1}


def test_the_body_is_the_requests_payload(server: Server) -> None:
    c = config(server, temperature=0.5, stop=["END"], extra={"reasoning_effort": "low"}, max_tokens_name="max_completion_tokens")
    run(c, ["hello"])
    assert server.requests == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hello"}],
            "max_completion_tokens": 2048,
            "temperature": 0.5,
            "top_p": 1.0,
            "seed": 0,
            "stop": ["END"],
            "reasoning_effort": "low",
        }
    ]


@pytest.mark.parametrize(
    "fault",
    [
        *["429", "429:0.1", "429-date", "500", "503", "502", "504", "524", "reset", "cut", "torn", "shape", "html", "number", "hang", "redirect"],
        *["said-429", "deep", "deep:500", "after:Mon, 01 Jan 99999 00:00:00 GMT", "after:Mon, 99 Jan 2026 00:00:00 GMT"],
    ],
)
def test_what_passes_is_tried_again(server: Server, fault: str) -> None:
    server.faults["t"] = [fault, fault]
    out = run(config(server, timeout=0.5 if fault == "hang" else 20), ["t", "other"])
    assert [c.text for c in out] == [answer("t", 0), answer("other", 0)]
    assert server.asked == {"t": 3, "other": 1}
    lost = ("reset", "cut", "torn", "shape", "html", "number", "hang", "deep", "502", "504", "524")  # a gateway's upstream may have answered
    assert out[0].lost == (2 if fault in lost else 0)


@pytest.mark.parametrize(
    ("fault", "error", "asked"),
    [
        ("500", "server_error", 3),
        ("hang", "timeout", 3),
        ("reset", "connection", 3),
        ("cut", "connection", 3),
        ("torn", "malformed", 3),
        ("number", "malformed", 3),
        ("400", "bad_request", 1),
        ("403", "forbidden", 1),
        ("filter-prompt", "content_filter", 1),
        ("invalid-prompt", "content_filter", 1),
        ("deep", "malformed", 3),
        ("deep:400", "bad_request", 1),
        ("to:301:/v1/chat/completions", "bad_request", 1),
        ("to:303:/v1/chat/completions", "bad_request", 1),
        ("to:307:http://[bad/", "bad_request", 1),
        ("to:307:/v1/chat/completions", "bad_request", 4),
        ("schema", "no_schema", 1),
        ("schema-422", "no_schema", 1),
        ("filter", "content_filter", 1),
        ("thought", "empty", 1),
        ("empty", "empty", 1),
        ("null", "empty", 1),
        ("refusal", "refused", 1),
    ],
)
def test_what_stays_is_a_failure_with_a_name(server: Server, tmp_path: Path, fault: str, error: str, asked: int) -> None:
    server.faults["t"] = [fault] * 99
    with Journal(tmp_path) as journal:
        out = run(config(server, retries=2, timeout=0.3 if fault == "hang" else 20, concurrency=1), ["before", "t", "after"], journal)
        assert [(c.error, c.ok) for c in out] == [(None, True), (error, False), (None, True)]
        assert out[1].text is None
        assert out[1].detail
        assert server.asked["t"] == asked
        final = error in FINAL
        assert journal.counts() == {"completions": 2 + final, "failures": 1 - final}


def test_nothing_is_sent_to_another_origin_than_the_endpoints(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with running(Server()) as other:
        where = f"{other.base_url}/chat/completions"
        server.faults |= {"a": [f"to:307:{where}"], "b": [f"to:302:{where}"], "c": ["to:308:/v1/chat/completions"]}
        a, b, c = run(config(server), ["a", "b", "c"])
        assert not other.requests
    assert [x.error for x in (a, b, c)] == ["bad_request", "bad_request", None]
    assert where in (a.detail or "")
    assert where in (b.detail or "")


def test_a_base_url_without_a_path(server: Server) -> None:
    bare_url = server.base_url.removesuffix("/v1")
    with pytest.raises(InputError, match="has no such address"):  # it reaches the server, which has /v1 only
        run(config(None, base_url=bare_url), ["t"])


def test_an_answer_that_our_own_reading_breaks_on_costs_only_its_row(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.generation._answers import read_answer
    from toolkit.generation.backends import _lane

    def broken(key: str, body: bytes, seconds: float | None) -> object:
        if b"'odd'" in body:
            raise ArithmeticError("oops")
        return read_answer(key, body, seconds)

    monkeypatch.setattr(_lane, "read_answer", broken)
    odd, other = run(config(server, retries=1), ["odd", "other"])
    assert (odd.error, odd.lost, server.asked["odd"], other.ok) == ("malformed", 2, 2, True)
    assert "ArithmeticError" in (odd.detail or "")


@pytest.mark.parametrize("usage", ["-7", "7.5", "9007199254740992", '"7"', "true", "null", "1e300"])
def test_usage_that_cannot_be_is_unknown_and_booked_at_its_worst(server: Server, usage: str) -> None:
    server.faults["t"] = [f'usage:{{"prompt_tokens": {usage}, "completion_tokens": {usage}}}']
    c = config(server)
    meter = Meter({(c.endpoint_name, "m"): Price(input=1, output=1)}, cap=1)
    backend = open_backend(c)
    with complete([build_request(backend, c, [{"role": "user", "content": "t"}])], backend, None, meter=meter) as completions:
        [t] = completions
    backend.close()
    assert (t.ok, t.prompt_tokens, t.completion_tokens) == (True, None, None)
    assert meter.spent > 2048 / 1e6  # max_tokens, and the prompt's bound


def test_of_several_choices_the_first_by_index_counts(server: Server) -> None:
    server.faults["t"] = ["several"]
    assert run(config(server), ["t"])[0].text == answer("t", 0)


def test_a_row_whose_connection_always_breaks_is_its_own_trouble(server: Server, tmp_path: Path) -> None:
    server.faults["t"] = ["reset"] * 99
    with Journal(tmp_path) as journal:
        for _ in range(2):  # the second time the others come from the journal, and no answer comes at all
            t, u = run(config(server, retries=1), ["t", "u"], journal)
            assert (t.error, u.ok) == ("connection", True)


def test_a_length_stop_is_an_answer(server: Server) -> None:
    server.faults["t"] = ["length"]
    [c] = run(config(server), ["t"])
    assert (c.ok, c.finish) == (True, "length")


def test_text_that_is_not_unicode_costs_only_its_row(server: Server) -> None:
    out = run(config(server), ["a", "\ud800", "b"])
    assert [c.error for c in out] == [None, "bad_request", None]


@pytest.mark.parametrize(("fault", "error", "words"), [("401", Missing, "MY_KEY"), ("404", InputError, "base_url"), ("quota", Stopped, "quota")])
def test_what_no_request_survives_ends_the_run(
    server: Server, monkeypatch: pytest.MonkeyPatch, fault: str, error: type[Exception], words: str
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    server.always = fault
    with pytest.raises(error, match=words) as e:
        run(config(server, api_key_env="MY_KEY", concurrency=4), [f"t{n}" for n in range(1000)])
    assert len(server.requests) <= 8
    assert SECRET not in str(e.value)


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}/v1"
    with pytest.raises(Missing, match=r"cannot reach.*Connect call failed"):
        run(config(None, base_url=url, retries=1), ["t"])


def test_a_key_is_needed_only_far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("https://api.openai.com/v1", "https://203.0.113.5.example.com/v1", "http://8.8.8.8/v1"):
        with pytest.raises(Missing, match="OPENAI_API_KEY is not set"):
            open_backend(config(None, base_url=url))
    for url in ("http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:1/v1", "http://192.168.1.5/v1"):
        open_backend(config(None, base_url=url)).close()
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    open_backend(config(None)).close()


def test_the_key_reaches_the_server_and_nothing_else(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    server.faults["t"] = ["400"]  # the server's message repeats the Authorization header
    c = config(server, api_key_env="MY_KEY")
    with Journal(tmp_path) as journal:
        out = run(c, ["t", "u"], journal)
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert out[0].detail is not None
    assert "***" in out[0].detail
    stored = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert SECRET not in repr(out) + caplog.text + c.model_dump_json()
    assert SECRET.encode() not in stored


def test_a_program_that_ends_without_closing_says_nothing(server: Server) -> None:
    code = """
import sys
from toolkit.generation import OpenAIConfig, build_request, open_backend
config = OpenAIConfig(backend="openai", model="m", base_url=sys.argv[1])
backend = open_backend(config)
answers = backend.generate(iter([build_request(backend, config, [{"role": "user", "content": f"t{n}"}]) for n in range(50)]))
next(answers)
"""
    done = subprocess.run([sys.executable, "-c", code, server.base_url], capture_output=True, text=True, check=True, timeout=20)
    assert done.stderr == ""


def test_nothing_is_reported_on_stderr(tmp_path: Path) -> None:
    with running(Server()) as server:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", CLIENT, server.base_url, str(tmp_path), "5"], capture_output=True, text=True, check=True
        )
    assert [line for line in done.stderr.splitlines() if "DeprecationWarning" not in line and not line.startswith(" ")] == []


def test_a_request_of_a_megabyte(server: Server) -> None:
    [c] = run(config(server), ["long " * 200_000])
    assert c.ok


def test_thinking_is_kept_and_one_that_ate_the_answer_says_so(server: Server) -> None:
    server.faults |= {"t": ["think"], "u": ["thought"]}
    t, u = run(config(server), ["t", "u"])
    assert (t.text, t.reasoning) == (answer("t", 0), "First, I look at the request.")
    assert (u.error, u.reasoning) == ("empty", "First, I look at the request.")
    assert "max_tokens" in (u.detail or "")


def test_what_the_model_answered_last_is_served_from_the_journal(server: Server, tmp_path: Path) -> None:
    server.faults |= {"t": ["filter-prompt"], "u": ["refusal"], "v": ["filter"]}
    with Journal(tmp_path) as journal:
        first, again = (run(config(server), ["t", "u", "v"], journal) for _ in range(2))
    assert [c.error for c in first] == [c.error for c in again] == ["content_filter", "refused", "content_filter"]
    assert set(server.asked.values()) == {1}


def test_what_the_model_answered_last_comes_with_its_body(server: Server) -> None:
    server.faults |= {"t": ["filter-prompt"], "u": ["refusal"], "v": ["500"] * 2}
    t, u, v = (c.raw for c in bare(config(server, retries=1), ["t", "u", "v"]))
    assert b"content_filter" in (t or b"")
    assert b"I would rather not." in (u or b"")
    assert v is None


def test_the_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.base_url.removesuffix("/v1").replace("//", "//user:pass@"))
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    [c] = run(config(None, base_url="http://endpoint.invalid/v1"), ["t"])
    assert c.ok
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert (server.headers[0]["Host"], server.headers[0]["Proxy-Authorization"]) == ("endpoint.invalid", "Basic dXNlcjpwYXNz")
    with socket.create_server(("127.0.0.1", 0)) as proxy:  # a tunnel's request goes to the proxy alone, and must not hold the key
        monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{proxy.getsockname()[1]}")
        heard: list[bytes] = []

        def tunnel() -> None:
            connection, _ = proxy.accept()
            heard.append(connection.recv(65536))
            connection.close()

        thread = threading.Thread(target=tunnel)
        thread.start()
        with pytest.raises(Missing, match="cannot reach"):
            run(config(None, base_url="https://endpoint.invalid/v1", retries=0), ["t"])
        thread.join()
    assert heard[0].startswith(b"CONNECT endpoint.invalid:443")
    assert b"Basic dXNlcjpwYXNz" in heard[0]
    assert SECRET.encode() not in heard[0]
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(InputError, match="socks5 proxy"):
        run(config(None, base_url="http://endpoint.invalid/v1"), ["t"])


def test_too_few_open_files_for_the_concurrency_are_found_at_once(server: Server) -> None:
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
from toolkit.common.errors import InputError
from toolkit.generation import OpenAIConfig, build_request, open_backend
config = OpenAIConfig(backend="openai", model="m", base_url=sys.argv[1], concurrency=200)
backend = open_backend(config)
try:
    list(backend.generate(iter([build_request(backend, config, [{"role": "user", "content": "t"}])])))
except InputError as e:
    print(e)
"""
    done = subprocess.run([sys.executable, "-c", code, server.base_url], capture_output=True, text=True, check=True)
    assert "concurrency to 144 or less" in done.stdout


def test_what_takes_long_says_so_meanwhile() -> None:
    """So that what came before is handed out, and a run sees that its server has died."""
    with running(Server(latency=2.5)) as server:
        backend = open_backend(c := config(server))
        found = list(backend.generate(iter([build_request(backend, c, [{"role": "user", "content": "slow"}])])))
        backend.close()
    assert found[:2] == [None, None]
    assert found[-1] is not None
    assert found[-1].text == answer("slow", 0)
