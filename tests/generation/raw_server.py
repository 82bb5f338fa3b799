"""A server that answers with whatever bytes a test gives it: real sockets, no HTTP of its own beyond finding the end of a request.

`RawServer.reply` maps a request (its head in lower case, its body) to the bytes of an answer, head and all, or to several pieces of it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Reply = bytes | Iterable[bytes]


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An answer: head and body."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(text: str | None = "Fine.", **more: Any) -> dict[str, Any]:
    """The body of a chat completion, before it is JSON; `more` replaces keys of its message and of itself."""
    message: dict[str, Any] = {"role": "assistant", "content": text, **{k: more.pop(k) for k in ("refusal", "reasoning_content") if k in more}}
    choice = {"index": 0, "finish_reason": more.pop("finish_reason", "stop"), "message": message}
    return {"id": "x", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}, **more}


class RawServer:
    """Counts what it is asked; `base_url` once it runs."""

    def __init__(self, reply: Callable[[str, bytes], Reply]) -> None:
        self.reply = reply
        self.asked = 0
        self.base_url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                size = next((int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
                body = await reader.readexactly(size)
                self.asked += 1
                reply = self.reply(head, body)
                for piece in [reply] if isinstance(reply, bytes) else reply:
                    writer.write(piece)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@contextmanager
def running(reply: Callable[[str, bytes], Reply]) -> Iterator[RawServer]:
    """Serve on a free port of this machine, on a thread."""
    server, loop = RawServer(reply), asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(server.serve, "127.0.0.1", 0))
    server.base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def stop() -> None:
        listening.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def last_message(body: bytes) -> str:
    """The last message of a request's body."""
    text: str = json.loads(body)["messages"][-1]["content"]
    return text
