"""The verb ``guardkit overlay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli import _say


def overlay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The overlay, NAME.overlay.jsonl.", show_default=False)],
    add: Annotated[
        Path | None,
        typer.Option("--add", metavar="DECISIONS", help="Add the decisions of a filled-in sheet (CSV, parquet) or of another overlay."),
    ] = None,
    reviewer: Annotated[str | None, typer.Option("--reviewer", metavar="NAME", help="Who decided, where the sheet does not say.")] = None,
    why: Annotated[str | None, typer.Option("--why", metavar="TEXT", help="The note of decisions without one.")] = None,
    guard: Annotated[str, typer.Option("--guard", metavar="NAME", help="Whose tasks and labels these are.")] = "guardreasoner",
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """What people decided about the rows of a dataset, in a file that only grows; `guardkit sign` signs it, `guardkit verify` checks it.

    Example: guardkit overlay seeds.overlay.jsonl --add review.csv --reviewer anna
    """
    from toolkit import api

    found = api.overlay(file, add=add, reviewer=reviewer, why=why, guard=guard)
    if json:
        _say.document(found)
        return
    if add is not None:
        _say.lines(f"Added: {found['added']:,}")
    when = f"; from {found['first']} to {found['last']}" if found["decisions"] else ""
    again = f", decided again since {found['superseded']:,}" if found["superseded"] else ""
    _say.lines(f"{found['file']}: decisions {found['decisions']:,}, rows {found['rows']:,}{again}{when}")
    rows = [[x["task"], x["reviewer"], x["decision"], f"{x['decisions']:,}"] for x in found["by"]]
    if rows:
        _say.table("Decisions", ["task", "reviewer", "decision"], ["decisions"], rows)
    for one in found["signatures"]:
        _say.lines(f"Signed as far as line {one['line']} by {one['by']}")
    if found["unsigned"]:
        _say.lines(f"Not signed: the last {found['unsigned']:,} (guardkit sign FILE --key KEY)")
