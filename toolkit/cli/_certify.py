"""The verb ``guardkit certify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from toolkit.cli import _say


def certify(
    evaluations: Annotated[
        list[str],
        typer.Argument(
            metavar="BEFORE AFTER", help="Evaluations of the guard before and after, as FOLDER or NAME=FOLDER; or one of both.", show_default=False
        ),
    ],
    model: Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help="Of several models: the one before, then the one after.")] = None,
    margin: Annotated[float, typer.Option("--margin", metavar="POINTS", help="Points of F1 and FPR that it may not get worse by.")] = 3.0,
    rises: Annotated[list[str] | None, typer.Option("--rises", metavar="NAME", help="A category or benchmark whose F1 is to rise.")] = None,
    look_alikes: Annotated[
        list[str] | None, typer.Option("--look-alikes", metavar="NAME", help="A benchmark whose benign rows look harmful. Repeatable.")
    ] = None,
    policy: Annotated[str, typer.Option("--policy", help="How an unread verdict counts: clean, drop, fail-closed.")] = "clean",
    k: Annotated[Literal["majority", "mean"] | None, typer.Option("--k", help="How draws become one verdict (default: as evaluated).")] = None,
    across: Annotated[bool, typer.Option("--across", help="Also what was measured otherwise.")] = False,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=1000, help="Draws of the bootstrap.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    fail_on: Annotated[
        Literal["fail", "unless-pass", "never"], typer.Option("--fail-on", help="Exit with 1 on the verdict fail, on any but pass, or never.")
    ] = "fail",
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write it into a file (.json, .md, .tex, .txt).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Certify that a guard is nowhere worse than before: pass, fail, or too few rows to tell, on each benchmark and category, refusals and
    look-alikes.

    Example: guardkit certify before=outputs/old-eval after=outputs/new-eval --rises election-misinformation --output certificate.md
    """
    from toolkit import api
    from toolkit.api.command import Progress, certificate_text, fails

    how: dict[str, Any] = {"models": model or (), "margin": margin, "rises": rises or (), "look_alikes": look_alikes or (), "policy": policy}
    how |= {"combine": k, "across": across, "draws": draws, "seed": seed, "output": output}
    found = api.certify(*evaluations, progress=Progress(), **how)
    if json:
        _say.document(found)
    elif output is not None:
        _say.lines(found["words"], f"Written: {output}")
    else:
        _say.lines(certificate_text(found, "table", _say.width()).rstrip("\n"))
    if fails(found["verdict"], fail_on.replace("-", "_")):
        raise typer.Exit(1)
