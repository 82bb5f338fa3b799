"""The verb `hygiene`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _complete, _say
from toolkit.cli._overlaps import by_name


def hygiene(
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            "--benchmark",
            metavar="NAME[=FILE]",
            help="These benchmarks, or all: of FILE, of --data or the hub. Repeatable.",
            autocompletion=_complete.schemas("benchmarks"),
        ),
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="PLACE", help="Folder or file that holds benchmarks under their usual names. Repeatable.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="[NAME=]PLACE",
            help="What a guard was trained on: shards, a run, a step, or files with a column prompt. Repeatable.",
        ),
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option("--evaluation", metavar="FOLDER", help="An evaluation: its F1 without duplicates, conflicts and contaminated rows.")
    ] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=2, max=1000, help="Words of a run that two texts share.")] = 13,
    output: Annotated[Path | None, typer.Option("--output", help="Parquet or CSV file for the rows that bear a mark, by id.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """What benchmarks hold twice and share, what of them a guard was trained on, and its F1 without such rows.

    Example: guardkit hygiene --data data/benchmarks --against outputs/mine --evaluation outputs/scores
    """
    from toolkit.api import hygiene as find
    from toolkit.api.command import Progress

    given = by_name(benchmark)
    found = find(
        benchmarks="all" if "all" in given else given or None,
        data=[str(d) for d in data or ()],
        against=_against(against),
        evaluation=evaluation,
        ngram=ngram,
        output=output,
        progress=Progress(),
    )
    if json:
        _say.document(found)
    else:
        _shown(found)


def _against(texts: list[str] | None) -> list[str] | dict[str, str]:
    """Places, by their names where they have some; a place that is there is never taken for a name."""
    from toolkit.common.errors import InputError

    if all("=" not in text or Path(text).exists() for text in texts or ()):
        return texts or []
    out: dict[str, str] = {}
    for text in texts or ():
        name, eq, place = text.partition("=")
        if not eq or Path(text).exists():
            name = place = text
        if not name or not place or name in out:
            raise InputError(f"{text!r} is not of the form NAME=PLACE, with a name of its own", where="--against")
        out[name] = place
    return out


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def _shown(found: dict[str, Any]) -> None:
    names = ("rows", "unread", "duplicates", "conflicts", "prompts")
    _say.table("Benchmarks", ["benchmark"], list(names), [[b["name"], *(f"{b[n]:,}" for n in names)] for b in found["benchmarks"]])
    if found["pairs"]:
        lines = [[p["a"], p["b"], *(f"{p[n]:,}" for n in ("inputs", "prompts", "ngram_a", "ngram_b"))] for p in found["pairs"]]
        n = found["ngram"]
        _say.table("What two of them share", ["a", "b"], ["inputs", "prompts", f"a: {n} words", f"b: {n} words"], lines)
    if found["against"]:
        some = [c for c in found["contamination"] if c["contaminated"]]
        kinds = ("interaction", "prompt", "ngram", "contaminated", "share")
        lines = [[c["benchmark"], c["against"], *(_number(c[n]) for n in ("rows", *kinds))] for c in some]
        heads = ["rows", "whole", "prompt", f"{found['ngram']} words", "any", "%"]
        if lines:
            _say.table("Rows of which training rows have text", ["benchmark", "trained on"], heads, lines)
        rest = len(found["contamination"]) - len(some)
        _say.lines(*([f"{rest:,} of {len(found['contamination']):,} pairs of benchmark and training set share nothing."] if rest else []))
        for one in found["against"]:
            parts = [f"{one['name']}: {one['rows']:,} rows"]
            parts += [f"{one['unread']:,} without a prompt"] if one["unread"] else []
            parts += [f"{one['as_rendered']:,} compared as they were rendered: no short prompt of theirs is found"] if one["as_rendered"] else []
            _say.lines(", ".join(parts))
        _say.lines("")
    if found["scores"]:
        _scores(found["scores"])
    notes = ["duplicates (dupl.): rows whose input came before; conflicts: inputs whose rows have different labels; inputs, prompts: different ones"]
    if found["without"]:
        notes.append(f"without a file there: {', '.join(found['without'])}")
    if found["output"] is not None:
        notes.append(f"rows by id: {found['output']}")
    _say.lines(*notes)


def _scores(scores: list[dict[str, Any]]) -> None:
    """F1 on all rows and without those of each mark that any of them bears."""
    shown = {"duplicate": "dupl.", "conflict": "confl.", "training": "trained"}
    marks = [m for m in shown if any(s.get(f"n_{m}") for s in scores)]
    if not marks:
        _say.lines(f"No row of the evaluation bears a mark: its F1 is that of {sum(s['n'] for s in scores):,} clean rows.", "")
        return
    heads = ["rows", "F1", *(word for m in marks for word in (shown[m], "F1")), "clean", "F1"]
    figures = ["n", "f1", *(name for m in marks for name in (f"n_{m}", f"f1_without_{m}")), "n_clean", "f1_clean"]
    lines = [[s["benchmark"], s["model"], s["task"], *(_number(s[n]) for n in figures)] for s in scores]
    _say.table("F1, and without the rows of each mark", ["benchmark", "model", "task"], heads, lines, tight=True, grouped=True)
