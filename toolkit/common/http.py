"""Answers of a server through httpx2, read with a bound: what the openai package and huggingface_hub ask for.

Contract: an answer that is not streamed is read piece by piece as it is unpacked, so many bytes at most, and freed of the secrets in use
(`toolkit.common.secrets`) before the package sees it. Of an error's body the first `ERROR` bytes are read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from toolkit.common.secrets import protect, protect_proxies, protect_url, redact, redact_body

if TYPE_CHECKING:
    import httpx2

ERROR = 256 << 10
"""Bytes that are read of the body of an error; the rest is left."""

HUB = 64 << 20
"""Bytes of one answer of the hub; files that are downloaded are streamed, and not counted."""

_OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers about a body as it was sent."""


class TooLargeError(Exception):
    """An answer of more bytes than any that was asked for can have."""


def whole(answer: httpx2.Response, most: int, clean: Callable[[bytes], bytes] = redact_body) -> httpx2.Response:
    """An answer that was asked for as a stream, read.

    Args:
        answer: not yet read; closed when this returns.
        most: bytes of a good one.
        clean: what is done to the body.

    Raises:
        TooLargeError: it has more.
    """
    import httpx2

    left = most = most if answer.is_success else ERROR
    parts: list[bytes] = []
    try:
        for part in answer.iter_bytes():
            parts.append(part)
            left -= len(part)
            if left < 0:
                break
    finally:
        answer.close()
    if left < 0 and answer.is_success:
        raise TooLargeError(f"an answer of more than {most >> 20} MiB, which is not read")
    headers = [(name, redact(value)) for name, value in answer.headers.items() if name not in _OF_THE_BODY]
    read = httpx2.Response(answer.status_code, headers=headers, content=clean(b"".join(parts)[:most]), request=answer.request)
    read.history = answer.history
    return read


@contextmanager
def careful_hub(token: str | None = None) -> Iterator[None]:
    """Within this block, what huggingface_hub's shared client hears is bounded and without secrets: the token that it sends, the proxies' logins.

    Where the name of the hub is unknown, it is out of reach at once (huggingface_hub would ask six times), and `datasets` looks in its cache.
    """
    from huggingface_hub import constants, get_session, get_token
    from huggingface_hub.utils import _http

    for secret in (token, get_token()):
        protect(secret)
    protect_url(constants.ENDPOINT)
    protect_proxies()
    if "send" in vars(get_session()):  # a block within a block
        yield
        return
    made = _http._GLOBAL_CLIENT_FACTORY

    def bounded_client() -> httpx2.Client:
        return _bound(made())

    # After a connection that failed, huggingface_hub closes the client that it shares and has the factory make another one.
    _bound(get_session())
    _http._GLOBAL_CLIENT_FACTORY = bounded_client
    try:
        yield
    finally:
        _http._GLOBAL_CLIENT_FACTORY = made
        vars(get_session()).pop("send", None)


def _bound(client: Any) -> httpx2.Client:
    """The client, whose answers are read up to a bound and without secrets."""
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    send = client.send

    def bounded(request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
        try:
            if request.method == "HEAD":  # no body, and headers that are about the file
                return cast("httpx2.Response", send(request, stream=stream, **more))
            answer = send(request, stream=True, **more)
        except httpx2.ConnectError as e:
            if _unknown_name(e):
                raise OfflineModeIsEnabled(f"{e}: {request.url.host}") from e
            raise
        return answer if stream and answer.is_success else whole(answer, HUB)

    client.send = bounded
    return cast("httpx2.Client", client)


def _unknown_name(error: BaseException | None) -> bool:
    """Whether a host's name is known to no name server that answered; one that did not answer (EAI_AGAIN) may do so soon."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = error.__cause__ or error.__context__
    return False
