"""What an OpenAI-compatible server answered, read without trust: a completion, or a failure with a name.

Classification goes by status, type and field, never by the words of a message. Nothing that an answer holds raises anything but `AttemptError`.

An answer's text is cleaned where it is parsed (`parsed`), by whoever reads it, from the wire or from the journal: no lone surrogate and no NUL is
left in any string. Words that are shown or counted (finish, model, refusal, messages) are cut. What is larger than `largest` is not read: it fails
as ``too_large``, for good.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from toolkit.common.secrets import shown
from toolkit.common.text import whole
from toolkit.generation._request import Completion

FILTERED = frozenset({"content_filter", "invalid_prompt"})
"""Codes in the body of a 400 that mean that the prompt was filtered: Azure OpenAI's, and OpenAI's for its reasoning models (Azure: "Content
filtering"; OpenAI: "Reasoning models", advice on prompting)."""

GATEWAY = frozenset({502, 504, 524})
"""Statuses of a gateway whose upstream gave no good answer, or none in time (RFC 9110, sections 15.6.3 and 15.6.5; Cloudflare's 524): it may have
served the request, and charge for it, all the same."""

LARGEST = 256 << 20
"""Bytes of a body that is read, at most, whatever was asked for."""

_ROOM, _A_TOKEN = 2 << 20, 1 << 10
"""Bytes: of a body's other parts, and for each token (the longest have some 128 letters, of six bytes each as JSON's escapes)."""

_WORD, _WORDS, _DETAIL = 200, 500, 2000
"""Letters that are kept of a word of the endpoint's (finish, model, code), of its sentences, and of what is said of an attempt."""

_COUNTABLE = 2**53
"""Counts of tokens are below this, where JSON's numbers stop being exact (RFC 8259, section 6)."""


class AttemptError(Exception):
    """One attempt that gave no answer.

    Args:
        kind: class of failure (`toolkit.generation.FAILURES`).
        detail: what exactly happened.
        again: whether another attempt may mend it.
        status: HTTP status, where there was an answer.
        code: the error's code in the body (OpenAI API reference, "Error codes").
        wait: seconds that the server asked to wait.
        lost: whether the request may have been served, and charged for, without its usage being known.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        again: bool,
        status: int | None = None,
        code: str | None = None,
        wait: float | None = None,
        lost: bool = False,
    ) -> None:
        detail = whole(shown(detail))[:_DETAIL]
        super().__init__(detail)
        self.kind, self.detail, self.again, self.status, self.code, self.wait, self.lost = kind, detail, again, status, code, wait, lost


@lru_cache(maxsize=64)
def largest(max_tokens: int, extra: str = "") -> int:
    """Bytes that the body of an answer of at most that many tokens may have, unpacked: 4 MiB for 2,048.

    Args:
        max_tokens: as asked for.
        extra: the further keys of the request, as JSON; with ``logprobs`` an answer has kilobytes for each token, of the prompt too.
    """
    return LARGEST if "logprobs" in extra or "prompt_logprobs" in extra else min(LARGEST, _ROOM + _A_TOKEN * max_tokens)


def too_large(most: int, status: int | None = None) -> AttemptError:
    """The failure of an answer of more than `most` bytes."""
    words = f"an answer of more than {most / 2**20:,.1f} MiB, which is more than max_tokens allows: it is not read"
    return AttemptError("too_large", words, again=False, status=status)


def status_failure(status: int, headers: Mapping[str, str], body: object, message: str) -> AttemptError:
    """The failure that an HTTP status of 3xx, 4xx or 5xx means; those of a gateway (`GATEWAY`) count as lost.

    Args:
        body: the value of ``error`` in the answer's body, or the body itself where there is none.
    """
    code = body.get("code") if isinstance(body, dict) else None
    code = code if isinstance(code, str) else None
    if 300 <= status < 400:
        message = (
            f"redirected to {shown(headers.get('Location', 'nowhere'))[:_WORD]!r}, which is not followed: put the address into base_url. {message}"
        )
    detail = f"HTTP {status}: {message}"
    wait = wait_asked_for(headers)
    if status == 429:
        return AttemptError("rate_limit", detail, again=True, status=status, code=code, wait=wait)
    if status >= 500 or status in (408, 409):
        return AttemptError("server_error", detail, again=True, status=status, code=code, wait=wait, lost=status in GATEWAY)
    if code in FILTERED:
        return AttemptError("content_filter", detail, again=False, status=status, code=code)
    if status in (400, 422) and (field := _no_schema(body)) is not None:
        return AttemptError("no_schema", f"{detail} ({field})", again=False, status=status, code=code)
    kind = "forbidden" if status == 403 else "bad_request"
    return AttemptError(kind, detail, again=False, status=status, code=code)


def error_in(body: bytes) -> tuple[object, str]:
    """The error that an answer's body holds (the value of ``error``, else the body), and its message, 400 characters at most."""
    try:
        value: object = parsed(body)
    except (ValueError, RecursionError):
        return None, body[:400].decode("utf-8", "replace")
    if isinstance(value, dict) and value.get("error") is not None:
        value = value["error"]
    message = value.get("message") if isinstance(value, dict) else value
    return value, (message if isinstance(message, str) else json.dumps(value))[:400]


def _no_schema(body: object) -> str | None:
    """Which field says that ``response_format`` was not taken: ``param`` (OpenAI, vLLM), or a place in ``detail`` (FastAPI's 422)."""
    if not isinstance(body, dict):
        return None
    param = body.get("param")
    if isinstance(param, str) and re.match(r"response_format\b", param):
        return f"param {param[:_WORD]}"
    detail = body.get("detail")
    for fault in detail if isinstance(detail, list) else []:
        place = fault.get("loc") if isinstance(fault, dict) else None
        if isinstance(place, list) and "response_format" in place:
            return "detail " + ".".join(map(str, place))[:_WORD]
    return None


def wait_asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After`` (RFC 9110, section 10.2.3: seconds or a date) or ``retry-after-ms``; None where there is none."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                when = email.utils.parsedate_tz(value)
                if when is None:
                    continue
                seconds = email.utils.mktime_tz(when) - time.time()
            except (ValueError, OverflowError, TypeError):  # a date that the calendar does not have, or far from our days
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def read_answer(key: str, body: bytes, seconds: float | None) -> Completion:
    """The completion in the body of a 2xx answer; refusal, content filter and empty content come as failures that are final.

    Raises:
        AttemptError: ``malformed``, which another attempt may mend; or what an error in the body's place of an answer says by its own status
            (gateways that have already said 200 when their upstream fails).
    """
    try:
        answer = parsed(body)
        if isinstance(answer, dict) and "choices" not in answer and isinstance(error := answer.get("error"), dict):
            status = error.get("code")
            if isinstance(status, int) and 400 <= status < 600:
                raise status_failure(status, {}, error, error_in(body)[1])
        choice = _first(answer["choices"])
        message = choice["message"]
        text, finish = message.get("content"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        raise AttemptError(
            "malformed", f"{type(e).__name__} in {len(body)} bytes beginning {body[:80]!r}", again=True, status=200, lost=True
        ) from None
    if not isinstance(text, str | None):
        raise AttemptError("malformed", f"content is of type {type(text).__name__}", again=True, status=200, lost=True)
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    reasoning = _text(message.get("reasoning_content") or message.get("reasoning"))
    finish = _text(finish, _WORD)
    error, detail = _named(text, finish, message.get("refusal"), reasoning, usage)
    return Completion(
        key,
        None if error else text,
        finish,
        error=error,
        detail=detail,
        model=_text(answer.get("model"), _WORD),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        seconds=seconds,
        reasoning=reasoning,
        raw=body,
    )


def _first(choices: Any) -> Any:
    """The choice whose index is 0, else the first one."""
    return next((c for c in choices if c.get("index") == 0), choices[0])


def parsed(body: bytes) -> Any:
    """The JSON value that an endpoint sent, its strings `whole`.

    orjson is fast; what it refuses and JSON's grammar or Python takes (lone surrogates, NaN, numbers of any length) json reads.

    Raises:
        ValueError, RecursionError: it is none.
    """
    try:
        value = orjson.loads(body)
    except ValueError:
        value = json.loads(body, parse_int=_integer)
    else:
        if b"\\u0000" not in body:  # the one thing that is to be mended and orjson takes
            return value
    return _mended(value)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_mended(v) for v in value]
    if isinstance(value, dict):
        return {whole(k): _mended(v) for k, v in value.items()}
    return value


def _integer(digits: str) -> int | float:
    """A number that Python may refuse to build is about as large as a float says."""
    return int(digits) if len(digits) < 32 else float(digits)


def _named(text: str | None, finish: str | None, refusal: Any, reasoning: str | None, usage: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Class and detail of an answer that is no text to go on with."""
    if finish == "content_filter":
        return "content_filter", "the endpoint's content filter ended the answer"
    if text and text.strip():
        return None, None
    if refusal:
        return "refused", str(refusal)[:_WORDS]
    details = usage.get("completion_tokens_details")
    thought = _count(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    if finish == "length" and (reasoning or thought):
        spent = thought or _count(usage.get("completion_tokens"))
        return "empty", f"all tokens{'' if spent is None else f' ({spent:,})'} went into reasoning, none was left for the answer: raise max_tokens"
    return "empty", f"no text (finish_reason {finish!r})"


def _text(value: Any, most: int | None = None) -> str | None:
    return value[:most] if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    """A number of tokens, as far as it can be one; None is what nobody knows, and costs the worst case."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNTABLE else None
