"""No output takes the place of what the same command reads, or of what guardkit keeps.

Kept are the journal's folder with its contents, the folders of runs with their steps, shards, exports and models: nothing is written into one
but by the command whose folder it is. Files and folders are distinguished by device and inode, and by their resolved names where they are not there
yet: a link, a hard link or another spelling of a path makes no difference. `check_output` is called at the doors (`toolkit.api`), before anything is
written; it raises `InputError` with both paths and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from pathlib import Path

from toolkit.common.errors import InputError, short_path
from toolkit.common.files import beside
from toolkit.common.manifests import read_json
from toolkit.common.models import TRAINED
from toolkit.common.paths import is_there

OVERLAY_SUFFIX = ".overlay.jsonl"
"""End of the name of an overlay (`toolkit.shards.read_overlay`), to which lines are added alone."""
_HINT = "name another place with {--output|output}"


def check_output(
    output: Path,
    *,
    reads: Iterable[Path] = (),
    suffixes: Collection[str] = (),
    journal: Path | None = None,
    whole: bool = False,
    own: str | None = None,
    hint: str = _HINT,
) -> None:
    """Refuse an output that would take the place of something that is read or kept.

    Args:
        output: file or folder to be written, absolute (`toolkit.common.paths.at_door`).
        reads: files and folders that the command reads; of a folder all that is in it is read.
        suffixes: of which its name must have one; none: any name will do.
        journal: the folder of the journal that the command uses.
        whole: the output is a folder that is replaced as a whole, so that nothing may be in it either.
        own: what guardkit itself may have made at `output` before, which this command goes on with or replaces: a key of `MARKS`, or ``overlay``.
        hint: what to do instead.

    Raises:
        InputError: it would; or no such name can be written.
    """
    real = _real(output)
    if not real.name:
        raise InputError("no name that could be written", where=str(output), hint=hint)
    if suffixes and output.suffix not in suffixes:
        raise InputError(f"the output must end in {', '.join(suffixes)}", where=str(output))
    if own != "overlay" and real.name.casefold().endswith(OVERLAY_SUFFIX) and is_there(real, Path.is_file):
        raise InputError("the output would take the place of an overlay, which only grows", where=str(output), hint=hint)
    at = _Places((real, beside(real), *real.parents))
    for path, what in [*((p, "what this command reads") for p in reads), *([(journal, "the journal")] if journal is not None else [])]:
        if at.has(path) or (whole and part_below(real, path) is not None) or _linked(real, path):
            raise InputError(f"the output would take the place of {what}: {short_path(path)}", where=str(output), hint=hint)
    for folder in (real, *real.parents):
        kind = marked(folder)
        if kind is not None and not (folder == real and kind == own):
            message = f"the output would be in a folder that guardkit keeps: {short_path(folder)} is {MARKS[kind][0]}"
            raise InputError(message, where=str(output), hint=hint)


def part_below(folder: Path, path: Path) -> str | None:
    """The name in `folder` below which `path` is, links resolved; None where it is elsewhere, or is the folder."""
    real, at = _real(path), _real(folder)
    there = _identity(at)
    parents = [real, *real.parents]
    for child, parent in pairwise(parents):
        if parent == at or (there is not None and _identity(parent) == there):
            return child.name
    return None


def marked(folder: Path) -> str | None:
    """What guardkit keeps in a folder, a key of `MARKS`; None where it has made none there."""
    return next((kind for kind, (_, test) in MARKS.items() if is_there(folder, test)), None)


def _says(name: str, *keys: str) -> Callable[[Path], bool]:
    """Whether a JSON file of a folder is an object with these keys, or, for ``made_by``, is guardkit's."""

    def test(folder: Path) -> bool:
        try:
            value = read_json(folder / name)
        except (InputError, OSError):
            return False
        return isinstance(value, dict) and all(value.get(k) == "guardkit" if k == "made_by" else k in value for k in keys)

    return test


MARKS: dict[str, tuple[str, Callable[[Path], bool]]] = {
    "journal": ("a journal's", lambda folder: (folder / "journal.sqlite").is_file()),
    "run": ("a run's", _says("run.json", "recipe")),
    "step": ("a step's of a run", _says("manifest.json", "step", "fingerprint")),
    "shards": ("one of shards", _says("manifest.json", "made_by", "files")),
    "export": ("an export's", _says("export.json", "made_by", "files")),
    "evaluation": ("an evaluation's", _says("evaluation.json", "guardkit", "kind", "rows")),
    "model": ("a model's", lambda folder: (folder / TRAINED).is_file()),
}
"""The kinds of folders that guardkit keeps: in words, and how one is known."""


class _Places:
    """Some paths, by their resolved names, and by device and inode where something is there."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._names = set(paths)
        self._there = {found for path in self._names if (found := _identity(path)) is not None}

    def has(self, path: Path) -> bool:
        """Whether a path is one of them."""
        return _real(path) in self._names or _identity(path) in self._there


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _linked(output: Path, folder: Path) -> bool:
    """Whether an output is another name (a hard link) of a file that is in a folder."""
    if not is_there(output, Path.is_file) or output.stat().st_nlink < 2 or not is_there(folder, Path.is_dir):
        return False
    return any(is_there(p, output.samefile) for p in folder.rglob("*"))
