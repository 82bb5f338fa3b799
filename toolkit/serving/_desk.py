"""An open guard that many threads ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, Queue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from toolkit.generation import Tells
from toolkit.serving._feed import Down, Feed
from toolkit.serving._judgement import Judgement

if TYPE_CHECKING:
    from toolkit.generation import Completion, Request
    from toolkit.guards import Mode
    from toolkit.judging import OpenGuard

Pending = Sequence[Future["Completion"]]
"""What comes of the requests about one interaction."""
_Coming = tuple[dict[str, Any], Pending]


class Desk:
    """A guard that any number of threads may ask; they share the engine's batch. A context manager, which closes the guard, too.

    Args:
        guard: the open guard; nobody else may ask it meanwhile.
        places: requests that may be waiting or under way.
        mode: how outputs are read (`toolkit.guards.parse`).
        reading: likewise.
    """

    def __init__(self, guard: OpenGuard, *, places: int = 1024, mode: Mode = "lenient", reading: str | None = None) -> None:
        self._open, self._mode, self._reading = guard, mode, reading
        self.guard = guard.guard
        """The definition."""
        self._listening: dict[str, Callable[[str], None]] = {}
        self.feed = Feed(guard.backend, places=places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(None if kind is None else 0.0)

    def close(self, seconds: float | None = None) -> bool:
        """Answer what was taken, then let go of the model; whether all of it was answered. Harmless when called twice.

        Args:
            seconds: how long the answers may take; None: as long as they take.
        """
        try:
            return self.feed.close(seconds)
        finally:
            self._open.close()

    @property
    def model_id(self) -> str:
        """Content hash of a local model (read from the disk when first asked for), name of a remote one."""
        return self._open.backend.model_id

    def questions(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], list[Request]]:
        """A row with all that its questions need, and the requests that ask them.

        Raises:
            InputError: a row that cannot be asked about.
        """
        return self._open.ask(row)

    def judgement(self, row: Mapping[str, Any], completions: Sequence[Completion]) -> Judgement:
        """What comes of the completions of `questions`, in their order."""
        return Judgement.of(self.guard, row, self._open.read(row, completions, mode=self._mode, reading=self._reading))

    @property
    def streams(self) -> bool:
        """Whether the backend tells of a text while it is being written."""
        return isinstance(self._open.backend, Tells)

    def judge(self, row: Mapping[str, Any], seconds: float | None = None, on_text: Callable[[str], None] | None = None) -> Judgement:
        """What the guard says of one interaction.

        Args:
            row: `prompt`; `response`, `context` and `id` where there are any.
            seconds: how long that may take.
            on_text: called in the engine's thread with the text so far, while it is written, where the backend tells (`streams`).

        Raises:
            InputError: a row that cannot be asked about.
            GuardkitError: no request can succeed: no such model, no service.
            Full: all places are taken.
            TimeoutError: not within `seconds`.
        """
        if on_text is None:
            return self._taken(*self._submit(row), seconds)
        keys = [r.key for r in self.questions(row)[1]]
        if isinstance(self._open.backend, Tells):
            self._open.backend.on_text = self._pass_on
        self._listening.update(dict.fromkeys(keys, on_text))
        try:
            return self._taken(*self._submit(row), seconds)
        finally:
            for key in keys:
                self._listening.pop(key, None)

    def _pass_on(self, key: str, text: str) -> None:
        listener = self._listening.get(key)
        if listener is not None:
            listener(text)

    def judge_many(self, rows: Iterable[Mapping[str, Any]], ahead: int | None = None) -> Iterator[Judgement]:
        """The same of many rows, in their order, as they come.

        Args:
            rows: pulled, in a thread of its own, as the guard has room for them.
            ahead: interactions that may be under way; None: as many as the backend wants.

        Raises:
            InputError: a row that cannot be asked about; what comes before it is given first.
            GuardkitError: no request can succeed.
        """
        there: Queue[_Coming | BaseException | None] = Queue(max(1, ahead or min(self._open.backend.parallel, self.feed.places // 2)))
        gone = threading.Event()

        def submit() -> None:
            try:
                for row in rows:
                    if gone.is_set():
                        return
                    there.put(self._submit(row))
                there.put(None)
            except BaseException as e:  # noqa: BLE001  it is raised where the verdicts are taken
                there.put(e)

        threading.Thread(target=submit, name="guardkit-rows", daemon=True).start()
        try:
            while (coming := there.get()) is not None:
                if isinstance(coming, BaseException):
                    raise coming
                yield self._taken(*coming, None)
        finally:
            gone.set()
            _cancel(there)

    def _submit(self, row: Mapping[str, Any]) -> _Coming:
        whole, requests = self.questions(row)
        try:
            return whole, self.feed.submit(requests)
        except Down as e:
            raise e.fault from None

    def _taken(self, row: dict[str, Any], pending: Pending, seconds: float | None) -> Judgement:
        try:
            return self.judgement(row, [future.result(seconds) for future in pending])
        except Down as e:
            raise e.fault from None
        finally:
            for future in pending:  # those that are done stay as they are
                future.cancel()


def _cancel(there: Queue[_Coming | BaseException | None]) -> None:
    """Give up all that nobody will take."""
    with suppress(Empty):
        while True:
            coming = there.get_nowait()
            for future in coming[1] if isinstance(coming, tuple) else ():
                future.cancel()
