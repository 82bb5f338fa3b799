"""A comparison (`toolkit.compare`) as tables: for a terminal, Markdown and LaTeX (`toolkit.report._table_text`), and a flat one for a spreadsheet.

Published figures are in columns that say so, with their source. Figures that agree in all that is known of how they were measured are on one
line; a line of others follows with the number of its reason below the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.files import new_file
from toolkit.common.tables import Column
from toolkit.common.text import json_text
from toolkit.report._table_text import Sheet, sheets_latex, sheets_markdown, sheets_text

if TYPE_CHECKING:
    import polars as pl

COMPARE_FORMATS = ("table", "markdown", "latex", "csv", "json")
TEXT = 200
"""Characters of a text in the table for a terminal, where each is on a line of its own."""
SIDE = 6
"""Guards beside each other in a table for a terminal; where there are more, each figure has a line of its own."""
_PUBLISHED = " [published: "
_WRONG = {"both": "both wrong", "only_a": "only {a} wrong", "only_b": "only {b} wrong"}
_MEANS = {"weighted": "weighted by rows", "stated": "by the paper's sizes", "macro": "each benchmark alike"}


def comparison_text(found: Mapping[str, Any], form: str = "table", width: int | None = None) -> str:
    """A comparison as text.

    Raises:
        InputError: `form` is none of `COMPARE_FORMATS`.
    """
    if form in _DATA:
        return _DATA[form](found)
    words = [Sheet("In words", notes=[v["words"] for v in found["verdicts"]])] if found["verdicts"] else []
    side = SIDE if form == "table" else None
    sheets = [*(_down(s, side) for s in (*_figures(found), *_means(found))), *_costs(found), *_differences(found), *_breakdown(found)]
    rest = [*_gallery(found, TEXT if form == "table" else None), *_remarks(found)]
    return _drawn([*sheets, *rest, *words] if form == "table" else [*words, *sheets, *rest], form, width)


def spread_text(cells: Sequence[Mapping[str, Any]], form: str = "table", width: int | None = None) -> str:
    """How far published figures agree (`toolkit.evaluation.published_spread`), as text; as `comparison_text`."""
    if form in _DATA:
        return _DATA[form](cells)
    columns = [Column("benchmark"), Column("model"), Column("spread", "number"), Column("published", "prose"), Column("known to differ", "prose")]
    rows = []
    for c in cells:
        model = f"{c['model']} ({c['reading']})" if c["reading"] else c["model"]
        values = ", ".join(f"{_figure(f['value'])} {f['source']}" for f in c["figures"])
        rows.append([f"{c['benchmark']} ({c['task']})", model, _figure(c["spread"]), values, c["why"] or ""])
    spreads = sorted(c["spread"] for c in cells)
    notes = [f"{len(cells):,} cells were published more than once; half of them differ by {_figure(spreads[len(cells) // 2])} points or more"]
    sheet = Sheet("The same cell in different sources: F1 and others in percent, spread in points", columns, rows, notes if cells else [])
    return _drawn([sheet], form, width)


def _drawn(sheets: Sequence[Sheet], form: str, width: int | None) -> str:
    if form not in COMPARE_FORMATS:
        raise InputError(f"no format {form!r}", hint=did_you_mean(form, COMPARE_FORMATS))
    if form == "table":
        return sheets_text(sheets, width)
    return sheets_markdown(sheets) if form == "markdown" else sheets_latex(sheets)


# Figures ----------------------------------------------------------------------------------------------------------------


def _named(cell: Mapping[str, Any]) -> str:
    """A column's name."""
    return f"{cell['model']}{_PUBLISHED}{cell['published']}]" if cell["published"] else str(cell["model"])


