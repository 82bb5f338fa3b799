"""The journal of a workspace: look at it, check it, take its records along, keep it small, take rows out of it.

Every function takes the journal's folder; None is the workspace's own, ``outputs/journal``. Looking, verifying and exporting work while a run
writes to it, and need no room on the disk. All raise `InputError` where there is no journal, or a damaged one; `journal_repair` makes a sound one
of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from toolkit.api._holding import runs_holding
from toolkit.api._results import JournalFigures
from toolkit.common.errors import InputError, short_path
from toolkit.common.files import canonical_json, new_file
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.generation import (
    Record,
    Repaired,
    compact_journal,
    find_records,
    journal_figures,
    migrate_journal,
    near_names,
    purge_journal,
    read_records,
    repair_journal,
    unread,
    verify_journal,
)
from toolkit.pipeline import JOURNAL, stopping

if TYPE_CHECKING:
    import pyarrow as pa

EXPORT_COLUMNS: dict[str, tuple[str, str]] = {
    "key": ("string", "the request's key, sha256 in hex"),
    "row": ("string", "id of the row that it was asked for"),
    "shared_by": ("list<string>", "ids of further rows that share it"),
    "model_id": ("string", "the model asked: content hash of a local one, name at an endpoint"),
    "endpoint": ("string", "name of the endpoint"),
    "draw": ("int64", "number of the draw, from 0"),
    "attempt": ("int64", "number of the attempt, from 0"),
    "created": ("timestamp", "when it was written, UTC"),
    "served": ("bool", "whether it is served from the journal; false for a failure that is asked again"),
    "text": ("string", "the answer; null for a failure"),
    "reasoning": ("string", "text of a thinking model's own reasoning field, null where there is none"),
    "finish": ("string", "why the answer ended: stop, length, …"),
    "error": ("string", "class of the failure, null for an answer"),
    "detail": ("string", "what exactly went wrong"),
    "model": ("string", "the model that the endpoint says has answered"),
    "prompt_tokens": ("int64", "tokens read, where known"),
    "completion_tokens": ("int64", "tokens written, where known"),
    "seconds": ("double", "seconds that the request took, waits and retries included"),
    "cost": ("double", "dollars, where the price was known"),
    "lost": ("int64", "attempts before it that were sent and whose usage is not known"),
    "shape": ("string", "what the key covers beside messages, draw and attempt, as JSON (of a version-1 journal model_id and endpoint only)"),
    "raw": ("binary", "the body as it came from an endpoint, or a local model's text in UTF-8; in JSON Lines as text; only where asked for"),
}
"""Columns of an export with type and meaning. Parquet cannot hold lone surrogates in text: there they are question marks (`raw` has the bytes)."""

_PART = 1000
"""Records that are written at a time."""


def journal_show(folder: str | Path | None = None) -> JournalFigures:
    """A journal at a glance.

    Returns:
        ``folder, version, bytes, answers, failures, shared, unfinished, cost, first, last``, ``unreadable`` (keys of records whose columns make no
        sense and that are not counted; `journal_verify` checks more) and ``groups``: by model, endpoint and outcome with records, tokens, cost
        (dollars), unpriced, packed, first and last (ISO 8601, UTC).

    Example:
        >>> toolkit.journal_show()["answers"]
        2
    """
    where = _folder(folder)
    found = journal_figures(where)
    groups = [asdict(g) | {"first": _time(g.first), "last": _time(g.last)} for g in found.groups]
    return JournalFigures(
        {
            "folder": short_path(where),
            "version": found.version,
            "bytes": found.bytes,
            "answers": sum(g.records for g in found.groups if g.served),
            "failures": sum(g.records for g in found.groups if not g.served),
            "shared": found.shared,
            "unfinished": found.unfinished,
            "cost": sum(g.cost for g in found.groups),
            "first": _time(min(g.first for g in found.groups)) if found.groups else None,
            "last": _time(max(g.last for g in found.groups)) if found.groups else None,
            "unreadable": found.unreadable,
            "groups": groups,
        }
    )


def journal_records(
    folder: str | Path | None = None,
    *,
    rows: str | Iterable[str] = (),
    keys: str | Iterable[str] = (),
    model: str | None = None,
    failures: bool = False,
    raw: bool = False,
    unreadable: dict[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Records, streamed, with the columns of `EXPORT_COLUMNS`; ``raw`` only where asked for, as bytes.

    Args:
        folder: of the journal.
        rows: only what was asked for these rows, or is shared by them; empty for all.
        keys: only these; with `rows` both are given.
        model: only of this model: its model_id, or the name that the endpoint gave.
        failures: also failures that are not served; they come last.
        raw: with the body as it came.
        unreadable: takes key and fault of records that cannot be read, which are left out.

    Raises:
        InputError: see the module; without `unreadable`, at the end, also where records could not be read.

    Example:
        >>> [record["row"] for record in toolkit.journal_records(rows="a")]
        ['a']
    """
    for record, shared in read_records(
        _folder(folder), rows=several(rows), keys=several(keys), model=model, failures=failures, unreadable=unreadable
    ):
        yield _line(record, shared, raw)


