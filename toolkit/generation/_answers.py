"""What an OpenAI-compatible server answered, read without trust: a completion, or a failure with a name.

Classification goes by status, type and field, never by the words of a message.
"""

from __future__ import annotations

import email.utils
import json
import math
import time
from collections.abc import Mapping
from typing import Any

from toolkit.generation._request import Completion


class AttemptError(Exception):
    """One attempt that gave no answer.

    Args:
        kind: class of failure (`toolkit.generation.FAILURES`).
        detail: what exactly happened.
        again: whether another attempt may mend it.
        status: HTTP status, where there was an answer.
        code: the error's code in the body (OpenAI API reference, "Error codes").
        wait: seconds that the server asked to wait.
    """

    def __init__(self, kind: str, detail: str, *, again: bool, status: int | None = None, code: str | None = None, wait: float | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.again, self.status, self.code, self.wait = kind, detail, again, status, code, wait


def status_failure(status: int, headers: Mapping[str, str], body: object, message: str) -> AttemptError:
    """The failure that an HTTP status of 3xx, 4xx or 5xx means."""
    code = body.get("code") if isinstance(body, dict) else None
    code = code if isinstance(code, str) else None
    detail = f"HTTP {status}: {message}"
    wait = wait_asked_for(headers)
    if status == 429:
        return AttemptError("rate_limit", detail, again=True, status=status, code=code, wait=wait)
    if status >= 500 or status in (408, 409):
        return AttemptError("server_error", detail, again=True, status=status, code=code, wait=wait)
    if code == "content_filter":  # Azure OpenAI answers 400 with this code where the prompt is filtered
        return AttemptError("content_filter", detail, again=False, status=status, code=code)
    kind = "forbidden" if status == 403 else "bad_request"
    return AttemptError(kind, detail, again=False, status=status, code=code)


def wait_asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After`` (RFC 9110, section 10.2.3: seconds or a date) or ``retry-after-ms``; None where there is none."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            when = email.utils.parsedate_tz(value)
            if when is None:
                continue
            seconds = email.utils.mktime_tz(when) - time.time()
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def read_answer(key: str, body: bytes, seconds: float | None) -> Completion:
    """The completion in the body of a 2xx answer; refusal, content filter and empty content come as failures that are final.

    Raises:
        AttemptError: ``malformed``, which another attempt may mend.
    """
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        message = choice["message"]
        text, finish = message.get("content"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise AttemptError("malformed", f"{type(e).__name__} in {len(body)} bytes beginning {body[:80]!r}", again=True, status=200) from None
    if not isinstance(text, str | None):
        raise AttemptError("malformed", f"content is of type {type(text).__name__}", again=True, status=200)
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    error, detail = _named(text, finish, message.get("refusal"))
    return Completion(
        key,
        None if error else text,
        _text(finish),
        error=error,
        detail=detail,
        model=_text(answer.get("model")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        seconds=seconds,
        reasoning=_text(message.get("reasoning_content") or message.get("reasoning")),
        raw=body,
    )


def _named(text: str | None, finish: Any, refusal: Any) -> tuple[str | None, str | None]:
    """Class and detail of an answer that is no text to go on with."""
    if finish == "content_filter":
        return "content_filter", "the endpoint's content filter ended the answer"
    if text and text.strip():
        return None, None
    return ("refused", str(refusal)[:500]) if refusal else ("empty", f"no text (finish_reason {finish!r})")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
