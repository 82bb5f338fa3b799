"""A gate (`toolkit.gate`) as tables, and as the XML that CI servers show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import new_file
from toolkit.common.tables import Column
from toolkit.common.text import json_text, one_line
from toolkit.report._table_text import Sheet, sheets_markdown, sheets_text

GATE_FORMATS = ("table", "markdown", "json", "junit")
_VERDICTS = ("fail", "gone", "too few rows", "pass")
MOST = 20
"""Lines with too few rows, and notes, that the tables show."""
_NAMES = {"f1": "F1", "fpr": "FPR", "kept": "kept %", "rejected": "rejected %", "hard": "hard %", "label": "label %", "rows": "rows"}


def gate_text(found: Mapping[str, Any], form: str = "table", width: int | None = None) -> str:
    """A gate as text: figures that pass are counted, the others have a line each.

    Raises:
        InputError: `form` is none of `GATE_FORMATS`.
    """
    if form not in GATE_FORMATS:
        raise InputError(f"no format {form!r}", hint=did_you_mean(form, GATE_FORMATS))
    if form == "json":
        return json_text(found) + "\n"
    if form == "junit":
        return _junit(found)
    sheets = list(_sheets(found))
    return sheets_text(sheets, width) if form == "table" else sheets_markdown(sheets)


def write_gate(found: Mapping[str, Any], path: Path, form: str) -> None:
    """Write a gate into a file, whole or not at all (InputError: it cannot be written)."""
    with new_file(path) as new:
        new.write_text(gate_text(found, form), encoding="utf-8")


def _sheets(found: Mapping[str, Any]) -> Iterator[Sheet]:
    lines: Sequence[Mapping[str, Any]] = found["lines"]
    counts = [[_NAMES[kind], *(f"{sum(x['figure'] == kind and x['verdict'] == v for x in lines):,}" for v in _VERDICTS)] for kind in _NAMES]
    some = [row for row in counts if any(n != "0" for n in row[1:])]
    yield Sheet(f"{found['run']} against {found['baseline']}", [Column("figure"), *(Column(v, "number") for v in _VERDICTS)], some)
    open_lines = sorted((x for x in lines if x["verdict"] != "pass"), key=_order)
    if open_lines:
        numbers = ("before", "after", "difference", "90 %", "limit")
        columns = [*(Column(n) for n in ("figure", "of", "verdict")), *(Column(n, "number") for n in numbers)]
        notes = [
            "F1, FPR and shares in percent and points, rows in percent; 90 %: each end is a one-sided 95 % bound",
            f"fail: worse by the limit or more, and shown to be worse after Holm's correction over all figures (at {found['level']:.0%})",
        ]
        few = [x for x in open_lines if x["verdict"] == "too few rows"][MOST:]
        notes += [f"{len(few):,} more with too few rows: in the JSON"] if few else []
        yield Sheet("Figures that do not pass", columns, [_cells(x) for x in open_lines if x not in few], notes, keys=3)
    if more := list(found["notes"]):
        notes = more if len(more) <= MOST else [*more[:MOST], f"{len(more) - MOST:,} more: in the JSON"]
        yield Sheet("What it does not speak of", notes=notes)
    yield Sheet("Verdict", notes=[found["words"]])


def _order(line: Mapping[str, Any]) -> tuple[int, float]:
    """What fails first; of the rest what changed most."""
    return _VERDICTS.index(line["verdict"]), -abs(line["difference"] or 0.0) if line["verdict"] == "too few rows" else 0.0


def _cells(line: Mapping[str, Any]) -> list[str]:
    rows = line["figure"] == "rows"
    sizes = ["" if line[n] is None else f"{line[n]:,}" if rows else f"{line[n]:.2f}" for n in ("before", "after")]
    change = "" if line["difference"] is None else f"{line['difference']:+.2f}{' %' if rows else ''}"
    ends = "" if line["low"] is None else f"{line['low']:+.2f} to {line['high']:+.2f}"
    limit = "" if line["limit"] is None else f"{line['limit']:g}"
    return [_NAMES[line["figure"]], line["of"], line["verdict"], *sizes, change, ends, limit]


def _junit(found: Mapping[str, Any]) -> str:
    """A test case a figure: it failed, had too few rows, or passed."""
    how = found["limits"]
    bad = {"fail", *(["gone"] if how["gone"] == "fail" else []), *(["too few rows"] if how["fail_on"] == "unless_pass" else [])}
    failures = sum(x["verdict"] in bad for x in found["lines"])
    skipped = sum(x["verdict"] not in (*bad, "pass") for x in found["lines"])
    about = {"tests": str(len(found["lines"])), "failures": str(failures), "skipped": str(skipped), "errors": "0"}
    root = ElementTree.Element("testsuites", name="guardkit gate")
    suite = ElementTree.SubElement(root, "testsuite", about | {"name": one_line(f"{found['run']} against {found['baseline']}")})
    for line in found["lines"]:
        case = ElementTree.SubElement(suite, "testcase", classname=f"gate.{line['figure']}", name=one_line(line["of"]))
        if line["verdict"] != "pass":
            kind = "failure" if line["verdict"] in bad else "skipped"
            ElementTree.SubElement(case, kind, message=one_line(line["words"]))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"
