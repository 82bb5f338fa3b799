"""Older shards that a step reads beside its rows: found, held against the new rows, and read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.paths import Roots
from toolkit.guards import Guard, input_fingerprint
from toolkit.records import Column, to_arrow
from toolkit.shards import OldVersion
from toolkit.shards.exporters import shard_folder


def find_version(name: str, roots: Roots) -> Path:
    """The folder of shards that an option names.

    Raises:
        InputError: there is no such folder, or none of shards.
    """
    found = roots.first(name, Path.is_dir)
    if found is None:
        raise InputError("no such folder", where=name, hint="name a folder of shards, or of a step that made some")
    roots.saw(found)
    return shard_folder(found)


def check_inputs(operator: str, inputs: Mapping[str, object], name: str, named: str | None, *, must: bool = False) -> bool:
    """Whether a version is named, by the input `name` or by the option of that name.

    Raises:
        InputError: by both, by neither where one `must` be, or there is another input.
    """
    for other in inputs:
        if other not in ("rows", name):
            raise InputError(f"{operator} has no input called {other!r}", hint=f"from: {{rows: STEP, {name}: STEP}}")
    if name in inputs and named is not None:
        raise InputError(f"{operator}: {name!r} is named as an input and as an option", hint="leave one of them out")
    if must and name not in inputs and named is None:
        raise InputError(f"{operator} needs older shards", hint=f"with: {{{name}: FOLDER}}, or from: {{rows: STEP, {name}: STEP}}")
    return name in inputs or named is not None


def column_faults(old: OldVersion, columns: Sequence[Column], may_lack: Collection[str] = ()) -> list[str]:
    """How new rows' columns differ from those of a version; one of `may_lack` may be on one side alone."""
    here, there = {f.name: str(f.type) for f in to_arrow(tuple(columns))}, {c["name"]: c["type"] for c in old.manifest["columns"]}
    lacking, more = ([n for n in one if n not in other and n not in may_lack] for one, other in ((there, here), (here, there)))
    out = [f"the new rows lack its column{'s' * (len(lacking) > 1)} {', '.join(lacking)}"] if lacking else []
    out += [f"it lacks the new rows' column{'s' * (len(more) > 1)} {', '.join(more)}"] if more else []
    return out + [f"its column {n!r} holds {there[n]}, that of the new rows {here[n]}" for n in there if n in here and here[n] != there[n]]


def guard_faults(old: OldVersion, guard: Guard) -> list[str]:
    """Whether a version is for another guard, or for the same one as it was before a change."""
    there, here = old.manifest.get("guard"), f"{guard.name} {guard.version}"
    if there is None:
        return ["its manifest names no guard"]
    if there != here:
        return [f"it is for the guard {there}, the new rows are for {here}"]
    if old.manifest.get("guard_input", input_fingerprint(guard)) != input_fingerprint(guard):
        return [f"the guard {here} reads another input (instruction or template) than when it was made"]
    if old.manifest.get("guard_fingerprint") != guard.fingerprint:
        return [f"the guard {here} has other tasks or another output than when it was made"]
    return []


def check_fit(old: OldVersion, faults: Sequence[str], where: str) -> None:
    """Refuse (InputErrors) a version that the new rows do not fit."""
    if faults:
        where = f"{where}: {old.title!r}"
        raise InputErrors([InputError(fault, where=where, hint="make the new rows alike, or a set of their own") for fault in faults])
