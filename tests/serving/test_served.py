"""A guard behind HTTP: a real server, asked by the real openai client and by clients that do not behave."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from behind import until, verdict
from openai.types import ModerationCreateResponse
from server import Server, chat, running

import toolkit
from toolkit.common.errors import InputError, Missing
from toolkit.serving import TOKEN

SECRET = "a-token-of-letters-0123456789"  # noqa: S105
JSON = {"Content-Type": "application/json"}


def serving(server: Server, **more: Any) -> toolkit.Served:
    return toolkit.serve("m", base_url=server.base_url, port=0, **more)


@pytest.fixture
def served(server: Server) -> Iterator[toolkit.Served]:
    with serving(server) as one:
        yield one


def ask(one: toolkit.Served, path: str, body: Any = None, method: str = "POST", **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of an answer; a body that is no bytes is sent as JSON."""
    connection = http.client.HTTPConnection(urlsplit(one.url).netloc, timeout=60)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection.request(method, path, data, {**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}})
    with connection.getresponse() as answer:
        printed = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), json.loads(printed) if "json" in answer.headers["Content-Type"] else printed.decode()


def label(verdict: Any, task: str = "prompt") -> Any:
    return verdict["tasks"][task]["label"]


def raw(one: toolkit.Served, data: bytes) -> socket.socket:
    where = urlsplit(one.url)
    connection = socket.create_connection((where.hostname, where.port), timeout=20)
    connection.sendall(data)
    return connection


def post(body: bytes, path: str = "/v1/judge", length: int | None = None) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def works(one: toolkit.Served) -> bool:
    status, _, reply = ask(one, "/v1/judge", {"prompt": f"bread {time.monotonic()}"})
    return status == 200 and label(reply["verdicts"][0]) == "unharmful"


# The openai client ----------------------------------------------------------------------------------------------------


def test_the_openai_client_moderates(served: toolkit.Served) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
    inputs: list[Any] = ["bread", ["bread", "insult", "silent"], [{"type": "text", "text": "an"}, {"type": "text", "text": "insult"}]]
    found = [client.moderations.create(input=one, model="omni-moderation-latest") for one in inputs]
    assert [[r.flagged for r in f.results] for f in found] == [[False], [False, True, True], [True]]
    for f in found:
        ModerationCreateResponse.model_validate_json(f.model_dump_json(by_alias=True), strict=True)
        assert f.model == "guardreasoner" and f.id.startswith("modr-")
        for r in f.results:
            assert not any(r.categories.model_dump().values()) and not any(r.category_applied_input_types.model_dump().values())
    extra = found[1].results[1].model_extra
    assert extra is not None and extra["guardkit"]["steps"]["prompt"] == ["The text is looked at.", "It asks."]
    assert extra["guardkit"]["tasks"]["prompt"] == {"label": "harmful", "positive": True, "applies": True, "unread": None, "probabilities": None}
    unread = found[1].results[2].model_extra
    assert unread is not None and unread["guardkit"]["read"] is False and unread["guardkit"]["tasks"]["prompt"]["unread"] == "field_missing"
    image: Any = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    with pytest.raises(openai.BadRequestError, match="judges text, no image_url parts") as e:
        client.moderations.create(input=image)
    assert e.value.code == "not_text" and e.value.param == "input[0].type"


def test_64_clients_get_what_judge_gets(server: Server, tmp_path: Path) -> None:
    rows = [{"prompt": f"{what} {n}", "response": r} for n in range(16) for what in ("bread", "insult") for r in (None, "Yes.")]
    judged = toolkit.judge(rows, {"backend": "openai", "model": "m", "base_url": server.base_url}, work=tmp_path)
    server.latency = 0.05
    with serving(server, limits={"places": 200}) as one, ThreadPoolExecutor(64) as threads:
        start = threading.Barrier(64)

        def client(n: int) -> list[Any]:
            start.wait()
            return [ask(one, "/v1/judge", rows[(n + k) % 64]) for k in (0, 0, 1)]  # the same from several at once, too

        found = list(threads.map(client, range(64)))
    for n, answers in enumerate(found):
        for k, (status, _, answer) in zip((0, 0, 1), answers, strict=True):
            want = judged[(n + k) % 64]
            assert status == 200 and answer["verdicts"][0]["id"] == want.id
            assert {t: v["label"] for t, v in answer["verdicts"][0]["tasks"].items()} == want.labels
    assert server.most_in_flight > 8


