"""The verb ``guardkit mine``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from toolkit.cli import _say


def mine(
    predictions: Annotated[
        list[str],
        typer.Option(
            "--predictions",
            metavar="NAME=FILE",
            help="What one guard wrote: JSON Lines of {prompt, label, predict}, or a folder of such files. Once for each guard.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder for the pairs.", show_default=False)],
    task: Annotated[str | None, typer.Option("--task", help="The task of `label`; the guard's first by default.", show_default=False)] = None,
    guard: Annotated[str, typer.Option("--guard", help="Guard definition.")] = "guardreasoner",
    pairs: Annotated[Literal["longest", "shortest", "random"], typer.Option("--pairs", help="Which right and which wrong output.")] = "longest",
    seed: Annotated[int, typer.Option("--seed", help="Seed of --pairs random.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Hard samples and preference pairs from what models wrote.

    Example: guardkit mine --predictions a=a.jsonl --predictions b=b.jsonl --output m
    """
    from toolkit.api import mine as mine_files
    from toolkit.api.command import Progress

    found = mine_files(_say.pairs(predictions), output=output, task=task, guard=guard, pick=pairs, seed=seed, progress=Progress())
    if json:
        _say.document(found)
        return
    names = ("rows", "hard", "always_right", "always_wrong", "undecided", "with_unparsable", "pairs")
    _say.table("Mined", [], [n.replace("_", " ") for n in names], [[f"{found[n]:,}" for n in names]])
    odd = [f"rejected, {reason}: {n:,}" for reason, n in found["rejected"].items()]
    odd += [f"right, but malformed and not chosen, {fault}: {n:,}" for fault, n in found["passed_over"].items()]
    odd += [f"rows that {name} lacks: {n:,}" for name, n in found["missing"].items() if n]
    _say.lines(*odd, f"Pairs: {found['shards'] or 'none'}", f"Everything lies in: {found['output']}")
