"""A running viewer."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from toolkit.common.errors import require
from toolkit.serving import Listener, is_loopback
from toolkit.viewing._application import application
from toolkit.viewing._subject import Subject
from toolkit.viewing._viewed import Page

PORT = 8600
"""Where it listens if nothing else is asked for."""


class Viewer:
    """A server of pages about one run, shards or file; a context manager, which stops it.

    Attributes:
        url: its address.
        token: what the first address of a browser must hold.
        address: the two together: what is opened.
        subject: what is viewed.
        local: whether this machine alone can reach it.

    Args:
        subject: see `subject_of`.
        host: address or name of this machine that it listens at.
        port: 0 takes a free one.
        pages: more pages; the first of them that is in the navigation is the one that `address` opens.

    Raises:
        Missing: a package is not installed.
        InputError: there is no such address here, or somebody else listens at the port.

    Example:
        >>> with toolkit.view("outputs/small", port=0) as viewer:
        ...     isinstance(viewer, toolkit.Viewer), viewer.address.startswith(viewer.url)
        (True, True)
    """

    def __init__(self, subject: Subject, *, host: str = "127.0.0.1", port: int = PORT, pages: Sequence[Page] = ()) -> None:
        for module in ("starlette", "uvicorn", "h11"):
            require(module, "view", "guardkit view")
        self.subject, self.token = subject, secrets.token_urlsafe(32)
        self.local = is_loopback(host)
        self._listener = Listener(host, port)
        self.url = self._listener.url
        self.address = f"{self.url}/?token={self.token}"
        with self._listener.closed_on_failure():
            app = application(subject, self.token, host, self._listener.port, pages)
            self._listener.start(app, connections=64, slow=10.0, stop=2.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        if kind is None:
            self.wait()

    def stop(self, *, at_once: bool = False) -> None:
        """Take nothing more, and end when what was taken is answered (`wait`); `at_once`: without that. From any thread, any number of times."""
        self._listener.stop(at_once=at_once)

    def wait(self) -> None:
        """Wait until the server has ended."""
        self._listener.wait()
