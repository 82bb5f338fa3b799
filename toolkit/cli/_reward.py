"""The verb ``guardkit reward``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from toolkit.cli import _complete, _say
from toolkit.cli._reach import AllowOpt


def reward(
    predictions: Annotated[
        list[Path],
        typer.Option(
            "--predictions", metavar="FILE", help="Outputs and labels: JSON Lines, JSON, parquet or CSV, or a folder. Repeatable.", show_default=False
        ),
    ],
    guard: Annotated[str, typer.Option("--guard", help="Guard definition.", autocompletion=_complete.schemas("guards"))] = "guardreasoner",
    formula: Annotated[
        str | None,
        typer.Option(
            "--formula",
            help="A formula's name, or its file (default: that of the guard's name, else accuracy).",
            autocompletion=_complete.schemas("rewards"),
            show_default=False,
        ),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="The task of `label`; the guard's first by default.", show_default=False)] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="KEY=NAME", help="A column by another name: output=completion, label_prompt=gold.", show_default=False),
    ] = None,
    count: Annotated[
        Literal["tokens", "words", "characters"], typer.Option("--count", help="What a length is: the column tokens, or counted here.")
    ] = "tokens",
    scores: Annotated[
        Path | None,
        typer.Option("--scores", metavar="FILE", help="YAML: by name of a score the model that gives it (docs/rewards.md).", show_default=False),
    ] = None,
    budget: Annotated[float | None, typer.Option("--budget", metavar="DOLLARS", help="Most that these models may cost.", show_default=False)] = None,
    allow: AllowOpt = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Rewards to show.")] = 10,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write all of them (.jsonl, .csv, .parquet).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """What outputs earn by a formula of rewards, before anything is trained on them.

    Example: guardkit reward --guard guardreasoner --formula rsafe --predictions predictions.jsonl
    """
    from toolkit.api import reward as reward_files

    how: dict[str, Any] = {"columns": _say.columns(column), "scores": scores, "budget": budget, "allow": allow or (), "output": output}
    found = reward_files(predictions, guard=guard, formula=formula, task=task, count=count, limit=limit, **how)
    if json:
        _say.document(found)
        return
    names = ("mean", "least", "most", "length")
    cells = []
    for cell in found["cells"]:
        form = "sound" if cell["well_formed"] else "broken"
        cells.append([form, f"{cell['accuracy']:.3g}", f"{cell['outputs']:,}", *(_number(cell[name]) for name in names)])
    _say.table(f"Rewards by {found['formula']}", ["form"], ["accuracy", "outputs", *names], cells)
    if found["shown"]:
        lines = [
            [str(line["n"]), _say.short(line["id"] or "", 40), *(_number(line[n]) for n in ("reward", "base", "by_length", "length"))]
            for line in found["shown"]
        ]
        _say.table("Outputs", ["row", "id"], ["reward", "base", "by length", "length"], lines)
    whole = f"{found['rewarded']:,} of {found['outputs']:,} outputs have a reward: mean {_number(found['mean'])}"
    whole += f"; {found['well_formed']:,} of a sound form"
    _say.lines(whole, *(f"without a reward, for want of its {what}: {n:,}" for what, n in found["lacks"].items()))
    if found["output"] is not None:
        _say.lines(f"all rewards: {found['output']}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.4f}"
