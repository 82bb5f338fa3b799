"""The verb ``guardkit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from toolkit.cli import _complete, _say


def compare(
    evaluations: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=]FOLDER...", help="Evaluations (`guardkit evaluate --output`); the first is what others are held against."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help="Only this model of them. Repeatable.")] = None,
    policy: Annotated[str, typer.Option("--policy", help="How an unread verdict counts: clean, drop, fail-closed, reference.")] = "clean",
    k: Annotated[Literal["majority", "mean"] | None, typer.Option("--k", help="How draws become one verdict (default: as evaluated).")] = None,
    published: Annotated[bool, typer.Option("--published", help="Published figures beside, in columns marked so.")] = False,
    cite: Annotated[
        list[str] | None,
        typer.Option("--cite", metavar="NAME", help="Of these sources or models alone.", autocompletion=_complete.schemas("published")),
    ] = None,
    spread: Annotated[bool, typer.Option("--published-spread", help="How far published figures agree; no evaluation is needed.")] = False,
    errors: Annotated[int, typer.Option("--errors", metavar="N", min=0, help="Rows of each kind of error to show with their texts.")] = 1,
    every_pair: Annotated[bool, typer.Option("--every-pair", help="Each two models, not each with the first alone.")] = False,
    across: Annotated[bool, typer.Option("--across", help="Differences also where cohorts do not agree, with the reason.")] = False,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=100, help="Draws of the bootstrap.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    form: Annotated[
        Literal["table", "markdown", "latex", "csv", "json"] | None, typer.Option("--format", help="Format (default: of FILE's name, else a table).")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write it into a file (.md, .tex, .csv, .json, .txt).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Guards side by side: figures, what their differences are worth, errors, price, and what was published of others.

    Example: guardkit compare before=outputs/sft after=outputs/dpo --published --output compare.md
    """
    from toolkit import api
    from toolkit.api.command import Progress, write_spread

    found: Any
    if spread:
        if evaluations:
            raise typer.BadParameter("takes no evaluation", param_hint="--published-spread")
        found = api.published(*(cite or ()), spread=True)
        if output is not None:
            write_spread(output, form, *(cite or ()))
    else:
        wanted: Any = cite or published
        how: dict[str, Any] = {
            "models": model or (),
            "policy": policy,
            "combine": k,
            "published": wanted,
            "errors": errors,
            "draws": draws,
            "seed": seed,
        }
        how |= {"every_pair": every_pair, "across": across, "output": output, "form": form}
        found = api.compare(*(evaluations or ()), progress=Progress(), **how)
    if json or (form == "json" and output is None):
        _say.document({"spread": found} if spread else found)
    elif output is not None:
        sentences = [] if spread else [v["words"] for v in found["verdicts"]]
        _say.lines(*sentences, f"Written: {output}")
    else:
        _say.tables(found, form or "table")
