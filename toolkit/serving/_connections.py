"""Connections that hold no place for ever: uvicorn ends one between requests alone (`timeout_keep_alive`), not one whose request never comes, nor one
whose client never reads its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol


def connections(silent: float, slow: float) -> type[H11Protocol]:
    """The protocol of a server's connections.

    Args:
        silent: seconds from a connection's beginning to its first byte, and in which a client reads nothing of an answer that waits for it.
        slow: seconds from a request's first byte to the end of its headers.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Bounded(H11Protocol):
        _coming: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None
        _begun = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._coming = self.loop.call_later(silent, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            whole = self.conn.their_state is not h11.IDLE
            if self._coming is not None and (whole or not self._begun):
                self._coming.cancel()
                self._coming = None
            self._begun = True
            if self._coming is None and not whole:
                self._coming = self.loop.call_later(slow, self.transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(silent, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._coming, self._unread):
                if timer is not None:
                    timer.cancel()

    return Bounded
