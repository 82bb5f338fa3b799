"""The verb ``guardkit report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _say


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, finished or not.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="The page (default: report.html in the run).")] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Leave texts of rows out, so that the page can be shared.")] = False,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=0, help="Rows of each step and reason that are shown.")] = 3,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="By which these are drawn.")] = 0,
    images: Annotated[
        tuple[str, Path] | None, typer.Option("--images", metavar="svg|png FOLDER", help="Write each picture as a file, too.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """A run as one HTML page with pictures, tables and sample rows; it opens with no network.

    Example: guardkit report outputs/quickstart --redact --output share.html
    """
    from toolkit import api

    kind, place = images or (None, None)
    how: dict[str, Any] = {"output": output, "texts": not redact, "samples": samples, "seed": seed, "images": kind, "image_folder": place}
    found = api.report_page(run, **how)
    if json:
        _say.document(found)
    else:
        say(found)


def say(found: dict[str, Any]) -> None:
    """Where a report is, and how large."""
    notes = [f"Note: {note}" for note in found["notes"]]
    more = [f"Pictures: {len(found['images'])} files, the first is {found['images'][0]}"] if found["images"] else []
    _say.lines(f"Report: {found['output']} ({found['bytes']:,} bytes, {len(found['pictures'])} pictures)", *more, *notes)
