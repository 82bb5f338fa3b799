"""A run, shards or a file as a local web page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.common.paths import at_door
from toolkit.viewing import PORT, ReviewPages, Viewer, subject_of

if TYPE_CHECKING:
    from toolkit.reviewing import Review, Shown


def view(place: str | Path, *, host: str = "127.0.0.1", port: int = PORT, review: Review | None = None, shown: Shown = "hidden") -> Viewer:
    """Look at a run, at shards or at a file of rows in a browser; nothing is written but the decisions of a review.

    Args:
        place: a run's folder, one of its steps', shards, a file of parquet, JSON Lines, JSON or CSV, or a folder of such files.
        host: address to listen at. With another than a loopback address other machines can reach it; they need the token all the same.
        port: 0 takes a free one.
        review: of `toolkit.review`, with a reviewer: adds its page, ``/review``. Close it once the viewer has ended.
        shown: how much of a text that may be harmful that page shows before it is asked for: hidden, start or all.

    Returns:
        The running viewer: its ``address`` (with the token, to be opened), ``url``, ``token``, ``stop()`` and ``wait()``; as a context manager it
        is stopped at the end.

    Raises:
        InputError: nothing that can be viewed, an address that is not this machine's, a port that somebody else listens at.
        Missing: the extra ``view`` is not installed.

    Example:
        >>> with toolkit.view("outputs/small", port=0) as viewer:
        ...     viewer.address
        'http://127.0.0.1:.../?token=...'
    """
    pages = ReviewPages(review, shown).pages() if review is not None else ()
    return Viewer(subject_of(at_door(place)), host=host, port=port, pages=pages)
