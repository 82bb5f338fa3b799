"""A run's figures as tables for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from toolkit.common.text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_summary(summary: dict[str, Any], stream: TextIO | None = None) -> None:
    """Print the tables of what `summarise` gives; plain, and as wide as they need, where `stream` is no terminal."""
    from rich.console import Console

    stream = stream or sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else 160, highlight=False, markup=False, emoji=False)
    console.print(_steps(summary))
    if any(g["asked"] or g["from_journal"] for g in summary["generations"]):
        console.print(_generations(summary["generations"]))
    for g in summary["generations"]:
        for kind, n in (g["errors"] or {}).items():
            words = one_line(str(g["said"].get(kind) or ""))[:300]
            _say(console, f"Failed ({g['step']}, {g['model']}), {kind}: {n:,}" + (f" ({words})" if words else ""))
    for figure in summary["figures"]:
        for one in figure["shown"]:
            _say(console, one if isinstance(one, str) else one["title"])
            if not isinstance(one, str):
                console.print(_figure(one))
    _say(console, f"Time of the steps: {_time(summary['seconds'])}")
    _say(console, f"Everything lies in: {summary['output']}")
    for note in summary["notes"]:
        _say(console, f"Note: {note}")


def _say(console: Console, text: str) -> None:
    console.print(one_line(text), soft_wrap=True)


def _add(table: Table, *cells: str) -> None:
    table.add_row(*map(one_line, cells))


def _table(title: str, left: list[str], right: list[str], wide: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=one_line(title) or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column(wide, overflow="fold")
    return table


def _steps(summary: dict[str, Any]) -> Table:
    numbers = ["in", "kept", "rejected", "merged", "set aside", "time"]
    table = _table(f"Run of {summary['recipe']}: rows at each step", ["step", "operator"], numbers, "why")
    for s in summary["steps"]:
        if s["state"] != "built":
            _add(table, s["step"], s["use"], *[""] * len(numbers), s["state"])
            continue
        aside, rejected = sum(s["set_aside"].values()), sum(s["rejected"].values())
        why = [f"{k} {n:,}" for kind in ("rejected", "set_aside") for k, n in s[kind].items()]
        kept = f"{s['kept']:,}" + (f" (x {s['factor']:g})" if "factor" in s else "")
        cells = [_n(s["in"]), kept, _n(rejected), _n(s["merged"]), _n(aside), _time(s["seconds"])]
        _add(table, s["step"], s["use"], *cells, ", ".join(why))
    return table


def _generations(found: list[dict[str, Any]]) -> Table:
    numbers = ["calls", "from the journal", "asked again", "failed", "tokens read", "written", "dollars"]
    table = _table("Generations, when each step was last built", ["step", "model"], numbers)
    for g in found:
        counts = [_n(g[n] or 0) for n in ("asked", "from_journal", "followed", "failed", "prompt_tokens", "completion_tokens")]
        guess = f" ({g['estimated']:,.4f} estimated)" if g["estimated"] else ""
        _add(table, g["step"], g["model"], *counts, f"{g['cost']:,.4f}{guess}" if g["cost"] else "")
    return table


def _figure(shown: dict[str, Any]) -> Table:
    """A table that an operator shows."""
    table = _table("", list(shown["words"]), list(shown["numbers"]))
    last = None
    for row in shown["rows"]:
        cells = list(map(_cell, row))
        if shown["parts"]:
            if last not in (None, cells[0]):
                table.add_section()
            last, cells[0] = cells[0], cells[0] if cells[0] != last else ""
        _add(table, *cells)
    return table


def _cell(value: str | float | None) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else value or ""


def _n(value: int) -> str:
    return f"{value:,}" if value else ""


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
