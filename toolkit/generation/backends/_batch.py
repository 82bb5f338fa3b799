"""Backend ``openai-batch``: OpenAI's Batch API, half the price for answers within a day.

Contract: as `toolkit.generation.Backend`. Requests are gathered until a batch is full (``batch_requests``, ``batch_megabytes``) or no more come
for now; several batches are under way at once, `AHEAD` full ones at most. What was sent is on disk under ``<work>/batches`` before it counts
(`_batch_store`), so that after a crash at any moment, or an interrupt, a later run goes on with the same batches: none is made twice of one
file, and rows whose batch is under way are waited for, not asked again. Nothing is ever cancelled at the endpoint.

A batch's folder is removed only once the journal has every answer of it: some time after its last answer was given, and at `close`. Answers
that no row of a whole run asked for (its rows were left out, or asked otherwise) are then put into the journal by this backend, without a cost.

Outcomes of single requests: an answer, a refusal, a content filter or an empty answer is given as it is; 5xx, 429, malformed and expired ones,
and those in neither result file, are sent again in another batch up to ``retries`` times; other 4xx fail at once. Whole batches: what had been
finished of an expired or cancelled one is kept; the rest of an expired one is sent again, of a cancelled one fails as ``expired``. One that
the endpoint found invalid costs the lines that it names, and the others are sent again. One with more tokens than the endpoint lets a model
have enqueued waits until another ends, and is halved where none is under way.

Failure semantics: as `_batch_api`; besides, a batch that is invalid as a whole is an `InputError`, an account without credit `Stopped`, a batch that
the endpoint does not know any more an `InputError` (its answers may be paid for: asking again is left to the user).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError, Stopped, require
from toolkit.generation._config import OpenAIBatchConfig
from toolkit.generation._request import Completion, Request
from toolkit.generation.backends._batch_api import Provider
from toolkit.generation.backends._batch_session import AHEAD, Session
from toolkit.generation.backends._batch_store import adopt, hand_over
from toolkit.generation.backends._openai import _api_key

if TYPE_CHECKING:
    from toolkit.generation._budget import Meter
    from toolkit.generation._journal_store import Journal


class OpenAIBatchBackend:
    """OpenAI's Batch API; see the module's docstring.

    Args:
        config: as declared.
        work: the journal's folder.

    Raises:
        Missing: the openai package is not installed, or the key is not set and the address is not local.
    """

    journalled = True

    def __init__(self, config: OpenAIBatchConfig, *, work: Path | None = None) -> None:
        require("openai", "openai", "the backend openai-batch")
        self.config = config
        self.model_id = config.model
        self.endpoint = config.endpoint_name
        self.parallel = AHEAD * config.batch_requests
        self.meter: Meter | None = None
        """Set by the engine."""
        self.journal: Journal | None = None
        """Set by the engine; without one no folder of a batch is ever removed."""
        self._key = _api_key(config)
        self._work = work
        self._closing = threading.Event()
        self._provider: Provider | None = None
        self._session: Session | None = None

    @property
    def note(self) -> str:
        """What is under way, for a progress bar: ``"2 batches: 31,200 of 100,000 requests done"``; empty for nothing."""
        return self._session.note if self._session is not None else ""

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion | None]:
        """As `Backend.generate`.

        Raises:
            InputError: there is no folder to keep in what is sent.
            Stopped: interrupted while batches are under way.
        """
        if self._work is None:
            raise InputError("openai-batch needs a folder to keep in what it has sent", hint="pass work=…: the journal's folder")
        if self._session is not None:
            self._session.settle()
        self._closing.clear()
        if self._provider is None:
            self._provider = Provider(self.config, self._key, self._pause)
        session = self._session = Session(self.config, self._provider, self._work / "batches", self.meter, self.journal, self._pause)
        try:
            yield from session.run(requests)
        except KeyboardInterrupt:
            if not session.under_way:
                raise
            raise Stopped(f"interrupted while {session.under_way}", hint="run the same command again: it picks them up") from None
        finally:
            session.release()

    def close(self) -> None:
        """Hand what is finished over to the journal and close the connections; batches under way go on at the endpoint."""
        self._closing.set()
        with suppress(ValueError):  # the journal was closed before this: a later run sees to it
            self._settle()
        if self._provider is not None:
            self._provider.close()
            self._provider = None

    def _settle(self) -> None:
        """Remove the folders that are of no more use, once the journal has what is in them."""
        session, self._session = self._session, None
        if session is not None:
            session.settle(last=True)
        elif self.journal is not None and self._work is not None:  # nothing was asked; a crash may have left what the journal has by now
            for parcel in adopt(self._work / "batches", self.endpoint, self.model_id):
                if parcel.state.state == "downloaded" and hand_over(parcel, self.journal, add=False):
                    parcel.discard()
                parcel.release()

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(max(0.0, seconds)):
            raise Stopped(f"closed while batches are under way at {self.endpoint}", hint="run again: they are picked up")
