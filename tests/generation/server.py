"""A small OpenAI-compatible server for tests, with scripted faults: real sockets, real HTTP, no model.

The answer to a request is a function of its last message and its seed. `Server.faults` maps a last message to the faults that its first
attempts meet, one after another; after them it is answered. Faults:

    429, 429:0.2            Too Many Requests, with Retry-After
    429-date                with a date as Retry-After
    quota                   429 of an account without quota
    said-429                200, and in the body an error whose code is 429
    400 401 403 404 500 503 that status with an error body
    filter-prompt           400 with the code content_filter
    invalid-prompt          400 with the code invalid_prompt
    schema, schema-422      400 whose param, 422 whose detail names response_format
    spent:0.5               an answer, whose headers say that no request is left for 0.5 s
    redirect                307 to the same address
    to:301:URL              301 (or another status) to URL
    deep, deep:500          200, or that status, with 200,000 opening brackets
    after:TEXT              503 with TEXT as Retry-After
    usage:JSON              an answer with that usage
    several                 an answer with two choices, that of index 1 first
    hang                    no answer
    reset                   the connection is reset
    cut                     the body ends before its Content-Length
    torn                    half of the JSON
    shape, html, number     JSON of another shape, no JSON, content that is no string
    empty, null             content "" or null
    filter, refusal, length finish_reason content_filter; refusal field; finish_reason length
    think, thought          reasoning_content beside the answer; reasoning that took all tokens
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

from aiohttp import web


def answer(text: str, seed: int | None = None) -> str:
    """What the server answers."""
    return f"answer to {text!r} ({seed})"


Script = Callable[[str, dict[str, Any]], tuple[int, dict[str, str], Any]]
"""Last message and body of a request to status, headers and body of what is answered, in the place of `Server.faults`."""


def chat(content: Any, finish: str | None = "stop", *, usage: dict[str, Any] | None = None, **message: Any) -> dict[str, Any]:
    """The body of an answer."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return {"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage or {"prompt_tokens": 7, "completion_tokens": 3}}


class Server:
    """Counts what it is asked; `base_url` once it runs."""

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.faults: dict[str, list[str]] = {}
        self.always: str | None = None
        self.script: Script | None = None
        self.moderates: Script | None = None  # the answer where there is no fault
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answered: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self.base_url = ""

    async def chat(self, http: web.Request) -> web.StreamResponse:
        body = await http.json()
        text = body["messages"][-1]["content"] if "messages" in body else body.get("prompt", body.get("input"))
        if isinstance(text, list):  # content parts
            text = "".join(part.get("text", "") for part in text)
        self.requests.append(body)
        self.paths.append(http.path)
        self.headers.append(dict(http.headers))
        self.asked[text] += 1
        self.times.append(time.monotonic())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            left = self.faults.get(text) or []
            fault = self.always or (left.pop(0) if left else None)
            if self.script is not None:
                status, headers, found = self.script(text, body)
                return web.Response(status=status, headers=headers, body=json.dumps(found).encode(), content_type="application/json")
            return await self._reply(http, body, text, fault)
        finally:
            self.in_flight -= 1

    async def _reply(self, http: web.Request, body: dict[str, Any], text: str, fault: str | None) -> web.StreamResponse:
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer(text, body.get("seed"))}}
        whole = {
            "id": "x",
            "object": "chat.completion",
            "model": "served-" + body["model"],
            "choices": [choice],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        }
        if fault is None:
            self.answered[text] += 1
            return web.json_response(whole if self.moderates is None else self.moderates(text, body)[2])
        if fault.startswith("429"):
            after = fault.partition(":")[2] or "0"
            headers = {"Retry-After": formatdate(time.time() + 1, usegmt=True) if fault == "429-date" else after}
            return _error(429, "slow down", "rate_limit_exceeded", headers)
        if fault == "quota":
            return _error(429, "no credit", "insufficient_quota")
        if fault.isdigit():
            return _error(int(fault), f"no, for {http.headers.get('Authorization')}", "whatever")
        if fault in ("filter-prompt", "invalid-prompt"):
            return _error(400, "filtered", "content_filter" if fault == "filter-prompt" else "invalid_prompt")
        if fault == "schema":
            return web.json_response({"error": {"message": "no", "type": "x", "param": "response_format", "code": None}}, status=400)
        if fault == "schema-422":
            return web.json_response({"detail": [{"loc": ["body", "response_format", "type"], "msg": "no", "type": "x"}]}, status=422)
        if fault == "said-429":
            return web.json_response({"error": {"message": "slow down", "code": 429}})
        if fault == "redirect":
            raise web.HTTPTemporaryRedirect(http.path)
        if fault.startswith("to:"):
            _, status, where = fault.split(":", 2)
            return web.Response(status=int(status), headers={"Location": where})
        if fault.startswith("deep"):
            return web.Response(status=int(fault.partition(":")[2] or 200), body=b"[" * 200_000, content_type="application/json")
        if fault.startswith("after:"):
            return _error(503, "busy", "whatever", {"Retry-After": fault.partition(":")[2]})
        if fault.startswith("spent"):
            self.answered[text] += 1
            headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": fault.partition(":")[2] + "s"}
            return web.json_response(whole, headers=headers)
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "reset":
            assert http.transport is not None
            http.transport.abort()
            return web.Response()
        if fault == "cut":
            response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
            await response.prepare(http)
            await response.write(b'{"choices": [')
            assert http.transport is not None
            http.transport.close()
            return response
        return _odd(fault, whole)


def _odd(fault: str, whole: dict[str, Any]) -> web.Response:
    choice = whole["choices"][0]
    if fault.startswith("usage:"):
        whole["usage"] = json.loads(fault.partition(":")[2])
    if fault == "several":
        whole["choices"].insert(0, {"index": 1, "finish_reason": "stop", "message": {"role": "assistant", "content": "another"}})
    if fault in ("torn", "shape", "html"):
        body = {"torn": json.dumps(whole)[:60], "shape": '{"choices": []}', "html": "<html>gateway</html>"}[fault]
        return web.Response(text=body, content_type="text/html" if fault == "html" else "application/json")
    if fault in ("empty", "null", "refusal", "number"):
        choice["message"]["content"] = {"empty": " ", "number": 5}.get(fault)
    if fault == "refusal":
        choice["message"]["refusal"] = "I would rather not."
    if fault == "filter":
        choice["finish_reason"] = "content_filter"
    if fault in ("length", "thought"):
        choice["finish_reason"] = "length"
    if fault in ("think", "thought"):
        choice["message"]["reasoning_content"] = "First, I look at the request."
        whole["usage"]["completion_tokens_details"] = {"reasoning_tokens": 3}
    if fault == "thought":
        choice["message"]["content"] = None
    return web.json_response(whole)


def _error(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "x", "code": code}}, status=status, headers=headers)


async def _pack(http: web.Request, response: web.StreamResponse) -> None:
    if isinstance(response, web.Response) and (response.content_length or 0) > 400:
        response.enable_compression()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Serve on a free port of this machine, on a thread."""
    loop = asyncio.new_event_loop()
    app = web.Application(client_max_size=1 << 26)
    for path in ("chat/completions", "completions", "moderations"):
        app.router.add_post(f"/v1/{path}", server.chat)
    app.on_response_prepare.append(_pack)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        assert site._server is not None
        server.base_url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"  # type: ignore[attr-defined]

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
