"""The calls that ``openai-batch`` makes, through the openai package's own client: files and batches.

Contract: each call is repeated while what went wrong may pass (429, 5xx, 408, 409, broken connection, timeout), after the server's
``Retry-After`` or a growing wait with jitter, ``patience`` seconds in all. A call that makes a batch is never repeated blindly: where it is
not known whether it took effect, the endpoint's batches are looked through first.

Nothing that the endpoint says is taken as it comes: `_client` bounds and cleans it, `Standing` holds what has the type that it should have.

Failure semantics: what no repetition mends is raised: 401 and 403 (`Missing`), an endpoint that cannot be reached at all (`Missing`), other
4xx (`InputError`), no quota, or an outage longer than ``patience`` (`Stopped`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from toolkit.common.errors import InputError, Missing, Stopped
from toolkit.common.files import beside, canonical_json, fsync_path, make_file
from toolkit.common.secrets import fit_for_a_header, redact_body
from toolkit.generation._answers import largest
from toolkit.generation._attempt_faults import AttemptError, end_of_service, status_failure
from toolkit.generation._config import OpenAIBatchConfig
from toolkit.generation.backends._batch_lines import stub
from toolkit.generation.backends._batch_store import Parcel, on_disk
from toolkit.generation.backends._client import bounded_client, lines
from toolkit.generation.backends._http import backoff, innermost, protect_headers, proxy_for, usable

T = TypeVar("T")

TOO_MANY_TOKENS = "token_limit_exceeded"
"""OpenAI's error code where a batch would pass the tokens that a model may have enqueued (OpenAI, rate limits: batch queue limits)."""

_WHOLE = frozenset({"model_not_found", "model_mismatch", "mismatched_model", "url_mismatch", "empty_file", "too_many_tasks", "invalid_model"})
"""Validation errors that are about all of a file, though they may name a line (OpenAI, Batch API guide)."""

_FIRST_TRIES = 2
"""Further attempts, at the least, before an endpoint that never answered counts as one that cannot be reached."""

_PAGE, _LISTED = 100, 20_000
"""Batches in one page of their list (OpenAI's most), and of the list that are looked through."""

_FAULTS = 100_000
"""Faults of a batch that are looked at."""

_log = logging.getLogger(__name__)


