"""Who may look: a token, the names under which the viewer answers, and what a browser may do with its pages.

The token comes in the address once; a cookie that no script can read takes its place, and the browser goes on with the address without it. Other
pages in the same browser are kept out in three ways: a name that somebody made to lead here is not answered (Host), what a page of another origin
sends is refused (Origin, Sec-Fetch-Site), and the cookie goes with nothing that another site begins (SameSite).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from asyncio import CancelledError
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from toolkit.serving import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a page may load and do: its own files, and nothing inline."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # `no-referrer` would take the Origin from a page's own forms, too
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}

_STATIC = "/static/"


class Access:
    """Wraps an application.

    Args:
        app: what is asked once somebody may.
        token: what the first address holds.
        host: that the server listens at.
        port: of the server; part of the cookie's name, since browsers keep cookies by host alone.
        refuse: makes the page of a refusal, of a status and a text.
        first: the path that the address with the token leads on to.
    """

    def __init__(self, app: ASGIApp, token: str, host: str, port: int, refuse: Callable[[int, str], ASGIApp], first: str = "/") -> None:
        self._app, self._token, self._host, self._refuse, self._first = app, token, host.lower(), refuse, first
        self._cookie, self._secret = f"guardkit_view_{port}", secrets.token_urlsafe(32)
        self._known = {"localhost", self._host} | ({socket.gethostname().lower()} if not is_loopback(host) else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                there = {name for name, _ in message["headers"]}
                added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in there]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            await self._chosen(scope)(scope, receive, guarded)
        except CancelledError:  # the viewer is ended in the middle of a page
            if not begun:
                await self._refuse(503, "The viewer has been ended.")(scope, receive, guarded)

    def _chosen(self, scope: Scope) -> ASGIApp:
        """The application that answers: the wrapped one, or a refusal."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self._answers(host):
            return self._refuse(421, "The viewer answers under its own address alone.")
        writes = scope["method"] not in ("GET", "HEAD")
        if self._foreign(headers, host, writes):
            return self._refuse(403, "This was sent by a page of another origin.")
        if scope["path"].startswith(_STATIC):
            return self._app
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0] if scope["path"] == "/" and not writes else ""
        if given and hmac.compare_digest(given.encode(), self._token.encode()):
            return self._let_in()
        if not hmac.compare_digest(_cookie(headers.get("cookie", ""), self._cookie).encode(), self._secret.encode()):
            return self._refuse(401, "Open the address that guardkit printed: it holds the token. If you followed a link to it, copy it instead.")
        return self._app

    def _let_in(self) -> ASGIApp:
        from starlette.responses import RedirectResponse

        response = RedirectResponse(self._first, 303)
        response.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict", path="/")
        return response

    def _answers(self, host: str) -> bool:
        name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
        if is_loopback(self._host):
            return name.lower() in self._known or is_loopback(name)
        return name.lower() in self._known or _is_address(name)  # a name that leads here is none of an attacker's if it is a number

    @staticmethod
    def _foreign(headers: dict[str, Any], host: str, writes: bool) -> bool:
        """Whether a page of another origin asks. Any port may lead here (an ssh tunnel's), so that it must be the one that was asked."""
        origin = headers.get("origin")
        if origin is not None:
            return origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}")
        return writes and headers.get("sec-fetch-site") != "same-origin"


def _cookie(header: str, name: str) -> str:
    """A cookie's value; those of other servers on this machine stand beside it, in whatever form."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
