"""The verb ``guardkit gate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from toolkit.cli import _say


def gate(
    baseline: Annotated[Path, typer.Argument(help="Folder of a run, or of an evaluation.", show_default=False)],
    run: Annotated[Path, typer.Argument(help="Another one of the kind, which must not be worse.", show_default=False)],
    limits: Annotated[Path | None, typer.Option("--limits", metavar="FILE", help="What may change by how much (YAML; see docs/gate.md).")] = None,
    fail_on: Annotated[
        Literal["fail", "unless-pass"] | None,
        typer.Option("--fail-on", help="Exit with 1 on the verdict fail, or on any but pass (default: as the limits have it, else fail)."),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=1000, help="Draws of the bootstrap.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write it into a file (.xml for JUnit, .md, .json, .txt).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Exit with 1 where a run is worse than a baseline, beyond its limits and beyond chance: guards' F1 and FPR, what steps kept and rejected, hard
    rows, labels, numbers of rows.

    Example: guardkit gate outputs/released outputs/nightly --limits gate.yaml --output gate.xml
    """
    from toolkit import api
    from toolkit.api.command import Progress, gate_text

    how: Literal["fail", "unless_pass"] | None = None if fail_on is None else "unless_pass" if fail_on == "unless-pass" else "fail"
    found = api.gate(baseline, run, limits=limits, fail_on=how, draws=draws, seed=seed, output=output, progress=Progress())
    if json:
        _say.document(found)
    elif output is not None:
        _say.lines(found["words"], f"Written: {output}")
    else:
        _say.lines(gate_text(found, "table", _say.width()).rstrip("\n"))
    if not found["passed"]:
        raise typer.Exit(1)