class Provider:
    """The files and batches of one endpoint.

    Args:
        config: of the backend.
        key: API key.
        pause: waits so many seconds; may raise.
    """

    def __init__(self, config: OpenAIBatchConfig, key: str, pause: Callable[[float], None]) -> None:
        import openai

        self._config = config
        self._pause = pause
        self._reached = False
        proxy_for(config.base_url)
        with usable(config.base_url):
            client = bounded_client(config.timeout)
            self._client = openai.OpenAI(api_key=key, base_url=config.base_url, max_retries=0, timeout=config.timeout, http_client=client)
        protect_headers({k: v for k, v in {**self._client.default_headers, **self._client.auth_headers}.items() if isinstance(v, str)})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def upload(self, parcel: Parcel) -> str:
        """The endpoint's id of the uploaded file."""

        def act() -> str:
            with parcel.requests.open("rb") as f:
                sent = self._client.files.create(file=(f"guardkit-{parcel.folder.name}.jsonl", f, "application/jsonl"), purpose="batch")
            return _text(sent, "id")

        return self._call("a file of requests", act)

    def create(self, parcel: Parcel) -> str | None:
        """Id of the one batch that works on the parcel's file; None where the endpoint has too many tokens enqueued for now."""
        doubt = False

        def act() -> str | None:
            nonlocal doubt
            if doubt and (found := self._find(parcel)) is not None:
                return found
            doubt = True
            try:
                with _named():
                    made = self._client.batches.create(
                        input_file_id=parcel.state.file, endpoint="/v1/chat/completions", completion_window="24h", metadata=_metadata(parcel)
                    )
            except AttemptError as e:
                if e.code == TOO_MANY_TOKENS:
                    return None
                raise
            return _text(made, "id")

        return self._call("a batch", act)

    def find(self, parcel: Parcel) -> str | None:
        """Id of a batch that an earlier process made of the parcel's file; None where there is none.

        One whose making was cut off may appear a little late: within the first ``poll`` seconds after the upload it is looked for again.
        """
        while True:
            if (found := self._call("the list of batches", lambda: self._find(parcel))) is not None:
                return found
            left = self._config.poll - abs(time.time() - parcel.state.since)
            if left <= 0:
                return None
            self._pause(min(left, 5.0))

    def batch(self, parcel: Parcel) -> Standing | None:
        """The batch as it stands; None where the endpoint does not know it."""

        def act() -> Standing | None:
            try:
                with _named():
                    batch = self._client.batches.retrieve(parcel.state.batch)
            except AttemptError as e:
                if e.status == 404:
                    return None
                raise
            return standing(batch)

        return self._call("a batch", act)

    def download(self, file_id: str, path: Path, rows: int) -> bool:
        """Write a file of results of the endpoint to `path`, whole and durable; False where the endpoint does not have it.

        A line that is larger than an answer can be is written as one that says so (`_batch_lines.stub`). A file that goes on for longer than `rows`
        such answers is taken to end there.
        """
        part = beside(path)
        most = largest(self._config.max_tokens, canonical_json(self._config.extra), self._config.logprobs)

        def act() -> bool:
            try:
                with _named(), self._client.files.with_streaming_response.content(file_id) as response, make_file(part) as f:
                    left = (rows + 1) * most
                    for line, whole in lines(response.iter_bytes(1 << 16), most):
                        f.write(redact_body(line) if whole else stub(line, most))
                        if (left := left - len(line)) < 0:
                            _log.warning("%s: the endpoint's file %s goes on without end; the rest is left", path.parent, file_id)
                            break
            except AttemptError as e:
                if e.status == 404:
                    return False
                raise
            return True

        with on_disk(path):
            if not self._call("a file of results", act):
                return False
            fsync_path(part)
            part.replace(path)
            fsync_path(path.parent)
        return True

    def _find(self, parcel: Parcel) -> str | None:
        name = parcel.folder.name
        try:
            for batch in islice(self._client.batches.list(limit=_PAGE), _LISTED):
                metadata = getattr(batch, "metadata", None)
                named = isinstance(metadata, dict) and metadata.get("guardkit") == name
                if (named or getattr(batch, "input_file_id", None) == parcel.state.file) and batch.id not in parcel.state.spent:
                    return _text(batch, "id")
        except (TypeError, AttributeError, KeyError) as e:  # the package takes any list for one of batches
            raise AttemptError("malformed", f"a list of batches that is none ({type(e).__name__}: {e})", again=True) from None
        return None

    def _call(self, what: str, act: Callable[[], T]) -> T:
        tries, waited = 0, 0.0
        while True:
            try:
                with _named():
                    out = act()
                self._reached = True
                return out
            except AttemptError as e:
                fault = e
            self._reached = self._reached or fault.kind != "connection"
            self._raise_if_hopeless(what, fault)
            if not self._reached and tries >= max(self._config.retries, _FIRST_TRIES):
                raise Missing(f"cannot reach {self._config.base_url}: {fault.detail}", hint="start the server, or check base_url and the network")
            wait = backoff(tries) if fault.wait is None else fault.wait
            waited += wait
            tries += 1
            if waited > self._config.patience:
                raise Stopped(
                    f"{self._config.base_url} has not given {what} for {self._config.patience:g} s: {fault.detail}",
                    hint="batches that were sent go on at the endpoint; run again to pick them up",
                )
            self._pause(wait)

    def _raise_if_hopeless(self, what: str, fault: AttemptError) -> None:
        detail, env = fault.detail, self._config.api_key_env
        if fault.outlasts(self._config.patience):
            raise end_of_service(self._config.endpoint_name, fault)
        if fault.again:
            return
        if fault.status in (401, 403):
            raise Missing(
                f"{self._config.endpoint_name} refused the key in ${env}: {detail}", hint=f"set {env} to a valid key that may use files and batches"
            )
        hint = "check base_url (it usually ends in /v1), and that this endpoint has a Batch API" if fault.status == 404 else None
        raise InputError(f"{self._config.base_url} refused {what}: {detail}", hint=hint)


