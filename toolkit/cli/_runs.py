"""The verbs below ``guardkit runs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _say

runs = typer.Typer(no_args_is_help=True, help="List runs, show one, clean one.\n\nExample: guardkit runs list")

RunArg = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]


@runs.command("list")
def runs_list(json: JsonOpt = False) -> None:
    """The runs of this workspace.

    Example: guardkit runs list
    """
    from toolkit.api import list_runs

    found: list[dict[str, Any]] = list_runs()
    if json:
        _say.document(found)
    else:
        rows = [[r["folder"], r["recipe"] or _problem(r), str(r["steps"]), str(r["built"]), str(r["stale"])] for r in found]
        _say.table("Runs", ["run", "recipe"], ["steps", "built", "stale"], rows)


def _problem(run: dict[str, Any]) -> str:
    """Why a run cannot be read, on one line; the column beside it has the folder."""
    return str(run["problem"]).partition("\n")[0].removeprefix(f"{run['folder']}/")


@runs.command("status")
def runs_status(run: RunArg, json: JsonOpt = False) -> None:
    """A run's tables, from its folder.

    Example: guardkit runs status outputs/quickstart
    """
    from toolkit.api.command import summarise

    found = summarise(run)
    if json:
        _say.document(found)
    else:
        _say.summary(found)


@runs.command("clean")
def runs_clean(run: RunArg, json: JsonOpt = False) -> None:
    """Remove steps that the recipe no longer has, and leftovers of killed runs; the journal stays.

    Example: guardkit runs clean outputs/quickstart
    """
    from toolkit.api import clean_run

    gone = clean_run(run)
    if json:
        _say.document({"removed": gone})
    else:
        _say.lines(f"removed: {', '.join(gone)}" if gone else "nothing to remove")
