"""An application behind a port: its socket, the server on a thread of its own, its graceful stop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError
from toolkit.serving._connections import connections as connections_of

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

_KEPT = 75
"""Seconds that an idle connection is kept, or one whose client reads nothing of its answer: longer than clients keep theirs, so that none is used
that is being closed."""

_HEADERS = 16_384
"""Bytes of a request's line and headers."""

_FILES = 256
"""Open files beside the connections."""


class Listener:
    """A server of one application. Its port is taken when it is made; clients are let in by `start`.

    Attributes:
        url: its address.

    Args:
        host: address or name of this machine that it listens at.
        port: 0 takes a free one.

    Raises:
        InputError: there is no such address here, or somebody else listens at the port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._where = f"{host}:{port}"
        self._socket = _bound(host, port)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        name, self.port = self._socket.getsockname()[:2]
        self.url = f"http://{f'[{name}]' if ':' in name else name}:{self.port}"

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """What is done between taking the port and `start`: the port is given back where it fails."""
        try:
            yield
        except BaseException:
            self._socket.close()
            raise

    def start(self, app: ASGIApp, ended: Callable[[bool], None] | None = None, *, connections: int, slow: float, stop: float) -> None:
        """Let clients in; returns once they can come.

        Args:
            app: what answers them.
            ended: called on the server's thread when it has ended, with whether it had to end at once.
            connections: open at once.
            slow: seconds from a request's first byte to the end of its headers.
            stop: seconds that a stop waits for what was taken.

        Raises:
            InputError: somebody else listens at the port by now.
        """
        import uvicorn

        _listen(self._socket, self._where)
        _allow_files(connections + _FILES)
        config = uvicorn.Config(
            app,
            http=connections_of(_KEPT, slow),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEPT,
            timeout_graceful_shutdown=max(1, round(stop)),
            limit_concurrency=connections,
            h11_max_incomplete_event_size=_HEADERS,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what clients send that is no HTTP is not worth a line each
        self._server = uvicorn.Server(config)
        there = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(there, ended), name="guardkit-serve")
        self._thread.start()
        there.wait()
        if self._fault is not None:
            raise self._fault

    def stop(self, *, at_once: bool = False) -> None:
        """Take nothing more, and end when what was taken is answered (`wait`); `at_once`: without that. From any thread, any number of times."""
        if self._server is not None:
            self._server.should_exit = True
            self._server.force_exit = self._server.force_exit or at_once

    def wait(self) -> None:
        """Wait until the server has ended; raises what it failed with."""
        assert self._thread is not None  # noqa: S101  it was started
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self, there: threading.Event, ended: Callable[[bool], None] | None) -> None:
        server = self._server
        assert server is not None  # noqa: S101  made before its thread

        async def serve() -> None:
            serving = asyncio.ensure_future(server.serve(sockets=[self._socket]))
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
            if ended is not None:
                ended(server.force_exit)


def is_loopback(host: str) -> bool:
    """Whether an address or a name stands for this machine."""
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