@dataclass(frozen=True)
class Fault:
    """What an endpoint finds wrong with a batch: code, words, and the line of its file (0: all of it)."""

    code: str
    message: str
    line: int


@dataclass(frozen=True)
class Standing:
    """A batch as it stands, as far as the endpoint says so in the types that it should.

    Args:
        status: the endpoint's word.
        served: requests that are answered.
        done: requests that are answered or have failed.
        output, errors: ids of its two files; empty for none.
        created, ended: Unix times; 0 for none.
        faults: what is wrong with it.
    """

    status: str
    served: int
    done: int
    output: str
    errors: str
    created: int
    ended: int
    faults: tuple[Fault, ...]


def standing(batch: Any) -> Standing:
    """A batch of the openai package, whose types are not checked.

    Raises:
        AttemptError: it has no status.
    """
    counts, errors = getattr(batch, "request_counts", None), getattr(getattr(batch, "errors", None), "data", None)
    served, failed = _count(counts, "completed"), _count(counts, "failed")
    ended = next((n for name in ("completed_at", "expired_at", "cancelled_at") if (n := _count(batch, name))), 0)
    output, lacking = (value if _is_name(value := getattr(batch, name, None)) else "" for name in ("output_file_id", "error_file_id"))
    faults = tuple(
        Fault(_words(e, "code"), _words(e, "message"), _count(e, "line")) for e in islice(errors if isinstance(errors, list) else [], _FAULTS)
    )
    return Standing(_text(batch, "status"), served, served + failed, output, lacking, _count(batch, "created_at"), ended, faults)


def _count(of: Any, name: str) -> int:
    value = getattr(of, name, None)
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


def _words(of: Any, name: str) -> str:
    value = getattr(of, name, None)
    return value[:500] if isinstance(value, str) else str(value)[:500]


def _is_name(value: Any) -> TypeGuard[str]:
    """Whether something may be the id of a file or batch, or a status."""
    return isinstance(value, str) and len(value) <= 256 and fit_for_a_header(value)


def bad_rows(parcel: Parcel, errors: Iterable[Fault]) -> dict[str, Fault]:
    """The requests that made a batch invalid, by key, as far as the endpoint names their lines."""
    if len(parcel.keys) != parcel.state.rows:  # some were purged since: the lines are no longer those that were sent
        return {}
    return {parcel.keys[e.line - 1]: e for e in errors if e.line and 0 < e.line <= len(parcel.keys) and e.code not in _WHOLE}


@contextmanager
def _named() -> Iterator[None]:
    """The package's errors as `AttemptError`."""
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as e:
        raise status_failure(e.status_code, e.response.headers, e.body, e.message) from None
    except openai.APIConnectionError as e:
        if isinstance(e.__cause__, AttemptError):  # of `_client`
            raise e.__cause__ from None
        raise AttemptError("connection", innermost(e), again=True) from None
    except (httpx2.HTTPError, httpx2.StreamError) as e:  # a body that broke off while it was streamed
        raise AttemptError("connection", innermost(e), again=True) from None
    except (openai.APIResponseValidationError, json.JSONDecodeError, UnicodeDecodeError) as e:
        raise AttemptError("malformed", f"{type(e).__name__}: {e}", again=True) from None


def _metadata(parcel: Parcel) -> dict[str, str]:
    return {"guardkit": parcel.folder.name, "sha256": parcel.state.digest}


def _text(answer: Any, name: str) -> str:
    """A field of an answer that must be there (a gateway may answer anything with 200).

    Raises:
        AttemptError: it is not there.
    """
    value = getattr(answer, name, None)
    if not _is_name(value):
        raise AttemptError("malformed", f"an answer without {name}: {str(answer)[:80]!r}", again=True)
    return value
