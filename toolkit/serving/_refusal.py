"""Why a request is not answered as it wanted, in the form in which OpenAI's API says so."""

from __future__ import annotations

import math
from typing import Any

from toolkit.common.errors import InputError
from toolkit.serving._feed import Closed, Down, Full

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refusal(Exception):  # noqa: N818 (named by what it is)
    """An answer that is an error.

    Args:
        status: of HTTP.
        code: a word for programs.
        message: for people; nothing of the request's texts.
        param: the part of the request that is at fault.
        headers: of the answer.
    """

    def __init__(self, status: int, code: str, message: str, param: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def body(self) -> dict[str, Any]:
        """As OpenAI's API has it (API reference, "Error codes"; the openai package reads `message`, `type`, `param` and `code`)."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def refusal(error: Exception) -> Refusal:
    """What a fault of the request, the desk or the engine is answered with; anything else is a fault of ours, of which only the kind is shown."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, InputError):
        return Refusal(400, "invalid_request", error.message + (f" ({error.hint})" if error.hint else ""), error.where)
    if isinstance(error, Full):
        return Refusal(429, "queue_full", "the queue is full", Retry_After=_seconds(error.after))
    if isinstance(error, Down):
        return Refusal(503, "engine_down", "the guard cannot be asked now", Retry_After=_seconds(error.after))
    if isinstance(error, Closed):
        return Refusal(503, "stopping", "the server is being stopped", Retry_After="1", Connection="close")
    if isinstance(error, TimeoutError):
        return Refusal(504, "timeout", "the guard did not answer in time")
    return Refusal(500, "bug", f"a fault of the server ({type(error).__name__})")


def _seconds(after: float) -> str:
    return str(min(60, max(1, math.ceil(after))))
