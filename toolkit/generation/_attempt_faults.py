"""Why an attempt gave no answer, and what that means: by status, type and field, and by the closed tables of `_vocabulary`.

Nothing that an endpoint says raises anything here.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

from toolkit.common.errors import Stopped
from toolkit.common.secrets import shown
from toolkit.common.text import whole
from toolkit.generation._quotas import LONGEST_PAUSE, seconds_of
from toolkit.generation._vocabulary import meaning

GATEWAY = frozenset({502, 504, 524})
"""Statuses of a gateway whose upstream gave no good answer, or none in time (RFC 9110, sections 15.6.3 and 15.6.5; Cloudflare's 524): it may have
served the request, and charge for it, all the same."""

_WORD, _DETAIL = 200, 2000
"""Letters that are kept of a word of the endpoint's, and of the description of an attempt."""

_UNIX = 1e9
"""A reset that is later than this many seconds from now is a time, not a span."""

Ends = Literal["credit", "quota"]


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
        ends: why the endpoint serves nobody for now: ``credit`` (the account may not spend) or ``quota`` (of a day, say); None for anything else.
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
        ends: Ends | None = None,
    ) -> None:
        detail = whole(shown(detail))[:_DETAIL]
        super().__init__(detail)
        self.kind, self.detail, self.again, self.status, self.code, self.wait, self.lost = kind, detail, again, status, code, wait, lost
        self.ends = ends

    def outlasts(self, patience: float) -> bool:
        """Whether the endpoint serves nobody for longer than a run waits: no credit, a quota that is used up for hours."""
        long = self.kind == "rate_limit" and self.wait is not None and self.wait > max(patience, LONGEST_PAUSE)
        return long or self.ends is not None


def end_of_service(endpoint: str, fault: AttemptError) -> Stopped:
    """What an endpoint ends in that serves nobody for now."""
    if fault.ends == "credit":
        return Stopped(f"{endpoint}: the account has no credit or quota left: {fault.detail}", hint="add credit and run again: every answer is kept")
    when = "later"
    if fault.wait is not None:
        there = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(time.time() + fault.wait, 2**32 - 1)))
        when = f"after {there} (in {_span(fault.wait)})"
    return Stopped(f"{endpoint}: the quota is used up: {fault.detail}", hint=f"run again {when}: every answer is kept")


def _span(seconds: float) -> str:
    return f"{seconds / 60:,.0f} minutes" if seconds < 5400 else f"{seconds / 3600:,.0f} hours"


def status_failure(status: int, headers: Mapping[str, str], body: object, message: str, where: str = "") -> AttemptError:
    """The failure that an HTTP status of 3xx, 4xx or 5xx means; those of a gateway (`GATEWAY`) count as lost.

    Args:
        body: the value of ``error`` in the answer's body, or the body itself where there is none.
        where: how the status came, for the detail; default: as the answer's own.
    """
    code = body.get("code") if isinstance(body, dict) else None
    code = code if isinstance(code, str) else None
    if 300 <= status < 400:
        message = (
            f"redirected to {shown(headers.get('Location', 'nowhere'))[:_WORD]!r}, which is not followed: put the address into base_url. {message}"
        )
    detail = f"{where or f'HTTP {status}'}: {message}"
    means = meaning(body, message)
    if status == 402 or means == "credit":
        return AttemptError("bad_request", detail, again=False, status=status, code=code, ends="credit")
    if status == 429:
        wait, ends = _quota(headers, body)
        return AttemptError("rate_limit", detail, again=True, status=status, code=code, wait=wait, ends=ends)
    if means == "content_filter":
        return AttemptError("content_filter", detail, again=False, status=status, code=code)
    if status >= 500 or status in (408, 409):
        wait = wait_asked_for(headers)
        return AttemptError("server_error", detail, again=True, status=status, code=code, wait=wait, lost=status in GATEWAY)
    if status in (400, 422) and (field := _no_schema(body)) is not None:
        return AttemptError("no_schema", f"{detail} ({field})", again=False, status=status, code=code)
    kind = "forbidden" if status == 403 else "bad_request"
    return AttemptError(kind, detail, again=False, status=status, code=code)


def _quota(headers: Mapping[str, str], error: object) -> tuple[float | None, Ends | None]:
    """Seconds until a refused request may come again, as far as the endpoint says so, and whether a quota of a day is what is used up."""
    error = error if isinstance(error, dict) else {}
    more = error.get("metadata")
    upstream = more.get("headers") if isinstance(more, dict) else None  # OpenRouter's, of the provider behind it
    waits = [_reset(headers), _reset(upstream) if isinstance(upstream, dict) else None]
    ends: Ends | None = None
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:  # Google's
        if isinstance(detail, dict):
            waits.append(seconds_of(delay) if isinstance(delay := detail.get("retryDelay"), str) else None)
            ends = "quota" if "PerDay" in str(detail.get("violations")) else ends
    asked = wait_asked_for(headers)  # what the endpoint asks for comes before what it counts
    return asked if asked is not None else max((w for w in waits if w is not None), default=None), ends


def _reset(headers: Mapping[str, Any]) -> float | None:
    """Seconds until the reset of a quota of which nothing is left: ``X-RateLimit-Remaining`` and ``-Reset`` (Unix time, in seconds or milliseconds,
    or seconds from now), or ``-Requests`` and ``-Tokens`` of these, as OpenAI has them."""
    names = {str(k).casefold(): v for k, v in headers.items()}
    waits = []
    for unit in ("", "-requests", "-tokens"):
        if str(names.get(f"x-ratelimit-remaining{unit}")).strip() != "0":
            continue
        if (at := seconds_of(str(names.get(f"x-ratelimit-reset{unit}")))) is not None:
            waits.append(at if at < _UNIX else max(0.0, (at / 1000 if at > 100 * _UNIX else at) - time.time()))
    return max(waits, default=None)


def error_inside(error: Any, *, lost: bool) -> AttemptError:
    """The failure of an error that is in the body of a 2xx answer."""
    named = next((error[n] for n in ("code", "status", "status_code") if isinstance(error.get(n), int | str)), None) if isinstance(error, dict) else 0
    digits = str(named)
    status = int(digits) if re.fullmatch("[45][0-9][0-9]", digits) else 500
    fault = status_failure(status, {}, error, error_of(error)[1], f"an error in the answer ({named})" if named else "an error in the answer")
    fault.lost = fault.lost or lost
    return fault


def error_of(value: Any) -> tuple[object, str]:
    """As `error_in`, of a body that is parsed."""
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
