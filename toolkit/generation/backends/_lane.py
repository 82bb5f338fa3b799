"""A backend's requests on the event loop's thread: each is sent, judged, sent again or given back.

Contract: a `Lane` belongs to its loop's thread, but for `done` and `waiting`, which the caller's thread reads. Every request that was submitted comes
out of `done` once, as a completion, unless `drop` gave it up; whatever ends the run (an error of the endpoint, a fault of ours) comes out of it
as an error. What is tried again, and when, is in `toolkit.generation.backends._openai`.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from toolkit.common.errors import GuardkitError, InputError, Missing, Stopped
from toolkit.generation._answers import error_in, largest, read_answer
from toolkit.generation._attached import MediaError, content_parts
from toolkit.generation._attempt_faults import GATEWAY, AttemptError, end_of_service, status_failure
from toolkit.generation._endpoint_config import Paced
from toolkit.generation._quotas import ANSWERED, DROPPED, FAILED, REFUSED, REJECTED, Limits, Sent
from toolkit.generation._request import Completion, Request, failed
from toolkit.generation._usage import believed
from toolkit.generation._vocabulary import no_system, takes_no_system
from toolkit.generation.backends._done import Done
from toolkit.generation.backends._gate import Gate, Item
from toolkit.generation.backends._http import Wire, backoff

if TYPE_CHECKING:
    from toolkit.generation._budget import Meter


ALIKE = 8
"""Requests that are refused for good in the same words before any is answered, after which no other is sent."""

_OWN = re.compile(r"\S*\d\S{11,}|\S{11,}\d\S*")
"""What may be a request's own in the words of a refusal: its id."""


