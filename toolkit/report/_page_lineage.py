"""A run's steps and what each reads, as a picture: a step on each line, and a lane for each whose rows are still to be read further down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.common.pictures import COLOURS, Picture, Row
from toolkit.common.text import one_line

_STATES = ("built", "stale", "not built")
_LINE, _LANE = 22, 18
"""Points of a line and a lane."""
_WIDTH = 620


def lanes(steps: Sequence[str], reads: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The lane of each step, steps in an order in which each comes after those that it reads: one that no other step between it and its last reader
    has.

    Example:
        >>> lanes(["a", "b", "c"], {"a": [], "b": ["a"], "c": ["a", "b"]})
        {'a': 0, 'b': 1, 'c': 0}
    """
    last = {name: i for i, name in enumerate(steps)}
    for i, name in enumerate(steps):
        last |= dict.fromkeys((r for r in reads[name] if r in last), i)
    out: dict[str, int] = {}
    for i, name in enumerate(steps):
        taken = {out[s] for s in out if last[s] > i}
        own = [out[r] for r in reads[name] if r in out and out[r] not in taken]
        out[name] = min(own) if own else next(n for n in range(len(steps) + 1) if n not in taken)
    return out


def lineage_picture(title: str, lines: Sequence[Mapping[str, Any]], reads: Mapping[str, Sequence[str]]) -> Picture:
    """The graph; of each step its ``step``, ``use``, ``state`` and rows ``kept``."""
    names = [str(line["step"]) for line in lines]
    where, at = lanes(names, reads), {name: i for i, name in enumerate(names)}
    right = max(where.values(), default=0) + 1
    nodes, edges = [], []
    for line in lines:
        name = str(line["step"])
        kept = "" if not line.get("kept") else f", {line['kept']:,} rows"
        words = f"{name}: {line['use']}{kept}" + ("" if line["state"] == "built" else f" ({line['state']})")
        nodes.append({"x": where[name], "y": at[name], "to": right, "words": one_line(words[:90]), "state": line["state"]})
        for parent in (r for r in reads[name] if r in at):
            path = [(where[parent], at[parent]), (where[parent], at[name] - 0.7), (where[name], at[name])]
            edges += [{"edge": f"{parent} {name}", "n": n, "x": x, "y": y} for n, (x, y) in enumerate(path)]
    x = {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [-0.5, right + (_WIDTH - right * _LANE) / _LANE]}}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [-0.6, len(names) - 0.4], "reverse": True, "nice": False}}
    line_mark = {"mark": {"type": "line", "strokeWidth": 1.5, "color": COLOURS[7]}, "data": {"values": edges}}
    colour = {"field": "state", "type": "nominal", "scale": {"domain": list(_STATES), "range": [COLOURS[0], COLOURS[1], COLOURS[7]]}, "legend": None}
    dot = {"mark": {"type": "circle", "size": 90, "opacity": 1}, "data": {"values": nodes}, "encoding": {"x": x, "y": y, "color": colour}}
    text = {"mark": {"type": "text", "align": "left", "baseline": "middle", "limit": _WIDTH}, "data": {"values": nodes}}
    text_at = {"x": {**x, "field": "to"}, "y": y, "text": {"field": "words", "type": "nominal"}}
    line_at = {"x": x, "y": y, "detail": {"field": "edge", "type": "nominal"}, "order": {"field": "n", "type": "quantitative"}}
    layer = [{**line_mark, "encoding": line_at}, dot, {**text, "encoding": text_at}]
    rows: list[Row] = [
        {
            "step": str(line["step"]),
            "operator": str(line["use"]),
            "state": str(line["state"]),
            "reads": ", ".join(reads[str(line["step"])]),
            "rows": line.get("kept"),
        }
        for line in lines
    ]
    view = {"layer": layer, "width": _WIDTH, "height": max(40, _LINE * len(names))}
    return Picture(title, view, rows)