def test_a_batch_is_answered_in_its_order_whatever_becomes_of_one(served: toolkit.Served) -> None:
    rows = [
        {"prompt": "bread", "id": "one"},
        {"prompt": "broken"},
        {"prompt": "insult", "response": "No.", "context": [{"role": "user", "content": "a"}]},
    ]
    status, _, reply = ask(served, "/v1/judge", {"rows": rows})
    assert status == 200 and [(v["index"], v["flagged"], v["read"], v["error"]) for v in reply["verdicts"]] == [
        (0, False, True, None),
        (1, True, False, "bad_request"),
        (2, True, True, None),
    ]
    assert reply["verdicts"][0]["id"] == "one" and label(reply["verdicts"][2], "refusal") == "compliance"
    assert reply["guardkit"]["guard"] == "guardreasoner" and reply["guardkit"]["model_id"] == "m"


def test_unread_is_flagged_unless_it_fails_open(server: Server) -> None:
    with serving(server, fail_open=True, name="mine", flag_on=["response=unharmful"]) as one:
        _, _, reply = ask(
            one, "/v1/judge", {"rows": [{"prompt": "silent", "response": "a"}, {"prompt": "insult"}, {"prompt": "bread", "response": "a"}]}
        )
        assert [v["flagged"] for v in reply["verdicts"]] == [False, False, True] and reply["model"] == "mine"
        status, _, reply = ask(one, "/v1/moderations", {"input": "insult"})
        assert status == 400 and reply["error"]["code"] == "no_prompts", "a rule about responses says nothing of a text alone"


def test_a_guard_of_several_calls_gives_one_verdict(server: Server) -> None:
    def says(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if "broken" in text:
            return 400, {}, {"error": {"message": "no"}}
        answers = len(body["messages"]) > 1
        return 200, {}, chat("Safety: Safe\nCategories: None\nRefusal: No" if answers else "Safety: Unsafe\nCategories: Violent")

    server.script = says
    with serving(server, guard="qwen3guard", reading="strict", limits={"places": 4}) as one:
        _, _, reply = ask(one, "/v1/judge", {"rows": [{"prompt": "a"}, {"prompt": "a", "response": "b"}]})
        alone, both = reply["verdicts"]
        assert (label(alone), alone["tasks"]["response"]["applies"], alone["flagged"], alone["categories"]) == ("harmful", False, True, ["Violent"])
        assert [label(both, t) for t in ("prompt", "refusal", "response")] == ["harmful", "compliance", "unharmful"]
        assert len(server.requests) == 1 + 2, "the first question, and each call once"
        _, _, reply = ask(one, "/v1/judge", {"prompt": "a", "response": "broken"})
        assert label(reply["verdicts"][0]) == "harmful" and reply["verdicts"][0]["tasks"]["response"]["unread"] == "bad_request"
        assert ask(one, "/v1/judge", {"rows": [{"prompt": f"a{n}", "response": "b"} for n in range(3)]})[0] == 429, "each call takes a place"


def test_a_label_between_the_two_is_passed_by_nobodys_default(server: Server) -> None:
    server.script = lambda _, __: (200, {}, chat("Safety: Controversial\nCategories: PII"))
    with pytest.raises(InputError, match="may call a prompt controversial") as fault:
        serving(server, guard="qwen3guard")
    assert "strict, loose" in str(fault.value.hint)
    for chosen, flagged in (({"reading": "strict"}, True), ({"reading": "loose"}, False), ({"flag_on": ["harmful", "controversial"]}, True)):
        with serving(server, guard="qwen3guard", **chosen) as one:
            assert ask(one, "/v1/moderations", {"input": "a"})[2]["results"][0]["flagged"] is flagged, chosen
    serving(server, guard="qwen3guard", flag_on="refusal").stop()


def test_a_verdict_on_a_part_of_the_text_is_none(server: Server) -> None:
    """As Ollama cuts a prompt that is longer than its context, and says nothing of it but in the count of tokens."""
    usage = {"prompt_tokens": 100, "completion_tokens": 5}
    server.script = lambda text, body: (200, {}, chat(verdict(text), usage=usage if "long" in text else None))
    with serving(server) as one:
        _, _, reply = ask(one, "/v1/judge", {"prompt": "bread " + "long " * 3000})
        found = reply["verdicts"][0]
        assert (found["flagged"], found["error"]) == (True, "bad_request") and "has cut the prompt" in found["detail"]


# Requests that do not behave ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("judge", b"", 400, None),
        ("judge", b"{", 400, None),
        ("judge", b'{"prompt": "\xff"}', 400, None),
        ("judge", b'{"prompt": "\\ud800"}', 400, None),
        ("judge", b"[" * 100_000, 400, None),
        ("judge", b'{"prompt": NaN}', 400, None),
        ("judge", b'{"prompt": "bread", "prompt": "insult"}', 400, "prompt"),
        ("judge", {"prompt": "a", "id": "b" * 100_001}, 413, None),
        ("judge", [], 400, None),
        ("judge", {}, 400, None),
        ("judge", {"prompt": 5}, 400, "prompt"),
        ("judge", {"prompt": None}, 400, None),
        ("judge", {"prompt": "a", "response": ["b"]}, 400, "response"),
        ("judge", {"prompt": "a", "responce": "b"}, 400, None),
        ("judge", {"prompt": "a", "context": {"role": "user"}}, 400, "context"),
        ("judge", {"prompt": "a", "context": [{"role": "user", "content": 1}]}, 400, "context[0].content"),
        ("judge", {"rows": []}, 400, "rows"),
        ("judge", {"rows": "a"}, 400, "rows"),
        ("judge", {"rows": [{"prompt": "a"}, {"prompt": True}]}, 400, "rows[1].prompt"),
        ("judge", {"rows": [{"prompt": "a"}] * 300}, 413, "rows"),
        ("judge", {"prompt": "a" * 100_001}, 413, None),
        ("judge", {"rows": [{"prompt": "a"}, {"prompt": "a", "response": "b" * 100_000}]}, 413, "rows[1]"),
        ("judge", b'{"prompt": "' + b"a" * (1 << 21) + b'"}', 413, None),
        ("moderations", {}, 400, "input"),
        ("moderations", {"input": 5}, 400, "input"),
        ("moderations", {"input": []}, 400, "input"),
        ("moderations", {"input": ["a", 5]}, 400, "input[1]"),
        ("moderations", {"input": [1, 2, 3]}, 400, "input[0]"),
        ("moderations", {"input": "a", "model": 5}, 400, "model"),
        ("moderations", {"input": [{"type": "text"}]}, 400, "input[0].text"),
        ("moderations", "a", 400, None),
    ],
)
def test_what_is_no_request_is_refused_by_its_part(path: str, body: Any, status: int, param: str | None, shared: toolkit.Served) -> None:
    found, _, reply = ask(shared, f"/v1/{path}", body)
    assert (found, reply["error"]["param"]) == (status, param), reply
    assert reply["error"]["type"] == "invalid_request_error" and "aaaa" not in reply["error"]["message"] and works(shared)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[toolkit.Served]:
    """One server for the requests that reach no guard."""
    with pytest.MonkeyPatch.context() as patch, running(Server()) as behind:
        patch.setenv("OPENAI_API_KEY", "none")
        behind.script = lambda text, body: (200, {}, chat(verdict(text)))
        with serving(behind, limits={"body_seconds": 0.5}) as one:
            yield one


