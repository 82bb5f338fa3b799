"""A run's folder: whose it is, its log, what a killed run left in it.

run.json, recipe.yaml   which recipe this is a run of, and which steps are current; the recipe after expansion and overrides
events.jsonl            what happened when, on which host: the only place for times and host facts
<step>/                 one folder a finished step
.guardkit.lock          held while a process works here; its presence says that the folder is guardkit's

What else is in it is the user's: it is neither replaced nor removed (`toolkit.common.folders`), and no link is followed.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.files import beside, make_folder, open_own, write_atomic
from toolkit.common.folders import check_own, drop_kept, remove_folder, sweep
from toolkit.common.locks import Lock, holder_of
from toolkit.common.manifests import read_manifest
from toolkit.common.reading import regular, unreadable
from toolkit.pipeline._current import Current
from toolkit.pipeline._finished import StepFolder, step_folders
from toolkit.pipeline._planned import Plan
from toolkit.pipeline._recipe import sealed_yaml
from toolkit.pipeline._stop import is_full
from toolkit.pipeline._store import STEP

LOCK = ".guardkit.lock"
"""A file in the folder of a run, locked by the process that works in it."""
JOURNAL = "journal"
"""Folder beside the runs' folders that holds what was answered in all of them."""
_OTHER = "give another folder with {--output|output}"
_WRITTEN = ("run.json", "recipe.yaml", "summary.json")


@contextmanager
def owned(folder: Path, plan: Plan, done: Mapping[str, StepFolder]) -> Iterator[Current]:
    """Hold a run's folder: make it, refuse it to a second process and to another recipe, clear up what a killed run left. `done`: its finished steps.

    Raises:
        InputError: a file, a folder with something else in it, one that may not be written, in use, or of another recipe. Nothing in it has
            been changed then.
    """
    recipe = plan.recipe.spec
    if folder.resolve().name == JOURNAL:
        raise InputError(f"{JOURNAL!r} is the name of the folder that holds all runs' answers", where=str(folder), hint=_OTHER)
    with _locked(folder):
        if (name := _recipe_of(folder)) not in (None, recipe.recipe):
            raise InputError(f"holds a run of the recipe {name!r}, not of {recipe.recipe!r}", where=str(folder), hint=_OTHER)
        for name in ("recipe.yaml", "run.json", "events.jsonl"):  # else what is written would fail, or wait for whoever reads a pipe
            if (folder / name).exists():
                regular(folder / name, folder / name)
        _sweep(folder)
        current = Current(folder, plan, done)
        write_atomic(folder / "recipe.yaml", sealed_yaml(plan.recipe, plan.source_paths))
        current.write()
        _end_torn_line(folder / "events.jsonl")
        yield current


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        make_folder(folder)
        if any(folder.iterdir()) and not (folder / LOCK).exists() and _recipe_of(folder) is None:
            raise InputError("is not empty and is no run of guardkit's", where=str(folder), hint=_OTHER)
        lock = Lock(folder / LOCK, "the run's folder", f"wait for it to end, or {_OTHER}")
    except (FileExistsError, NotADirectoryError):
        raise InputError("is a file, not a folder", where=str(folder), hint=_OTHER) from None
    except OSError as e:
        if is_full(e):
            raise
        raise InputError(f"cannot be written: {e.strerror}", where=str(folder), hint=_OTHER) from None
    try:
        yield
    finally:
        lock.release()


def builder_of(folder: Path) -> str | None:
    """The number of the process that is building a run; None where none is."""
    return holder_of(folder / LOCK)


def check_places(plan: Plan, folder: Path, done: Collection[str]) -> None:
    """Refuse what is where a step is to be built and is no step of guardkit's, before anything is built or asked. Whether files of a step were
    changed is looked at when its turn comes.

    Raises:
        InputError: see `toolkit.common.folders.check_own`.
    """
    for last in (group[-1].id for group in plan.groups):
        if last in plan.chosen and last not in done:
            check_own(folder / last, STEP, digests=False)


def _recipe_of(folder: Path) -> str | None:
    """Name of the recipe that this is a run of; None in a new folder, or one whose first run was killed at once.

    Raises:
        InputError: there is a run.json that is not guardkit's.
    """
    try:
        return str(read_manifest(folder / "run.json")["recipe"])
    except FileNotFoundError:
        return None
    except (InputError, KeyError):
        raise InputError("is no run of guardkit's: its run.json is not what guardkit writes", where=str(folder), hint=_OTHER) from None


def _sweep(folder: Path) -> list[str]:
    """Finish or remove what a killed run left half-way. Returns the names of the leftovers."""
    left = sweep(folder)
    for path in (beside(folder / name) for name in _WRITTEN):
        if path.is_file() or path.is_symlink():
            path.unlink()
            left.append(path.name)
    return left


def _end_torn_line(path: Path) -> None:
    """End the line that a killed run left unfinished, so that it spoils no other."""
    if not path.exists():
        return
    try:
        with os.fdopen(open_own(path, os.O_RDWR), "rb+") as f:
            if f.seek(0, os.SEEK_END) and f.seek(-1, os.SEEK_END) >= 0 and f.read(1) != b"\n":
                f.write(b"\n")
    except OSError as e:
        if is_full(e):
            raise
        raise unreadable(e, path) from None


def log(folder: Path, event: str, **values: Any) -> None:
    """Add a line to the run's log."""
    line = {"time": round(time.time(), 3), "event": event, "host": platform.node(), "pid": os.getpid(), **values}
    path = folder / "events.jsonl"
    try:
        with os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a", encoding="utf-8") as f:
            f.write(json.dumps(line, ensure_ascii=True, default=str) + "\n")
    except OSError as e:
        if e.errno not in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES):  # else what is there is none of guardkit's
            raise
        raise unreadable(e, path) from None


def clean(folder: Path, keep: Collection[str]) -> list[str]:
    """Remove step folders that are not in `keep` and the hidden leftovers of killed runs, and nothing that is no step's. Returns their names.

    Raises:
        InputError: a process is working in the folder, a manifest cannot be read, or there is something in a step's folder that guardkit did not
            write; no step has been removed then.
    """
    with _locked(folder):
        gone = _sweep(folder)
        for name in gone:
            if (step := name[1:].removesuffix(".guardkit")) not in keep:
                drop_kept(folder / step)
        going = [done for done in step_folders(folder) if done.step not in keep]
        for done in going:
            check_own(done.path, STEP)
        for done in going:
            remove_folder(done.path, STEP)
            gone.append(done.step)
    return gone
