"""Pictures of figures: a Vega-Lite view with the rows behind it, drawn to SVG or PNG by vl-convert, without a display, a browser or a network.

A view has no data and no colours of its own: `draw` gives it the rows, and the colours of where it is to be seen. Inside a page all text and lines
have the page's own colour (``currentColor``), and the few others are seen on white as on black. What comes out holds shapes and text alone, whatever
the view or the rows say: no script, link, picture from elsewhere, style or identifier that another picture has too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from toolkit.common.text import one_line

Value = str | float | bool | None
Row = Mapping[str, Value]

COLOURS = ("#3a7fc8", "#c96a1b", "#2a9a63", "#9a63cf", "#cf4f63", "#1d96a3", "#8a7a2e", "#7d848d")
"""Of series, in order: each stands out by 3 to 1 at least from white and from #15181d."""
WIDTH = 700
"""Points that a picture is wide."""
_LABEL = 200
"""Characters of a label, at most; where it has no room it ends in an ellipsis."""
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


@dataclass(frozen=True)
class Picture:
    """A picture, and the table behind it.

    Attributes:
        title: above it.
        view: of Vega-Lite, without ``data``: its fields are names of `rows`.
        rows: what is drawn; each has the same keys.
    """

    title: str
    view: Mapping[str, Any]
    rows: Sequence[Row]


def drawable() -> bool:
    """Whether pictures can be drawn: vl-convert is there (``pip install 'guardkit[pictures]'``)."""
    return find_spec("vl_convert") is not None


def bars(title: str, rows: Sequence[Row], *, name: str, number: str, part: str | None = None, order: Sequence[str] | None = None) -> Picture:
    """A bar for each row, in their order; with `part` the bars of one name are put together, in a colour each.

    Example:
        >>> bars("Rows", [{"step": "seeds", "rows": 3}], name="step", number="rows").view["mark"]["type"]
        'bar'
    """
    x = {"field": _field(number), "type": "quantitative", "title": number, "axis": {"format": ",~r", "tickCount": 6}}
    encoding: dict[str, Any] = {"y": _names(name), "x": x}
    if part is not None:
        domain = list(order) if order is not None else _values(part, rows)
        encoding["color"] = _series(part, domain)
        encoding["order"] = {"field": "_order", "type": "quantitative"}
        place = f"indexof({json.dumps(domain)}, datum[{json.dumps(part)}])"
        view = {"transform": [{"calculate": place, "as": "_order"}], "mark": {"type": "bar"}, "encoding": encoding}
        return Picture(title, {**view, "width": WIDTH, "height": {"step": 18}}, rows)
    return Picture(title, {"mark": {"type": "bar"}, "encoding": encoding, "width": WIDTH, "height": {"step": 18}}, rows)


def intervals(title: str, rows: Sequence[Row], *, name: str, number: str, low: str, high: str, apart: str) -> Picture:
    """A bar with its interval for each `name`, in a panel for each `apart`; numbers from 0 to 100.

    Example:
        >>> row = {"guard": "a", "of": "prompt, toxic_chat", "F1": 50.0, "from": 40.0, "to": 60.0}
        >>> sorted(intervals("F1", [row], name="guard", number="F1", low="from", high="to", apart="of").view["facet"])
        ['row']
    """
    y = _names(name)
    x = {"field": _field(number), "type": "quantitative", "title": number, "scale": {"domain": [0, 100]}}
    colour = _series(name, _values(name, rows)) | {"legend": None}
    bar = {"mark": {"type": "bar", "opacity": 0.55}, "encoding": {"y": y, "x": x, "color": colour}}
    span = {"x": {**x, "field": _field(low)}, "x2": {"field": _field(high)}}
    rule = {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {"y": y, **span}}
    facet = {"row": {**_apart(apart, rows), "header": _HEADER}}
    inner = {"layer": [bar, rule], "width": WIDTH - 60, "height": {"step": 18}}
    return Picture(title, {"facet": facet, "spec": inner, "spacing": 8, "resolve": {"scale": {"y": "independent"}}}, rows)


