"""The verb ``guardkit rejects``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli import _say


def rejects(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    step: Annotated[str | None, typer.Argument(help="Only rows that left this step.", show_default=False)] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="REASON", help="Only rows that left for this reason.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="Only the row of this id. Repeatable.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Rows to show.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """The rows that a run did not keep, with the reason of each: rejected, merged, set aside.

    Example: guardkit rejects outputs/quickstart train-rows --limit 3
    """
    from toolkit.api import rejects as look

    found = look(run, step, reason=reason, ids=ids, limit=limit)
    if json:
        _say.document(found)
        return
    rows = [[c["step"], c["outcome"], c["reason"], f"{c['rows']:,}"] for c in found["counts"]]
    _say.table(f"Not kept: {found['rows']:,} rows", ["step", "outcome", "reason"], ["rows"], rows)
    for line in found["shown"]:
        _say.lines(f"{line['id'] or 'no id'} left {line['step']}: {line['outcome']}, {line['reason']}")
        if line["detail"]:
            _say.lines(f"  {_say.short(line['detail'], 300)}")
        if line["survivor"]:
            _say.lines(f"  survivor: {line['survivor']}")
        if isinstance(line["row"], dict):
            _say.lines(*(f"    {name}: {_say.short(value, 200)}" for name, value in line["row"].items() if value not in (None, [], "")))
        elif line["row"] is not None:
            _say.lines(f"    {_say.short(line['row'], 200)}")