class Lane:
    """The backend's requests on the loop's thread; all but `done`, `waiting` and the constructor belong to that thread."""

    def __init__(self, config: Paced, model_id: str, endpoint: str, wire: Wire, body: Callable[[Request], bytes]) -> None:
        self.ready: deque[Item] = deque()
        self.flying = 0
        self.most = config.concurrency
        self.patience = config.patience
        self.meter: Meter | None = None
        self.handed_on: frozenset[str] = frozenset()
        self.waiting = 0  # items that wait to be sent again, or are held
        self.done = Done()
        self._config, self._model, self._endpoint, self._wire, self._body = config, model_id, endpoint, wire, body
        self._gate: Gate | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._held: deque[tuple[Item, AttemptError]] = deque()
        self._reached = self._answered = False
        self._ending: GuardkitError | None = None  # what ends the run, once what is in flight has come in
        self._alike: Counter[tuple[object, ...]] = Counter()  # refusals for good before any answer, by their words
        self._last_fault = ""

    async def open(self) -> None:
        """Make the connections' pool and enter the gate."""
        c = self._config
        await self._wire.open()
        limits = Limits(c.concurrency, slow_start=c.slow_start, requests_per_minute=c.requests_per_minute, tokens_per_minute=c.tokens_per_minute)
        self._gate = Gate.enter((self._endpoint, self._model), self, limits, c.requests_per_minute, c.tokens_per_minute)

    async def close(self) -> None:
        """Drop everything and close the connections."""
        await self.drop()
        self.done.put(Stopped(f"the backend for {self._endpoint} was closed while it was being asked"))  # for whoever still waits
        if self._gate is not None:
            self._gate.leave(self)
        await self._wire.close()

    async def drop(self) -> None:
        """Give up all that has no outcome yet."""
        self._forget()
        self._ending = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pump()  # other backends may have waited for our places

    def _forget(self) -> None:
        """Give up all that is not in flight."""
        self.ready.clear()
        self._held.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.waiting = 0

    def submit(self, requests: list[Request]) -> None:
        """Take requests in."""
        for request in requests if self._ending is None else []:
            if request.media:  # bytes of files are read when they are sent, and not held meanwhile
                self.ready.append(Item(request, b"", sum(len(content) for _, content in request.messages)))
                continue
            try:
                body = self._body(request)
                self.ready.append(Item(request, body, len(body)))
            except ValueError as e:
                self.done.put(_unfit(request, e))
            except GuardkitError as e:
                self._end(e)
        self._pump()

    def start(self, item: Item, sent: Sent) -> None:
        """Send an item."""
        self.flying += 1
        task = asyncio.get_running_loop().create_task(self._attempt(item, sent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def outage(self, seconds: float) -> None:
        """The endpoint has been out for longer than `patience`."""
        self.done.put(
            Stopped(
                f"{self._endpoint} has answered nothing for {seconds:.0f} s: {self._last_fault}",
                hint="run again when it is back: every answer is kept",
            )
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight, ready, or waits for its time."""
        return not (self.flying or self.ready or self._timers)

    @property
    def holds(self) -> bool:
        """Whether there are items that are to fail once it is known that the endpoint lives."""
        return bool(self._held)

    def fail_held(self) -> None:
        """Let the held items fail."""
        while self._held:
            self.waiting -= 1
            self._fail(*self._held.popleft())

    def release(self, most: int | None = None) -> None:
        """Make held items ready again: all, or so many."""
        for _ in range(len(self._held) if most is None else min(most, len(self._held))):
            item, fault = self._held.popleft()
            self.waiting -= 1
            if self._room(item, fault):
                self.ready.append(item)

    async def _attempt(self, item: Item, sent: Sent) -> None:
        """Send once, and decide what follows."""
        answer: Completion | None = None
        fault: AttemptError | None = None
        outcome = DROPPED
        try:
            item.begun = item.begun or time.monotonic()
            body = item.body or await self._late(item.request)
            if isinstance(body, bytes):
                answer = await self._ask(item, body, sent)
                outcome = REJECTED if answer.error == "content_filter" and answer.finish is None else ANSWERED
            else:
                answer = body
        except AttemptError as e:
            fault, outcome = e, _outcome(e)
        except Exception as e:  # noqa: BLE001  a fault of ours or of a library's must not leave generate waiting for ever
            self.done.put(self._bug(e))
        finally:
            self.flying -= 1
            assert self._gate is not None  # noqa: S101  `open` comes first
            self._gate.landed(sent, outcome)
        if answer is not None:
            self.done.put(answer)
        elif fault is not None and self._ending is None:
            judged = fault
            self._guarded(lambda: self._after(item, sent, judged))
        self._pump()

    async def _late(self, request: Request) -> bytes | Completion:
        """The body of a request with media, made when it is sent; or why there is none."""
        try:
            return await asyncio.to_thread(self._body, request)
        except ValueError as e:
            return _unfit(request, e)

    async def _ask(self, item: Item, body: bytes, sent: Sent) -> Completion:
        """The answer.

        Raises:
            AttemptError: there is none.
        """
        status, headers, answer = await self._wire.post(body, largest(item.request.max_tokens, item.request.extra, item.request.logprobs))
        self._reached = True
        try:
            return self._read(item, sent, status, headers, answer)
        except AttemptError:
            raise
        except Exception as e:  # noqa: BLE001  whatever a server's bytes do to whoever reads them is that answer's failure, not the run's
            lost = 200 <= status < 300 or status in GATEWAY
            detail = f"{type(e).__name__} while reading an answer of {len(answer)} bytes (HTTP {status}): {e}"
            raise AttemptError("malformed", detail, again=True, status=status, lost=lost) from None

    def _read(self, item: Item, sent: Sent, status: int, headers: Mapping[str, str], body: bytes) -> Completion:
        now = time.monotonic()
        limits, begun = self._limits(), item.begun or now
        if not 200 <= status < 300:
            limits.heard(headers, 0, now)
            value, message = error_in(body)
            fault = status_failure(status, headers, value, message)
            if fault.kind == "content_filter":  # the model's last word on this prompt, so it comes with its body
                self._answered = True
                whole = failed(item.request, fault.kind, fault.detail, now - begun)
                return replace(whole, raw=body, lost=item.lost)
            raise fault
        answer = read_answer(item.request.key, body, now - begun)
        self._answered = True
        read, written = believed(item.request, answer)
        limits.heard(headers, (read or 0) + (written or 0), now)
        limits.used(sent, read, written)
        return replace(answer, lost=item.lost) if item.lost else answer

    def _after(self, item: Item, sent: Sent, fault: AttemptError) -> None:
        """Fail the request, or have it sent again after a while."""
        self._raise_if_hopeless(fault)
        item.lost += fault.lost
        if fault.kind == "connection" and fault.lost:
            self._reached = True
        if fault.kind == "rate_limit":
            wait = fault.wait * random.uniform(1.0, 1.1) if fault.wait else backoff(item.refusals)
            item.refusals += 1
            item.waited += wait
            if item.waited > self._config.patience:
                self._fail(item, fault)
                return
            self._later(item, wait)
            return
        spends = True
        if failing := _outcome(fault) == FAILED:
            spends = self._note_failure(item, sent, fault)  # in an outage no attempt is spent
        wait = backoff(item.attempts) if fault.wait is None else min(fault.wait, self._config.patience)
        item.attempts += spends
        if not fault.again:
            self._fail(item, fault)
            self._raise_if_alike(fault)
        elif spends and item.attempts > self._config.retries:
            if fault.kind == "connection" and not self._reached:
                raise self._unreachable(fault)
            self._hold(item, fault) if failing else self._fail(item, fault)
            self._raise_if_alike(fault)
        elif self._room(item, fault):
            self._later(item, wait if spends else 0.0)  # in an outage the breaker says when

    def _room(self, item: Item, fault: AttemptError) -> bool:
        """Whether the budget has room for another attempt; else the item fails."""
        if fault.lost and self.meter is not None and not self.meter.lost(item.request):
            self._fail(item, AttemptError("budget", f"no room for another attempt after: {fault.detail}", again=False))
            return False
        return True

    def _hold(self, item: Item, fault: AttemptError) -> None:
        self._held.append((item, fault))
        self.waiting += 1
        self.done.wake()

    def _note_failure(self, item: Item, sent: Sent, fault: AttemptError) -> bool:
        """Tell the gate; whether that spends an attempt."""
        self._last_fault = fault.detail
        there = self._reached or fault.kind == "timeout" or sent.probe  # else it was never there, which `Missing` says
        spends = self._gate.failed(item, sent) if there and self._gate is not None else True
        item.faulted = True
        return spends

    def _later(self, item: Item, wait: float) -> None:
        if wait <= 0:
            self.ready.append(item)
            return

        def again() -> None:
            self._timers.discard(timer)
            self.waiting -= 1
            self.ready.appendleft(item)
            self._pump()

        timer = asyncio.get_running_loop().call_later(wait, again)
        self._timers.add(timer)
        self.waiting += 1
        self.done.wake()

    def _fail(self, item: Item, fault: AttemptError) -> None:
        seconds = time.monotonic() - item.begun if item.begun is not None else None
        self.done.put(replace(failed(item.request, fault.kind, fault.detail, seconds), lost=item.lost))

    def _raise_if_hopeless(self, fault: AttemptError) -> None:
        if fault.status == 401:
            raise Missing(
                f"{self._endpoint} refused the key in ${self._config.api_key_env}: {fault.detail}",
                hint=f"set {self._config.api_key_env} to a valid key",
            )
        if fault.status == 404 and not self._answered:  # later on it is this request's own trouble
            raise InputError(
                f"{self._config.base_url} has no such address or no model {self._model!r}: {fault.detail}",
                hint="check base_url (it usually ends in /v1) and model",
            )
        if fault.status in (400, 422) and not self._answered and takes_no_system(fault.detail):
            raise no_system(self._endpoint, fault.detail)
        if fault.outlasts(self._config.patience):
            raise end_of_service(self._endpoint, fault)

    def _raise_if_alike(self, fault: AttemptError) -> None:
        """Many requests that came to nothing in the same words before any answer: the words are about what all of them have in common."""
        if fault.kind not in ("bad_request", "forbidden", "malformed") or fault.kind in self.handed_on or self._answered:
            return
        words = (fault.status, _OWN.sub("", fault.detail))
        self._alike[words] += 1
        if self._alike[words] >= ALIKE:
            what, names = "refused", "temperature: null, max_tokens_name, extra, logprobs, model, …"
            if fault.kind == "malformed":
                what, names = "gave no answer that can be read to", "base_url, extra, …"
            hint = f"change what it names ({names}) and run again: every answer is kept"
            raise Missing(f"{self._endpoint} {what} the first {self._alike[words]} requests alike and answered none: {fault.detail}", hint=hint)

    def _unreachable(self, fault: AttemptError) -> Missing:
        return Missing(f"cannot reach {self._config.base_url}: {fault.detail}", hint="start the server, or check base_url and the network")

    def _limits(self) -> Limits:
        assert self._gate is not None  # noqa: S101  `open` comes first
        return self._gate.limits

    def _pump(self) -> None:
        self._guarded(self._gate.pump if self._gate is not None else None)
        if self._ending is not None and not self.flying:
            self.done.put(self._ending)

    def _guarded(self, call: Callable[[], None] | None) -> None:
        """Whatever it raises ends the run instead of leaving generate waiting for ever."""
        try:
            if call is not None:
                call()
        except GuardkitError as e:
            self._end(e)
        except Exception as e:  # noqa: BLE001  see above
            self.done.put(self._bug(e))

    def _end(self, error: GuardkitError) -> None:
        """Send nothing more, and end the run with an error once what is in flight, and may have been paid for, has come in."""
        self._ending = self._ending or error
        self._forget()

    def _bug(self, e: Exception) -> GuardkitError:
        error = GuardkitError(f"unexpected {type(e).__name__} while asking {self._endpoint}: {e}")
        error.exit_code = 70
        error.__cause__ = e
        return error


def _outcome(fault: AttemptError) -> str:
    """What a fault says about the endpoint."""
    if fault.kind == "rate_limit":
        return REFUSED
    if fault.kind in ("timeout", "connection", "server_error"):
        return FAILED
    return REJECTED if fault.status is not None else FAILED


def _unfit(request: Request, error: ValueError) -> Completion:
    """What comes of a request that no body can be made of."""
    if isinstance(error, UnicodeEncodeError):
        return failed(request, "bad_request", f"the prompt is not Unicode text: {error.reason}")
    return failed(request, "media" if isinstance(error, MediaError) else "bad_request", str(error))


def _encoded(request: Request) -> bytes:
    """The request's body.

    Raises:
        UnicodeEncodeError: the prompt is not Unicode text; MediaError: a file cannot go along with it.
    """
    payload = request.payload(content_parts(request.media) if request.media else ())
    try:
        return orjson.dumps(payload)
    except TypeError:  # a lone surrogate, or what orjson does not know and JSON does (integers beyond 64 bits)
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


Form = tuple[str, Callable[[Request], bytes]]
"""Where requests go below the base URL, and what makes their bodies (ValueError: this one cannot be asked; GuardkitError: none can)."""

CHAT: Form = ("/chat/completions", _encoded)
TEXT: Form = ("/completions", _encoded)
"""For prompts that no chat template writes."""