def ranges(title: str, rows: Sequence[Row], *, name: str, number: str, low: str, high: str, part: str) -> Picture:
    """A point with its interval for each row, on both sides of 0; the colours say `part`.

    Example:
        >>> row = {"task": "prompt", "difference": -1.0, "from": -3.0, "to": 1.0, "verdict": "pass"}
        >>> len(ranges("F1", [row], name="task", number="difference", low="from", high="to", part="verdict").view["layer"])
        3
    """
    y = _names(name)
    colour = _series(part, _values(part, rows))
    x = {"field": _field(number), "type": "quantitative", "title": number}
    span = {"x": {**x, "field": _field(low)}, "x2": {"field": _field(high)}}
    zero = {"mark": {"type": "rule", "strokeDash": [4, 3], "opacity": 0.6}, "encoding": {"x": {"datum": 0}}}
    rule = {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {"y": y, **span, "color": colour}}
    point = {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1}, "encoding": {"y": y, "x": x, "color": colour}}
    return Picture(title, {"layer": [zero, rule, point], "width": WIDTH, "height": {"step": 20}}, rows)


def grid(title: str, rows: Sequence[Row], *, across: str, down: str, number: str, apart: str | None = None) -> Picture:
    """A field for each pair of names with its number, the fuller the larger; `apart`: a grid for each of its values.

    Example:
        >>> rows = [{"a": "x", "b": "y", "n": 3}]
        >>> [layer["mark"]["type"] for layer in grid("Rows", rows, across="a", down="b", number="n").view["layer"]]
        ['rect', 'text']
    """
    order_down, order = _values(down, rows), _values(across, rows)
    if set(order) <= set(order_down):  # the same names on both sides
        order = [name for name in order_down if name in order]
    x = {"field": _field(across), "type": "nominal", "sort": order, "title": None, "axis": {"orient": "top", "labelAngle": -35, "labelLimit": 160}}
    most = max((float(r[number] or 0) for r in rows), default=1.0) or 1.0
    strength = {
        "field": _field(number),
        "type": "quantitative",
        "scale": {"type": "sqrt", "domain": [0, most], "range": [0.06, 0.62]},
        "legend": None,
    }
    shared = {"x": x, "y": {**_names(down), "sort": order_down}}
    layer = [
        {"mark": {"type": "rect", "color": COLOURS[0]}, "encoding": {"fillOpacity": strength}},
        {"mark": {"type": "text", "fontSize": 10}, "encoding": {"text": {"field": _field(number), "type": "quantitative", "format": ",~r"}}},
    ]
    inner = {"layer": layer, "encoding": shared, "width": {"step": 58}, "height": {"step": 20}}
    if apart is None:
        return Picture(title, inner, rows)
    facet = {"row": {**_apart(apart, rows), "header": _HEADER}}
    return Picture(title, {"facet": facet, "spec": inner, "resolve": {"scale": {"y": "independent", "x": "independent"}}}, rows)