def journal_export(
    file: str | Path,
    folder: str | Path | None = None,
    *,
    rows: str | Iterable[str] = (),
    keys: str | Iterable[str] = (),
    model: str | None = None,
    failures: bool = False,
    raw: bool = False,
) -> int:
    """Write records (as `journal_records`) to JSON Lines or parquet, by the file's name; the file appears whole or not at all.

    Returns:
        Records written.

    Raises:
        InputError: another ending than .jsonl or .parquet, a folder that is not there; a link, no regular file, or one of the journal's own is to
            be replaced; another process is writing this file. Also where records cannot be read: the file is then written without them.
        Stopped: the disk is full, or an interrupt; no file.

    Example:
        >>> toolkit.journal_export("answers.parquet", failures=True)
        2
    """
    file, where = at_door(file), _folder(folder)
    write = {".jsonl": _write_jsonl, ".parquet": _write_parquet}.get(file.suffix)
    if write is None:
        raise InputError("a file for an export ends in .jsonl or .parquet", where=str(file))
    check_output(file, journal=where, hint="name another file")
    unreadable: dict[str, str] = {}
    records = journal_records(where, rows=rows, keys=keys, model=model, failures=failures, raw=raw, unreadable=unreadable)
    with stopping(), _appearing(file) as f:
        n = write(f, records, raw)
    if unreadable:
        raise unread(where, list(unreadable), done=f"{short_path(file)} is written without them ({n:,} records)")
    return n


def journal_verify(folder: str | Path | None = None) -> JournalFigures:
    """``folder, ok, answers, packed, failures, shared, damaged`` (keys), ``problems`` (in words), ``noted`` (whether a note of what was recorded is
    there), ``unfinished``; reads everything.

    Example:
        >>> toolkit.journal_verify()["ok"]
        True
    """
    where = _folder(folder)
    found = verify_journal(where)
    return JournalFigures({"folder": short_path(where), "ok": not found.problems, **asdict(found)})


def journal_compact(folder: str | Path | None = None, on_done: Callable[[int, int], None] | None = None) -> JournalFigures:
    """Compress and rewrite; no answer changes: ``folder, packed, before, after`` (bytes), ``unreadable`` (keys of records that cannot be read and
    stay as they are). `on_done` is called with how far it is.

    Raises:
        InputError: a run works on it.
        Stopped: too little room on the disk, or an interrupt; everything is kept.

    Example:
        >>> toolkit.journal_compact()["unreadable"]
        []
    """
    where = _folder(folder)
    with stopping():
        return JournalFigures({"folder": short_path(where), **asdict(compact_journal(where, on_done))})


def journal_migrate(folder: str | Path | None = None) -> JournalFigures:
    """Bring it up to this guardkit's version, in one step, as any run does: ``folder, found, version``, ``noted`` (whether it got its note now).

    Raises:
        InputError: a run works on it.
        Stopped: too little room on the disk.

    Example:
        >>> found = toolkit.journal_migrate()
        >>> found["found"] == found["version"]
        True
    """
    where = _folder(folder)
    with stopping():
        found, version, noted = migrate_journal(where)
    return JournalFigures({"folder": short_path(where), "found": found, "version": version, "noted": noted})


def journal_repair(folder: str | Path | None = None, agree: Callable[[dict[str, Any]], bool] | None = None) -> JournalFigures:
    """Make a sound journal of a damaged one, with every record that can be read; the damaged files are kept beside it.

    Args:
        folder: of the journal.
        agree: is shown what is found before anything is changed, and says whether to go on; None goes on.

    Returns:
        ``folder, problems`` (why; empty for a sound journal, which is not touched), ``answers, failures, shared`` (what can be read),
        ``lost_answers, lost_failures, lost_shared`` (what was recorded and is not there any more, as far as it is known), ``unreadable`` (keys of
        records that are there and cannot be read), ``recorded`` and ``last`` (when the last record was recorded, and the last one that can be
        read), ``copy`` (the folder with the damaged files; None where nothing was changed).

    Raises:
        InputError: there is no journal, a run works on it, or no guardkit wrote it.
        Stopped: too little room on the disk, or an interrupt; everything is kept.

    Example:
        >>> toolkit.journal_repair()["problems"]
        []
    """
    where = _folder(folder)

    def shown(found: Repaired) -> JournalFigures:
        times = {"recorded": found.recorded, "last": found.last}
        return JournalFigures(
            {"folder": short_path(where), **asdict(found), **{name: None if at is None else _time(at) for name, at in times.items()}}
        )

    with stopping():
        return shown(repair_journal(where, None if agree is None else lambda found: agree(shown(found))))


