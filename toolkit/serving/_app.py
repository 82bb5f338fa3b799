"""The addresses of a server: what is asked at each, and what is answered.

    POST /v1/moderations    in the shape of OpenAI's API: texts, flagged or not
    POST /v1/judge          {"prompt", "response", "context", "id"}, or {"rows": [such, …]}: the verdicts of all tasks
    GET  /health            200 while the guard can be asked, else 503
    GET  /metrics           Prometheus

Contract: a request is answered whole or refused whole, before anything of it is asked; each of its interactions is a question of its own, and what
becomes of one says nothing of another. Where the verdict cannot be read, the interaction is flagged, unless the alarm is open. A client that hangs up
gives its places back. No text of a request is written anywhere, unless `log_text` asks for it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit._version import __version__
from toolkit.serving._alarm import Alarm
from toolkit.serving._bodies import Bodies, Gone
from toolkit.serving._desk import Desk
from toolkit.serving._feed import Closed
from toolkit.serving._judgement import Judgement
from toolkit.serving._limits import Limits
from toolkit.serving._metrics import Metrics
from toolkit.serving._moderations import moderation
from toolkit.serving._refusal import Refusal, refusal

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from toolkit.generation import Completion

_log = logging.getLogger(__name__)

_GONE = 499
"""Status that the log and the metrics show for a client that has hung up (nginx's)."""

_Handler = Callable[["Request"], Awaitable["Response"]]


@dataclass(frozen=True)
class Settings:
    """How a server answers.

    Attributes:
        name: what it calls the model.
        alarm: what flags an interaction.
        limits: its bounds.
        token: that clients must show; None for none, and then only this machine's own addresses are answered.
        log: whether each request is logged: address, status, interactions, seconds.
        log_text: whether texts and outputs are logged, too.
    """

    name: str
    alarm: Alarm
    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    log: bool = True
    log_text: bool = False


class App:
    """See the module's docstring.

    Args:
        desk: the guard.
        settings: of the server.
    """

    def __init__(self, desk: Desk, settings: Settings) -> None:
        self._desk, self._set = desk, settings
        self._bodies = Bodies(settings.limits)
        self._metrics = Metrics(desk)
        self._token = None if settings.token is None else settings.token.encode()
        always = {t.name for t in desk.guard.tasks if t.applies == "always"}
        self._judges_prompts = not always.isdisjoint(settings.alarm.labels)
        self.stopping = False
        self.cut = 0
        """Requests that a stop did not wait for."""

    def starlette(self) -> Starlette:
        """The application."""
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.routing import Route

        routes = [
            Route("/v1/moderations", self._around("/v1/moderations", self._moderations), methods=["POST"]),
            Route("/v1/judge", self._around("/v1/judge", self._judge), methods=["POST"]),
            Route("/metrics", self._around("/metrics", self._page), methods=["GET"]),
            Route("/health", self._around("/health", self._health, open_to_all=True), methods=["GET"]),
        ]

        def elsewhere(request: Request, error: Exception) -> Response:
            status = getattr(error, "status_code", 500)
            known = ", ".join(route.path for route in routes)
            what = f"no such address; there are {known}" if status == 404 else "not with this method"
            headers = getattr(error, "headers", None) or {}  # Allow, which a 405 must have (RFC 9110, 15.5.6)
            return self._refused(Refusal(status, "not_found" if status == 404 else "method", what, **headers), "other", time.monotonic())

        app = Starlette(routes=routes, exception_handlers={HTTPException: elsewhere})
        app.router.redirect_slashes = False  # to where the request's own Host says, whoever may have written that
        return app

    # Around each request -----------------------------------------------------------------------------------------------

    def _around(self, path: str, handler: _Handler, *, open_to_all: bool = False) -> _Handler:
        async def answer(request: Request) -> Response:
            begun = time.monotonic()
            try:
                self._admit(request, open_to_all)
                response = await handler(request)
            except asyncio.CancelledError:  # by a stop that waits no longer
                self.cut += 1
                return self._refused(refusal(Closed()), path, begun)
            except Gone:
                return self._refused(Refusal(_GONE, "gone", "the client has hung up"), path, begun)
            except Exception as e:  # noqa: BLE001  one request's trouble is not the server's
                found = refusal(e)
                if found.status == 500:
                    _log.error("a fault of the server at %s: %s", path, _where(e))
                return self._refused(found, path, begun)
            self._note(path, response.status_code, begun)
            return response

        return answer

    def _admit(self, request: Request, open_to_all: bool) -> None:
        """Refuse who may not ask."""
        if self._token is None:
            host = request.headers.get("host", "").rpartition("@")[2]
            name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
            if not _is_local(name):  # a page in a browser whose own name was made to lead here
                raise Refusal(421, "host", "without a token only this machine's own addresses are answered")
        elif not open_to_all:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
                raise Refusal(401, "token", "the token is missing or wrong", WWW_Authenticate="Bearer")

    def _refused(self, found: Refusal, path: str, begun: float) -> Response:
        self._note(path, found.status, begun, found.code)
        return _json(found.body, found.status, found.headers)

    def _note(self, path: str, status: int, begun: float, code: str = "") -> None:
        seconds = time.monotonic() - begun
        self._metrics.answered(path, status, seconds)
        if self._set.log and path not in ("/health", "/metrics"):
            _log.info("%s %d%s %.3f s", path, status, f" {code}" if code else "", seconds)

    # What is asked ----------------------------------------------------------------------------------------------------

    async def _moderations(self, request: Request) -> Response:
        if not self._judges_prompts:
            raise Refusal(400, "no_prompts", "this guard flags nothing in a text alone: ask /v1/judge")
        found = await self._judged(request, self._bodies.inputs(await self._bodies.json(request)))
        results = [moderation(judged, flagged) for judged, flagged in found]
        return _json({"id": f"modr-{secrets.token_hex(12)}", "model": self._set.name, "results": results, "guardkit": self._about()})

    async def _judge(self, request: Request) -> Response:
        found = await self._judged(request, self._bodies.interactions(await self._bodies.json(request)))
        verdicts = [{"index": i, "flagged": flagged, "read": judged.read, **judged.as_dict()} for i, (judged, flagged) in enumerate(found)]
        return _json({"id": f"judge-{secrets.token_hex(12)}", "model": self._set.name, "verdicts": verdicts, "guardkit": self._about()})

    async def _health(self, request: Request) -> Response:
        feed = self._desk.feed
        state = "stopping" if self.stopping else "failing" if feed.fault is not None else "ok"
        return _json({"status": state, "model": self._set.name, "guard": self._desk.guard.name}, 200 if state == "ok" else 503)

    async def _page(self, request: Request) -> Response:
        from starlette.responses import Response

        body, kind = self._metrics.text()
        return Response(body, headers={"content-type": kind})

    def _about(self) -> dict[str, Any]:
        guard = self._desk.guard
        return {"version": __version__, "guard": guard.name, "guard_version": guard.version, "model_id": self._desk.model_id}

    # The guard --------------------------------------------------------------------------------------------------------

    async def _judged(self, request: Request, rows: Sequence[dict[str, Any]]) -> list[tuple[Judgement, bool]]:
        """Each interaction with what the guard says of it, and whether it is flagged."""
        asked = [self._desk.questions(row) for row in rows]
        futures = self._desk.feed.submit([r for _, requests in asked for r in requests])
        completions = iter(await _all(request, [asyncio.wrap_future(f) for f in futures], self._set.limits.seconds))
        return [self._one(row, [next(completions) for _ in requests]) for row, requests in asked]

    def _one(self, row: dict[str, Any], completions: list[Completion]) -> tuple[Judgement, bool]:
        judged = self._desk.judgement(row, completions)
        flagged = self._set.alarm.raised(judged.labels, judged.applying)
        read, written = (sum(getattr(c, n) or 0 for c in completions) for n in ("prompt_tokens", "completion_tokens"))
        self._metrics.judged(judged, flagged, read, written)
        if self._set.log_text:
            _log.info("%s", {"prompt": row["prompt"], "response": row["response"], "flagged": flagged, "output": judged.output})
        return judged, flagged


async def _all(request: Request, futures: list[asyncio.Future[Completion]], seconds: float) -> list[Completion]:
    """What comes of all of them.

    Raises:
        Gone: the client hung up meanwhile.
        TimeoutError: not within `seconds`.
    """
    answers = asyncio.gather(*futures)
    answers.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # heard, though nobody may be waiting any more
    gone = asyncio.ensure_future(request.receive())  # the body has been read: what comes next is that the client goes
    try:
        either: set[asyncio.Future[Any]] = {answers, gone}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answers.done():
            return list(answers.result())
        if gone.done():
            raise Gone
        raise TimeoutError
    finally:
        gone.cancel()
        answers.cancel()
        for future in futures:  # where one has failed, the others are not of use either
            future.cancel()


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    import orjson
    from starlette.responses import Response

    return Response(orjson.dumps(body), status, headers, "application/json")


def _is_local(name: str) -> bool:
    """Whether a name stands for this machine, whoever looks it up."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _where(error: Exception) -> str:
    """Kind and place of an error; its words may hold text of a request."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return type(error).__name__ + place
