"""An OpenAI-compatible endpoint for benchmarks, in a process of its own: no model, a fixed latency, faults by chance, and counts.

It reads just enough HTTP/1.1 to answer clients that keep their connections. The fault that a request meets depends on its row and on how often that row was
asked before, so every client meets the same ones. ``GET /counts`` gives the counts, ``POST /setup`` (a JSON object of `Setup`) begins anew.
"""

from __future__ import annotations

import asyncio
import json
import resource
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

WORDS = "The request asks for help with an everyday matter. The answer gives general information and nothing that could do harm. "
TEXT = WORDS * (2400 // len(WORDS)) + "\n\nAnswers:\nRequest: unharmful\nCompletion: compliance\nResponse: unharmful\n"
"""About 2,500 characters, what GuardReasoner's reasoning takes at most."""


@dataclass
class Setup:
    """Seconds before an answer, and the share of requests that meet each fault."""

    latency: float = 0.05
    busy: float = 0.0
    """429 with Retry-After: 1."""
    error: float = 0.0
    """500."""
    hang: float = 0.0
    """No answer at all."""
    torn: float = 0.0
    """Half of the JSON."""
    reset: float = 0.0
    """The connection breaks."""


@dataclass
class Counts:
    """What was asked."""

    requests: int = 0
    answered: int = 0
    again: int = 0
    """Requests for rows that had been answered before."""
    most: int = 0
    """Requests in flight at once."""
    first: float = 0.0
    last: float = 0.0
    asked: Counter[bytes] = field(default_factory=Counter)
    done: set[bytes] = field(default_factory=set)
    now: int = 0


class Endpoint(asyncio.Protocol):
    """One connection."""

    setup, counts = Setup(), Counts()

    def __init__(self) -> None:
        self._got = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head = self._got[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._got) < end + 4 + size:
                return
            body, self._got = self._got[end + 4 : end + 4 + size], self._got[end + 4 + size :]
            self._take(head.split(b"\r\n", 1)[0], body)

    def _take(self, line: bytes, body: bytes) -> None:
        if b"/counts" in line:
            c = Endpoint.counts
            self._send(200, json.dumps({n: getattr(c, n) for n in ("requests", "answered", "again", "most", "first", "last")}).encode())
        elif b"/setup" in line:
            Endpoint.setup, Endpoint.counts = Setup(**json.loads(body)), Counts()
            self._send(200, b"{}")
        else:
            self._chat(body)

    def _chat(self, body: bytes) -> None:
        c, s, now = self.counts, self.setup, self._loop.time()
        at = body.rfind(b"[row ")
        row = body[at : body.find(b"]", at)]
        c.requests += 1
        c.first, c.last = c.first or now, now
        c.asked[row] += 1
        c.again += row in c.done
        c.now += 1
        c.most = max(c.most, c.now)
        chance = zlib.crc32(b"%s %d" % (row, c.asked[row])) / 2**32
        fault = ""
        for name in ("busy", "error", "hang", "torn", "reset"):
            share = getattr(s, name)
            if 0 <= chance < share:
                fault = name
            chance -= share
        self._loop.call_later(0.005 if fault == "busy" else s.latency, self._answer, row, fault)

    def _answer(self, row: bytes, fault: str) -> None:
        c = self.counts
        c.now -= 1
        c.last = self._loop.time()
        whole = BODY % row
        if fault == "busy":
            self._send(429, b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}', b"retry-after: 1\r\n")
        elif fault == "error":
            self._send(500, b'{"error": {"message": "sorry"}}')
        elif fault == "torn":
            self._send(200, whole[: len(whole) // 2])
        elif fault == "reset":
            self._transport.abort()
        elif not fault:
            c.answered += 1
            c.done.add(row)
            self._send(200, whole)

    def _send(self, status: int, body: bytes, more: bytes = b"") -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s" % (status, more, len(body), body)
            )


BODY = (
    json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "bench",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "@ " + TEXT}}],
            "usage": {"prompt_tokens": 400, "completion_tokens": 520, "total_tokens": 920},
        }
    )
    .replace("%", "%%")
    .replace("@", "%s")
    .encode()
)


async def main() -> None:
    """Serve, and say where on stdout."""
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=8192)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(main())
