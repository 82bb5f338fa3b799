"""``guardkit export``: the verb and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from toolkit.cli import _say


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of shards, or a step's folder that holds one.", show_default=False)],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Whose format: trl, llamafactory, verl, easyr1, ms-swift, openai, guardreasoner, or one that another package brings.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", help="New folder (default: NAME-FORMAT in the working folder).")] = None,
    split: Annotated[str | None, typer.Option("--split", help="This split alone (default: all).")] = None,
    weights: Annotated[
        Literal["repeat", "drop"] | None, typer.Option("--weights", help="Pairs' weights where the format has no place for them.")
    ] = None,
    copies: Annotated[int | None, typer.Option("--copies", help="With --weights repeat: copies of a pair of weight 1. Default 5.")] = None,
    guard: Annotated[str | None, typer.Option("--guard", help="The guard of the shards (default: the one that they name).")] = None,
    formula: Annotated[
        str | None, typer.Option("--formula", help="The formula of rewards in it, for verl, easyr1 and ms-swift (default: that of the guard's name).")
    ] = None,
    media: Annotated[
        str | None,
        typer.Option(
            "--media",
            metavar="FOLDER",
            help="Copy the files of media along, from the dataset's folder; embedded: from the shards.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export whose files were changed, too.")] = False,
    push: Annotated[str | None, typer.Option("--push", metavar="ORG/NAME", help="Send it to the hub as a dataset (token: HF_TOKEN).")] = None,
    public: Annotated[bool, typer.Option("--public/--private", help="Who may read the repository.")] = False,
    revision: Annotated[str, typer.Option("--revision", help="Branch of the repository.")] = "main",
    message: Annotated[str | None, typer.Option("--message", help="Message of the commit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Push nothing; list what would be sent.")] = False,
    sign: Annotated[Path | None, typer.Option("--sign", metavar="KEY", help="Sign the new folder with this Ed25519 private key.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Shards in another trainer's format, or on the hub.

    Example: guardkit export outputs/quickstart/sft-shards --format llamafactory
    """
    from toolkit import api
    from toolkit.api.command import Progress

    found = api.export(
        folder,
        format,
        output=output,
        split=split,
        weights=weights,
        copies=copies,
        guard=guard,
        formula=formula,
        media=media,
        overwrite=overwrite,
        repo=push,
        public=public,
        revision=revision,
        message=message,
        dry_run=dry_run,
        sign=sign,
        progress=Progress(),
    )
    if json:
        _say.document(found)
        return
    if found["export"]:
        _exported(found["export"], found["output"])
    if found["signed"]:
        _say.lines(f"Signed by {found['signed']}")
    if found["push"]:
        _pushed(found["push"])


def _exported(record: dict[str, Any], output: str) -> None:
    files = [[name, f["config"], f["split"], f"{f['rows']:,}", f"{f['bytes']:,}"] for name, f in record["files"].items() if "rows" in f]
    _say.table(f"Exported for {record['to']}", ["file", "data set", "split"], ["rows", "bytes"], files)
    left = [f"No place for: {', '.join(record['left_out'])}."] if record["left_out"] else []
    _say.lines(*record["notes"], *left, f"Everything is in: {output}")


def _pushed(done: dict[str, Any]) -> None:
    if "would_send" in done:
        _say.table(f"Would be sent to {done['repo']}", ["file"], ["bytes"], [[f["path"], f"{f['bytes']:,}"] for f in done["would_send"]])
        return
    who = "private" if done["private"] else "public"
    _say.lines(
        f"{len(done['sent'])} file(s) sent, {done['unchanged']} there already, {len(done['deleted'])} deleted; {who}, commit {done['commit'][:12]}",
        done["url"],
    )
