"""The pages as an application: each answered in a thread, each fault of the data shown as a page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.common.errors import GuardkitError, Stopped
from toolkit.viewing._access import Access
from toolkit.viewing._matching_rows import Selections
from toolkit.viewing._pages import PAGES
from toolkit.viewing._rendering import rendered
from toolkit.viewing._subject import NoTable, Subject
from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

_log = logging.getLogger(__name__)

STATIC = {
    "view.css": "text/css",
    "view.js": "text/javascript",
    "review.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""Files that pages load, with their kinds."""


def application(subject: Subject, token: str, host: str, port: int, pages: Sequence[Page] = ()) -> ASGIApp:
    """The viewer as an ASGI application.

    Args:
        subject: what is viewed.
        token: that the first address must hold.
        host, port: that it is served at.
        pages: more pages than `toolkit.viewing._pages.PAGES`; the first of them that is in the navigation is where
            the first address leads on to.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    viewed = Viewed(subject, [*PAGES, *pages], Selections())
    routes = [Route(page.path, _answer(viewed, page), methods=list(page.methods)) for page in viewed.pages]
    routes.append(Route("/static/{name}", _static))

    def elsewhere(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        return viewed.page(request, "error.html", "Not found", status, message="There is no such page.", where=None, hint=None)

    app = Starlette(routes=routes, exception_handlers={HTTPException: elsewhere})
    app.router.redirect_slashes = False  # to where the request's own Host says, whoever may have written that
    first = next((page.path for page in pages if page.navigation), "/")
    return Access(app, token, host, port, _refusal, first)


def _answer(viewed: Viewed, page: Page):  # type: ignore[no-untyped-def]  # noqa: ANN202  what Starlette makes an endpoint of
    def endpoint(request: Request) -> Response:
        try:
            return page.answer(viewed, request)
        except GuardkitError as e:
            status = 404 if isinstance(e, NoTable) else 503 if isinstance(e, Stopped) else 422
            return viewed.page(request, "error.html", "This cannot be shown", status, message=e.message, where=e.where, hint=e.hint)
        except Exception as e:  # noqa: BLE001  one page's trouble is not the server's
            _log.exception("a fault of the viewer at %s", page.path)
            message = f"A fault of the viewer ({type(e).__name__}); the terminal in which it runs says more."
            return viewed.page(request, "error.html", "This cannot be shown", 500, message=message, where=None, hint=None)

    return endpoint


def _static(request: Request) -> Response:
    from starlette.responses import PlainTextResponse, Response

    name = request.path_params["name"]
    if name not in STATIC:
        return PlainTextResponse("no such file", 404)
    return Response(_bytes(name), media_type=STATIC[name], headers={"cache-control": "private, max-age=3600"})


@cache
def _bytes(name: str) -> bytes:
    return (Path(__file__).parent / "static" / name).read_bytes()


def _refusal(status: int, message: str) -> ASGIApp:
    from starlette.responses import HTMLResponse

    return HTMLResponse(rendered("refusal.html", title="Not admitted", message=message), status)