def _names(found: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns: the models, then what was published, in order."""
    own = [m["name"] for m in found["models"]]
    return list(dict.fromkeys([*own, *(_named(c) for line in lines for c in line["cells"])]))


def _down(sheet: Sheet, side: int | None) -> Sheet:
    """A table of more than `side` guards beside each other as one with a line for each guard's figure; None: as it is."""
    keys, guards = sheet.columns[: sheet.keys], sheet.columns[sheet.keys :]
    if side is None or len(guards) <= side:
        return sheet
    parts = [c.name.removesuffix("]").partition(_PUBLISHED) for c in guards]
    rows = [
        [*row[: sheet.keys], name, source, cell]
        for row in sheet.rows
        for (name, _, source), cell in zip(parts, row[sheet.keys :], strict=True)
        if cell
    ]
    return replace(sheet, columns=[*keys, Column("guard"), Column("published by"), Column("F1", "number")], rows=rows)


def _figures(found: Mapping[str, Any]) -> Iterator[Sheet]:
    """A table a task."""
    for task in dict.fromkeys(line["task"] for line in found["lines"]):
        lines = [line for line in found["lines"] if line["task"] == task]
        names = _names(found, lines)
        whys = list(dict.fromkeys(line["why"] or "" for line in lines if line["line"]))
        rows = []
        for line in lines:
            cells = {_named(c): c for c in line["cells"]}
            title = f"{line['title']} *{whys.index(line['why'] or '') + 1}" if line["line"] else line["title"]
            rows.append([title, _count(line["n"]), *(_cell(cells.get(n), whole=len(names) <= 2) for n in names)])
        columns = [Column("benchmark"), Column("n", "number"), *(Column(n, "number") for n in names)]
        notes = [f"*{i}: on a line of its own: {why}" for i, why in enumerate(whys, 1)]
        if any(c["state"] == "withheld" for line in lines for c in line["cells"]):
            notes.append("withheld: too few outputs could be read for a figure")
        title = f"{task}: F1 in percent{', with 95 % intervals' if len(names) <= 2 else ''}; policy {found['policy']}"
        yield Sheet(title, columns, rows, notes, keys=2)


def _cell(cell: Mapping[str, Any] | None, *, whole: bool) -> str:
    if cell is None:
        return ""
    if cell["state"] is not None:
        return str(cell["state"])
    low, high = cell.get("f1_low"), cell.get("f1_high")
    ends = f" ({low:.1f}–{high:.1f})" if whole and low is not None and high is not None else ""
    return _figure(cell["f1"]) + ends


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _means(found: Mapping[str, Any]) -> Iterator[Sheet]:
    tasks = {line["task"] for line in found["lines"]}
    if len(tasks) < 2 and len({line["benchmark"] for line in found["lines"]}) < 2:
        return
    names = _names(found, [{"cells": found["means"]}])
    lines: dict[tuple[str, str, bool], dict[str, str]] = {}
    for m in found["means"]:
        kind = m["mean"] if m["published"] else _MEANS.get(m["mean"], m["mean"])
        lines.setdefault((m["task"] or "all tasks", kind, bool(m["published"])), {})[_named(m)] = _figure(m["f1"])
    order = [*dict.fromkeys(task for task, _, _ in lines if task != "all tasks"), "all tasks"]
    keys = sorted(lines, key=lambda k: (order.index(k[0]), k[2]))
    rows = [[k[0], f"as published: {k[1]}" if k[2] else k[1], *(lines[k].get(n, "") for n in names)] for k in keys]
    left = sorted({b for m in found["means"] for b in m.get("left_out", ())})
    notes = [f"left out of the means, since not all models have the same rows of it, figures and cohort: {', '.join(left)}"] if left else []
    yield Sheet("Means of F1", [Column("task"), Column("mean"), *(Column(n, "number") for n in names)], rows, notes, keys=2)


def _costs(found: Mapping[str, Any]) -> Iterator[Sheet]:
    if not any(c["tokens"] is not None or c["seconds"] is not None for c in found["costs"]):
        return
    rows = []
    for c in found["costs"]:
        seconds = "" if c["seconds"] is None else f"{c['seconds']:.4f}"
        rows.append([c["model"], _count(c["rows"]), _figure(c["f1"]), "" if c["tokens"] is None else f"{c['tokens']:,.2f}", seconds])
    numbers = [Column(n, "number") for n in ("rows", "F1, plain mean", "tokens a query", "seconds a query")]
    timed = any(c["seconds"] is not None for c in found["costs"])
    notes = ["seconds a query: from its asking to its answer, with others under way at the same time; not the time of all by their number"]
    yield Sheet("Price of a verdict", [Column("model"), *numbers], rows, notes if timed else [])


# Differences ------------------------------------------------------------------------------------------------------------


def _differences(found: Mapping[str, Any]) -> Iterator[Sheet]:
    """A table for each two models and task."""
    titles = {(line["benchmark"], line["task"]): line["title"] for line in found["lines"]}
    numbers = ["difference (95 %)", "p", "McNemar's p", "right alone"]
    for a, b, task in dict.fromkeys((d["a"], d["b"], d["task"]) for d in found["differences"]):
        rows, notes = [], []
        for d in found["differences"]:
            if (d["a"], d["b"], d["task"]) != (a, b, task):
                continue
            title = titles.get((d["benchmark"], task), d["benchmark"])
            ends = "" if d["low"] is None else f" ({d['low']:+.2f} to {d['high']:+.2f})"
            difference = "" if d["difference"] is None else f"{d['difference']:+.2f}{ends}"
            alone = "" if d["right_a"] is None else f"{d['right_a']:,} / {d['right_b']:,}"
            rows.append([title, difference, _p(d["p_corrected"]), _p(d["mcnemar_corrected"]), alone])
            notes += [f"{title}, although cohorts differ: {d['remark']}"] if d["remark"] else []
        notes += ["p: corrected by Holm over all benchmarks of the comparison", f"right alone: rows that only {a} / only {b} has right"]
        columns = [Column("benchmark"), *(Column(n, "number") for n in numbers)]
        yield Sheet(f"{task}: {b} against {a}, difference of F1 in points", columns, rows, notes)


def _p(p: float | None) -> str:
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


# Breakdown, errors, other notes -----------------------------------------------------------------------------------


def _breakdown(found: Mapping[str, Any]) -> Iterator[Sheet]:
    names = [m["name"] for m in found["models"]]
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for line in found["breakdown"]:
        groups.setdefault((line["by"], line["benchmark"], line["task"]), []).append(line)
    word = {"categories": "category", "source": "source"}
    for (by, benchmark, task), lines in groups.items():
        rows = []
        for line in lines:
            cells = {c["model"]: c for c in line["cells"]}
            figures = [_figure(cells[n][f]) if n in cells else "" for f in ("f1", "accuracy") for n in names]
            part = line["part"] if line["part"] is not None else f"(no {word.get(by, by)})"
            rows.append([part, _count(line["n"]), *figures])
        heads = [*(f"F1 {n}" for n in names), *(f"right {n}" for n in names)]
        columns = [Column(word.get(by, by)), Column("n", "number"), *(Column(h, "number") for h in heads)]
        notes = ["F1 and the share of right verdicts, in percent; a row counts in each of its categories"] if by == "categories" else []
        yield Sheet(f"{benchmark} ({task}) by {word.get(by, by)}", columns, rows, notes, keys=2)


def _gallery(found: Mapping[str, Any], most: int | None) -> Iterator[Sheet]:
    for group in found["errors"]:
        wrong = _WRONG[group["wrong"]].format(a=group["a"], b=group["b"])
        sets = ", ".join(f"{b} {n:,}" for b, n in group["benchmarks"].items())
        sheet = Sheet(f"{group['task']}: {wrong} ({group['a']} and {group['b']}): {group['rows']:,} rows ({sets})")
        for row in group["shown"]:
            texts = [(n, _cut(row[n], most)) for n in ("prompt", "response") if row[n] is not None]
            for side in ("a", "b"):
                verdict = row[side]["verdict"] or f"unread: {row[side]['unread']}"
                output = row[side]["output"]
                texts.append((f"{group[side]} says {verdict}", _cut(output, most) if output is not None else "(no output kept)"))
            more = f"; {', '.join(row['categories'])}" if row["categories"] else ""
            sheet.texts.append((f"{row['benchmark']} {row['id']}: {row['gold']}{more}", texts))
        yield sheet


def _cut(text: str, most: int | None) -> str:
    if most is None:
        return text
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def _remarks(found: Mapping[str, Any]) -> Iterator[Sheet]:
    if found["apart"]:
        reasons: dict[tuple[str, str, str], list[str]] = {}
        for x in found["apart"]:
            reasons.setdefault((x["a"], x["b"], x["why"]), []).append(f"{x['benchmark']} ({x['task']})")
        yield Sheet("Not compared", notes=[f"{b} against {a}: {', '.join(sets)}: {why}" for (a, b, why), sets in reasons.items()])
    notes = []
    for x in found["lacking"]:
        lacks = [f"{x[n]} lacks {x[f'{n}_lacks']:,} of the other's" for n in ("a", "b") if x[f"{n}_lacks"]]
        lacks += [f"{x['relabelled']:,} have another label or text"] if x["relabelled"] else []
        notes.append(f"{x['benchmark']} ({x['task']}): {x['a']} and {x['b']} share {x['shared']:,} rows; {'; '.join(lacks)}")
    if notes:
        yield Sheet("Rows that are not compared", notes=notes)
    if found["published"]:
        lines = []
        for s in found["published"]:
            second = "" if s["read"] == "paper" else f" (read in: {s['read']})"
            lines += [f"{s['source']}: {s['citation']}{second}. {s['protocol']}", *(f"{s['source']}: {n}" for n in s["notes"])]
        yield Sheet("Published figures, which nothing here was measured for", notes=lines)
    if found["notes"]:
        yield Sheet("Notes", notes=list(found["notes"]))


# A flat table -----------------------------------------------------------------------------------------------------------

_FLAT = ("f1", "f1_low", "f1_high", "precision", "recall", "accuracy", "fpr", "unparsable", "coverage", "tokens", "seconds")
_FLAT_D = ("difference", "low", "high", "p", "p_corrected", "mcnemar", "mcnemar_corrected")


def comparison_table(found: Mapping[str, Any]) -> pl.DataFrame:
    """All figures of a comparison, one a line; `table` says what it is: figure, mean, cost, difference, verdict, category or source."""
    import polars as pl

    texts = ["table", "task", "benchmark", "part", "policy", "line", "model", "published", "against", "mean", "words"]
    out: list[dict[str, Any]] = []
    for line in found["lines"]:
        same = {"table": "figure", "words": line["why"]} | {n: line[n] for n in ("task", "benchmark", "policy")} | {"line": str(line["line"])}
        out += [same | {n: c.get(n) for n in ("model", "published", "n", *_FLAT)} for c in line["cells"]]
    out += [
        {"table": "mean"} | {n: m.get(n) for n in ("task", "model", "policy", "published", "mean", "f1", "accuracy", "fpr")} for m in found["means"]
    ]
    out += [{"table": "cost", "n": c["rows"]} | {n: c[n] for n in ("model", "f1", "tokens", "seconds")} for c in found["costs"]]
    for d in found["differences"]:
        same = {"table": "difference", "model": d["b"], "against": d["a"], "words": d["remark"], "only_model_right": d["right_b"]}
        out.append(same | {"only_against_right": d["right_a"]} | {n: d[n] for n in ("task", "benchmark", "policy", "n", *_FLAT_D)})
    for v in found["verdicts"]:
        out.append({"table": "verdict", "model": v["b"], "against": v["a"]} | {n: v.get(n) for n in ("task", "words", "n", *_FLAT_D)})
    for line in found["breakdown"]:
        same = {"table": "category" if line["by"] == "categories" else line["by"]} | {n: line[n] for n in ("task", "benchmark", "part", "n")}
        out += [same | {n: c.get(n) for n in ("model", *_FLAT)} for c in line["cells"]]
    whole = ["n", "only_model_right", "only_against_right", "unparsable"]
    numbers = [*_FLAT, *_FLAT_D]
    schema: dict[str, Any] = dict.fromkeys(texts, pl.String) | dict.fromkeys([*whole, *(n for n in numbers if n not in whole)], pl.Float64)
    schema |= dict.fromkeys(whole, pl.Int64)
    return pl.DataFrame([{n: line.get(n) for n in schema} for line in out], schema=schema, orient="row")


def spread_table(cells: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """How far published figures agree, a line for each figure."""
    import polars as pl

    texts, numbers = ["model", "task", "benchmark", "metric", "reading", "source", "where", "note", "why"], ["value", "low", "high", "spread"]
    lines = [c | f for c in map(dict, cells) for f in c["figures"]]
    schema: dict[str, Any] = dict.fromkeys(texts, pl.String) | dict.fromkeys(numbers, pl.Float64)
    return pl.DataFrame([{n: line.get(n) for n in schema} for line in lines], schema=schema, orient="row")


# Files ------------------------------------------------------------------------------------------------------------------


def comparison_csv(found: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    """A comparison, or how far published figures agree, as CSV (`toolkit.common.csvfile`) with its byte order mark."""
    import tempfile

    from toolkit.common.csvfile import write_sheet

    with tempfile.TemporaryDirectory(prefix="guardkit-") as folder:
        path = Path(folder) / "comparison.csv"
        write_sheet(_flat(found), path)
        return path.read_text(encoding="utf-8")


def write_comparison(found: Mapping[str, Any] | Sequence[Mapping[str, Any]], path: Path, form: str) -> None:
    """Write a comparison, or how far published figures agree, into a file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    from toolkit.common.csvfile import write_sheet

    with new_file(path) as new:
        if form == "csv":
            write_sheet(_flat(found), new)
        else:
            text = comparison_text(found, form) if isinstance(found, Mapping) else spread_text(found, form)
            new.write_text(text, encoding="utf-8")


def _json(found: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    return json_text(found if isinstance(found, Mapping) else {"spread": list(found)}) + "\n"


_DATA: dict[str, Callable[[Any], str]] = {"csv": comparison_csv, "json": _json}


def _flat(found: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return comparison_table(found) if isinstance(found, Mapping) else spread_table(found)
