"""A guard's server: what it needs before it listens, and its graceful stop."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Self

from toolkit.common.errors import InputError, Missing, Stopped, require
from toolkit.common.secrets import fit_for_a_header
from toolkit.serving._app import App, Settings
from toolkit.serving._desk import Desk
from toolkit.serving._listener import Listener, is_loopback

if TYPE_CHECKING:
    from toolkit.guards import Guard

TOKEN = "GUARDKIT_SERVE_TOKEN"  # noqa: S105  the variable's name
"""Environment variable with the token that clients must show."""

_SHORTEST = 16
"""Letters of a token."""

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
        self._finished = True
        try:
            check_access(host, settings.token)
            self._listener = Listener(host, port)  # nobody is let in before the model has answered
            self.url = self._listener.url
            with self._listener.closed_on_failure():
                self._first_question()
                self._app = App(desk, settings)
                limits = settings.limits
                app = self._app.starlette()
                self._listener.start(app, self._ended, connections=limits.connections, slow=limits.body_seconds, stop=limits.stop_seconds)
        except BaseException:
            desk.close(0.0)
            raise

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
        self._app.stopping = True
        self._listener.stop(at_once=at_once)

    def wait(self) -> None:
        """Wait until the server has ended.

        Raises:
            Stopped: some of what it had taken was not answered.
        """
        self._listener.wait()
        if not self._finished:
            raise Stopped("stopped before everything that was taken had been answered")

    def _first_question(self) -> None:
        """Have the model loaded, and hear what is wrong with it, before anybody is let in."""
        first = self._desk.judge({"prompt": "Hello.", "response": None})
        if first.error is not None:
            _log.warning("the guard's first answer failed: %s: %s", first.error, first.detail)

    def _ended(self, at_once: bool) -> None:
        self._finished = self._desk.close(0.0 if at_once else 1.0) and not self._app.cut


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
        if not is_loopback(host):
            raise Missing(f"others than this machine can reach {host}, and ${TOKEN} is not set", hint=hint)
    elif not fit_for_a_header(token) or len(token) < _SHORTEST:
        raise InputError(f"${TOKEN} is to be at least {_SHORTEST} letters, digits and signs of ASCII, without spaces", hint=hint)
