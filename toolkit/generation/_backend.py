"""What a backend is, how one is opened, and how a request to it is made.

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

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from toolkit.common.paths import Beside
from toolkit.generation._base_config import BaseBackendConfig, Opening
from toolkit.generation._declared import LOOKING, Declared
from toolkit.generation._request import Completion, Request, as_messages

if TYPE_CHECKING:
    from toolkit.generation._budget import Meter
    from toolkit.generation._journal import Journal
    from toolkit.guards import Guard
    from toolkit.taxonomy import Taxonomy


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
class Metered(Protocol):
    """A backend that may send a request more than once; it asks the meter before it repeats one whose cost is not known."""

    meter: Meter | None


@runtime_checkable
class HandsOn(Protocol):
    """A backend that gives up where all requests fail alike, but for classes of failure that another backend takes over."""

    handed_on: frozenset[str]


@runtime_checkable
class Keeping(Protocol):
    """A backend that keeps answers of its own on disk until the journal has them; the engine tells it which journal that is."""

    journal: Journal | None


def open_backend(
    config: BaseBackendConfig,
    *,
    guard: Guard | None = None,
    taxonomy: Taxonomy | None = None,
    beside: Beside = None,
    work: Path | None = None,
    judges: bool = False,
) -> Backend:
    """The backend that a config declares.

    Args:
        config: as `BackendConfig` reads it.
        guard: whose questions are asked; the embedded teacher needs one.
        taxonomy: harm categories, for a backend that writes of them.
        beside: folder that a relative model path is also looked up from (that of the recipe).
        work: folder of the journal, for a backend that keeps there what it has sent.
        judges: whether the model is asked as `guard`, not as a teacher: a local model that guardkit trained for another guard is refused then.

    Raises:
        Missing: an extra is not installed, or a key is not set.
        InputError: there is no such model, or one trained for another guard.
    """
    if LOOKING.get() and config.is_model:
        return Declared(config, beside)
    backend = config.open(Opening(guard, taxonomy, beside, work, judges))
    backend.config = config  # type: ignore[attr-defined]
    return backend


def build_request(
    backend: Backend,
    config: BaseBackendConfig,
    messages: Iterable[Mapping[str, str]],
    *,
    draw: int = 0,
    attempt: int = 0,
    schema: str = "",
    row: str = "",
    as_it_comes: bool = False,
) -> Request:
    """The request that asks `backend` for one draw, with the sampling parameters of its `config` resolved.

    Args:
        messages: ``{"role", "content"}`` each.
        draw: number of the draw, from 0.
        attempt: number of the attempt, from 0.
        schema: canonical JSON of the ``response_format``, or empty.
        row: id of the row that asks.
        as_it_comes: leave reasoning in the text, whatever the config says: the text is a guard's, whose format says what it is.
    """
    return Request(
        model_id=backend.model_id,
        endpoint=backend.endpoint,
        messages=as_messages(messages),
        draw=draw,
        attempt=attempt,
        schema=schema,
        row=row,
        reasoning="keep" if as_it_comes else config.reads_reasoning,
        **config.shaping(),
    )
