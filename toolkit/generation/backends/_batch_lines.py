"""The lines of the Batch API's files: a request to one of the input file, one of a result file to what came of its request.

Formats: OpenAI, Batch API guide ("Prepare your batch file", "Retrieve the results"). Nothing here does I/O.
"""

from __future__ import annotations

import json
import re
from typing import Any

from toolkit.generation._answers import read_answer, too_large
from toolkit.generation._attempt_faults import AttemptError, status_failure
from toolkit.generation._request import Completion, Request
from toolkit.generation._vocabulary import meaning

_BEGINNING = 64 << 10
"""Bytes of a line that is too long in which its request's name is looked for."""


def line_of(request: Request) -> bytes:
    """The request's line in the file that is uploaded (OpenAI, Batch API guide).

    Raises:
        UnicodeEncodeError: the text is not Unicode.
    """
    line = {"custom_id": request.key, "method": "POST", "url": "/v1/chat/completions", "body": request.payload()}
    text = json.dumps(line, ensure_ascii=False)
    data = text.encode()
    if len(text.splitlines()) > 1:  # U+2028 and the like, at which some readers break lines
        data = json.dumps(line).encode()
    return data + b"\n"


def stub(line: bytes, most: int) -> bytes:
    """What is kept of a line of a result file that has more than `most` bytes: whose it is, as far as its beginning says so, and that."""
    found = re.search(rb'"custom_id"\s*:\s*"([0-9a-f]{64})"', line[:_BEGINNING])
    return json.dumps({"custom_id": found[1].decode(), "too_large": most}).encode() + b"\n" if found else b""


def outcome(key: str, record: dict[str, Any], seconds: float | None) -> Completion:
    """The completion in a line of a result file.

    Raises:
        AttemptError: it holds a failure; ``again`` tells whether asking again may mend it.
    """
    if isinstance(most := record.get("too_large"), int):  # of `stub`
        return Completion(key, None, error="too_large", detail=str(too_large(most)), seconds=seconds)
    response, error = record.get("response"), record.get("error")
    if isinstance(response, dict) and isinstance(status := response.get("status_code"), int):
        body = response.get("body")
        if 200 <= status < 300:
            return read_answer(key, json.dumps(body).encode(), seconds)
        inner = body.get("error", body) if isinstance(body, dict) else None
        message = inner.get("message") if isinstance(inner, dict) else None
        if 300 <= status < 600:
            raise status_failure(status, {}, inner, str(message or body)[:300])
        raise AttemptError("server_error", f"status {status}", again=True)  # a status of 0 has been seen for requests that got lost inside
    if isinstance(error, dict):
        raise error_of_batch(error.get("code"), error.get("message"))
    raise AttemptError("malformed", f"a result with neither response nor error: {str(record)[:80]}", again=True, lost=True)


def error_of_batch(code: Any, message: Any) -> AttemptError:
    """The failure of an error that is a batch's, or stands in the place of a response."""
    code, message = code if isinstance(code, str) else None, str(message)
    detail = f"{code}: {message}"
    if code in ("batch_expired", "batch_cancelled"):
        return AttemptError("expired", detail, again=code == "batch_expired", code=code)
    means = meaning(code, message)
    if means == "content_filter":
        return AttemptError("content_filter", detail, again=False, code=code)
    return AttemptError("server_error", detail, again=True, code=code, ends="credit" if means == "credit" else None)
