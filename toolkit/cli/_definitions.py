"""The verbs ``guardkit sources`` and ``guardkit guards``: what there is in ``schemas``."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.cli import _complete, _say

JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]


def sources(
    name: Annotated[
        str | None, typer.Argument(help="Show one source whole.", show_default=False, autocompletion=_complete.schemas("sources"))
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Try each source on the hub (gated ones need HF_TOKEN).")] = False,
    json: JsonOpt = False,
) -> None:
    """The sources of seeds: hub id, rows, licence.

    Example: guardkit sources wildguard_train
    """
    from toolkit import api

    if check:
        tried = api.check_sources(name)
        _say.document(tried) if json else _say.lines(*(f"{line['source']}: {line['result']}" for line in tried))
        if any(not line["ok"] for line in tried):
            raise typer.Exit(4)
    elif name is not None:
        one = api.describe_source(name)
        _say.document(one) if json else _say.mapping(one)
    else:
        found = api.sources_table()
        rows = [[s["name"], s["hub"] or "", f"{s['rows']:,}" if s["rows"] else "", s["licence"], "gated" if s["gated"] else ""] for s in found]
        words = [s["description"] or s["problem"] or "" for s in found]
        _say.document(found) if json else _say.table("Sources", ["name", "hub id", "rows", "licence", ""], [], rows, "what", words)


def guards(
    name: Annotated[
        str | None, typer.Argument(help="Show one guard's tasks.", show_default=False, autocompletion=_complete.schemas("guards"))
    ] = None,
    json: JsonOpt = False,
) -> None:
    """The guard definitions.

    Example: guardkit guards guardreasoner
    """
    from toolkit.api.command import load_guard
    from toolkit.common.resources import names

    found = [load_guard(n) for n in ([name] if name else names("guards"))]
    if json:
        _say.document([g.model_dump() for g in found])
        return
    for g in found:
        _say.lines(f"{g.name} {g.version}: {g.description}")
        rows = [[t.name, t.field, ", ".join(t.labels), t.positive, t.applies] for t in g.tasks]
        _say.table("", ["task", "field", "labels", "positive", "applies"], [], rows)
