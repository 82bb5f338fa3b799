"""The picture of a training, `curves.svg` in the model's folder: drawn without a display by vl-convert, and left out where that is not installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolkit.common.files import write_atomic
from toolkit.common.models import CURVES

MEASURED: Sequence[tuple[str, Mapping[str, str]]] = (
    ("loss", {"loss": "trained", "eval_loss": "held out"}),
    ("pairs right", {"pairs_right": "trained", "eval_pairs_right": "held out"}),
    ("margin", {"margin": "trained", "eval_margin": "held out"}),
    ("mean reward", {"reward": "trained", "eval_reward": "held out"}),
    ("accuracy", {"accuracy": "trained", "eval_accuracy": "held out"}),
    ("share of a sound form", {"form": "trained", "eval_form": "held out"}),
    ("share of groups without a spread", {"no_spread": "trained"}),
    ("tokens of an answer", {"length": "trained", "eval_length": "held out"}),
    ("share of answers that are cut", {"cut": "trained", "eval_cut": "held out"}),
    ("gradient norm", {"gradient_norm": "trained"}),
)
"""Panels of what is measured in a training: title, and by figure of `metrics.jsonl` how its line is called."""
_PANELS = (*MEASURED, ("learning rate", {"learning_rate": "trained"}))
FEWEST = 10
"""Lines that make a curve."""
_POINTS = 1000
"""Of a series, at most."""


def curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The lines of `metrics.jsonl` as a Vega-Lite picture: one panel below the other, over the updates.

    Example:
        >>> [panel["title"] for panel in curves([{"update": 1, "loss": 2.0}, {"update": 2, "loss": 1.5}])["vconcat"]]
        ['loss']
    """
    panels = []
    for title, series in _PANELS:
        values = [{"update": x, "value": y, "rows": label} for name, label in series.items() for x, y in _thinned(lines, name)]
        if values:
            panels.append(_panel(title, values))
    return {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "vconcat": panels}


def _thinned(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    points = [(line["update"], line[name]) for line in lines if line.get(name) is not None]
    step = -(-len(points) // _POINTS) or 1
    return points[::step] + ([points[-1]] if points and (len(points) - 1) % step else [])


def _panel(title: str, values: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "title": title,
        "width": 560,
        "height": 150,
        "data": {"values": values},
        "mark": {"type": "line", "point": len(values) < 60},
        "encoding": {
            "x": {"field": "update", "type": "quantitative", "title": "update"},
            "y": {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}},
            "color": {"field": "rows", "type": "nominal", "title": "rows", "scale": {"domain": ["trained", "held out"]}},
        },
    }


def draw(lines: Sequence[Mapping[str, Any]], folder: Path) -> bool:
    """Draw the picture into a folder; whether it was, which needs vl-convert (``pip install 'guardkit[pictures]'``) and `FEWEST` lines."""
    if find_spec("vl_convert") is None or len(lines) < FEWEST or not (spec := curves(lines))["vconcat"]:
        return False
    import vl_convert

    write_atomic(folder / CURVES, vl_convert.vegalite_to_svg(spec))
    return True
