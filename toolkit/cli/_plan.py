"""A plan for people: what is built, and what asking models will take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from toolkit.cli import _say


def show(found: Mapping[str, Any]) -> None:
    """Print what `toolkit.api.plan` found."""
    rows = [[s["step"], s["use"], state(s), _say.number(s["rows"], s["exact"]), _calls(s)] for s in found["steps"]]
    _say.table(f"Plan of {found['recipe']}", ["step", "operator", "state"], ["rows out", "to ask"], rows)
    models = [(s["step"], m) for s in found["steps"] for m in s["models"]]
    if models:
        asked = [[step, m["name"], m["model"], *_figures(m)] for step, m in models]
        total = [["all", "", "", *_figures(found["total"])]] if len(models) > 1 else []
        right = ["to ask", "in the journal", "tokens read", "tokens written", "dollars", "time"]
        _say.table("Asking models (from the low to the high end of a 90 % interval)", ["step", "name", "model"], right, asked + total)
    _say.lines(*found["words"], *found["notes"], *(f"needs: {n}" for n in found["needs"]))


def _calls(step: Mapping[str, Any]) -> str:
    """How often a step will ask: what is left to ask, where that was looked at, or all that its rows make."""
    spans = [m.get("calls") for m in step["models"]]
    if not spans or not all(spans):
        return _say.number(step["calls"], step["exact"])
    return _span({end: sum(span[end] for span in spans) for end in ("low", "high")}, _count)


def state(step: Mapping[str, Any]) -> str:
    """What a run would do with a step, in words."""
    if step["state"] != "unless":
        return {"build": "to build", "reuse": "reused"}[step["state"]]
    *some, last = step["unless"]
    return f"built unless {', '.join(some)} and {last} come out equal" if some else f"built unless {last} comes out equal"


def _figures(model: Mapping[str, Any]) -> list[str]:
    shown = (("calls", _count), ("answered", _count), ("prompt_tokens", _count), ("output_tokens", _count), ("dollars", _dollars), ("seconds", _time))
    return [_span(model[name], how) if name in model else "" for name, how in shown]


def _span(value: Mapping[str, float] | None, how: Callable[[float], str]) -> str:
    """``low – high``; one figure where they read the same, a question mark where nobody knows."""
    if value is None:
        return "?"
    low, high = how(value["low"]), how(value["high"])
    return low if low == high else f"{low} – {high}"


def _count(value: float) -> str:
    if value < 10_000:
        return f"{value:,.0f}"
    return f"{value / 1e3:,.0f}k" if value < 1e6 else f"{value / 1e6:,.1f}M"


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 or not value else f"${value:.4f}"


def _time(value: float) -> str:
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
