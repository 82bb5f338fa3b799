"""The verbs ``guardkit verify`` and ``guardkit sign``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _say

FolderArg = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder of shards, a step's with one, an export's; or an overlay.", show_default=False)
]
AnyArg = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder of shards, a step's with one, an export's, a run's; or an overlay.", show_default=False)
]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]


SHOWN = 20
"""Decisions about rows that are gone, at most."""


def verify(
    folder: AnyArg,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Public keys; one of them must have signed the folder.")] = None,
    require_signature: Annotated[bool, typer.Option("--require-signature", help="Refuse a folder that nobody has signed.")] = False,
    rows: Annotated[Path | None, typer.Option("--rows", metavar="PLACE", help="Of an overlay: the run, shards or file of its rows.")] = None,
    media: Annotated[Path | None, typer.Option("--media", metavar="FOLDER", help="Of shards with media: the files' folder, to look at them.")] = None,
    json: JsonOpt = False,
) -> None:
    """Check shards, or an export of some, against their manifest, and who signed them; of a run each step.

    Example: guardkit verify outputs/quickstart/sft-shards/shards
    """
    from toolkit import api

    found = api.verify(folder, key=key, require_signature=require_signature, rows=rows, media=media)
    if json:
        _say.document(found)
        return
    if found["kind"] == "overlay":
        _overlay(found)
        return
    what = {"shards": "shards", "export": f"an export for {found['to']}", "run": "a run"}[found["kind"]]
    out = [f"{found['folder']}: {what}, {len(found['files'])} file(s), {found['rows']:,} rows, all as the manifest says"]
    for old in found["extends"]:
        out += [f"Extends {old['title']!r}, {old['rows']:,} rows (manifest {old['manifest_sha256'][:16]}…): its files are here unchanged"]
    if found["stale"]:
        out += [f"Stale, so not what the recipe makes until it is run again: {', '.join(found['stale'])}"]
    if found["kind"] == "run":
        out += [f"Steps that are not finished, or gone: {', '.join(found['missing'])}"] if found["missing"] else []
        out += ["Signatures: its shards' own; name a step to see who signed them."]
    elif (signed := found["signature"]) is None:
        out += ["Not signed: whoever can write the folder can make another one that is as sound."]
    else:
        out += [f"Signed by {signed['by']}" + (", one of your keys" if signed["trusted"] else "; whether to trust that key is yours to say (--key)")]
    out += [
        "On the manifest's word alone, since no file of the folder can prove it:",
        *(f"  {n}: {words}" for n, words in found["unproven"].items()),
    ]
    _say.lines(*out)


def _overlay(found: dict[str, Any]) -> None:
    about = f"{found['decisions']:,} decisions about {found['rows']:,} rows"
    out = [f"{found['folder']}: an overlay, {about}; no line was changed, and none is missing between others"]
    if (signed := found["signature"]) is None:
        out += ["Not signed: whoever can write the file can make another one that is as sound."]
    else:
        out += [f"Signed by {signed['by']}" + (", one of your keys" if signed["trusted"] else "; whether to trust that key is yours to say (--key)")]
        out += [f"Not signed: the last {found['unsigned']:,}"] if found["unsigned"] else []
    if gone := found["gone"]:
        out += [f"Decisions about rows that are not there: {len(gone):,} (a build leaves them out with unknown: skip)"]
        out += [f"  line {x['line']}: row {x['id']!r}, task {x['task']!r}" for x in gone[:SHOWN]]
        out += [f"  and {len(gone) - SHOWN:,} more: --json"] if len(gone) > SHOWN else []
    out += ["On its word alone:", *(f"  {n}: {words}" for n, words in found["unproven"].items())]
    _say.lines(*out)


def sign(
    folder: FolderArg,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="An Ed25519 private key (default: the file that GUARDKIT_SIGNING_KEY names).")
    ] = None,
    json: JsonOpt = False,
) -> None:
    """Verify shards, or an export of some, and sign them: a file beside their manifest, which ssh-keygen -Y verify reads, too.

    Example: guardkit sign outputs/quickstart/sft-shards --key ~/.ssh/id_ed25519
    """
    from toolkit import api

    found = api.sign(folder, key)
    if json:
        _say.document(found)
    else:
        of = found["file"] if Path(folder).is_file() else found["folder"]  # an overlay holds its own signature
        _say.lines(f"{of}: signed by {found['by']}", *([] if of == found["file"] else [f"Signature: {found['file']}"]))
