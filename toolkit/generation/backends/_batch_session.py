"""One session of ``openai-batch``: what is asked, in which batch it is, and what comes of it. See `_batch` for the contract."""

from __future__ import annotations

import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.common.errors import GuardkitError, InputError, Stopped
from toolkit.generation._attempt_faults import AttemptError, end_of_service
from toolkit.generation._config import OpenAIBatchConfig
from toolkit.generation._request import Completion, Request, failed
from toolkit.generation.backends._batch_api import TOO_MANY_TOKENS, Fault, Provider, bad_rows
from toolkit.generation.backends._batch_lines import error_of_batch, line_of, outcome
from toolkit.generation.backends._batch_store import ERRORS, OUTPUT, Draft, Parcel, adopt, answered, hand_over

if TYPE_CHECKING:
    from toolkit.generation._budget import Meter
    from toolkit.generation._journal_store import Journal

_log = logging.getLogger(__name__)

AHEAD = 4
"""Full batches that may be under way at once. Their requests are held in memory: 200,000 at OpenAI's own limit."""

_MB = 1_000_000
"""Bytes in a megabyte, as OpenAI counts a file's limit at its strictest."""

_LONGEST_HOLD, _HELD_AT_MOST = 3600.0, 86_400.0
"""Seconds of the longest wait before a batch is tried again that had too many tokens, and of all such waits together (a batch's own day)."""

_SETTLED = 10.0
"""Seconds after which the engine has written to the journal what it was given (it does so within a tenth of one)."""


