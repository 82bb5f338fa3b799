"""The verb ``guardkit doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.cli import _complete, _say


def doctor(
    need: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXTRA]...", help="Extras that must work: exit code 4 if one does not.", show_default=False, autocompletion=_complete.extras
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the hub.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """What works here and what is missing: packages, GPU, memory, disk, keys (by name), folders, the hub.

    Example: guardkit doctor train
    """
    from toolkit import api
    from toolkit.common.errors import Missing

    found = api.doctor(need or (), online=not offline)
    if json:
        _say.document(found)
    else:
        rows = [[line["part"], line["name"], line["state"]] for line in found["found"]]
        _say.table("This machine", ["part", "name", "state"], [], rows, "", ["; ".join(filter(None, (f["says"], f["hint"]))) for f in found["found"]])
    if not found["ok"]:
        raise Missing(f"not ready: {', '.join(found['needed'])}", hint="the lines marked missing say what to do")
