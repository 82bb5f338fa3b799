"""Backend ``openai``: any endpoint that speaks OpenAI's chat completions, asked concurrently.

Contract: as `toolkit.generation.Backend`. An event loop on a thread of its own holds up to ``concurrency`` requests in flight, over a
connection pool of that size. The openai package resolves address, authentication, headers and types of error; the raw answer is read
here, so that a malformed one has a name. The package's own retries are off:

- timeout, broken connection, 5xx, 408, 409 and malformed answers are tried again up to ``retries`` times, after
  0.5 s x 2^attempt (at most 30 s) with jitter, or after the server's ``Retry-After``;
- 429 waits for ``Retry-After`` or likewise, and spends no attempt, but no more than ``patience`` seconds in all;
- what no repetition mends (other 4xx, content filter, refusal, an answer without text) fails at once.

What no request can survive is raised: 401 and a missing key (`Missing`), an endpoint that cannot be reached at all before any answer came
(`Missing`), 404 (`InputError`: wrong address or model), an account without quota (`Stopped`).

Secrets: the key is read from the environment when the backend is opened and goes into the client alone; it is cut out of every detail.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import queue
import random
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from toolkit.common.errors import GuardkitError, InputError, Missing, Stopped, require
from toolkit.generation._config import OpenAIConfig
from toolkit.generation._request import Completion, Request, failed
from toolkit.generation._answers import AttemptError, read_answer, status_failure

if TYPE_CHECKING:
    from toolkit.guards import Guard

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds of the first and of the longest wait between attempts (the openai package's own first wait; a longer cap for long outages)."""

_CLOSING = 10.0
"""Seconds that closing waits for the event loop."""


