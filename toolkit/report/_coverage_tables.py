"""What a dataset covers (`toolkit.coverage`) as tables and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import new_file
from toolkit.common.tables import Column
from toolkit.common.text import json_text
from toolkit.common.yamlfile import dump_yaml
from toolkit.report._table_text import Sheet, sheets_markdown, sheets_text

COVERAGE_SUFFIXES = {".txt": "table", ".md": "markdown", ".json": "json", ".svg": "picture", ".yaml": "steps"}
"""What a file of it may be, by the end of its name."""
_FORMS = ("table", "markdown", "json")
_SHOWN = 20
"""Lines of pairs of categories that a table has."""
_NUMBERS = ("rows", "harmful", "benign", "borderline", "unlabelled", "prompt", "refuse", "comply", "partial", "response", "sources")


def coverage_text(found: Mapping[str, Any], form: str = "table", width: int | None = None) -> str:
    """What a dataset covers as text: table, markdown or json (InputError for another form)."""
    if form not in _FORMS:
        raise InputError(f"no format {form!r}", hint=did_you_mean(form, _FORMS))
    if form == "json":
        return json_text(found) + "\n"
    sheets = list(_sheets(found))
    return sheets_text(sheets, width) if form == "table" else sheets_markdown(sheets)


def write_coverage(found: Mapping[str, Any], path: Path) -> None:
    """Write it into a file, whole or not at all: text, a picture (by vl-convert), or the steps alone (InputError: it cannot be written)."""
    form = COVERAGE_SUFFIXES[path.suffix]
    if form == "picture":
        import vl_convert

        text = vl_convert.vegalite_to_svg(coverage_picture(found))
    elif form == "steps":
        text = dump_yaml([{"id": f"seeds-{n}", "use": "generate_seeds", "with": options} for n, options in enumerate(found["steps"], 1)])
    else:
        text = coverage_text(found, form)
    with new_file(path) as new:
        new.write_text(text, encoding="utf-8")


def coverage_picture(found: Mapping[str, Any]) -> dict[str, Any]:
    """A Vega-Lite picture: categories by label and form, each field with its rows.

    Example:
        >>> line = {"category": "fraud", "label": "harmful", "form": "prompt", "rows": 3}
        >>> coverage_picture({"cells": [line, line]})["data"]["values"]
        [{'category': 'fraud', 'what': 'harmful, prompt', 'rows': 6}]
    """
    counts: dict[tuple[str, str], int] = {}
    for cell in found["cells"]:
        at = (cell["category"], f"{cell['label']}, {cell['form']}")
        counts[at] = counts.get(at, 0) + cell["rows"]
    values = [{"category": category, "what": what, "rows": n} for (category, what), n in counts.items()]
    fields = {
        "x": {"field": "what", "type": "nominal", "title": None, "axis": {"orient": "top", "labelAngle": -40}},
        "y": {"field": "category", "type": "nominal", "title": None},
    }
    colour = {"field": "rows", "type": "quantitative", "title": "rows", "scale": {"type": "symlog", "scheme": "blues"}}
    number = {"condition": {"test": f"datum.rows > {max(counts.values(), default=0) / 4}", "value": "white"}, "value": "black"}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": values},
        "encoding": fields,
        "width": {"step": 46},
        "height": {"step": 20},
        "layer": [
            {"mark": "rect", "encoding": {"color": colour}},
            {"mark": {"type": "text", "fontSize": 9}, "encoding": {"text": {"field": "rows", "format": ","}, "color": number}},
        ],
    }


def _sheets(found: Mapping[str, Any]) -> Iterator[Sheet]:
    lines = found["categories"]
    shown = [n for n in _NUMBERS if n in ("rows", "harmful", "benign", "prompt", "sources") or any(line[n] for line in lines)]
    judged = any(line["judged"] for line in lines)
    rows = []
    for line in lines:
        error = "" if line["error"] is None else f"{line['error']:.1f}"
        rows.append([line["category"], *(f"{line[n]:,}" for n in shown), *([f"{line['judged']:,}", error] if judged else [])])
    columns = [Column("category"), *(Column(n, "number") for n in (*shown, *(("verdicts", "wrong %") if judged else ())))]
    notes = ["a row counts in each of its categories; (none): rows without one"]
    notes += [f"wrong %: verdicts of {found['verdicts']}" if found["verdicts"] else "wrong %: by the rows' own error rates"] if judged else []
    yield Sheet(f"{found['of']}: {found['rows']:,} rows, taxonomy {found['taxonomy']}", columns, rows, [*notes, *found["notes"]])
    for name, title, words in (("together", "Categories that meet in a row", ("a", "b")), ("assigned", "Given and assigned", ("given", "assigned"))):
        pairs = found[name]
        if pairs:
            cells = [[*(p[w] for w in words), f"{p['rows']:,}"] for p in pairs[:_SHOWN]]
            more = [f"and {len(pairs) - _SHOWN:,} more pairs"] if len(pairs) > _SHOWN else []
            yield Sheet(title, [*map(Column, words), Column("rows", "number")], cells, more)
    if found["gaps"]:
        by: dict[str | None, list[str]] = {}
        for gap in found["gaps"]:
            by.setdefault(gap["category"], []).append(gap["words"])
        yield Sheet("What is missing", notes=["; ".join(words) for words in by.values()])
    if found["missing"]:
        yield _missing(found)


def _missing(found: Mapping[str, Any]) -> Sheet:
    """A line for each category, with the rows that lack of each label and form."""
    kinds = list(dict.fromkeys(_kind(cell) for cell in found["missing"]))
    lacks: dict[str, dict[str, int]] = {}
    for cell in found["missing"]:
        lacks.setdefault(cell["category"], {})[_kind(cell)] = cell["missing"]
    rows = [[category, *(f"{mine[k]:,}" if k in mine else "" for k in kinds)] for category, mine in lacks.items()]
    total = sum(cell["missing"] for cell in found["missing"])
    notes = ["as steps of a recipe that generate them: --output next.yaml; add a `backend` to each"] if found["steps"] else []
    notes.append(f"each category would have {found['minimum']:,} of each label and form")
    return Sheet(f"What to generate next: {total:,} rows", [Column("category"), *(Column(k, "number") for k in kinds)], rows, notes)


def _kind(cell: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (cell["label"], cell["form"], cell["language"])))
