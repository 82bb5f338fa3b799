"""A certificate of no regression (`toolkit.certify`) as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import new_file
from toolkit.common.tables import Column
from toolkit.common.text import json_text
from toolkit.report._table_text import Sheet, sheets_latex, sheets_markdown, sheets_text

CERTIFICATE_FORMATS = ("table", "markdown", "latex", "json")
_FIGURE = {"f1": "F1", "fpr": "FPR"}
_LEFT = ("area", "name", "task", "figure")


def certificate_text(found: Mapping[str, Any], form: str = "table", width: int | None = None) -> str:
    """A certificate as text.

    Raises:
        InputError: `form` is none of `CERTIFICATE_FORMATS`.
    """
    if form not in CERTIFICATE_FORMATS:
        raise InputError(f"no format {form!r}", hint=did_you_mean(form, CERTIFICATE_FORMATS))
    if form == "json":
        return json_text(found) + "\n"
    sheets = list(_sheets(found))
    return sheets_text(sheets, width) if form == "table" else sheets_markdown(sheets) if form == "markdown" else sheets_latex(sheets)


def write_certificate(found: Mapping[str, Any], path: Path, form: str) -> None:
    """Write a certificate into a file, whole or not at all (InputError: it cannot be written)."""
    with new_file(path) as new:
        new.write_text(certificate_text(found, form), encoding="utf-8")


def certificate_rows(lines: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Cells of the lines: area, name, task, figure, verdict; rows, before, after, difference, low, high, rows that would tell."""
    words = [[line["area"], line["name"], line["task"], _FIGURE[line["figure"]], line["verdict"]] for line in lines]
    numbers = ("n", "before", "after", "difference", "low", "high", "rows")
    return [[*left, *(line[n] for n in numbers)] for left, line in zip(words, lines, strict=True)]


def _sheets(found: Mapping[str, Any]) -> list[Sheet]:
    rows = []
    for area, name, task, figure, verdict, n, before, after, difference, low, high, needed in certificate_rows(found["lines"]):
        sizes = [f"{before:.2f}", f"{after:.2f}", f"{difference:+.2f}", f"{low:+.2f} to {high:+.2f}"]
        rows.append([area, name, task, figure, verdict, f"{n:,}", *sizes, "" if needed is None else f"{needed:,}"])
    numbers = ("rows", "before", "after", "difference", "90 %", "rows that would do")
    columns = [*(Column(n) for n in (*_LEFT, "verdict")), *(Column(n, "number") for n in numbers)]
    notes = [
        f"in percent and points, policy {found['policy']}; 90 %: each end is a one-sided 95 % bound",
        f"pass: not worse by {found['margin']:g} points (of what is to rise: better); a guard that is worse by that much passes in at most "
        f"{found['level']:.0%} of samples; fail: worse by that much as measured, and shown to be worse after Holm's correction over all lines",
        f"rows that would do: for {found['power']:.0%} power, if the guard is as it was measured",
    ]
    title = f"{found['after']} after, {found['before']} before: did anything get worse?"
    out = [Sheet(title, columns, rows, notes, keys=len(_LEFT))]
    lost = [f"{x['benchmark']} ({x['task']}): {x['why']}" for x in found["apart"]]
    lost += [f"{x['benchmark']} ({x['task']}): {x['shared']:,} rows are compared, others only one guard has" for x in found["lacking"]]
    if lost or found["notes"]:
        out.append(Sheet("What it does not speak of", notes=[*lost, *found["notes"]]))
    return [*out, Sheet("Verdict", notes=[found["words"]])]