class OpenAIBackend:
    """An OpenAI-compatible endpoint; see the module's docstring.

    Raises:
        Missing: the openai package is not installed, or the key is not set and the address is not local.
    """

    journalled = True

    def __init__(self, config: OpenAIConfig, *, beside: Path | None = None) -> None:
        require("openai", "openai", "the backend openai")
        self.model_id = config.model
        self.endpoint = config.endpoint_name
        self.parallel = config.concurrency
        self._config = config
        self._key = _api_key(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Any = None
        self._done: queue.SimpleQueue[Completion | GuardkitError] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()  # touched on the loop's thread alone
        self._reached = self._answered = False

    def teacher_messages(self, guard: Guard, row: Mapping[str, Any]) -> list[dict[str, str]]:
        """The guard's own teacher prompt."""
        from toolkit.generation._backend import teacher_messages

        return teacher_messages(guard, row)

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        """As `Backend.generate`."""
        loop = self._start()
        flying = 0
        ended = False
        while True:
            while not ended and flying < self.parallel:
                try:
                    request = next(requests)
                except StopIteration:
                    ended = True
                    break
                if request is None:
                    break
                loop.call_soon_threadsafe(self._spawn, request)
                flying += 1
            if not flying:
                return
            outcome = self._done.get()
            flying -= 1
            if isinstance(outcome, GuardkitError):
                raise outcome
            yield outcome

    def salvage(self) -> list[Completion]:
        """Drop what is in flight; what had been answered and not been yielded."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(_CLOSING)
        out = []
        while not self._done.empty():
            if isinstance(outcome := self._done.get(), Completion):
                out.append(outcome)
        return out

    def close(self) -> None:
        """Close the connections and end the event loop's thread."""
        if self._loop is None:
            return
        self.salvage()
        loop, self._loop = self._loop, None
        try:
            asyncio.run_coroutine_threadsafe(self._client.close(), loop).result(_CLOSING)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(_CLOSING)
            self._client = None

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._loop is not None:
            return self._loop
        _allow_files(self.parallel + 256)
        loop = asyncio.new_event_loop()
        self._client = _client(self._config, self._key)
        self._thread = threading.Thread(target=_run_loop, args=(loop,), name="guardkit-openai", daemon=True)
        self._thread.start()
        self._loop = loop
        return loop

    def _spawn(self, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, request: Request) -> None:
        """Ask until there is an answer or a failure, and hand it over."""
        begun = time.monotonic()
        try:
            outcome: Completion | GuardkitError = await self._ask(request, begun)
        except GuardkitError as e:
            outcome = e
        except Exception as e:  # noqa: BLE001  a fault of ours or of the package's must not leave generate waiting for ever
            outcome = GuardkitError(self._clean(f"unexpected {type(e).__name__} while asking {self.endpoint}: {e}"))
            outcome.exit_code = 70
            outcome.__cause__ = e
        self._done.put(outcome)

    async def _ask(self, request: Request, begun: float) -> Completion:
        attempts = refusals = 0
        waited = 0.0
        while True:
            try:
                answer = await self._attempt(request)
                self._reached = self._answered = True
                return read_answer(request.key, answer, time.monotonic() - begun)
            except AttemptError as failure:
                fault = failure
            self._reached = self._reached or fault.status is not None
            self._raise_if_hopeless(fault)
            wait = fault.wait
            if fault.kind == "rate_limit":
                wait = wait * random.uniform(1.0, 1.1) if wait else _backoff(refusals)
                refusals += 1
                waited += wait
                if waited > self._config.patience:
                    return self._failed(request, fault, begun)
            else:
                if not fault.again or attempts >= self._config.retries:
                    if fault.kind == "connection" and not self._reached:
                        raise self._unreachable(fault)
                    return self._failed(request, fault, begun)
                wait = _backoff(attempts) if wait is None else min(wait, self._config.patience)
                attempts += 1
            await asyncio.sleep(wait)

    async def _attempt(self, request: Request) -> bytes:
        """One attempt: the raw body of a 2xx answer.

        Raises:
            AttemptError: any other outcome.
        """
        import openai

        try:
            async with asyncio.timeout(self._config.timeout):
                body: bytes = await self._client.post("/chat/completions", cast_to=bytes, body=request.payload())
                return body
        except TimeoutError:
            raise AttemptError("timeout", f"no answer within {self._config.timeout:g} s", again=True) from None
        except openai.APIStatusError as e:
            raise status_failure(e.status_code, e.response.headers, e.body, e.message) from None
        except openai.APIConnectionError as e:  # its timeouts, too, are broken connections: openai's own timeout is off
            raise AttemptError("connection", _innermost(e), again=True) from None
        except UnicodeEncodeError as e:
            raise AttemptError("bad_request", f"the prompt is not Unicode text: {e.reason}", again=False) from None

    def _failed(self, request: Request, fault: AttemptError, begun: float) -> Completion:
        return failed(request, fault.kind, self._clean(fault.detail), time.monotonic() - begun)

    def _raise_if_hopeless(self, fault: AttemptError) -> None:
        if fault.status == 401:
            raise Missing(
                f"{self.endpoint} refused the key in ${self._config.api_key_env}: {self._clean(fault.detail)}",
                hint=f"set {self._config.api_key_env} to a valid key",
            )
        if fault.status == 404 and not self._answered:  # later on it is this request's own trouble
            raise InputError(
                f"{self._config.base_url} has no such address or no model {self.model_id!r}: {self._clean(fault.detail)}",
                hint="check base_url (it usually ends in /v1) and model",
            )
        if fault.code == "insufficient_quota":  # OpenAI's error code for an account without credit; waiting does not help
            raise Stopped(f"{self.endpoint}: the account has no quota left", hint="add credit and run again: every answer is kept")

    def _unreachable(self, fault: AttemptError) -> Missing:
        return Missing(
            f"cannot reach {self._config.base_url}: {self._clean(fault.detail)}", hint="start the server, or check base_url and the network"
        )

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) > 3 else text


def _api_key(config: OpenAIConfig) -> str:
    if key := os.environ.get(config.api_key_env, "").strip():
        return key
    if _is_local(config.base_url):
        return "-"
    raise Missing(
        f"{config.api_key_env} is not set, and {config.base_url} needs a key",
        hint=f"export {config.api_key_env}=…, or name another variable in api_key_env",
    )


def _is_local(url: str) -> bool:
    """Whether a URL names this machine or a private network."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_private or address.is_loopback


def _client(config: OpenAIConfig, key: str) -> Any:
    """The package's client over a pool as large as the concurrency; on aiohttp, its fastest transport, where that is installed."""
    from importlib.util import find_spec

    import httpx2
    import openai

    limits = httpx2.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency)
    transport = openai.DefaultAioHttpClient if find_spec("aiohttp") else openai.DefaultAsyncHttpxClient
    http = transport(limits=limits, timeout=None)  # an attempt is timed as a whole, in _attempt
    return openai.AsyncOpenAI(api_key=key, base_url=config.base_url, max_retries=0, timeout=None, http_client=http)


def _innermost(error: BaseException) -> str:
    """What first went wrong: type and words."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def _backoff(attempt: int) -> float:
    """Seconds to wait after attempt number `attempt` (from 0): doubling, capped, a random half of it taken off at most."""
    return float(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, 16)) * random.uniform(0.5, 1.0))


def _allow_files(wanted: int) -> None:
    """Raise this process's soft limit of open files to `wanted`, as far as the hard limit goes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