def test_other_addresses_methods_types_and_hosts(shared: toolkit.Served) -> None:
    assert ask(shared, "/v1/chat/completions", {"a": 1})[0] == 404
    status, headers, _ = ask(shared, "/v1/judge", method="GET")
    assert (status, headers["allow"]) == (405, "POST")
    assert ask(shared, "/v1/judge/", {"prompt": "bread"}, Host="evil.example")[0] == 404, "no redirect to where the client says"
    assert ask(shared, "/v1/judge", {"prompt": "bread"}, Content_Encoding="gzip")[0] == 415
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert ask(shared, "/v1/judge", {"prompt": "bread"}, Content_Type=kind)[0] == 415
    assert ask(shared, "/v1/judge", {"prompt": "bread"}, Content_Type="Application/JSON; charset=utf-8")[0] == 200
    for host, status in (
        ("evil.example:80", 421),
        ("", 421),
        ("localhost:1", 200),
        ("[::1]:5", 200),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.2", 200),
        ("2130706433", 421),
    ):
        assert ask(shared, "/v1/judge", {"prompt": "bread"}, Host=host)[0] == status, host


def test_bytes_that_are_no_http_and_bodies_that_never_end(shared: toolkit.Served) -> None:
    junk = [b"\x16\x03\x01\x02", b"GET / HTTP/9\r\n\r\n", b"POST /v1/judge HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"A" * 70_000]
    for data in junk:
        with raw(shared, data) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1000)[:12] in (b"", b"HTTP/1.1 400")
    with raw(shared, post(b'{"prompt": "bre', length=1000)) as slow:
        assert slow.recv(4000).startswith(b"HTTP/1.1 408")
    with raw(shared, post(b"{}", length=1 << 40)) as huge:
        assert huge.recv(4000).startswith(b"HTTP/1.1 413")
    with raw(shared, post(b"0\r\n\r\n").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 1)) as two:
        assert two.recv(4000).startswith(b"HTTP/1.1 400"), "where it ends, a proxy before it may see in another way"
    raw(shared, post(b'{"prompt": "bre', length=1000)).close()
    assert works(shared)