def journal_purge(
    folder: str | Path | None = None, *, rows: str | Iterable[str] = (), keys: str | Iterable[str] = (), dry_run: bool = False
) -> JournalFigures:
    """Delete the records of rows or keys for good.

    Args:
        folder: of the journal.
        rows: ids of rows: whatever was asked for them, or is shared by them.
        keys: of records.
        dry_run: say what would go, delete nothing.

    Returns:
        ``folder, keys, answers, failures, also`` (other rows that shared these records and lose them too), ``batches`` (folders with their
        state: what is at the endpoint is not ours to delete), ``unknown``, ``rewritten``, ``copies`` (of damaged files, which repairs kept and
        which may hold them still), and ``runs``: the folders of steps in the workspace that still hold these rows or what came from these records.

    Raises:
        InputError: a run works on the journal, or a key is none.
        Stopped: no room to rewrite the file, or an interrupt: run it again.

    Example:
        >>> toolkit.journal_purge(rows="b", dry_run=True)["answers"]
        1
    """
    where = _folder(folder)
    rows, keys = several(rows), several(keys)
    with stopping():
        found = find_records(where, rows, keys) if dry_run else purge_journal(where, rows, keys)
        return JournalFigures(
            {"folder": short_path(where), **asdict(found), "runs": runs_holding(where.parent, {*rows, *found.also}, set(found.keys))}
        )


def journal_unread(folder: str | Path | None, keys: Sequence[str]) -> InputError:
    """The error that tells of records that could not be read, for whoever has shown the others."""
    return unread(_folder(folder), keys)


def journal_near(folder: str | Path | None, rows: Iterable[str] = (), model: str | None = None) -> list[str]:
    """For each of these names that the journal does not know, which of its own is near, in words."""
    return near_names(_folder(folder), rows, model)


def _folder(folder: str | Path | None) -> Path:
    inner = (place := workspace() if folder is None else at_door(folder)) / JOURNAL
    return inner if folder is None or (inner / "journal.sqlite").is_file() else place


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _line(record: Record, shared: list[str], raw: bool) -> dict[str, Any]:
    c = record.completion
    out = {
        "key": c.key,
        "row": record.row,
        "shared_by": shared,
        "model_id": record.shape.get("model_id"),
        "endpoint": record.shape.get("endpoint"),
        "draw": record.draw,
        "attempt": record.attempt,
        "created": datetime.fromtimestamp(record.created, UTC),
        "served": record.served,
        "text": c.text,
        "reasoning": c.reasoning,
        "finish": c.finish,
        "error": c.error,
        "detail": c.detail,
        "model": c.model,
        "prompt_tokens": c.prompt_tokens,
        "completion_tokens": c.completion_tokens,
        "seconds": c.seconds,
        "cost": c.cost,
        "lost": c.lost,
        "shape": canonical_json(record.shape),
    }
    if raw:
        out["raw"] = c.raw if c.raw is not None or c.text is None else c.text.encode("utf-8", "surrogatepass")
    return out


@contextmanager
def _appearing(file: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is whole; nothing but a regular file is replaced."""
    if not file.parent.is_dir():
        raise InputError("no such folder", where=str(file.parent))
    if file.is_symlink():
        raise InputError("a link is not replaced by an export", where=str(file), hint="name the file itself")
    with new_file(file) as new, new.open("wb") as f:
        yield f


def _write_jsonl(f: IO[bytes], records: Iterator[dict[str, Any]], raw: bool) -> int:
    n = 0
    for line in records:
        n += 1
        line["created"] = line["created"].isoformat()
        if raw and line["raw"] is not None:
            line["raw"] = line["raw"].decode("utf-8", "backslashreplace")
        f.write(json.dumps(line).encode() + b"\n")
    return n


def _write_parquet(f: IO[bytes], records: Iterator[dict[str, Any]], raw: bool) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, n = _schema(raw), 0
    texts = [c.name for c in schema if c.type == pa.string()]
    with pq.ParquetWriter(f, schema, compression="zstd") as writer:
        while part := list(islice(records, _PART)):
            for line in part:
                line |= {name: line[name].encode("utf-8", "replace").decode() for name in texts if line[name] is not None}
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
            n += len(part)
    return n


def _schema(raw: bool) -> pa.Schema:
    import pyarrow as pa

    kinds = {"list<string>": pa.list_(pa.string()), "timestamp": pa.timestamp("us", tz="UTC")}
    names = {name: kind for name, (kind, _) in EXPORT_COLUMNS.items() if raw or name != "raw"}
    fields = [pa.field(name, kinds.get(kind) or pa.type_for_alias(kind), metadata={"doc": EXPORT_COLUMNS[name][1]}) for name, kind in names.items()]
    return pa.schema(fields)
