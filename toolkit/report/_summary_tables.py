"""A run's figures as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from io import StringIO
from typing import Any, TextIO

from toolkit.common.tables import Column, columns_of, table_html, table_text, width_of
from toolkit.common.text import one_line


def print_summary(summary: dict[str, Any], stream: TextIO | None = None, width: int | None = None) -> None:
    """Print the tables of `summarise`'s figures; plain, and as wide as they need where nothing limits them (`width_of`, or `width`)."""
    stream = stream or sys.stdout
    _show(summary, _Console(stream, width or width_of(stream)))


def summary_html(summary: dict[str, Any]) -> str:
    """The same tables and lines for a notebook, all texts escaped."""
    stream = StringIO()
    _show(summary, _Notebook(stream, None))
    return stream.getvalue()


def _show(summary: dict[str, Any], console: _Console) -> None:
    console.print(_steps(summary))
    if any(g["asked"] or g["from_journal"] for g in summary["generations"]):
        console.print(_generations(summary["generations"]))
    for g in summary["generations"]:
        for kind, n in (g["errors"] or {}).items():
            words = one_line(str(g["messages"].get(kind) or ""))[:300]
            _say(console, f"Failed ({g['step']}, {g['model']}), {kind}: {n:,}" + (f" ({words})" if words else ""))
    _show_figures(summary["figures"], console)
    if "rounds" in summary:
        console.print(_rounds(summary["rounds"]))
        if summary["rounds"]["why"]:
            _say(console, f"The rounds ended before their time: {summary['rounds']['why']}. Not run: {', '.join(summary['rounds']['skipped'])}")
    _say(console, f"Time of the steps: {_time(summary['seconds'])}")
    _say(console, f"Everything is in: {summary['output']}")
    for note in summary["notes"]:
        _say(console, f"Note: {note}")


def print_figures(figures: Iterable[Mapping[str, Any]], stream: TextIO | None = None, width: int | None = None) -> None:
    """Print what some of `summarise`'s `figures` show, as `print_summary` does."""
    stream = stream or sys.stdout
    _show_figures(figures, _Console(stream, width or width_of(stream)))


def _show_figures(figures: Iterable[Mapping[str, Any]], console: _Console) -> None:
    for figure in figures:
        for one in figure["shown"]:
            _say(console, one if isinstance(one, str) else one["title"])
            if not isinstance(one, str):
                console.print(_figure(one))


@dataclass
class _Table:
    """Rows of texts, to be drawn in a place of some width."""

    title: str
    columns: list[Column]
    rows: list[list[str]] = field(default_factory=list)
    grouped: bool = False


@dataclass(frozen=True)
class _Console:
    stream: TextIO
    width: int | None

    def print(self, table: _Table) -> None:
        self.stream.write(table_text(table.title, table.columns, table.rows, width=self.width, grouped=table.grouped) + "\n\n")

    def line(self, text: str) -> None:
        self.stream.write(one_line(text) + "\n")


class _Notebook(_Console):
    """Writes HTML."""

    def print(self, table: _Table) -> None:
        self.stream.write(table_html(table.title, [c.name for c in table.columns], table.rows) + "\n")

    def line(self, text: str) -> None:
        self.stream.write(f"<p>{escape(one_line(text))}</p>\n")


def _say(console: _Console, text: str) -> None:
    console.line(text)


def _add(table: _Table, *cells: str) -> None:
    table.rows.append(list(cells))


def _table(title: str, left: list[str], right: list[str], wide: str | None = None) -> _Table:
    return _Table(title, columns_of(left, right, wide))


def _steps(summary: dict[str, Any]) -> _Table:
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


def _generations(found: list[dict[str, Any]]) -> _Table:
    numbers = ["calls", "from the journal", "asked again", "failed", "tokens read", "written", "dollars"]
    table = _table("Generations, when each step was last built", ["step", "model"], numbers)
    for g in found:
        counts = [_n(g[n] or 0) for n in ("asked", "from_journal", "followed", "failed", "prompt_tokens", "completion_tokens")]
        guess = f" ({g['estimated']:,.4f} estimated)" if g["estimated"] else ""
        _add(table, g["step"], g["model"], *counts, f"{g['cost']:,.4f}{guess}" if g["cost"] else "")
    return table


def _rounds(found: dict[str, Any]) -> _Table:
    """A line for each round."""
    lines = found["rounds"]
    hard, scored = (list(dict.fromkeys(task for line in lines for task in line[name] or {})) for name in ("hard_by_task", "f1"))
    numbers = ["hard", *(f"hard, {t}" for t in hard), "pairs", "tokens drawn", *(f"F1, {t}" for t in scored)]
    table = _table(f"Rounds of {found['model']}: hard rows of the guard before, F1 of the guard after", ["round", "state", "guard before"], numbers)
    for line in lines:
        by_task = [(line["hard_by_task"] or {}).get(t) for t in hard]
        f1 = [(line["f1"] or {}).get(t) for t in scored]
        _add(table, str(line["round"]), line["state"], line["guard"], *map(_cell, [line["hard"], *by_task, line["pairs"], line["tokens"], *f1]))
    return table


def _figure(shown: dict[str, Any]) -> _Table:
    """A table that an operator shows."""
    table = _table("", list(shown["words"]), list(shown["numbers"]))
    table.grouped = bool(shown["parts"])
    for row in shown["rows"]:
        _add(table, *map(_cell, row))
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
