"""Backend ``openai``: any endpoint that speaks OpenAI's chat completions, asked concurrently.

Contract: as `toolkit.generation.Backend`. Requests go over aiohttp from an event loop on a thread of its own (`_http`); how many are in flight, and
when the next one may go, is decided for each endpoint and model by `toolkit.generation._quotas`, up to ``concurrency``. The package's own retries
are not used:

- timeout, broken connection, 5xx, 408, 409 and malformed answers are tried again up to ``retries`` times, after
  0.5 s x 2^attempt (at most 30 s) with jitter, or after the server's ``Retry-After``; where the attempt may have been charged for (timeout,
  connection broken after sending, malformed, and 502, 504 or 524 of a gateway), only if the meter has room for another;
- 429 waits for ``Retry-After`` or likewise, and spends no attempt, but no more than ``patience`` seconds in all;
- a request that waits holds no place: others are sent meanwhile, so up to `parallel` are pulled;
- in an outage (`toolkit.generation._quotas.Breaker`) no attempt is spent, and those since the last answer before it are given back: a request
  whose attempts are used up fails once the endpoint answers something (`_gate`); after ``patience`` seconds of it the run stops (`Stopped`);
- what no repetition mends (other 4xx, a redirect that is not followed (`_http`), content filter, refusal, an answer without text) fails at once;
- an error in the body of a 200, and an answer that broke off, count as the status that they name, else as a 5xx (`toolkit.generation._answers`).

What no request can survive is raised, once what is in flight has come in: 401 and a missing key (`Missing`), an endpoint to which nothing could ever
be sent (`Missing`), 404 (`InputError`: wrong address or model), an account without credit or a quota that is used up for longer than ``patience``
(`Stopped`), and requests that are all refused in the same words before any is answered (`Missing`).

Secrets: the key is read from the environment when the backend is opened and goes into the headers alone; it is cut out of whatever comes back
(`toolkit.common.secrets`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from toolkit.common.errors import GuardkitError, Missing, require
from toolkit.common.paths import Beside
from toolkit.common.secrets import fit_for_a_header, protect
from toolkit.generation._endpoint_config import Address, Paced
from toolkit.generation._request import Completion, Request
from toolkit.generation.backends._http import CLOSING, LoopThread, Wire
from toolkit.generation.backends._lane import CHAT, Form, Lane

if TYPE_CHECKING:
    from toolkit.generation._budget import Meter


_BEAT = 1.0
"""Seconds without an answer after which `generate` says that it is still waiting."""


class OpenAIBackend:
    """An OpenAI-compatible endpoint; see the module's docstring.

    Raises:
        Missing: the openai package is not installed, or the key is not set and the address is not local.
        InputError: the address or the environment's proxy cannot be used, or too few files may be open for the concurrency.
    """

    journalled = True

    def __init__(self, config: Paced, *, beside: Beside = None, form: Form = CHAT) -> None:
        require("openai", "openai", "the backend openai")
        require("aiohttp", "openai", "the backend openai")
        self.model_id = config.model
        self.endpoint = config.endpoint_name
        self.parallel = max(4 * config.concurrency, config.concurrency + 16)
        self.meter: Meter | None = None
        self.handed_on: frozenset[str] = frozenset()
        self._config = config
        self._form = form
        self._key = _api_key(config)
        self._thread: LoopThread | None = None
        self._lane: Lane | None = None
        self._more = False

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion | None]:
        """As `Backend.generate`."""
        lane, loop = self._start()
        lane.meter, lane.handed_on = self.meter, self.handed_on
        flying = 0
        ended = False
        while True:
            batch: list[Request] = []
            paused = False  # nothing more comes before a completion is given
            while not (ended or paused) and flying + len(batch) < min(self.parallel, self._config.concurrency + lane.waiting):
                try:
                    request = next(requests)
                except StopIteration:
                    ended = True
                    break
                if request is None:
                    paused = True
                else:
                    batch.append(request)
            if batch:
                loop.call_soon_threadsafe(lane.submit, batch)
                flying += len(batch)
            if not flying:
                return
            there = None
            while there is None or (paused and not there and not self._more):
                if (there := lane.done.wait(_BEAT)) is None:
                    yield None
            self._more = False
            for _ in range(there):
                outcome = lane.done.pop()
                flying -= 1
                if isinstance(outcome, GuardkitError):
                    raise outcome
                yield outcome

    def wake(self) -> None:
        """Pull again, though nothing has been answered since there was nothing to pull."""
        lane, thread = self._lane, self._thread
        if lane is not None and thread is not None:
            self._more = True
            with suppress(RuntimeError):  # the loop has just ended, and nobody waits
                thread.loop.call_soon_threadsafe(lane.done.wake)

    def salvage(self) -> list[Completion]:
        """Drop what is in flight; what had been answered and not been yielded."""
        if self._lane is None or self._thread is None:
            return []
        asyncio.run_coroutine_threadsafe(self._lane.drop(), self._thread.loop).result(CLOSING)
        return [outcome for outcome in self._lane.done.left() if isinstance(outcome, Completion)]

    def close(self) -> None:
        """Close the connections and, for the last backend, end the event loop's thread."""
        if self._thread is None or self._lane is None:
            return
        lane, thread = self._lane, self._thread
        self._lane = self._thread = None
        try:
            asyncio.run_coroutine_threadsafe(lane.close(), thread.loop).result(CLOSING)
        finally:
            LoopThread.release()

    def _start(self) -> tuple[Lane, asyncio.AbstractEventLoop]:
        if self._thread is None or self._lane is None:
            path, body = self._form
            wire = Wire(self._config, self._key, path)
            thread = LoopThread.acquire()
            lane = Lane(self._config, self.model_id, self.endpoint, wire, body)
            try:
                asyncio.run_coroutine_threadsafe(lane.open(), thread.loop).result(CLOSING)
            except BaseException:  # whatever it was, the thread must not stay without a user
                LoopThread.release()
                raise
            self._thread, self._lane = thread, lane
        return self._lane, self._thread.loop


def _api_key(config: Address) -> str:
    if key := os.environ.get(config.api_key_env, "").strip():
        if not fit_for_a_header(key):
            raise Missing(
                f"{config.api_key_env} holds what no key holds: a space, a line break, or a letter that is not ASCII",
                hint=f"export {config.api_key_env}=… with the key alone",
            )
        protect(key)
        return key
    if not config.needs_key:
        return "-"
    raise Missing(
        f"{config.api_key_env} is not set, and {config.base_url} needs a key",
        hint=f"export {config.api_key_env}=…, or name another variable in api_key_env",
    )
