"""From requests to completions: journal first, then the backends, in the order of the requests.

Contract of `complete`:
- A request whose answer is in the journal is not asked; every other one goes to the backend of its endpoint and model. Before a
  completion is handed out it is in the journal, and before a backend is given another request, everything that it has answered is: so
  what a kill -9 can lose is what is in flight, never more. Answers that came together are written together, equal keys asked once.
- `follow` may ask again in a row's place (another attempt, another backend), as soon as an answer has arrived; the completion handed
  out is the last one, with the earlier ones in its `trail`. Requests for another backend than the first are asked whenever the first
  has nothing to do: at the end of the rows, or when the window is full.
- The window is bounded: requests are pulled as the backend takes them and as the consumer takes completions, so memory does not
  depend on the number of rows. There is no batch barrier: a slow row holds back its successors' delivery, and their asking only
  once `window` of them are waiting behind it; beyond `HELD` of these wait in a temporary file beside the journal, not in memory.
- The journal keeps an answer as it came; what is handed out, and what `follow` sees, has its reasoning beside it (`_hand_out`).
- With all in the journal, or no request at all, no backend is touched.
- With a meter no request is sent that could break its cap: first what is in flight may come in cheaper, then the run stops.
- With `ahead` the beginning is tentative until `Completions.widen`: what the journal has is handed out before anything is asked, and no more than so
  many requests are ahead of the slowest one. `Completions.halt` ends a run that is of no use: nothing more is asked, what is in flight comes in.

Failure semantics: an exception from a backend, the journal, the consumer (close) or an interrupt ends the run; before it leaves,
all that has been answered is written to the journal. A failed request is asked again by the next run, unless the failure is `FINAL`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from toolkit.common.errors import GuardkitError, Stopped
from toolkit.generation._budget import Meter, Metered, dollars
from toolkit.generation._commit import Committer
from toolkit.generation._hand_out import HandOut
from toolkit.generation._journal_store import Journal, Keeping
from toolkit.generation._protocol import Backend, Salvages
from toolkit.generation._request import Completion, Request, failed
from toolkit.generation._slots import Asked, Slot
from toolkit.generation._spill import Spill, weight
from toolkit.generation._stats import Stats

Follow = Callable[[int, Request, Completion, tuple[Completion, ...]], Request | None]
"""(number of the row's first request from 0, request, what came of it, what came before) to the request that is asked in its place."""

BLOCK = 256
"""Requests that are looked up in the journal together."""

HELD = 4096
"""Completions that wait in memory behind a slow row (about 12 MB at 3 kB each; a longer one counts as several); further ones wait in a file."""

WINDOW = 65536
"""Requests that may be ahead of the slowest one."""


def complete(
    requests: Iterable[Request],
    backend: Backend | Sequence[Backend],
    journal: Journal | None,
    on_done: Callable[[Completion], None] | None = None,
    *,
    window: int = WINDOW,
    follow: Follow | None = None,
    meter: Meter | None = None,
    on_wait: Callable[[str], None] | None = None,
    ahead: int | None = None,
) -> Completions:
    """Answer requests through the journal; see the module's docstring.

    Args:
        requests: pulled lazily.
        backend: who is asked; with several, the first is who `requests` are for, the others those whom `follow` may address.
        journal: None, or a first backend that is not `journalled`, asks every request.
        on_done: called with each row's last completion as it becomes known, in no order (for progress).
        window: requests that may be ahead of the slowest one.
        follow: asks again in a row's place; called for answers from the journal as well, so it must always decide alike.
        meter: counts what is spent, and holds the cap.
        on_wait: called while a backend waits for long, with what it says about that (for progress).
        ahead: as `window`, until the consumer says that it may be wider; fewer than a backend wants in flight slow it down until then.

    Returns:
        An iterator of completions with the run's `Stats` in ``.stats``; a context manager.

    Raises:
        Stopped: the journal could not be written, or the budget is used up (while iterating).
        GuardkitError: no request can succeed (while iterating).
    """
    backends = list(backend) if isinstance(backend, Sequence) else [backend]
    return Completions(requests, backends, journal if backends[0].journalled else None, on_done, window, follow, meter, on_wait, ahead)


class Completions(Iterator[Completion]):
    """What `complete` returns."""

    def __init__(
        self,
        requests: Iterable[Request],
        backends: list[Backend],
        journal: Journal | None,
        on_done: Callable[[Completion], None] | None,
        window: int,
        follow: Follow | None,
        meter: Meter | None,
        on_wait: Callable[[str], None] | None,
        ahead: int | None,
    ) -> None:
        self.stats = Stats()
        self._hand_out = HandOut(self.stats)
        self._source = iter(requests)
        self._backends = backends
        self._journal = journal
        for keeping in (b for b in backends if isinstance(b, Keeping)):
            keeping.journal = journal
        self._committer: Committer | None = None
        self._unwritten = 0  # answers that have arrived and do not count yet
        self._on_done, self._on_wait = on_done, on_wait
        most = max(b.parallel for b in backends)
        self._wide = max(window, most)
        self._window = self._wide if ahead is None else min(ahead, self._wide)
        self._tentative = ahead is not None
        self._halted: GuardkitError | None = None
        self._follow = follow
        self._meter = meter
        self._pulled = 0
        self._exhausted = False
        self._broke = False
        self._slots: deque[Slot] = deque()
        self._held = 0  # completions in memory, by `weight`
        self._spill: Spill | None = None
        self._asked: dict[str, Asked] = {}
        self._flying: dict[str, Request] = {}  # with the backend
        self._queues: list[deque[Request]] = [deque() for _ in backends]  # to be asked, before further rows
        self._lane = {(b.endpoint, b.model_id): i for i, b in reversed(list(enumerate(backends)))}
        self._block: deque[Request] = deque()  # looked up, not yet placed
        self._ahead: set[str] = set()  # keys of the block
        self._known: dict[str, Completion] = {}  # answers to keys of the block
        self._begun = 0.0
        self._run = self._running()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Completion:
        return next(self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End early: what has been answered is written to the journal, what is in flight is dropped."""
        self._run.close()

    def widen(self) -> None:
        """The beginning is over: ask as far ahead as may be."""
        self._window, self._tentative = self._wide, False

    def halt(self, error: GuardkitError) -> None:
        """Ask nothing more. Once what is in flight, and may have been paid for, has come in and is in the journal, the error is raised."""
        self._halted = self._halted or error

    def _running(self) -> Generator[Completion]:
        self._begun = time.monotonic()
        try:
            while True:
                first, lane = self._first()
                if first is not None:
                    yield from self._asking(lane, first)
                    continue
                self._write()
                yield from self._release()
                if self._halted is not None:
                    raise self._halted
                if self._broke:
                    raise self._out_of_money()
                if self._exhausted and not self._slots:
                    break
        finally:
            if self._committer is not None:
                self._committer.close()
            if self._spill is not None:
                self._spill.close()
            self.stats.seconds = time.monotonic() - self._begun

    def _first(self) -> tuple[Request | None, int]:
        """The next request to be asked and whom; None where there is nothing to ask for now."""
        for lane in range(len(self._backends)):
            if (request := self._pull(lane)) is not None:
                return request, lane
        return None, 0

    def _asking(self, lane: int, first: Request) -> Generator[Completion]:
        """One session of a backend: from a first request to where it has nothing in flight and nothing to pull."""
        backend = self._backends[lane]
        if self._journal is not None and self._committer is None:
            self._committer = Committer(self._journal)
        if isinstance(backend, Metered):
            backend.meter = self._meter
        session = backend.generate(self._feed(lane, first))
        ended = False
        try:
            for completion in session:
                if completion is None:
                    self._write()
                    if self._on_wait:
                        self._on_wait(getattr(backend, "note", ""))
                else:
                    self._arrived(completion)
                yield from self._release()
            ended = True
        finally:
            if isinstance(session, Generator):
                session.close()
            if not ended and isinstance(backend, Salvages):
                for completion in backend.salvage():
                    self._arrived(completion)
        for request in list(self._flying.values()):
            self._arrived(failed(request, "unanswered", "the backend ended without an answer"))

    def _feed(self, lane: int, first: Request) -> Iterator[Request | None]:
        yield first
        while True:
            self._write()
            request = self._pull(lane)
            if request is not None:
                yield request
            elif not self._flying or (self._exhausted and self._follow is None and not self._queues[lane]):
                return  # nothing more can come
            else:
                yield None

    def _pull(self, lane: int) -> Request | None:
        """The next request for a backend; None where there is none for now."""
        if self._broke or self._halted is not None:
            return None
        queue = self._queues[lane]
        while not queue:
            if lane or self._exhausted or len(self._slots) >= self._window:
                return None
            if not self._flying and (self._tentative or self._held >= 4 * BLOCK) and self._slots and self._slots[0].ready:
                return None  # all from the journal so far: hand it out first
            if not self._block and not self._look_up():
                self._exhausted = True
                return None
            request = self._block.popleft()
            slot = Slot(self._pulled, request)
            self._pulled += 1
            self._slots.append(slot)
            self._place(slot, self._known.get(request.key))
        request = queue[0]
        if self._meter is not None and not self._meter.reserve(request):
            self._broke = not self._flying  # what is in flight may come in cheaper than was reserved for it
            return None
        queue.popleft()
        self._flying[request.key] = request
        self.stats.asked += 1
        return request

    def _look_up(self) -> bool:
        """Read the next block of the source; False at its end."""
        for request in self._source:
            self._block.append(request)
            if len(self._block) == BLOCK:
                break
        self._ahead = {r.key for r in self._block}
        self._known = self._look(list(self._block))
        return bool(self._block)

    def _look(self, requests: Sequence[Request]) -> dict[str, Completion]:
        """The answers that the journal has; that a row shares one recorded under another's name is noted there, for a takedown."""
        if self._journal is None or not requests:
            return {}
        before = len(self._journal.unreadable)
        known = self._journal.get_with_rows({r.key for r in requests})
        self.stats.unreadable += len(self._journal.unreadable) - before
        shared = [(r.key, r.row) for r in requests if r.key in known and known[r.key].row != r.row]
        if shared:
            self._journal.share(shared)
        return {key: replace(k.completion, lost=0) for key, k in known.items()}

    def _place(self, slot: Slot, known: Completion | None) -> None:
        """Answer a slot's request from the journal, join an equal one, or queue it for its backend."""
        request = slot.request
        if known is not None:
            self.stats.from_journal += 1
            self._decide(slot, known, None)
        elif (asked := self._asked.get(request.key)) is not None:
            self.stats.shared += 1
            if self._committer is not None and request.row != asked.row:
                self._committer.share([(request.key, request.row)])
            if asked.completion is None:
                asked.slots.append(slot)
            else:
                self._decide(slot, asked.completion, asked)
        else:
            self._asked[request.key] = Asked([slot], request.row)
            self._queues[self._lane.get((request.endpoint, request.model_id), 0)].append(request)

    def _decide(self, slot: Slot, completion: Completion, asked: Asked | None) -> None:
        """Take what came for a slot, or ask again in its place; `asked` while it is not yet in the journal."""
        read = completion if self._follow is None else self._hand_out.read(slot.request, completion)
        following = self._follow(slot.index, slot.request, read, slot.trail) if self._follow is not None else None
        if following is not None and following.key not in (completion.key, *(c.key for c in slot.trail)):  # else it would go round for ever
            self.stats.followed += 1
            slot.trail = (*slot.trail, replace(read, asked=slot.request, raw=None))
            slot.request = following
            self._place(slot, self._look([following]).get(following.key))
        elif asked is not None:
            asked.slots.append(slot)
        else:
            self._fill(slot, completion)

    def _fill(self, slot: Slot, completion: Completion) -> None:
        """A slot's last completion, now that it counts."""
        whole = self._hand_out.read(slot.request, completion).of_row(slot.request, slot.trail)
        self._hand_out.report(slot.request, whole)
        if self._held >= HELD:
            if self._spill is None:
                self._spill = Spill(self._journal.path.parent if self._journal is not None else None)
            slot.spilled = self._spill.put(whole)
        else:
            slot.completion = whole
            self._held += weight(whole)
        if self._on_done:
            self._on_done(whole)

    def _arrived(self, completion: Completion) -> None:
        request = self._flying.pop(completion.key, None)
        if request is None:
            raise RuntimeError(f"the backend answered a request that it was not asked: {completion.key}")
        if self._meter is not None:
            charge = self._meter.settle(request, completion)
            completion = completion if charge.dollars == completion.cost else replace(completion, cost=charge.dollars)
            self.stats.estimated += charge.estimated
            self._broke = self._broke or completion.error == "budget"
        asked = self._asked[request.key]
        asked.completion = completion
        slots, asked.slots = asked.slots, []
        for slot in slots:
            self._decide(slot, completion, asked)
        if self._committer is None:
            self._settle([(request, completion)])
            return
        self._unwritten += 1
        self._committer.add(request, completion)
        self._settle(self._committer.durable())

    def _write(self) -> None:
        """Wait until all that has arrived is in the journal."""
        if self._unwritten and self._committer is not None:
            self._settle(self._committer.flush())
            self._unwritten = 0

    def _settle(self, durable: list[tuple[Request, Completion]]) -> None:
        """Completions that count from now on."""
        for request, completion in durable:
            for slot in self._asked.pop(request.key).slots:
                self._fill(slot, completion)
            self.stats.prompt_tokens += completion.prompt_tokens or 0
            self.stats.completion_tokens += completion.completion_tokens or 0
            self.stats.cost += completion.cost or 0.0
            if completion.final and request.key in self._ahead:  # its twin further on was looked up before this answer was there
                self._known[request.key] = completion
        self.stats.seconds = time.monotonic() - self._begun

    def _release(self) -> Generator[Completion]:
        """What can be handed out in order."""
        while self._slots and self._slots[0].ready:
            slot = self._slots.popleft()
            if slot.completion is not None:
                completion = slot.completion
                self._held -= weight(completion)
            else:
                assert self._spill is not None  # noqa: S101  a slot was spilled into it
                completion = self._spill.get(slot.spilled)
            self.stats.completions += 1
            if completion.error is not None:
                self.stats.failed += 1
                self.stats.retry += not completion.final
                self.stats.errors[completion.error] += 1
                self.stats.messages.setdefault(completion.error, completion.detail or "")
            yield completion

    def _out_of_money(self) -> Stopped:
        meter = self._meter
        assert meter is not None  # noqa: S101  nothing else sets `_broke`
        return Stopped(
            f"the budget of {dollars(meter.cap)} is used up: {dollars(meter.spent)} spent, and the next request could cost more than what is left",
            hint="run again with a higher {--budget|budget}: every answer is kept, and nothing is paid for twice",
        )
