"""The verb `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _complete, _say
from toolkit.cli._evaluate import BenchmarkOpt, DataOpt, TaskOpt, _benchmarks
from toolkit.cli._generate import options_of
from toolkit.cli._reach import AllowOpt


def audit(
    model: Annotated[str, typer.Argument(help="The guard: its folder.", show_default=False)],
    twin: Annotated[str | None, typer.Option("--twin", metavar="MODEL", help="A guard without reasoning of the same rows, to compare with.")] = None,
    benchmark: BenchmarkOpt = None,
    data: DataOpt = None,
    task: TaskOpt = None,
    guard: Annotated[
        str | None,
        typer.Option(
            "--guard",
            help="Guard definition (default: the model's own).",
            autocompletion=_complete.schemas("guards"),
            show_default=False,
        ),
    ] = None,
    column: Annotated[list[str] | None, typer.Option("--column", metavar="WHAT=COLUMN", help="Column of --data: label, id, prompt, …")] = None,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=0, help="How often each chain is drawn again; 0: not at all.")] = 4,
    temperature: Annotated[float, typer.Option("--temperature", help="Of these draws.")] = 1.0,
    no_forced: Annotated[bool, typer.Option("--no-forced", help="Draws and contradictions alone: for backends other than transformers.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="A sample of each benchmark's rows.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample, the swaps and the intervals.")] = 0,
    bootstrap: Annotated[int, typer.Option("--bootstrap", metavar="N", min=100, help="Draws behind each interval that has no formula.")] = 1000,
    backend: Annotated[str, typer.Option("--backend", help="Who runs the model.")] = "transformers",
    base_url: Annotated[str | None, typer.Option("--base-url", help="Where the endpoint is.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other option of the backend. Repeatable.")] = None,
    work: Annotated[Path | None, typer.Option("--work", help="Folder for the journal (default: the workspace, outputs).")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Parquet, JSON Lines or CSV file for the table behind the figures.")] = None,
    allow: AllowOpt = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Whether a guard's reasoning matters: its verdict before and along the chain, with other chains, and beside a twin without reasoning.

    Example: guardkit audit outputs/quickstart/guard-main/model --benchmark xstest_response_refusal --data benchmarks --limit 200
    """
    from toolkit.api import audit as audit_guard
    from toolkit.api.command import Progress, audit_text

    shared = options_of(set_, backend=backend, base_url=base_url)
    options: dict[str, Any] = {"benchmarks": _benchmarks(benchmark), "data": data or (), "task": task or (), "columns": _say.columns(column)}
    options |= {"guard": guard, "draws": draws, "temperature": temperature, "forced": not no_forced, "limit": limit, "seed": seed}
    options |= {"bootstrap": bootstrap, "work": work, "allow": allow or (), "output": output, "progress": Progress()}
    other = None if twin is None else {**shared, "model": twin}
    found = audit_guard({**shared, "model": model}, twin=other, **options)
    if json:
        _say.document(found)
    else:
        _say.lines(audit_text(found, _say.width()))