def columns(title: str, rows: Sequence[Row], *, name: str, number: str, apart: str | None = None, part: str | None = None) -> Picture:
    """Upright bars beside each other, in the order of the rows: the bins of a histogram; `apart`: a panel for each of its values.

    Example:
        >>> columns("Rows", [{"weight": "0.8", "rows": 2}], name="weight", number="rows").view["mark"]["type"]
        'bar'
    """
    x = {
        "field": _field(name),
        "type": "ordinal",
        "sort": None,
        "title": name,
        "axis": {"labelAngle": 0, "labelOverlap": "greedy", "labelSeparation": 8},
    }
    encoding: dict[str, Any] = {
        "x": x,
        "y": {"field": _field(number), "type": "quantitative", "title": number, "axis": {"format": ",~r", "tickCount": 4}},
    }
    if part is not None:
        encoding["color"] = _series(part, _values(part, rows))
    if apart is None:
        return Picture(title, {"mark": {"type": "bar"}, "encoding": encoding, "width": WIDTH, "height": 150}, rows)
    panels = max(1, len({r[apart] for r in rows}))
    inner = {"mark": {"type": "bar"}, "encoding": encoding, "width": max(150, WIDTH // min(panels, 3) - 45), "height": 120}
    facet = {**_apart(apart, rows), "header": _HEADER_ABOVE}
    return Picture(title, {"facet": facet, "columns": 3, **_EVEN, "spec": inner, "resolve": {"scale": {"y": "independent"}}}, rows)


def curves(title: str, rows: Sequence[Row], *, across: str, number: str, part: str, apart: str) -> Picture:
    """A line for each `part` over `across`, in a panel for each `apart`.

    Example:
        >>> curves("Loss", [{"update": 1, "value": 2.0, "rows": "trained", "figure": "loss"}], across="update", number="value", part="rows",
        ...        apart="figure").view["columns"]
        2
    """
    y = {"field": _field(number), "type": "quantitative", "title": None, "scale": {"zero": False}, "axis": {"tickCount": 4}}
    encoding = {"x": {"field": _field(across), "type": "quantitative", "title": across, "axis": {"tickCount": 5}}, "y": y}
    encoding["color"] = _series(part, _values(part, rows))
    inner = {"mark": {"type": "line", "strokeWidth": 2, "point": len(rows) < 60}, "encoding": encoding, "width": 300, "height": 120}
    facet = {**_apart(apart, rows), "header": _HEADER_ABOVE}
    return Picture(title, {"facet": facet, "columns": 2, **_EVEN, "spec": inner, "resolve": {"scale": {"y": "independent"}}}, rows)


_HEADER = {"labelAngle": 0, "labelAlign": "left", "labelFontWeight": "bold", "labelOrient": "top", "labelAnchor": "start"}
_HEADER_ABOVE = {"labelFontWeight": "bold", "labelAnchor": "start"}
_EVEN = {"bounds": "flush", "spacing": {"row": 70, "column": 60}}
"""Panels beside each other whose axes are of different sizes."""


def _apart(field: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What parts the panels, in the order of the rows."""
    return {"field": _field(field), "type": "nominal", "sort": _values(field, rows), "title": None}


def _names(field: str) -> dict[str, Any]:
    return {"field": _field(field), "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 260, "domain": False, "ticks": False}}


def _series(field: str, domain: Sequence[str]) -> dict[str, Any]:
    """A colour for each value; the legend is left out where there is one alone."""
    scale = {"domain": list(domain), "range": [COLOURS[i % len(COLOURS)] for i in range(len(domain))]}
    return {"field": _field(field), "type": "nominal", "title": None, "scale": scale, "legend": {"orient": "top"} if len(domain) > 1 else None}


def _values(field: str, rows: Sequence[Row]) -> list[str]:
    """What a field has, as it is drawn, in the order of the rows."""
    return list(dict.fromkeys(str(_shown(str(r[field]))) for r in rows))


def _field(name: str) -> str:
    """A field by its whole name: a dot or a bracket in it is no way into an object."""
    return re.sub(r"([.\[\]\\'\"])", r"\\\1", name)


# Drawing ---------------------------------------------------------------------------------------------------------------

Where = Literal["page", "paper"]
"""Where a picture is to be seen: inside a page, whose colours it takes, or by itself, on white."""


def draw_svg(picture: Picture, where: Where = "paper", ids: str = "p") -> str:
    """A picture as SVG; `ids`: what its identifiers begin with, a text of letters and digits that no other picture of the page has.

    Raises:
        ValueError: the view is none that Vega-Lite draws.
    """
    import vl_convert

    return _clean(str(vl_convert.vegalite_to_svg(_whole(picture, where), allowed_base_urls=[])), ids)


def draw_png(picture: Picture) -> bytes:
    """A picture as PNG, on white, at twice the points (ValueError as `draw_svg`)."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(_whole(picture, "paper"), scale=2, allowed_base_urls=[]))


def _whole(picture: Picture, where: Where) -> dict[str, Any]:
    """The view with its rows and the house's looks."""
    ink = "currentColor" if where == "page" else "#1b1e23"
    rows = [{k: _shown(v) for k, v in row.items()} for row in picture.rows]
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    axis = {**text, "gridColor": ink, "gridOpacity": 0.14, "domainColor": ink, "domainOpacity": 0.5, "tickColor": ink, "tickOpacity": 0.5}
    config = {
        "aria": False,
        "background": None if where == "page" else "#ffffff",
        "font": "sans-serif",
        "padding": {"left": 14, "right": 24, "top": 6, "bottom": 6},
        "view": {"stroke": None},
        "axis": axis,
        "header": {**text, "labelFontSize": 13},
        "legend": {**text, "symbolType": "square", "labelLimit": 300},
        "title": {"color": ink, "anchor": "start", "fontSize": 13},
        "text": {"color": ink, "fontSize": 12},
        "rule": {"color": ink},
        "bar": {"color": COLOURS[0]},
        "line": {"color": COLOURS[0]},
        "point": {"color": COLOURS[0]},
        "range": {"category": list(COLOURS)},
    }
    given = {k: v for k, v in picture.view.items() if k != "data"}
    title = {"title": {"text": one_line(picture.title), "offset": 12}} if where == "paper" else {}
    return {"$schema": _SCHEMA, "data": {"values": rows}, **title, **given, "config": config}


def _shown(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"


_SVG = "http://www.w3.org/2000/svg"
_SHAPES = frozenset(("svg", "g", "path", "line", "rect", "circle", "text", "tspan", "defs", "clipPath", "linearGradient", "stop"))
_TEXTUAL = {"font-family", "font-size", "font-style", "font-weight", "text-anchor", "dominant-baseline"}
_PAINT = {"fill", "fill-opacity", "opacity", "offset", "stop-color", "stop-opacity", "stroke", "stroke-dasharray", "stroke-linecap"}
_PAINT |= {"stroke-linejoin", "stroke-miterlimit", "stroke-opacity", "stroke-width", "gradientUnits", "clip-path"}
_PLACE = {"cx", "cy", "d", "dx", "dy", "height", "id", "r", "rx", "ry", "transform", "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2"}
_ATTRIBUTES = _TEXTUAL | _PAINT | _PLACE
_REF = re.compile(r"url\(#([A-Za-z0-9_-]+)\)")


def _clean(svg: str, ids: str) -> str:
    """Shapes and text alone, with identifiers of their own; of a link what it holds. (vl-convert numbers identifiers on from picture to picture.)"""
    from xml.etree import ElementTree

    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)  # noqa: S314  vl-convert has just written it
    own: dict[str, str] = {}

    def renamed(name: str) -> str:
        return own.setdefault(name, f"{ids}-{len(own) + 1}")

    for element in root.iter():
        if element.tag == f"{{{_SVG}}}a":
            element.tag = f"{{{_SVG}}}g"
    for element in root.iter():
        for child in list(element):
            if not (isinstance(child.tag, str) and child.tag.removeprefix(f"{{{_SVG}}}") in _SHAPES):
                element.remove(child)
        kept = {name: value for name, value in element.attrib.items() if name in _ATTRIBUTES and _safe(value)}
        kept |= {"id": renamed(kept["id"])} if "id" in kept else {}
        element.attrib.clear()
        element.attrib.update({name: _REF.sub(lambda m: f"url(#{renamed(m[1])})", value) for name, value in kept.items()})
    return ElementTree.tostring(root, encoding="unicode")


def _safe(value: str) -> bool:
    """Whether an attribute asks for nothing: it may refer to what is in the same picture, and to nothing else."""
    return "url(" not in _REF.sub("", value)


def as_rows(names: Sequence[str], lines: Iterable[Sequence[Value]]) -> list[dict[str, Value]]:
    """Lines of a table as rows of a picture.

    Example:
        >>> as_rows(("a", "b"), [("x", 1)])
        [{'a': 'x', 'b': 1}]
    """
    return [dict(zip(names, line, strict=True)) for line in lines]
