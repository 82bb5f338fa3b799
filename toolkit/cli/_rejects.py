"""The verb ``guardkit rejects``."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _complete, _say


def rejects(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of a step in it.", show_default=False)],
    step: Annotated[str | None, typer.Argument(help="Only rows that left this step.", show_default=False, autocompletion=_complete.run_steps)] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="REASON", help="Only rows that left for this reason.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="Only the row of this id. Repeatable.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Rows to show.")] = 5,
    full: Annotated[bool, typer.Option("--full", help="Show details and values whole, not their beginnings.")] = False,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write every such row (.jsonl, .csv, .parquet).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """The rows that a run did not keep, with the reason of each: rejected, merged, set aside.

    Example: guardkit rejects outputs/quickstart train-rows --limit 3
    """
    from toolkit.api import rejects as look

    found = look(run, step, reason=reason, ids=ids, limit=limit, output=output)
    if json:
        _say.document(found)
        return
    rows = [[c["step"], c["outcome"], c["reason"], f"{c['rows']:,}"] for c in found["counts"]]
    _say.table(f"Not kept: {found['rows']:,} rows", ["step", "outcome", "reason"], ["rows"], rows)
    for line in found["shown"]:
        _say.lines(f"{line['id'] or 'no id'} left {line['step']}: {line['outcome']}, {line['reason']}")
        if line["detail"]:
            _say.lines(f"  {_value(line['detail'], 300, full)}")
        if line["survivor"]:
            _say.lines(f"  survivor: {line['survivor']}")
        if isinstance(line["row"], dict):
            _say.lines(*(f"    {name}: {_value(value, 200, full)}" for name, value in line["row"].items() if value not in (None, [], "")))
        elif line["row"] is not None:
            _say.lines(f"    {_value(line['row'], 200, full)}")
    if output is not None:
        _say.lines(f"every such row: {found['output']}")


def _value(value: Any, most: int, full: bool) -> str:
    """A value on one line, or whole."""
    if not full:
        return _say.short(value, most)
    return value if isinstance(value, str) else jsonlib.dumps(value, ensure_ascii=False, default=str)
