"""What a server takes, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass, fields

from toolkit.common.errors import InputError


@dataclass(frozen=True)
class Limits:
    """The bounds of a server.

    Attributes:
        body: bytes of a request.
        text: characters of one interaction, all of its texts together.
        rows: interactions of one request.
        places: questions that may be waiting or under way; a request that finds no room is answered with 429.
        seconds: from a request's last byte to its answer.
        body_seconds: from a request's first byte to its last.
        stop_seconds: that a stop waits for what was taken.
        connections: open at once.

    Raises:
        InputError: one that is not positive.
    """

    body: int = 1 << 20
    text: int = 100_000
    rows: int = 256
    places: int = 1024
    seconds: float = 60.0
    body_seconds: float = 10.0
    stop_seconds: float = 60.0
    connections: int = 4096

    def __post_init__(self) -> None:
        for one in fields(self):
            if not getattr(self, one.name) > 0:
                raise InputError(f"a number above 0, not {getattr(self, one.name)}", where=one.name)
