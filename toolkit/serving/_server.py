"""A server on a thread of its own, from its socket to its graceful stop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from toolkit.common.errors import InputError, Missing, Stopped, require
from toolkit.common.secrets import fit_for_a_header
from toolkit.serving._app import App, Settings
from toolkit.serving._connections import connections
from toolkit.serving._desk import Desk

if TYPE_CHECKING:
    import uvicorn

    from toolkit.guards import Guard

TOKEN = "GUARDKIT_SERVE_TOKEN"  # noqa: S105  the variable's name
"""Environment variable with the token that clients must show."""

_SHORTEST = 16
"""Letters of a token."""

_KEPT = 75
"""Seconds that an idle connection is kept, or one whose client reads nothing of its answer: longer than clients keep theirs, so that none is used
that is being closed."""

_HEADERS = 16_384
"""Bytes of a request's line and headers."""

_FILES = 256
"""Open files beside the connections."""

_log = logging.getLogger(__name__)


class Served:
    """A running server; a context manager, which stops it. It takes the desk over, and closes it.

    Attributes:
        url: its address.
        name: what it calls the model.

    Args:
        desk: the guard.
        settings: how it answers.
        host: address or name of this machine that it listens at.
        port: 0 takes a free one.

    Raises:
        Missing: a package is not installed; there is no token, and others than this machine could reach it; or the guard's service is not there.
        InputError: an address or a token that cannot be; a model that cannot be asked.

    Example:
        Where `url` is the base URL of an OpenAI-compatible server, ``http://127.0.0.1:8000/v1`` say:

        >>> with toolkit.serve("m", backend="openai", base_url=url, port=0) as server:
        ...     isinstance(server, toolkit.Served), server.name
        (True, 'guardreasoner')
    """

    def __init__(self, desk: Desk, settings: Settings, *, host: str = "127.0.0.1", port: int = 8000) -> None:
        self._desk, self.name = desk, settings.name
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        self._finished = True
        try:
            check_access(host, settings.token)
            listening = _bound(host, port)
            try:
                self._first_question()
                _listen(listening, f"{host}:{port}")
                self._start(settings, listening)
            except BaseException:
                listening.close()
                raise
        except BaseException:
            desk.close(0.0)
            raise
        name, number = listening.getsockname()[:2]
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{number}"

    @property
    def guard(self) -> Guard:
        """The definition that the model is asked as."""
        return self._desk.guard

    @property
    def model_id(self) -> str:
        """Content hash of a local model, name of a remote one."""
        return self._desk.model_id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        if kind is None:
            self.wait()

    def stop(self, *, at_once: bool = False) -> None:
        """Take nothing more, and end when what was taken is answered (`wait`); `at_once`: without that. From any thread, any number of times."""
        if self._server is not None:
            self._app.stopping = True
            self._server.should_exit = True
            self._server.force_exit = self._server.force_exit or at_once

    def wait(self) -> None:
        """Wait until the server has ended.

        Raises:
            Stopped: some of what it had taken was not answered.
        """
        assert self._thread is not None  # noqa: S101  set when it was made
        self._thread.join()
        if self._fault is not None:
            raise self._fault
        if not self._finished:
            raise Stopped("stopped before everything that was taken had been answered")

    def _first_question(self) -> None:
        """Have the model loaded, and hear what is wrong with it, before anybody is let in."""
        first = self._desk.judge({"prompt": "Hello.", "response": None})
        if first.error is not None:
            _log.warning("the guard's first answer failed: %s: %s", first.error, first.detail)

    def _start(self, settings: Settings, listening: socket.socket) -> None:
        import uvicorn

        limits = settings.limits
        _allow_files(limits.connections + _FILES)
        self._app = App(self._desk, settings)
        config = uvicorn.Config(
            self._app.starlette(),
            http=connections(_KEPT, limits.body_seconds),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEPT,
            timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
            limit_concurrency=limits.connections,
            h11_max_incomplete_event_size=_HEADERS,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what clients send that is no HTTP is not worth a line each
        self._server = uvicorn.Server(config)
        there = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening, there), name="guardkit-serve")
        self._thread.start()
        there.wait()
        if self._fault is not None:
            raise self._fault

    def _run(self, listening: socket.socket, there: threading.Event) -> None:
        server = self._server
        assert server is not None  # noqa: S101  made before its thread

        async def serve() -> None:
            serving = asyncio.ensure_future(server.serve(sockets=[listening]))
            while not (server.started or serving.done()):
                await asyncio.sleep(0.005)
            there.set()
            await serving

        try:
            with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                runner.run(serve())
        except BaseException as e:  # noqa: BLE001  whoever waits raises it
            self._fault = e
        finally:
            there.set()
            self._finished = self._desk.close(0.0 if server.force_exit else 1.0) and not self._app.cut


def check_access(host: str, token: str | None) -> None:
    """Whether a server may listen at a host with this token.

    Raises:
        Missing: a package is not installed; or others than this machine could reach it, and there is no token.
        InputError: a token that no header can hold, or that is soon guessed.
    """
    for module in ("starlette", "uvicorn", "prometheus_client"):
        require(module, "serve", "guardkit serve")
    hint = f"""export {TOKEN}="$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')\""""
    if token is None:
        if not _is_loopback(host):
            raise Missing(f"others than this machine can reach {host}, and ${TOKEN} is not set", hint=hint)
    elif not fit_for_a_header(token) or len(token) < _SHORTEST:
        raise InputError(f"${TOKEN} is to be at least {_SHORTEST} letters, digits and signs of ASCII, without spaces", hint=hint)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    """A socket of that address, and of no other; it listens not yet, so that nobody waits at a server that may never come.

    Raises:
        InputError: there is no such address here, or somebody else listens at the port.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        kind, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # a name of both kinds: what its clients try
        listening = socket.socket(kind, socket.SOCK_STREAM)
    except (OSError, UnicodeError, OverflowError) as e:
        raise InputError(f"no address to listen at: {e}", where=f"{host}:{port}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.setblocking(False)
    except (OSError, OverflowError) as e:
        listening.close()
        raise _taken(e, f"{host}:{port}") from None
    return listening


def _listen(bound: socket.socket, where: str) -> None:
    """Let clients in.

    Raises:
        InputError: somebody else listens at the port by now.
    """
    try:
        bound.listen(2048)
    except OSError as e:
        raise _taken(e, where) from None


def _taken(error: OSError | OverflowError, where: str) -> InputError:
    return InputError(f"cannot listen: {getattr(error, 'strerror', None) or error}", where=where, hint="take another --port")


def _allow_files(wanted: int) -> None:
    """Raise this process's soft limit of open files to what the connections need, as far as it may be."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
