"""Where a user's paths enter, and the one place that looks relative names up.

A path is made absolute once, at the door (`at_door`), from the working folder of that moment: from there on neither a later change of the working
folder nor a library's own reading of names (``s3:x``, ``file:x``, ``~``) changes which file is meant. ``~`` and ``~name`` are home folders wherever
a path is given. A URL is no path: it is refused, never taken for a folder called ``https:``.

A name that is in a file (a recipe, say) is looked up in `Roots`: the working folder as it was when that file was read, then the folder of
the file. What was found is kept in `Roots.read`, so that no output takes its place (`toolkit.common.outputs`).

A name that is in rows of data (a picture's, say) is not trusted, and leads nowhere but into the one folder that it is meant for: it is
relative, with ``/`` between its parts, and is what it says (`below_fault`); and where links are in the way, the file that they lead to is in that
folder, too (`open_below`).

A model is named by a folder or by its id on the hub: see `toolkit.common.models.model_folder`.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from toolkit.common.errors import InputError, nearest, short_path

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one slash: a `Path` has made one of two
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # ``file:x``, ``data:…``, a drive
_MAGIC = re.compile(r"[*?\[]")


def at_door(path: str | Path) -> Path:
    """A user's path as the absolute one that is meant; links are not followed, nothing need be there.

    Raises:
        InputError: no path at all, a URL, a home folder that nobody knows.
    """
    return here() / _spelled(path)


def here() -> Path:
    """The working folder.

    Raises:
        InputError: it has been removed.
    """
    try:
        return Path.cwd()
    except OSError:
        raise InputError("the working folder is not there any more", hint="change to one that is") from None


def is_there(path: Path, test: Callable[[Path], bool] = Path.exists) -> bool:
    """Whether `test` holds; a path that no system call takes, or that may not be looked at, is not there."""
    try:
        return test(path)
    except (OSError, ValueError):
        return False


def near_file(path: Path) -> str | None:
    """``did you mean …?`` for a file or folder that is not there, by the names beside it; an equal suffix makes no likeness."""
    try:
        names = [p.name for p in islice(path.parent.iterdir(), 10_000) if not p.name.startswith(".")]
    except (OSError, ValueError):
        return None
    stem, stems = path.stem, {Path(n).stem for n in names}
    like = {stem} if stem in stems else {s for s in stems if nearest(stem, [s]) is not None}
    return nearest(path.name, (n for n in names if Path(n).stem in like))


def near_folder(path: Path) -> str | None:
    """The same for a folder; None where it is there."""
    return None if is_there(path, Path.is_dir) else near_file(path)


@dataclass(frozen=True)
class Roots:
    """The folders that a relative name is looked up in, absolute, the first one first.

    Attributes:
        folders: usually the working folder, then that of the file in which the name stands. The first also holds the user's ``schemas`` and
            ``recipes``.
        read: every file and folder that was found for a name so far.
    """

    folders: tuple[Path, ...]
    read: dict[Path, None] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, beside: Path | Roots | None) -> Roots:
        """The working folder as it is now, then `beside`; roots stay what they are."""
        if isinstance(beside, Roots):
            return beside
        return cls(tuple(dict.fromkeys((here(), *([at_door(beside)] if beside is not None else [])))))

    def first(self, name: str | Path, test: Callable[[Path], bool] = Path.exists) -> Path | None:
        """The first path of that name for which `test` holds.

        Raises:
            InputError: as `at_door`.
        """
        spelled = _spelled(name)
        return next((path for folder in self.folders if is_there(path := folder / spelled, test)), None)

    def file(self, name: str | Path) -> Path:
        """The file of that name.

        Raises:
            InputError: there is none.
        """
        found = self.first(name, Path.is_file)
        if found is None:
            path = _spelled(name)
            looked = None if path.is_absolute() else f"looked in: {', '.join(map(short_path, self.folders))}"
            near = next((hint for folder in self.folders if (hint := near_file(folder / path)) is not None), None)
            raise InputError("no such file", where=str(name), hint="; ".join(filter(None, (near, looked))) or None)
        self.saw(found)
        return found

    def saw(self, *paths: Path) -> None:
        """Note what is read."""
        self.read.update(dict.fromkeys(paths))

    def matching(self, pattern: str | Path) -> list[Path] | None:
        """The files that a glob pattern stands for, sorted: those of the first folder that has any; None for a name that is no pattern."""
        spelled = _spelled(pattern)
        if not _MAGIC.search(str(spelled)):
            return None
        for folder in self.folders:
            root, rest = (Path("/"), spelled.relative_to("/")) if spelled.is_absolute() else (folder, spelled)
            if hits := sorted(p for p in root.glob(rest.as_posix()) if is_there(p, Path.is_file)):
                return hits
        return []

    def settled(self, name: str | Path) -> Path:
        """A name or pattern of data files as an absolute one that stands for the same files from any folder; nothing need be there."""
        spelled = _spelled(name)
        if (found := self.first(name)) is not None:
            return found
        for folder in self.folders if _MAGIC.search(str(spelled)) and not spelled.is_absolute() else ():
            if Roots((folder,)).matching(spelled):
                return Path(glob.escape(str(folder))) / spelled
        return self.folders[0] / spelled


Beside = Path | Roots | None
"""Where a relative name is looked up besides the working folder: a folder, or `Roots` that were settled before."""


def below_fault(name: str) -> str | None:
    """Why no name in data may stand for a file below a folder, in words; None where it may. Nothing is looked up.

    Whatever could mean another place, here or to another program, is refused: an empty name, a URL, an absolute one, a home folder, ``.`` and ``..``,
    empty parts, backslashes, and what is not printable. An escape (``%2e``) is the letters that it is written with.
    """
    faults = (
        (not name, "is empty"),
        (not name.isprintable(), "holds a character that cannot be printed"),
        (_SCHEME.match(name) is not None, "is a URL: only files of the dataset's own folder can be named"),
        (name[:1] in ("/", "~"), "is not relative to the dataset's folder"),
        ("\\" in name, "holds a backslash: parts are joined by /"),
        (any(part in ("", ".", "..") for part in name.split("/")), "has a part that is empty, . or .."),
    )
    return next((words for found, words in faults if found), None)


def open_below(folder: Path, name: str) -> BinaryIO:
    """Open the file of a name in data for reading.

    Args:
        folder: what the name is relative to.
        name: as `below_fault` lets it pass.

    Raises:
        InputError: it may not stand for a file, leads out of the folder, is none there, or cannot be read; the message goes on from the name.
    """
    if (fault := below_fault(name)) is not None:
        raise InputError(fault, where=name)
    try:
        real = _without_links(folder, name)
        if real is None:
            root = folder.resolve(strict=True)
            target = (root / name).resolve(strict=True)
            if not target.is_relative_to(root):
                raise InputError("is a link that leads out of the dataset's folder", where=name)
            real = str(target)
        file = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise InputError(f"is not there, in {short_path(folder)}", where=name) from None
    except (OSError, ValueError, RuntimeError) as e:  # ValueError: a name that no system call takes; RuntimeError: links in a circle
        raise InputError(f"cannot be read: {getattr(e, 'strerror', None) or e}", where=name) from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InputError("is not a regular file", where=name)
    return os.fdopen(file, "rb")


def _without_links(folder: Path, name: str) -> str | None:
    """The path of a name below a folder; None where one of the name's parts is a link. Quicker than resolving all of it, of many files."""
    path = os.fspath(folder)
    for part in name.split("/"):
        path = f"{path}/{part}"
        if stat.S_ISLNK(os.lstat(path).st_mode):
            return None
    return path


def _spelled(path: str | Path) -> Path:
    """A path with its home folder spelt out."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"a path is a text or a Path, not {type(path).__name__}")
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InputError("no path", where=repr(text))
    if _URL.match(text):
        raise InputError("a URL where a path of this machine is expected", where=text, hint="a folder of that name is meant by its absolute path")
    try:
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError:
        raise InputError("nobody here has that home folder", where=text) from None
