"""A run's figures as tables for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from toolkit.common.text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_summary(summary: dict[str, Any], stream: TextIO | None = None) -> None:
    """Print the tables of `summarise`'s figures; plain, and as wide as they need, where `stream` is no terminal."""
    from rich.console import Console

    stream = stream or sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else 160, highlight=False, markup=False, emoji=False)
    console.print(_steps(summary))
    if any(g["asked"] or g["from_journal"] for g in summary["generations"]):
        console.print(_generations(summary["generations"]))
    _teachers(console, summary)
    _mining(console, summary)
    for step, rows in summary["scores"].items():
        console.print(_scores(step, rows))
        for guard, n in summary["matched"].get(step, {}).items():
            if n["without"] or n["of_other_rows"]:
                told = f"verdicts for {n['verdicts']:,} of the {n['asked']:,} rows, and {n['of_other_rows']:,} for other rows, which do not count"
                _say(console, one_line(f"{guard} has {told}"))
    if summary["reasoning_steps"] is not None:
        steps, rows = summary["reasoning_steps"], summary["reasoned_rows"]
        _say(console, f"Reasoning steps: {steps:,} in {rows:,} rows" + (f", {steps / rows:.2f} a row" if rows else ""))
    if summary["sampled"] is not None:
        _say(console, f"Rows given to guards (held-out ones included): {summary['sampled']:,}")
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

    table = Table(title=one_line(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
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
            _add(table, s["step"], s["use"], *[""] * len(numbers), "not built")
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


def _teachers(console: Console, summary: dict[str, Any]) -> None:
    for step, stats in summary["teachers"].items():
        if set(who := stats.get("teachers", {})) - {"template"}:
            _say(console, f"Answered by ({step}): " + ", ".join(f"{name} {n:,}" for name, n in who.items()))
        if blind := stats.get("blind"):
            shares = (f"{task} {100 * b['agreed'] / b['compared']:.1f} % of {b['compared']:,}" for task, b in blind.items() if b["compared"])
            _say(console, f"Blind verdicts that agree with the label ({step}): " + ", ".join(shares))


def _mining(console: Console, summary: dict[str, Any]) -> None:
    for step, stats in summary["hard"].items():
        table = _table(f"Hard samples ({step})", ["rows"], ["hard", "always right", "always wrong", "undecided", "no label", "with unread"])
        names = ("hard", "always_right", "always_wrong", "undecided", "no_label", "with_unread")
        _add(table, f"{stats.get('rows', 0):,}", *(f"{stats.get(n, 0):,}" for n in names))
        console.print(table)
        by_task = ", ".join(f"{t} {n:,}" for t, n in stats.get("hard_by_task", {}).items())
        _say(console, f"Hard by task: {by_task}")
    for step, by_task in summary["pairs"].items():
        tasks = ", ".join(f"{t} {n:,}" for t, n in by_task.items())
        _say(console, f"Preference pairs ({step}): {sum(by_task.values()):,} ({tasks})")


def _scores(step: str, rows: list[dict[str, Any]]) -> Table:
    table = _table(f"Held-out rows ({step}): percent, with 95 % intervals", ["task", "guard"], ["rows", "unread", "accuracy", "F1"])
    last = None
    for r in rows:
        if last not in (None, r["task"]):
            table.add_section()
        _add(
            table,
            r["task"] if r["task"] != last else "",
            r["guard"],
            f"{r['n']:,}",
            f"{r['unread']:,}",
            _interval(r, "accuracy"),
            _interval(r, "f1"),
        )
        last = r["task"]
    return table


def _interval(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "-"
    return f"{row[name]:.1f} [{row[name + '_low']:.1f}, {row[name + '_high']:.1f}]"


def _n(value: int) -> str:
    return f"{value:,}" if value else ""


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