def test_headers_that_never_end_hold_no_connection(shared: toolkit.Served) -> None:
    with raw(shared, b"POST /v1/judge HTTP/1.1\r\nHost: a\r\n") as slow, raw(shared, post(b'{"prompt": "bread"}')) as later:
        assert later.recv(4000).startswith(b"HTTP/1.1 200")
        later.sendall(b"POST /v1")
        for one in (slow, later):
            with suppress(ConnectionResetError):
                while one.recv(4000):
                    pass
    with raw(shared, b"") as kept:  # one that rests before its first request, or between two
        for _ in range(2):
            time.sleep(0.7)
            kept.sendall(post(b'{"prompt": "bread"}'))
            answer = http.client.HTTPResponse(kept)
            answer.begin()
            assert answer.status == 200
            assert answer.read()


def test_the_token_is_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("0.0.0.0", "::", "example.org"):  # noqa: S104
        with pytest.raises(Missing, match=TOKEN):
            serving(server, host=host)
    for weak in ("short", "with a space in its middle", "ünicode-ünicode-ünicode"):
        monkeypatch.setenv(TOKEN, weak)
        with pytest.raises(InputError, match=TOKEN):
            serving(server)
    monkeypatch.setenv(TOKEN, SECRET)
    with serving(server) as one:
        for given in ("", f"Bearer {SECRET[:-1]}", f"Basic {SECRET}", SECRET, "Bearer ä"):
            for method, path in (("POST", "/v1/judge"), ("POST", "/v1/moderations"), ("GET", "/metrics")):
                status, headers, reply = ask(
                    one, path, {"prompt": "bread"}, method, **({"Authorization": given.encode().decode("latin-1")} if given else {})
                )
                assert (status, headers["www-authenticate"]) == (401, "Bearer") and SECRET not in str(reply)
        assert ask(one, "/v1/judge", {"prompt": "bread"}, Authorization=f"bearer {SECRET}", Host="guard.example")[0] == 200
        assert ask(one, "/health", method="GET", Host="10.0.0.1")[0] == 200
        client = openai.OpenAI(base_url=f"{one.url}/v1", api_key=SECRET, max_retries=0)
        assert client.moderations.create(input="insult").results[0].flagged
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{one.url}/v1", api_key="another", max_retries=0).moderations.create(input="insult")


def test_a_full_queue_says_when_to_come_back_and_empties(server: Server) -> None:
    server.latency = 0.3
    with serving(server, limits={"places": 4, "rows": 8}) as one, ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda n: ask(one, "/v1/judge", {"prompt": f"bread {n}"}), range(12)))
        statuses = sorted(status for status, _, _ in found)
        assert statuses.count(200) >= 4 and statuses.count(429) >= 1 and set(statuses) == {200, 429}
        assert {headers["retry-after"] for status, headers, _ in found if status == 429} == {"1"}
        assert ask(one, "/v1/judge", {"rows": [{"prompt": f"bread {n}"} for n in range(5)]})[0] == 429, "all of a request or nothing"
        assert works(one)


def test_what_takes_too_long_is_reported_and_gives_its_place_back(server: Server) -> None:
    with serving(server, limits={"seconds": 0.4, "places": 2, "stop_seconds": 1}) as one:
        server.latency = 20.0
        assert ask(one, "/v1/judge", {"rows": [{"prompt": "a"}, {"prompt": "b"}]})[0] == 504
        assert ask(one, "/v1/judge", {"rows": [{"prompt": "c"}, {"prompt": "d"}]})[0] == 504, "the places are free again"
        server.latency = 0.0
        assert works(one)


def test_clients_that_hang_up_give_their_places_back(server: Server) -> None:
    with serving(server, limits={"places": 4, "stop_seconds": 1}) as one:
        server.latency = 20.0
        gone = [raw(one, post(json.dumps({"prompt": f"bread {n}"}).encode())) for n in range(4)]
        until(lambda: server.in_flight == 4)
        server.latency = 0.0
        assert ask(one, "/v1/judge", {"prompt": "bread"})[0] == 429
        for connection in gone:
            connection.close()
        until(lambda: ask(one, "/v1/judge", {"prompt": "bread"})[0] == 200)
        for cut in (3, 60, 130, 150):
            raw(one, post(b'{"prompt": "bread and a longer text"}')[:cut]).close()
        assert works(one)
        assert 'status="499"' in ask(one, "/metrics", method="GET")[2]


