"""The HTTP client under the openai package, for calls that are few: files and batches.

Contract: an answer is read whole, `MOST` bytes at most (of an error its beginning), freed of the secrets in use, and of what no file can
hold, before the package sees it. A body that is asked for as a stream comes as it is, piece by piece: whoever reads it does the same line by line
(`lines`). Redirects: a request with a body goes to the same origin alone, 307 and 308; a GET may go elsewhere, without the key.

Failure semantics: ``too_large`` and ``malformed`` as `AttemptError`; all else as httpx2 does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from toolkit.common.http import TooLargeError, whole
from toolkit.common.secrets import redact_body
from toolkit.generation._answers import parsed
from toolkit.generation._attempt_faults import AttemptError
from toolkit.generation.backends._http import same_origin

if TYPE_CHECKING:
    import httpx2

MOST = 16 << 20
"""Bytes of an answer about files and batches: a page of their list has some 100 kB."""

_HOPS = 3
"""Redirects that are followed."""


def bounded_client(timeout: float) -> httpx2.Client:
    """A client as the module's docstring says."""
    import openai

    class Client(openai.DefaultHttpxClient):
        def send(self, request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
            more["follow_redirects"] = False
            for hop in range(_HOPS + 1):
                answer = super().send(request, stream=True, **more)
                there = answer.next_request
                if there is None or hop == _HOPS or not (there.method == "GET" == request.method or same_origin(str(request.url), str(there.url))):
                    break
                answer.close()
                request = there
            if stream and answer.is_success:
                return answer
            try:
                return whole(answer, MOST, _clean)
            except TooLargeError as e:
                raise AttemptError("too_large", str(e), again=False, status=answer.status_code) from None

    return Client(timeout=timeout)


def lines(chunks: Iterable[bytes], most: int) -> Iterator[tuple[bytes, bool]]:
    """The lines of a stream, with their ends, and whether each is whole: of one of more than `most` bytes only its beginning is held and given."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            end = chunk.find(b"\n", start) + 1 or len(chunk)
            size += end - start
            if size <= most or not held:
                held.append(chunk[start:end])
            start = end
            if chunk[end - 1 : end] == b"\n":
                yield b"".join(held), size <= most
                held, size = [], 0
    if held:
        yield b"".join(held), size <= most


def _clean(body: bytes) -> bytes:
    """A body without secrets and, where it is JSON, with no string that a file cannot hold."""
    body = redact_body(body)
    try:
        return json.dumps(parsed(body)).encode()
    except ValueError:
        return body
    except RecursionError:
        raise AttemptError("malformed", f"JSON that is nested too deeply, in {len(body)} bytes", again=True) from None
