"""What a backend is.

Contract of `Backend.generate`: it pulls requests lazily, at most `parallel` more than it has given completions for, and yields exactly
one completion for each, as they finish, in any order. The iterator of requests may yield None, only while something that was pulled
has no completion yet: then nothing more comes for now, and the backend gives a completion before it pulls again. A backend that waits for
long yields None now and then, so that what it gave before is handed out; its attribute ``note``, where it has one, then says what it
waits for. `generate` may be called again after it has ended; a backend keeps its model or connections between calls and lets go of them
in `close`. Loading a model or opening a connection waits for the first request.

A request that fails is a `Completion` with an error, never an exception; an exception means that no request can succeed (no key, no
such model, no service) and is a `GuardkitError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from toolkit.generation._request import Completion, Request


class Backend(Protocol):
    """Something that answers requests. `open_backend` leaves its config in the attribute ``config``."""

    @property
    def model_id(self) -> str:
        """Content hash of a local model, name of a remote one."""

    @property
    def endpoint(self) -> str:
        """Declared name of the endpoint, or of the engine that runs a local model."""

    @property
    def journalled(self) -> bool:
        """Whether answers are worth keeping: False where making one costs less than looking it up."""

    @property
    def parallel(self) -> int:
        """Requests that it wants in flight."""

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion | None]:
        """Completions as they finish; see the module's docstring."""

    def close(self) -> None:
        """Let go of model, memory, connections; harmless when called twice."""


@runtime_checkable
class Salvages(Protocol):
    """A backend whose answers may arrive while nobody takes them."""

    def salvage(self) -> list[Completion]:
        """After a `generate` that was cut short: drop what is in flight, return what had been answered and was not yielded."""


@runtime_checkable
class HandsOn(Protocol):
    """A backend that gives up where all requests fail alike, but for classes of failure that another backend takes over."""

    handed_on: frozenset[str]


@runtime_checkable
class Wakes(Protocol):
    """A backend that, once its requests have yielded None, pulls again only after a completion, and sooner when it is woken."""

    def wake(self) -> None:
        """There is more to be pulled; called from any thread while `generate` runs."""


@runtime_checkable
class Drops(Protocol):
    """A backend that can end the work on one request."""

    def drop(self, key: str) -> None:
        """Nobody waits for the request of this key any more: its completion comes soon, as ``unanswered`` where it was not ready. From any thread."""


@runtime_checkable
class Tells(Protocol):
    """A backend that tells of a text while it is being written."""

    on_text: Callable[[str, str], None] | None
    """Called in the thread of `generate` with a request's key and its text so far; what is given at last may differ in its last character."""
