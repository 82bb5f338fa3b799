"""``guardkit journal``: a thin face over `toolkit.api._journal`."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _say

journal = typer.Typer(
    no_args_is_help=True,
    help="The journal of a workspace: every answer that was ever paid for.\n\nExample: guardkit journal show",
)

FolderOpt = Annotated[Path | None, typer.Option("--folder", help="The journal's folder (default: outputs/journal).")]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]
RowOpt = Annotated[list[str] | None, typer.Option("--row", help="Records of a row, by its id. Repeatable.")]
KeyOpt = Annotated[list[str] | None, typer.Option("--key", help="A record, by its key. Repeatable.")]
ModelOpt = Annotated[str | None, typer.Option("--model", help="Only of this model: what was asked for, or what the endpoint says has answered.")]
FailuresOpt = Annotated[bool, typer.Option("--failures", help="Also failures that the next run asks again.")]

_SHOWN = ("row", "shared_by", "model_id", "endpoint", "draw", "attempt", "created", "served", "model", "finish", "error", "detail")
_MEND = "restore it from a backup, or keep what can be read of it (`guardkit journal repair`): the rest is asked for again"
_NO_NOTE = "no journal.note beside it, which shows if records are ever lost: the next run, or `guardkit journal migrate`, makes one"
_SHOWN_COUNTS = ("prompt_tokens", "completion_tokens", "seconds", "cost", "lost")


@journal.command("show")
def show(folder: FolderOpt = None, row: RowOpt = None, key: KeyOpt = None, json: JsonOpt = False) -> None:
    """What the journal holds, by model and outcome; or the records of a row or key.

    Exit code 2 where records cannot be read; the others are shown.

    Example: guardkit journal show --row 3f6c0b1a
    """
    from toolkit import api

    if row or key:
        faults: dict[str, str] = {}
        found = list(api.journal_records(folder, rows=row or (), keys=key or (), failures=True, unreadable=faults))
        _records(found, json)
        if not json:
            _say.lines(*_near(folder, row))
        _unread(folder, list(faults))
        return
    figures = api.journal_show(folder)
    if json:
        _say.document(figures)
        _unread(folder, figures["unreadable"])
        return
    rows = [
        [
            g["endpoint"],
            g["model_id"],
            g["outcome"] if g["served"] else f"{g['outcome']} (asked again)",
            *(f"{g[n]:,}" for n in ("records", "prompt_tokens", "completion_tokens")),
            f"{g['cost']:,.4f}" if g["unpriced"] < g["records"] else "",
        ]
        for g in figures["groups"]
    ]
    _say.table("Journal", ["endpoint", "model", "outcome"], ["records", "tokens read", "written", "dollars"], rows)
    _say.lines(
        f"{figures['answers']:,} answers, {figures['failures']:,} failures that are asked again, {figures['shared']:,} rows that share an answer",
        f"{figures['bytes'] / 1e6:,.1f} MB in {figures['folder']} (version {figures['version']})",
        *([f"from {figures['first']} to {figures['last']}"] if figures["groups"] else []),
    )
    _unfinished(figures)
    _unread(folder, figures["unreadable"])


@journal.command("verify")
def verify(folder: FolderOpt = None, json: JsonOpt = False) -> None:
    """Read everything and check it, and whether all that was recorded is there; exit code 2 where something is damaged.

    Example: guardkit journal verify
    """
    from toolkit import api
    from toolkit.common.errors import InputError

    found = api.journal_verify(folder)
    if json:
        _say.document(found)
    else:
        _say.lines(
            f"{found['answers']:,} answers ({found['packed']:,} compressed), {found['failures']:,} failures, "
            f"{found['shared']:,} rows that share an answer",
            *found["problems"],
            *([] if found["noted"] else [_NO_NOTE]),
        )
        _unfinished(found)
    if not found["ok"]:
        raise InputError(f"the journal is damaged: {len(found['problems'])} problems", where=found["folder"], hint=_MEND)
    if not json:
        _say.lines("all as it should be")


@journal.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="File to write: .jsonl or .parquet.", show_default=False)],
    folder: FolderOpt = None,
    row: RowOpt = None,
    key: KeyOpt = None,
    model: ModelOpt = None,
    failures: FailuresOpt = False,
    raw: Annotated[bool, typer.Option("--raw", help="With the bodies as they came.")] = False,
    json: JsonOpt = False,
) -> None:
    """Write records to JSON Lines or parquet; its columns: `toolkit.api.command.EXPORT_COLUMNS`.

    Exit code 2 where records cannot be read; the file is then written without them.

    Example: guardkit journal export answers.parquet --model gpt-4o
    """
    from toolkit import api

    n = api.journal_export(file, folder, rows=row or (), keys=key or (), model=model, failures=failures, raw=raw)
    if json:
        _say.document({"file": str(file), "records": n})
    else:
        _say.lines(f"{n:,} records in {file}", *_near(folder, row, model))


@journal.command("compact")
def compact(folder: FolderOpt = None, json: JsonOpt = False) -> None:
    """Compress the bodies and rewrite the file; no answer changes. May be killed and run again.

    Exit code 2 where records cannot be read; they stay as they are.

    Example: guardkit journal compact
    """
    from toolkit import api
    from toolkit.api.command import Progress

    with Progress() as progress:
        progress.start("compact")
        found = api.journal_compact(folder, lambda done, total: progress.update(done, total, "records"))
    if json:
        _say.document(found)
    else:
        _say.lines(f"{found['packed']:,} records compressed: {found['before'] / 1e6:,.1f} MB before, {found['after'] / 1e6:,.1f} MB now")
    _unread(folder, found["unreadable"])


@journal.command("migrate")
def migrate(folder: FolderOpt = None, json: JsonOpt = False) -> None:
    """Bring a journal of an older guardkit up to date, as every run does by itself.

    Example: guardkit journal migrate
    """
    from toolkit import api

    found = api.journal_migrate(folder)
    if json:
        _say.document(found)
    elif found["found"] == found["version"]:
        _say.lines(f"{found['folder']}: version {found['version']}, as it should be")
    else:
        _say.lines(f"{found['folder']}: from version {found['found']} to {found['version']}; every answer is kept")
    if found["noted"] and not json:
        _say.lines("journal.note is kept beside it from now on: it shows if records are ever lost")


@journal.command("repair")
def repair(
    folder: FolderOpt = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; without it and without a terminal, say what is lost and change nothing.")] = False,
    json: JsonOpt = False,
) -> None:
    """Make a sound journal of a damaged one, with every record that can be read; the damaged files are kept beside it.

    A sound journal is left as it is. May be killed and run again.

    Example: guardkit journal repair
    """
    from toolkit import api
    from toolkit.common.errors import InputError

    def agree(found: dict[str, Any]) -> bool:
        if not json:
            _repaired(found)
        return yes or (not json and sys.stdin.isatty() and typer.confirm("Make a new journal of what can be read?"))

    found = api.journal_repair(folder, agree)
    done = found["copy"] is not None
    if json:
        _say.document({**found, "repaired": done})
    elif done:
        _say.lines(f"{found['folder']} is sound; the damaged files are in {found['copy']}")
    elif not found["problems"]:
        _say.lines(f"{found['folder']} is sound: there is nothing to repair")
    if found["problems"] and not done:
        raise InputError("nothing was changed", hint="say --yes to repair")


@journal.command("purge")
def purge(
    folder: FolderOpt = None,
    row: RowOpt = None,
    key: KeyOpt = None,
    rows: Annotated[Path | None, typer.Option("--rows", help="A file with the id of a row on each line, as it stands.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; without it and without a terminal, say what would go and delete nothing.")] = False,
    json: JsonOpt = False,
) -> None:
    """Delete the records of rows for good (takedown): from the tables, the log and the file's free space.

    Exit code 2 where nothing was purged, for the journal holds none of them.

    Example: guardkit journal purge --row 3f6c0b1a --yes
    """
    from toolkit import api
    from toolkit.common.errors import InputError

    named = [*(row or ()), *_lines_of(rows)]
    if not named and not key:
        raise InputError("nothing to purge: name rows (--row, --rows FILE) or keys (--key)")
    found = api.journal_purge(folder, rows=named, keys=key or (), dry_run=True)
    if not yes and not json:
        _purged(found, done=False)
        if sys.stdin.isatty() and typer.confirm("Delete these records for good?"):
            yes = True
    if not yes:
        if json:
            _say.document({**found, "deleted": False})
        raise InputError("nothing was deleted", hint="say --yes to delete")
    found = api.journal_purge(folder, rows=named, keys=key or ())
    deleted = found["rewritten"] or bool(found["batches"])  # after a purge that was cut short nothing may be left to delete but its traces
    if json:
        _say.document({**found, "deleted": deleted})
    else:
        _purged(found, done=True)
    if not deleted:
        hint = "ids are as in the rows' column id; `guardkit journal export` lists those that the journal has (columns row, shared_by)"
        hint = "; ".join([*_near(folder, named), hint])
        raise InputError(f"nothing was purged: the journal holds no record of {_some(found['unknown'])}", where=found["folder"], hint=hint)


def _repaired(found: dict[str, Any]) -> None:
    kinds = {"lost_answers": "answers", "lost_failures": "failures", "lost_shared": "rows that share an answer"}
    lost = [f"{found[name]:,} {what}" for name, what in kinds.items() if found[name]]
    out = [
        *found["problems"][:20],
        f"can be read: {found['answers']:,} answers, {found['failures']:,} failures, {found['shared']:,} rows that share an answer",
        f"lost: {', '.join(lost) or 'nothing that is known of'}",
    ]
    if found["unreadable"]:
        out.append(f"there, but not to be read, and asked for again by a run that needs them: {_some(found['unreadable'])}")
    if found["recorded"]:
        last = f"the last that can be read is of {found['last']}" if found["last"] else "nothing can be read"
        out.append(f"last recorded {found['recorded']}; {last}")
    _say.lines(*out)


def _unread(folder: Path | None, keys: list[str]) -> None:
    if keys:
        from toolkit.api.command import journal_unread

        raise journal_unread(folder, keys)


def _near(folder: Path | None, rows: list[str] | None, model: str | None = None) -> list[str]:
    from toolkit.api.command import journal_near

    return journal_near(folder, rows or (), model)


def _purged(found: dict[str, Any], done: bool) -> None:
    would = "" if done else "would be "
    out = [f"{found['answers']:,} answers and {found['failures']:,} failures {would}deleted from {found['folder']}"]
    if found["also"]:
        out.append(f"other rows that share them and lose them too: {_some(found['also'])}")
    if found["unknown"]:
        out.append(f"not in the journal: {_some(found['unknown'])}")
    for batch, state in found["batches"].items():
        out.append(f"{would}taken out of {batch} ({state}); what is at the endpoint is not guardkit's to delete")
    for copy in found["copies"]:
        out.append(f"may still hold them, kept by a repair; delete it when you need it no more: {copy}")
    for run in found["runs"]:
        out.append(f"still holds these rows, or what came from them: {run}")
    if done:
        out.append(
            "Runs keep rows of their own: take the rows out of their sources and run those recipes again, or delete those runs under "
            f"{Path(found['folder']).parent}; exports, shards and models made from them are yours to find "
            "(columns id, parent, reasoning_key, output_key)"
        )
    _say.lines(*out)


def _some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more (--json has all)" if len(names) > 20 else "")


def _records(found: list[dict[str, Any]], json: bool) -> None:
    if json:
        _say.document(found)
        return
    if not found:
        _say.lines("no such record")
    for one in found:
        _say.lines(f"key {one['key']}")
        _say.lines(*(f"  {n}: {_say.short(one[n])}" for n in (*_SHOWN, *_SHOWN_COUNTS) if one[n] not in (None, [])))
        _say.lines(f"  shape: {_say.short(jsonlib.loads(one['shape']), 400)}")
        _say.lines(*(f"  {n}:\n{one[n]}" for n in ("reasoning", "text") if one[n] is not None), "")


def _unfinished(found: dict[str, Any]) -> None:
    if found["unfinished"]:
        _say.lines(f"a {found['unfinished']} was cut short: `guardkit journal compact` ends it")


def _lines_of(path: Path | None) -> list[str]:
    from toolkit.common.errors import InputError

    if path is None:
        return []
    try:
        with path.open(encoding="utf-8", newline="") as f:  # an id is taken as it stands: only what ends a line goes
            return [line for text in f.read().split("\n") if (line := text.removesuffix("\r"))]
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"cannot be read ({type(e).__name__})", where=str(path)) from None
