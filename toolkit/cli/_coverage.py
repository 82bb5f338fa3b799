"""The verb ``guardkit coverage``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _complete, _say


def coverage(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="A run, a step of one, shards, or files of rows.", show_default=False)],
    step: Annotated[
        str | None, typer.Option("--step", metavar="ID", help="Of a run, the step (default: the last whose rows have categories).")
    ] = None,
    verdicts: Annotated[
        str | None, typer.Option("--verdicts", metavar="PLACE", help="Verdicts on these rows: a step, an evaluation, a parquet file.")
    ] = None,
    taxonomy: Annotated[
        str | None,
        typer.Option("--taxonomy", help="Categories to cover (default: the recipe's).", autocompletion=_complete.schemas("taxonomies")),
    ] = None,
    guard: Annotated[
        str | None, typer.Option("--guard", help="Whose labels these are (default: the recipe's).", autocompletion=_complete.schemas("guards"))
    ] = None,
    category: Annotated[list[str] | None, typer.Option("--category", metavar="NAME", help="Only this one should be covered. Repeatable.")] = None,
    language: Annotated[list[str] | None, typer.Option("--language", metavar="TAG", help="In this language, too. Repeatable.")] = None,
    minimum: Annotated[int, typer.Option("--minimum", metavar="N", min=1, help="Rows that a category should have of each label and form.")] = 20,
    output: Annotated[
        list[Path] | None, typer.Option("--output", metavar="FILE", help="Write it (.json, .md, .txt, .svg, .yaml). Repeatable.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """What a dataset covers by category, source, label, form and language; what is missing in it, and what to generate next.

    Example: guardkit coverage outputs/quickstart --step clean --output coverage.svg --output next.yaml
    """
    from toolkit import api
    from toolkit.api.command import Progress, coverage_text

    how: dict[str, Any] = {"step": step, "verdicts": verdicts, "taxonomy": taxonomy, "guard": guard, "categories": category or ()}
    how |= {"languages": language or (), "minimum": minimum, "output": output or (), "progress": Progress()}
    found = api.coverage(place, **how)
    if json:
        _say.document(found)
        return
    _say.lines(coverage_text(found, "table", _say.width()).rstrip("\n"), *(f"Written: {o}" for o in output or ()))
