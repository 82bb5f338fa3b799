"""The bodies of requests: read within bounds, and checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from toolkit.common.jsontext import may_repeat, repeated_key
from toolkit.serving._interactions import checked, size, text
from toolkit.serving._limits import Limits
from toolkit.serving._refusal import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

_DRAINED = 16
"""Times the largest body that is read and thrown away, so that who sent too much hears why."""


class Bodies:
    """Reads bodies; those that are being read take no more than `_SHARE` of the largest together.

    Args:
        limits: of the server.
    """

    SHARE = 64

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    async def json(self, request: Request) -> Any:
        """The body of a request as JSON.

        Raises:
            Refusal: it is of another type, too large, too slow, or no JSON.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # also: what a page in a browser may send without asking first
            raise Refusal(415, "not_json", "Content-Type must be application/json")
        if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise Refusal(415, "packed", "the body must come as it is, without Content-Encoding", Accept_Encoding="identity")
        if "transfer-encoding" in request.headers and "content-length" in request.headers:  # a proxy may take the other one for the body's end
            raise Refusal(400, "two_lengths", "a body has one length: Content-Length or Transfer-Encoding", Connection="close")
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                data = await self._read(request)
        except TimeoutError:
            raise Refusal(408, "too_slow", f"the body did not come within {self._limits.body_seconds:g} s", Connection="close") from None
        import orjson

        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError as e:
            raise Refusal(400, "not_json", f"the body is not JSON: {e.msg} (byte {e.pos})") from None
        if isinstance(value, dict | list) and may_repeat(data, value) and (twice := repeated_key(data)) is not None:
            raise Refusal(400, "not_json", "a key is given twice: which of the two is meant, no parser can say", twice[:60])
        return value

    async def _read(self, request: Request) -> bytes:
        most, data, came = self._limits.body, bytearray(), 0
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > _DRAINED * most:
            raise self._too_large()
        try:
            async for chunk in _chunks(request):
                came += len(chunk)
                if came > most:
                    self._held -= len(data)
                    data.clear()
                    if came > _DRAINED * most:
                        break
                    continue
                self._held += len(chunk)
                data += chunk
                if self._held > self.SHARE * most:
                    raise Refusal(429, "queue_full", "too many requests are being read", Retry_After="1")
        finally:
            self._held -= len(data)
        if came > most:
            raise self._too_large()
        return bytes(data)

    def _too_large(self) -> Refusal:
        return Refusal(413, "body_too_large", f"the body is larger than {self._limits.body:,} bytes", Connection="close")

    def interactions(self, body: Any) -> list[dict[str, Any]]:
        """The interactions of a request to judge: one, or ``{"rows": […]}``.

        Raises:
            InputError: what they lack.
            Refusal: too many, or one that is too long.
        """
        if isinstance(body, Mapping) and "rows" in body:
            if odd := next((k for k in body if k != "rows"), None):
                raise Refusal(400, "invalid_request", f"unknown key {str(odd)[:60]!r} beside rows", str(odd)[:60])
            rows = body["rows"]
            if not isinstance(rows, list):
                raise Refusal(400, "invalid_request", "rows must be a list of interactions", "rows")
            return self._bounded([checked(row, f"rows[{i}]", closed=True) for i, row in enumerate(self._few(rows, "rows"))], "rows")
        return self._bounded([checked(body, closed=True)], None)

    def inputs(self, body: Any) -> list[dict[str, Any]]:
        """The texts of a moderation request as interactions: a text, a list of texts, or a list of content parts, which are one input.

        Raises:
            InputError: what they lack.
            Refusal: too many, one that is too long, or parts that are no text.
        """
        if not isinstance(body, Mapping):
            raise Refusal(400, "invalid_request", "the body must be an object with `input`")
        if body.get("model") is not None:
            text(body["model"], "model")
        given = body.get("input")
        if given is None:
            raise Refusal(400, "invalid_request", "the key 'input' is missing", "input")
        if isinstance(given, str):
            return self._bounded([{"prompt": text(given, "input"), "response": None, "context": []}], None)
        if not isinstance(given, list) or not given:
            raise Refusal(400, "invalid_request", "input must be a text, a list of texts, or a list of content parts, and not empty", "input")
        self._few(given, "input")
        if all(isinstance(part, Mapping) for part in given):
            words = "\n\n".join(_part(part, f"input[{i}]") for i, part in enumerate(given))
            return self._bounded([{"prompt": words, "response": None, "context": []}], None)
        return self._bounded([{"prompt": text(one, f"input[{i}]"), "response": None, "context": []} for i, one in enumerate(given)], "input")

    def _few(self, rows: list[Any], name: str) -> list[Any]:
        if not rows:
            raise Refusal(400, "invalid_request", f"{name} is empty", name)
        if len(rows) > self._limits.rows:
            raise Refusal(413, "too_many", f"{len(rows):,} interactions in one request; at most {self._limits.rows:,}", name)
        return rows

    def _bounded(self, rows: list[dict[str, Any]], name: str | None) -> list[dict[str, Any]]:
        for i, row in enumerate(rows):
            if size(row) > self._limits.text:
                raise Refusal(413, "text_too_long", f"an interaction longer than {self._limits.text:,} characters", name and f"{name}[{i}]")
        return rows


def _part(part: Mapping[str, Any], where: str) -> str:
    if part.get("type") != "text":
        kind = part.get("type")
        raise Refusal(400, "not_text", f"this guard judges text, no {kind[:40] if isinstance(kind, str) else 'other'} parts", f"{where}.type")
    return text(part.get("text"), f"{where}.text")


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes; a client that goes away ends it."""
    from starlette.requests import ClientDisconnect

    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise Gone from None


class Gone(Exception):  # noqa: N818 (named by what happened)
    """The client has hung up."""
