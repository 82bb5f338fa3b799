"""The verb ``guardkit view``."""

from __future__ import annotations

import signal
import sys
import webbrowser
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import _say

if TYPE_CHECKING:
    from toolkit.api import Viewer


def view(
    place: Annotated[str, typer.Argument(metavar="RUN|SHARDS|FILE", help="A run's folder, one of its steps', shards, or a file of rows.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen at; others than loopback let other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8600,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser; only where stdout is a terminal.")] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, with the address and the token, once it listens.")] = False,
) -> None:
    """Look at a run, at shards or at a file in a browser, until Ctrl-C: rows, rejects, duplicates, disputes, progress. Nothing is written.

    Example: guardkit view outputs/quickstart
    """
    from toolkit.api import view as start

    viewer = start(place, host=host, port=port)
    stopped_by_signals(viewer)
    if json:
        _say.document({"address": viewer.address, "url": viewer.url, "token": viewer.token, "kind": viewer.subject.kind})
    else:
        _say.lines(f"{viewer.subject.name} ({viewer.subject.kind}) at {viewer.address}", "Ctrl-C ends it.")
    if not viewer.local:
        sys.stderr.write("guardkit: others than this machine can reach it, and what it shows travels unencrypted\n")
    if open_ and not json and sys.stdout.isatty():
        webbrowser.open(viewer.address)
    viewer.wait()


def stopped_by_signals(viewer: Viewer) -> None:
    """From now on Ctrl-C and SIGTERM stop the viewer, and nothing else."""

    def stop(number: int, frame: FrameType | None) -> None:
        viewer.stop(at_once=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
