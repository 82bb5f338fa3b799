"""The verb ``guardkit disputes``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer

from toolkit.cli import _say
from toolkit.common.tables import Column, table_text
from toolkit.common.text import plain

_LINES = 8
"""Lines of an output that are shown in a column."""


def disputes(
    folder: Annotated[Path, typer.Argument(help="A run, a step in it that has or mines verdicts, or an evaluation.", show_default=False)],
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only this task.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Rows to show with their texts.")] = 5,
    full: Annotated[bool, typer.Option("--full", help="Every output whole, not two beginnings side by side.")] = False,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write the whole list (.jsonl, .csv, .parquet).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """The rows that guards dispute most, with what they wrote side by side and why each ranks where it does.

    Example: guardkit disputes outputs/quickstart --task prompt --limit 3
    """
    from toolkit.api import disputes as find
    from toolkit.api.command import Progress

    found = find(folder, task=task, limit=limit, output=output, progress=Progress())
    if json:
        _say.document(found)
        return
    rows = [[t["task"], f"{t['rows']:,}", f"{t['disputed']:,}", _share(t)] for t in found["tasks"]]
    _say.table(f"Disputed rows, by the verdicts of {', '.join(found['of'])}", ["task"], ["rows", "disputed", "%"], rows)
    for line in found["shown"]:
        _one(line, full)
    left = found["disputed"] - len(found["shown"])
    more = [f"{left:,} more: --limit N, or all of them as a list with --output FILE"] if left and found["output"] is None else []
    _say.lines(*(f"Note: {note}" for note in found["notes"]), *more)
    if found["output"] is not None:
        _say.lines(f"the whole list: {found['output']}")


def _share(of: Mapping[str, Any]) -> str:
    return f"{100 * of['disputed'] / of['rows']:.1f}" if of["rows"] else ""


def _one(line: Mapping[str, Any], full: bool) -> None:
    _say.lines(f"{line['rank']}. {line['id']} ({', '.join(filter(None, [line['task'], line['source']]))})")
    measures = [f"{name} {line[name]:.2f}" for name in ("entropy", "margin", "divergence") if line[name] is not None]
    unread = [f"{line['unread']:,} unread"] if line["unread"] else []
    _say.lines(f"   {line['why']}", f"   {', '.join([*measures, *unread])}")
    votes = [f"{guard}: {', '.join(f'{label} {n}' for label, n in counts.items())}" for guard, counts in line["by_guard"].items()]
    _say.lines(f"   {'; '.join(votes)}")
    for name in ("prompt", "response"):
        if line[name] is not None:
            _say.lines(f"   {name}: {_say.folded(line[name], 5) if full else _say.short(line[name], 300)}")
    if full:
        for output in line["outputs"]:
            verdict = output["verdict"] or f"unread, {output['unread'] or 'no reason known'}"
            text = "(no output)" if output["output"] is None else _say.folded(output["output"], 5)
            _say.lines(f"   {_who(output)}: {verdict}", f"     {text}")
    else:
        _side_by_side(_sides(line))
    _say.lines("")


def _side_by_side(sides: Mapping[str, tuple[Mapping[str, Any], int]]) -> None:
    """The beginnings of outputs in columns, each below the label that it comes to."""
    if not sides:
        return
    width = max(20, ((_say.width() or 120) - 5) // len(sides) - 3)
    columns = [Column(f"{label} ({n:,} {'vote' if n == 1 else 'votes'}; {_who(output)})", "prose") for label, (output, n) in sides.items()]
    beginnings = [_beginning(output["output"], width) for output, _ in sides.values()]
    sys.stdout.write(table_text("", columns, [beginnings], width=_say.width()) + "\n")


def _beginning(text: str, width: int) -> str:
    """As many lines of a text as are shown, wrapped."""
    lines = [part for line in plain(text).split("\n") for part in (wrap(line, width) or [""])]
    return "\n".join(lines if len(lines) <= _LINES else [*lines[: _LINES - 1], f"… {len(lines) - _LINES + 1} more lines"])


def _who(output: Mapping[str, Any]) -> str:
    return str(output["guard"]) if output["draw"] is None else f"{output['guard']}, draw {output['draw']}"


def _sides(line: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], int]]:
    """For the two labels with most votes an output of the guard that says it most often, and the votes; the row's own label first."""
    counts: dict[str, dict[str, int]] = {}
    for guard, votes in line["by_guard"].items():
        for label, n in votes.items():
            counts.setdefault(label, {})[guard] = n
    counts.pop("unread", None)
    two = sorted(counts, key=lambda label: -sum(counts[label].values()))[:2]
    out = {}
    for label in sorted(two, key=lambda label: label != line["label"]):
        order = sorted(counts[label], key=lambda guard: -counts[label][guard])
        texts = [o for guard in order for o in line["outputs"] if o["guard"] == guard and o["verdict"] == label and o["output"]]
        if texts:
            out[label] = (texts[0], sum(counts[label].values()))
    return out
