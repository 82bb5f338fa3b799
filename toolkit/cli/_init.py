"""The verb ``guardkit init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from toolkit.cli import _complete, _say


def init(
    file: Annotated[
        Path | None, typer.Argument(help="Labelled rows: CSV, TSV, JSON Lines, JSON or parquet, or a folder of such files.", show_default=False)
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME", help="Copy this recipe out instead, to be changed.", autocompletion=_complete.recipes)
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="PLACE", help="Folder (of a copy also the file) to write to; default: here.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of source and recipe (default: after the file).")] = None,
    guard: Annotated[str, typer.Option("--guard", help="Guard definition whose tasks are looked for.")] = "guardreasoner",
    labelled_by: Annotated[
        Literal["human", "vote", "inferred", "consensus", "reviewed", "written", "constructed"] | None,
        typer.Option("--labelled-by", help="Who gave the labels (default: inferred, with a note)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Draft a source and a recipe by looking at a file of labelled rows; without one, list the recipes and copy one out. Overwrites nothing.

    Example: guardkit init mine.csv --labelled-by human
    """
    from toolkit import api

    if file is None and recipe is None:
        found = api.list_recipes()
        rows = [[r["name"]] for r in found]
        _say.document(found) if json else _say.table(
            "Recipes", ["name"], [], rows, "what it builds", [r["problem"] or r["description"] for r in found]
        )
        if not json:
            _say.lines("guardkit init --recipe NAME copies one out; guardkit init FILE drafts one by looking at a file of labelled rows")
        return
    made = api.init(file, recipe=recipe, to=to, name=name, guard=guard, labelled_by=labelled_by)
    if json:
        _say.document(made)
    else:
        _shown(made)


def _shown(made: dict[str, Any]) -> None:
    if made["source"] is None:
        _say.lines(f"recipe: {made['recipe']}", f"next: guardkit check {made['recipe']}")
        return
    _say.lines(f"source: {made['source']}", f"recipe: {made['recipe']}", "", f"Of {made['rows']:,} rows looked at:")
    _say.lines(*(f"  {column}: {use}" for column, use in made["uses"].items()))
    if made["unused"]:
        _say.lines(f"  not used: {', '.join(made['unused'])}")
    if made["open"]:
        _say.lines("", f"To be decided (each is in {made['source']}):", *(f"  {text}" for text in made["open"]))
    if made["faults"]:
        _say.lines("", "`guardkit check` says of it:", *(f"  {text}" for text in made["faults"]))
    _say.lines("", f"next: guardkit check {made['recipe']}; guardkit run {made['recipe']}")
