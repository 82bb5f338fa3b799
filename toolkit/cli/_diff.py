"""The verb ``guardkit diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _complete, _say


def diff(
    run_a: Annotated[Path, typer.Argument(help="Folder of a run, or of shards.", show_default=False)],
    run_b: Annotated[Path, typer.Argument(help="Another one.", show_default=False)],
    step: Annotated[
        str | None,
        typer.Option(
            "--step", metavar="STEP", help="Compare this step's rows (default: the last that both have).", autocompletion=_complete.run_steps
        ),
    ] = None,
    shown: Annotated[int, typer.Option("--shown", metavar="N", min=0, help="Rows of each kind to show.")] = 5,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write every row that differs (.jsonl, .csv, .parquet).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Rows added, gone and changed between two runs or two folders of shards, and why. Exits with 0 whether they differ or not.

    Example: guardkit diff outputs/mine outputs/mine-stricter --step valid
    """
    from toolkit.api import diff as compare

    found = compare(run_a, run_b, step=step, shown=shown, output=output)
    if json:
        _say.document(found)
        return
    for side in ("a", "b"):
        left = f" (stale, and left out: {', '.join(found[side]['stale'])})" if found[side]["stale"] else ""
        _say.lines(f"{side}: {found[side]['folder']}{left}")
    _say.lines("")
    _steps(found["steps"])
    _review(found["labels"], found["pairs"])
    numbers = ", ".join(f"{found[kind]['rows']:,} {kind}" for kind in ("added", "gone", "changed"))
    _say.lines(f"Rows of {found['step']!r}: {found['a']['rows']:,} in a, {found['b']['rows']:,} in b; {found['same']:,} the same, {numbers}")
    if (newer := found["extends"]) is not None:
        _say.lines(f"{newer} is a version that extends {'a' if newer == 'b' else 'b'}")
    for side in ("a", "b"):
        if found["columns"][side]:
            _say.lines(f"Columns that only {side} has: {', '.join(found['columns'][side])}")
    _missing("Gone: in a, not in b", found["gone"])
    _missing("Added: in b, not in a", found["added"])
    _changed(found["changed"])
    if found["equal"]:
        _say.lines("Nothing differs in these rows.")
    if output is not None:
        _say.lines(f"Every row that differs: {output}")


SHOWN = 60
"""Values that are listed of the rows that came or went."""


def _steps(steps: list[dict[str, Any]]) -> None:
    """Counts side by side; and what shaped a step otherwise."""
    if any(s["a"] or s["b"] for s in steps):
        rows = []
        for s in steps:
            a, b = ({} if c is None else c for c in (s["a"], s["b"]))
            left = [f"{c['in'] - c['kept']:,}" if c and c["shape"] in ("one_to_one", "select", "merge", "source") else "" for c in (a, b)]
            rows.append([s["step"], s["state"], *(f"{c['kept']:,}" if c else "-" for c in (a, b)), *left])
        _say.table("Steps", ["step", "state"], ["kept in a", "kept in b", "left in a", "left in b"], rows)
    for s in steps:
        for d in s["differs"]:
            _say.lines(f"  {s['step']}: {d['what']}: {_say.short(d['a'], 60)} -> {_say.short(d['b'], 60)}")
    _say.lines("")


def _review(labels: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> None:
    """What was decided about labels, and what became of pairs."""
    if labels:
        words = ("task", "reviewer", "label", "new_label")
        rows = [[x["step"], *(x[w] or "-" for w in words), f"{x['rows']:,}"] for x in labels]
        _say.table("Labels decided otherwise, or confirmed", ["step", "task", "reviewer", "label in a", "label in b"], ["rows"], rows)
    if pairs:
        weights = [["" if x[w] is None else f"{x[w]:.4f}" for w in ("weight_before", "weight_after")] for x in pairs]
        numbers = ("before", "after", "gained", "lost", "reweighted")
        rows = [[x["step"], *(f"{x[n]:,}" for n in numbers), *mean] for x, mean in zip(pairs, weights, strict=True)]
        columns = ["in a", "in b", "gained", "lost", "reweighted", "mean weight in a", "in b"]
        _say.table("Pairs (weights: of those in both)", ["step"], columns, rows)
    if labels or pairs:
        _say.lines("")


def _missing(title: str, found: dict[str, Any]) -> None:
    if not found["rows"]:
        return
    rows = [[w["step"] or "-", w["outcome"] or "-", w["reason"] or "-", f"{w['rows']:,}"] for w in found["why"]]
    _say.table(f"{title}: {found['rows']:,}", ["step", "outcome", "reason"], ["rows"], rows)
    by = [
        [column, "none" if line["value"] is None else line["value"], f"{line['rows']:,}"] for column, lines in found["by"].items() for line in lines
    ]
    if by:
        _say.table("By value", ["column", "value"], ["rows"], by[:SHOWN])
        if len(by) > SHOWN:
            _say.lines(f"  {len(by) - SHOWN:,} more: --json")
    for row in found["shown"]:
        words = [f"{row['step']}: {row['reason']}" if row["step"] else row["reason"] or "", _say.short(row["detail"] or "", 120)]
        words += [f"survivor {row['survivor']}"] if row["survivor"] else []
        words += [f"through its parent {row['parent']}"] if row["parent"] else []
        _say.lines("  " + "; ".join([row["id"], *filter(None, words)]))
    _say.lines("")


def _changed(found: dict[str, Any]) -> None:
    if not found["rows"]:
        return
    columns = ", ".join(f"{c} {n:,}" for c, n in found["columns"].items())
    since = ", ".join(f"{s} {n:,}" for s, n in found["since"].items())
    _say.lines(f"Changed: {found['rows']:,} rows; columns: {columns}; first differing at: {since}")
    for row in found["shown"]:
        _say.lines(f"  {row['id']} (since {row['since']})")
        for column, (old, new) in row["values"].items():
            _say.lines(f"    {column}: {_say.short(old, 200)}", f"    {' ' * len(column)}> {_say.short(new, 200)}")
    _say.lines("")
