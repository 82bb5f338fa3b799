"""The verb `overlaps`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _complete, _say


def overlaps(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Folders and files that hold benchmarks under their usual names.", show_default=False)
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            "--benchmark",
            metavar="NAME[=FILE]",
            help="These benchmarks alone, or all: of FILE, FILES or the hub. Repeatable.",
            autocompletion=_complete.schemas("benchmarks"),
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", metavar="NAME[=FILE]", help="A source, see `guardkit sources`. Repeatable.", autocompletion=_complete.schemas("sources")
        ),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--rows", metavar="NAME=PLACE", help="A step's folder, or a file or folder of parquet or JSON Lines with a column prompt. Repeatable."
        ),
    ] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=2, max=1000, help="Words of a run that two texts share.")] = 13,
    output: Annotated[Path | None, typer.Option("--output", help="Parquet or CSV file for the rows that share something, by id.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """What benchmarks, sources and other rows share, pair by pair, and what each holds twice.

    Example: guardkit overlaps data/benchmarks --source quickstart --rows mine=outputs/mine/valid --output overlaps.csv
    """
    from toolkit.api import overlaps as find
    from toolkit.common.errors import InputError

    named = by_name(benchmark)
    place = {name: where for name, where in by_name(rows).items() if where is not None}
    if len(place) < len(rows or ()):
        raise InputError("rows are named once each: --rows NAME=PLACE")
    found = find(
        benchmarks="all" if "all" in named else named or None,
        files=[str(f) for f in files or ()],
        sources=by_name(source),
        rows={name: where[0] for name, where in place.items()},
        ngram=ngram,
        output=output,
    )
    if json:
        _say.document(found)
    else:
        _shown(found)


def by_name(texts: list[str] | None) -> dict[str, list[str] | None]:
    """``NAME`` or ``NAME=FILE`` arguments by name."""
    out: dict[str, list[str] | None] = {}
    for text in texts or ():
        if "=" in text:
            for name, given in _say.pairs([text]).items():
                out[name] = [*(out.get(name) or ()), *given]
        else:
            out.setdefault(text, None)
    return out


def _shown(found: dict[str, Any]) -> None:
    sets = [[s["name"], s["kind"], *(f"{s[n]:,}" for n in ("rows", "unread", "inputs", "duplicates", "prompts", "conflicts"))] for s in found["sets"]]
    _say.table("Sets", ["set", "kind"], ["rows", "unread", "inputs", "duplicates", "prompts", "in conflict"], sets)
    figures = ("inputs", "prompts", "ngram_a", "ngram_b")
    some = [p for p in found["pairs"] if any(p[n] for n in figures)]
    n = found["ngram"]
    lines = [[p["a"], p["b"], *(f"{p[name]:,}" for name in figures)] for p in some]
    if lines:
        _say.table("What two sets share", ["a", "b"], ["inputs", "prompts", f"rows of a by {n} words", f"rows of b by {n} words"], lines)
    notes = []
    if none := len(found["pairs"]) - len(some):
        notes.append(f"The other {none:,} of {len(found['pairs']):,} pairs share nothing." if some else "No two of them share anything.")
    notes.append("inputs, prompts: different ones; duplicates: rows whose input came before; in conflict: inputs whose rows have different labels")
    if found["without"]:
        notes.append(f"without a file there: {', '.join(found['without'])}")
    if found["output"] is not None:
        notes.append(f"rows by id: {found['output']}")
    _say.lines(*notes)