class Session:
    """What happens between the first request and the last answer.

    Args:
        config: of the backend.
        provider: the endpoint.
        root: folder of the batches.
        meter: asked before a request is sent again whose first cost is not known.
        journal: what it has, may go from `root`; None removes nothing.
        pause: waits so many seconds; may raise.
    """

    def __init__(
        self,
        config: OpenAIBatchConfig,
        provider: Provider,
        root: Path,
        meter: Meter | None,
        journal: Journal | None,
        pause: Callable[[float], None],
    ) -> None:
        self._config = config
        self._provider = provider
        self._root = root
        self._meter = meter
        self._journal = journal
        self._pause = pause
        self._rows = config.batch_requests  # in one batch; halved where the endpoint does not take so many tokens
        self._wanted: dict[str, Request] = {}
        self._home: dict[str, Parcel] = {}  # the newest batch of a key
        self._parcels: list[Parcel] = []
        self._queue: deque[Parcel] = deque()  # to be created
        self._draft: Draft | None = None
        self._again: deque[Request] = deque()
        self._known: deque[Completion] = deque()  # failures that need no batch
        self._tries: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._fatal: GuardkitError | None = None
        self._complete = False
        self._next_look = 0.0
        self._hold = config.poll
        self._held_until = self._held_since = 0.0
        self.note = ""

    @property
    def under_way(self) -> str:
        """The batches that the endpoint works on, in words; empty for none."""
        running = self._running()
        rows = sum(p.state.rows for p in running)
        return f"{_batches(running)} with {rows:,} requests under way at {self._config.endpoint_name}" if running else ""

    def run(self, requests: Iterator[Request | None]) -> Iterator[Completion | None]:
        """As `Backend.generate`."""
        self._adopt()
        ended = False
        while not ended or self._wanted:
            if not ended:
                ended = self._pull(requests)
            given = 0
            while self._wanted and not given:
                self._send()
                for completion in self._give():
                    given += 1
                    yield completion
                if not given and not self._again:
                    yield None
                    self._look()
        self._complete = True

    def release(self) -> None:
        """End the session: what is sent stays, on disk and at the endpoint."""
        if self._draft is not None:
            self._draft.drop()
            self._draft = None
        for parcel in self._parcels:
            if parcel.state.state == "prepared":
                parcel.discard()
            parcel.release()
        self.note = ""

    def settle(self, since: float = 0.0, *, last: bool = False) -> None:
        """Remove the batches of which everything was given at least `since` seconds ago, once the journal has it.

        Args:
            last: the engine asks nothing more: those that it asked no more of, too, unless the session was cut short.
        """
        for parcel in list(self._parcels):
            given = not parcel.left or (last and self._complete)
            old = parcel.state.state == "downloaded" and given and time.monotonic() - parcel.given >= since
            if old and self._journal is not None and parcel.relock():
                if hand_over(parcel, self._journal):
                    self._drop(parcel)
                else:
                    parcel.given = math.inf
                    _log.warning("%s is kept: it has answers to requests of another version of guardkit", parcel.folder)

    # -- requests to batches

    def _adopt(self) -> None:
        """Go on with what earlier sessions left."""
        self._parcels = adopt(self._root, self._config.endpoint_name, self._config.model)
        for parcel in list(self._parcels):
            if parcel.state.state == "uploaded":
                if (batch := self._provider.find(parcel)) is None:
                    self._drop(parcel)  # no work is done on it; what is still asked goes into a new batch
                    continue
                parcel.record("created", batch=batch)
            # of what has been read before only the answers count: the rest is asked again by this run
            keys = [r.key for r in answered(parcel)] if parcel.state.state == "downloaded" else parcel.keys
            self._home.update(dict.fromkeys(keys, parcel))

    def _pull(self, requests: Iterator[Request | None]) -> bool:
        """Take requests until no more come for now; True at their end."""
        while len(self._wanted) < AHEAD * self._config.batch_requests:
            try:
                request = next(requests)
            except StopIteration:
                return True
            if request is None:
                break
            self._wanted[request.key] = request
            if (parcel := self._home.get(request.key)) is not None:
                parcel.asked.add(request.key)
            else:
                self._add(request)
        return False

    def _add(self, request: Request) -> None:
        """Write a request into the batch that is being gathered."""
        most = int(self._config.batch_megabytes * _MB)
        try:
            line = line_of(request)
        except UnicodeEncodeError as e:
            self._known.append(failed(request, "bad_request", f"the prompt is not Unicode text: {e.reason}"))
            return
        if len(line) > most:
            self._known.append(failed(request, "bad_request", f"the request has {len(line):,} bytes, a batch {most:,} at most"))
            return
        if self._draft is not None and (self._draft.rows >= self._rows or self._draft.size + len(line) > most):
            self._seal()
            self._submit()
        if self._draft is None:
            self._draft = Draft(self._root)
        self._draft.add(request, line)

    def _send(self) -> None:
        """Send all that is gathered."""
        while self._again:
            self._add(self._again.popleft())
        self._seal()
        self._submit()

    def _seal(self) -> None:
        if self._draft is not None:
            parcel = self._draft.seal(self._config.endpoint_name, self._config.model)
            self._draft = None
            self._parcels.append(parcel)
            self._queue.append(parcel)
            self._home.update(dict.fromkeys(parcel.keys, parcel))

    def _submit(self) -> None:
        """Have the endpoint begin with what waits, unless it has too many tokens enqueued."""
        while self._queue and time.monotonic() >= self._held_until:
            parcel = self._queue[0]
            if parcel.state.state == "prepared":
                parcel.record("uploaded", file=self._provider.upload(parcel))
            batch = self._provider.create(parcel)
            self._queue.popleft()
            if batch is None:
                self._refused(parcel)
            else:
                parcel.record("created", batch=batch)
                self._next_look = self._next_look or time.monotonic() + self._config.poll
            self._say()

    # -- batches to completions

    def _look(self) -> None:
        """Wait until it is time, then see how the batches stand."""
        self._pause(self._next_look - time.monotonic())
        for parcel in list(self._parcels):
            if parcel.state.state == "created":
                self._see(parcel)
            if parcel.state.state == "ended":
                self._fetch(parcel)
        self.settle(_SETTLED)
        self._next_look = time.monotonic() + self._config.poll * random.uniform(0.9, 1.1)
        self._say()

    def _see(self, parcel: Parcel) -> None:
        batch = self._provider.batch(parcel)
        if batch is None:
            if parcel.asked:
                raise InputError(
                    f"{self._config.base_url} does not know the batch {parcel.state.batch}: the key may be one of another project",
                    where=str(parcel.folder),
                    hint="use the key that it was sent with; or move the folder away to give up its answers and pay for them again",
                )
            return
        parcel.done = batch.done
        if batch.status == "failed":
            self._invalid(parcel, batch.faults)
        elif batch.status in ("completed", "expired", "cancelled"):
            late = batch.served and not batch.output and batch.status == "completed"
            if late and batch.ended and time.time() - batch.ended < self._config.patience:
                return  # the name of its output file has been seen to come late
            seconds = float(batch.ended - batch.created) if batch.ended and batch.created else None
            parcel.record("ended", status=batch.status, output=batch.output, errors=batch.errors, seconds=seconds)
            self._held_until = 0.0
        elif batch.status in ("in_progress", "finalizing"):
            self._hold, self._held_since = self._config.poll, 0.0

    def _fetch(self, parcel: Parcel) -> None:
        for file_id, name in ((parcel.state.output, OUTPUT), (parcel.state.errors, ERRORS)):
            if file_id and not self._provider.download(file_id, parcel.folder / name, parcel.state.rows):
                _log.warning("%s: the endpoint no longer has the file %s (%s) of batch %s", parcel.folder, file_id, name, parcel.state.batch)
        parcel.record("downloaded")

    def _give(self) -> Iterator[Completion]:
        """What can be given now."""
        while self._known:
            yield self._done(self._known.popleft())
        for parcel in list(self._parcels):
            if parcel.state.state == "downloaded" and parcel.asked:
                yield from self._read(parcel)
        if self._fatal is not None:
            raise self._fatal

    def _read(self, parcel: Parcel) -> Iterator[Completion]:
        for result in parcel.results():
            if result.key in parcel.asked:
                try:
                    completion: Completion | None = outcome(result.key, result.record, parcel.state.seconds)
                except AttemptError as fault:
                    completion = self._after(parcel, result.key, fault)
                if completion is not None:
                    yield self._done(completion)
        for key in list(parcel.asked):
            words = f"batch {parcel.state.batch} ended ({parcel.state.status}) without a word on it"
            silence = AttemptError("unanswered", words, again=True, lost=True)
            if (completion := self._after(parcel, key, silence)) is not None:
                yield self._done(completion)
        parcel.given = time.monotonic()

    def _after(self, parcel: Parcel, key: str, fault: AttemptError) -> Completion | None:
        """The failure that a fault means for a request; None where it is sent again (or the session ends over it)."""
        request = self._wanted[key]
        if fault.ends is not None:
            self._fatal = end_of_service(self._config.endpoint_name, fault)
            parcel.asked.discard(key)
            return None
        self._tries[key] += 1
        if not fault.again or self._tries[key] > self._config.retries:
            self._lost[key] += fault.lost and fault.kind != "unanswered"  # which is counted as such
            return failed(request, fault.kind, fault.detail, parcel.state.seconds)
        if fault.lost:
            self._lost[key] += 1
            if self._meter is not None and not self._meter.lost(request):
                return failed(request, "budget", fault.detail, parcel.state.seconds)
        self._move(key)
        return None

    def _done(self, completion: Completion) -> Completion:
        self._leave(completion.key)
        del self._wanted[completion.key]
        return replace(completion, lost=self._lost.pop(completion.key, 0))

    def _leave(self, key: str) -> None:
        """Take a request out of the batch that it is in."""
        if (parcel := self._home.pop(key, None)) is not None:
            parcel.asked.discard(key)
            parcel.left.discard(key)

    def _move(self, key: str) -> None:
        """Put a request into the next batch."""
        self._leave(key)
        self._again.append(self._wanted[key])

    # -- batches that do no work

    def _invalid(self, parcel: Parcel, errors: Sequence[Fault]) -> None:
        """A batch failed before any work was done on it."""
        codes = {e.code for e in errors}
        if TOO_MANY_TOKENS in codes:
            self._refused(parcel)
            return
        for error in errors:
            if (fault := error_of_batch(error.code, error.message)).ends is not None:
                self._drop(parcel)
                raise end_of_service(self._config.endpoint_name, fault)
        bad = bad_rows(parcel, errors)
        asked = [k for k in parcel.keys if k in parcel.asked]
        if asked and (not bad or (len(bad) == len(parcel.keys) > 1)):
            words = "; ".join(f"{e.code}: {e.message}" + (f" (line {e.line})" if e.line else "") for e in errors[:3]) or "no reason given"
            self._drop(parcel)
            raise InputError(
                f"{self._config.endpoint_name} found a batch of {len(parcel.keys):,} requests invalid: {words}",
                hint="nothing of it was paid for; mend what it names (model, max_tokens_name, extra, …) and run again",
            )
        for key in asked:
            if (e := bad.get(key)) is None:
                self._move(key)
            else:
                self._known.append(failed(self._wanted[key], "bad_request", f"{e.code}: {e.message}"))
        self._drop(parcel)

    def _refused(self, parcel: Parcel) -> None:
        """A batch had more tokens than may be enqueued: try it again later, or in halves where nothing else of ours is enqueued."""
        now = time.monotonic()
        self._held_since = self._held_since or now
        if now - self._held_since > _HELD_AT_MOST:
            raise Stopped(
                f"{self._config.endpoint_name} has refused a batch of {parcel.state.rows:,} requests for its enqueued tokens for a day",
                hint="end other batches of the account, or set batch_requests lower, and run again",
            )
        if parcel.state.batch:
            parcel.record("uploaded", batch="", spent=(*parcel.state.spent, parcel.state.batch))
        if not parcel.asked:
            self._drop(parcel)
            return
        if not self._running() and parcel.state.rows > 1:
            self._rows = max(1, parcel.state.rows // 2)
            for key in [k for k in parcel.keys if k in parcel.asked]:
                self._move(key)
            self._drop(parcel)
            return
        self._queue.appendleft(parcel)
        self._held_until = now + self._hold
        self._hold = min(2 * self._hold, _LONGEST_HOLD)
        _log.info("a batch of %d requests waits: the endpoint has too many tokens enqueued", parcel.state.rows)

    def _drop(self, parcel: Parcel) -> None:
        """Forget a batch and what is on disk of it."""
        self._parcels.remove(parcel)
        for key in parcel.keys:
            if self._home.get(key) is parcel:
                del self._home[key]
        parcel.discard()

    def _running(self) -> list[Parcel]:
        return [p for p in self._parcels if p.state.state == "created"]

    def _say(self) -> None:
        running = self._running()
        done, rows = sum(p.done for p in running), sum(p.state.rows for p in running)
        words = f"{_batches(running)}: {done:,} of {rows:,} requests done" if running else ""
        waiting = f"{_batches(self._queue)} held back" if self._queue else ""
        self.note = ", ".join(filter(None, (words, waiting)))


def _batches(parcels: list[Parcel] | deque[Parcel]) -> str:
    return f"{len(parcels)} batch{'es' if len(parcels) != 1 else ''}"