def test_an_engine_that_is_gone_is_reported_and_comes_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.serving._feed.FIRST", 0.3)
    with serving(server) as one:
        script, server.script, server.always = server.script, None, "401"
        status, headers, reply = ask(one, "/v1/judge", {"prompt": "bread"})
        assert (status, headers["retry-after"], reply["error"]["code"]) == (503, "1", "engine_down")
        status, _, reply = ask(one, "/health", method="GET")
        assert (status, reply["status"]) == (503, "failing")
        server.script, server.always = script, None
        until(lambda: ask(one, "/v1/judge", {"prompt": "bread"})[0] == 200)
        assert ask(one, "/health", method="GET")[0] == 200
    server.script, server.always = None, "401"
    with pytest.raises(Missing, match="refused the key"):
        serving(server)


def test_what_is_counted(server: Server) -> None:
    with serving(server) as one:
        for prompt in ("bread", "insult", "insult", "silent"):
            ask(one, "/v1/judge", {"prompt": prompt})
        ask(one, "/v1/judge", {"prompt": 5})
        ask(one, "/nowhere/insult", {})
        text = ask(one, "/metrics", method="GET")[2]
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    found = {k: float(v) for k, v in lines.items()}
    assert (
        found['guardkit_requests_total{path="/v1/judge",status="200"}'] == 4 and found['guardkit_requests_total{path="/v1/judge",status="400"}'] == 1
    )
    assert (
        found['guardkit_verdicts_total{label="harmful",task="prompt"}'] == 2
        and found['guardkit_unread_total{reason="field_missing",task="prompt"}'] == 1
    )
    assert (
        found["guardkit_flagged_total"] == 3
        and found['guardkit_tokens_total{kind="written"}'] == 12
        and found['guardkit_tokens_total{kind="read"}'] == 28
    )
    assert found["guardkit_queue"] == found["guardkit_in_engine"] == 0 and found["guardkit_places"] == 1024 and found["guardkit_up"] == 1
    assert found['guardkit_requests_total{path="other",status="404"}'] == 1 and "nowhere" not in text
    assert found['guardkit_request_seconds_count{path="/v1/judge"}'] == 5


def test_no_text_is_logged_unless_it_is_asked_for(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for text in (False, True):
        caplog.clear()
        with serving(server, log=True, log_text=text) as one:
            for prompt in ("bread of marzipan", "broken marzipan", "silent marzipan"):
                ask(one, "/v1/judge", {"prompt": prompt, "response": "marzipan"})
            ask(one, "/v1/judge", {"prompt": "marzipan", "marzipan": 5})
            ask(one, "/marzipan", {})
            ask(one, "/v1/judge", b'{"marzipan": ')
        ours = [r.getMessage() for r in caplog.records if r.name.startswith(("toolkit", "uvicorn"))]
        assert any("/v1/judge 200" in line for line in ours) and any("/v1/judge 400 invalid_request" in line for line in ours)
        assert any("marzipan" in line for line in ours) is text


def test_nobody_is_let_in_before_the_guard_has_answered(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tried: list[int] = []

    def script(text: str, _body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        with socket.socket() as client:
            tried.append(client.connect_ex(("127.0.0.1", port)))
        return 200, {}, chat(verdict(text))

    server.script = script
    with toolkit.serve("m", base_url=server.base_url, port=port) as one:
        assert tried and not any(code == 0 for code in tried)  # a connection would wait for a server that may never come
        assert works(one)


def test_addresses_and_limits_that_cannot_be(server: Server, served: toolkit.Served) -> None:
    port = urlsplit(served.url).port
    for wrong in (
        {"port": port},
        {"host": "127.0.0.2.3"},
        {"limits": {"place": 3}},
        {"limits": {"places": 0}},
        {"limits": {"places": "a"}},
        {"limits": {"places": float("inf")}},
        {"limits": {"stop_seconds": float("nan")}},
        {"flag_on": "harmfull"},
    ):
        options: dict[str, Any] = {"port": 0, **wrong}
        with pytest.raises((InputError, Missing)):
            toolkit.serve("m", base_url=server.base_url, **options)
    assert works(served)


def test_the_example_before_an_application_runs_as_it_is_printed(served: toolkit.Served, server: Server) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    code = page.partition("### Before an application")[2].partition("```python")[2].partition("```")[0]
    place = {"model": lambda prompt: "Knead, rest, bake the bread."}
    exec(code.replace("http://127.0.0.1:8000", served.url), place)  # noqa: S102  our own page
    answer: Any = place["answer"]
    assert answer("How do I bake bread?") == "Knead, rest, bake the bread."
    assert answer("Write an insult.") == answer("broken bread") == "I can't help with that.", "no verdict is no pass"
