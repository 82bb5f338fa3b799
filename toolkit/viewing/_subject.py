"""What is looked at: a run, shards, a folder of files, or a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.paths import is_there, near_file
from toolkit.common.reading import identity
from toolkit.common.resources import near_run
from toolkit.pipeline import StepFolder, is_run, recipe_steps, run_of, step_folders
from toolkit.shards import MANIFEST, read_manifest
from toolkit.viewing._other_files import ENDINGS, as_parquet, is_rows
from toolkit.viewing._paged_table import Table

T = TypeVar("T")
_SPLIT = re.compile(r"(.+)-\d{5}-of-\d{5}\.parquet")


@dataclass
class Subject:
    """What is viewed.

    Attributes:
        kind: what it is.
        place: its folder or file; of a step's folder the run's.
        step: the step that was named, if one was.
    """

    kind: Literal["run", "shards", "folder", "file"]
    place: Path
    step: str | None = None
    _kept: dict[str, tuple[object, Any]] = field(default_factory=dict, repr=False, compare=False)
    """What was read, by its name, with what would be different if it were to be read again."""

    @property
    def name(self) -> str:
        """Its name, for people."""
        return short_path(self.place)

    def tables(self) -> dict[str, list[Path]]:
        """The tables that are there now, by name, with their files: those of a run grow while it goes on."""
        if self.kind == "run":
            return {name: files for done in self.steps() for name, files in _of_step(done).items()}
        if self.kind == "shards":
            return _of_shards(self.place)
        if self.kind == "file":
            return {"rows": [self.place]}
        return {path.relative_to(self.place).as_posix(): [path] for path in _files(self.place)}

    def table(self, name: str) -> Table:
        """A table by its name.

        Raises:
            InputError: there is none of that name, or its files cannot be read.
        """
        there = self.tables()
        if name not in there:
            raise NoTable(f"no table called {name!r}", where=self.name, hint=did_you_mean(name, there) if there else "nothing has been built yet")
        files = there[name]
        version = [_identity(path) for path in files]
        return self._once(f"table {name}", version, lambda: Table(name, name, [as_parquet(path) for path in files]))

    def steps(self) -> list[StepFolder]:
        """The finished steps of a run, those that are there now."""
        version = [(path, _identity(path)) for path in sorted(self.place.glob("*/manifest.json"))]
        return self._once("steps", version, lambda: _in_order(self.place))

    def _once(self, name: str, version: object, read: Callable[[], T]) -> T:
        kept = self._kept.get(name)
        if kept is None or kept[0] != version:
            kept = self._kept[name] = (version, read())
        found: T = kept[1]
        return found


def _in_order(run: Path) -> list[StepFolder]:
    """The finished steps in the order of the recipe; those that it no longer has come last."""
    try:
        order = {step: i for i, step in enumerate(recipe_steps(run))}
    except InputError:  # changed since, or gone: what was built is there all the same
        order = {}
    return sorted(step_folders(run), key=lambda done: order.get(done.step, len(order)))


class NoTable(InputError):  # noqa: N818 (named by what is wrong)
    """A table that is not there."""


def subject_of(place: Path) -> Subject:
    """What a place holds.

    Raises:
        InputError: nothing that can be viewed.
    """
    if is_there(place, Path.is_file):
        if not is_rows(place):
            hint = "parquet, JSON Lines, JSON and CSV are shown, and folders of them"
            raise InputError("by its name this is no file of rows", where=str(place), hint=hint)
        found = Subject("file", place)
        found.table("rows")
        return found
    if not is_there(place, Path.is_dir):
        near = near_run(place) or near_file(place)
        raise InputError("no such file or folder", where=str(place), hint=near or "see `guardkit runs list`")
    if is_run(place):
        return Subject("run", place)
    for folder in (place, place / "shards"):
        if is_there(folder / MANIFEST, Path.is_file) and _is_shards(folder):
            read_manifest(folder)
            return Subject("shards", folder)
    try:
        run, step = run_of(place)
        return Subject("run", run, step)
    except InputError:
        if _files(place):
            return Subject("folder", place)
    raise InputError(
        "neither a run nor shards, and no file of rows is in it",
        where=str(place),
        hint="name a run's folder (see `guardkit runs list`), shards or a file",
    )


def _is_shards(folder: Path) -> bool:
    return is_there(folder / "data", Path.is_dir)


def _of_step(done: StepFolder) -> dict[str, list[Path]]:
    """Its rows under its own name, and what else it made in rows under that of the file."""
    out: dict[str, list[Path]] = {}
    for name in done.manifest["files"]:
        if not name.endswith(".parquet"):
            continue
        if name == "rows/rows.parquet":
            key = done.step
        elif found := _SPLIT.fullmatch(name):
            key = f"{done.step}/{found[1].replace('shards/data/', 'shards/')}"
        else:
            folder, _, file = name.removesuffix(".parquet").rpartition("/")
            key = f"{done.step}/{file if file == folder or not folder else f'{folder}/{file}'}"
        out.setdefault(key, []).append(done.path / name)
    return {key: sorted(out[key]) for key in sorted(out, key=lambda key: key != done.step)}


def _of_shards(folder: Path) -> dict[str, list[Path]]:
    files = read_manifest(folder)["files"]
    out: dict[str, list[Path]] = {}
    for name in sorted(files):
        out.setdefault(str(files[name]["split"]), []).append(folder / name)
    return out


def _identity(path: Path) -> object:
    try:
        return identity(path)
    except OSError:  # gone meanwhile: whoever reads it says so
        return None


_MOST = 500
"""Files of a folder that are shown."""
_LINES = tuple(e for e in ENDINGS if e != ".json")
"""Of a folder: its JSON documents are mostly about its rows, not of them."""


def _files(folder: Path) -> list[Path]:
    """Files of rows in a folder and those in it, without hidden ones."""
    found = (p for p in sorted(folder.rglob("*")) if is_rows(p, _LINES) and is_there(p, Path.is_file))
    return [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)][:_MOST]
