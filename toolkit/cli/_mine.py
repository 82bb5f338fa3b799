"""The verb ``guardkit mine``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from toolkit.cli import _say

PAIRS = ("passed_over", "passed_over_rejected", "lengths")
"""Figures of the step `pair` that are shown."""


def mine(
    predictions: Annotated[
        list[str],
        typer.Option(
            "--predictions",
            metavar="NAME=FILE",
            help="What a guard wrote: parquet, JSON Lines, JSON or CSV of {prompt, label, predict} or {id, output}. Once for each guard, and again "
            "for each further draw of one; a quoted pattern is several draws, a folder's files are one.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder for the pairs.", show_default=False)],
    task: Annotated[str | None, typer.Option("--task", help="The task of `label`; the guard's first by default.", show_default=False)] = None,
    guard: Annotated[str, typer.Option("--guard", help="Guard definition.")] = "guardreasoner",
    samples: Annotated[
        Path | None, typer.Option("--samples", metavar="FILE", help="The rows that were asked about, with ids and labels.", show_default=False)
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="KEY=NAME", help="A column by another name: output=completion, label_prompt=gold.", show_default=False),
    ] = None,
    rule: Annotated[str, typer.Option("--rule", help="What is hard: a rule's name, or its file.")] = "default",
    pairs: Annotated[
        Literal["closest", "longest", "shortest", "random"] | None,
        typer.Option("--pairs", help="Which right and which wrong output; as the rule says by default, else two of like length.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of --pairs random.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Hard samples and preference pairs from what models wrote.

    Example: guardkit mine --predictions a=a.jsonl --predictions b=b.jsonl --output m
    """
    from toolkit.api import mine as mine_files
    from toolkit.api.command import Progress, summarise

    found = mine_files(
        _say.pairs(predictions),
        output=output,
        task=task,
        guard=guard,
        samples=samples,
        columns=_say.columns(column),
        rule=rule,
        pick=pairs,
        seed=seed,
        progress=Progress(),
    )
    if json:
        _say.document(found)
        return
    names = ("rows", "hard", "always_right", "always_wrong", "undecided", "with_unparsable", "pairs")
    _say.table("Mined", [], [n.replace("_", " ") for n in names], [[f"{found[n]:,}" for n in names]])
    _say.figures(f for f in summarise(Path(found["output"]))["figures"] if f["name"] in (*found["statistics"], *PAIRS))
    odd = [f"{status.replace('_', ' ')}: {n:,}" for status, n in found["others"].items()]
    odd += [f"rejected, {reason}: {n:,}" for reason, n in found["rejected"].items()]
    odd += [f"rows that {name} lacks: {n:,}" for name, n in found["missing"].items() if n]
    odd += [f"rows of which {name} has not all draws: {n:,}" for name, n in found["fewer_draws"].items() if n]
    odd += [f"Note: {remark}" for remark in found["remarks"]]
    _say.lines(f"Hard: {found['rule']}", *odd, f"Pairs: {found['shards'] or 'none'}", f"Everything is in: {found['output']}")
