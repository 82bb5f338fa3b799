"""Folders that appear whole or not at all, and that take the place of nothing but guardkit's own.

A folder is replaced or removed only if guardkit made it (its manifest says so: `Kind`) and it holds nothing else: a file that guardkit did not write,
or one that was changed since, is named and refused before any work begins. What somebody puts there while the work lasts is found before the swap;
the new folder then takes another name and nothing is lost.

All work goes on in ``.<name>.guardkit`` beside the folder, which holds

    lock     the mark that the folder is guardkit's, held while a process works there
    new      what is being made         work    a trainer's caches and the like
    old      what is being replaced     gone    what is being removed
    kept     what a next attempt goes on from (`kept_beside`)

and is gone when the work is done. A hidden folder without that mark is the user's: it is neither used nor removed. After a kill at any moment the
next writer, or `sweep`, finishes or undoes the swap: ``old`` without the folder itself means that the new one was whole and on disk.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from toolkit.common.errors import FULL, InputError, short_path
from toolkit.common.files import FILE, FOLDER, beside, fsync_path, fsync_tree, make_folder, mode_of, sha256_file
from toolkit.common.locks import Busy, Lock, is_lock

_log = logging.getLogger(__name__)
_LOCK = "lock"
_KEPT = "kept"
_SHOWN = 5
"""Files that a refusal names."""
_LITTER = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|\.nfs[0-9a-f]{16,}")
"""What systems leave in any folder that somebody looks at, or in which a file was open when it was removed: nobody's."""


@dataclass(frozen=True)
class Kind:
    """A kind of folder that guardkit makes.

    Args:
        name: what it is, in words.
        wrote: the files that guardkit wrote into a folder, as its manifest says: path below it to sha256, or to None where any bytes will do; None
            where guardkit made no such folder.
        hint: where else to write, for a refusal.
        flag: the option that allows changed files to be lost; empty for none.
    """

    name: str
    wrote: Callable[[Path], Mapping[str, str | None] | None]
    hint: str = "move it elsewhere, or delete it"
    flag: str = ""


def files_below(folder: Path) -> set[str]:
    """Paths of all that is below a folder and is no folder itself."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}


def litter(folder: Path, names: Iterable[str]) -> set[str]:
    """Those of the files of a folder (`files_below`) that no person and no program of theirs put there."""
    return {n for n in names if _LITTER.fullmatch(Path(n).name) and not (folder / n).is_symlink()}


def check_own(folder: Path, kind: Kind, *, overwrite: bool = False, digests: bool = True, where: str | None = None) -> None:
    """Refuse a folder that may not be replaced. One that is not there or has no file in it may be.

    Args:
        folder: to be replaced or removed.
        kind: what guardkit would have made there.
        overwrite: files of guardkit's that were changed may be lost.
        digests: read the files, to see whether they were changed.
        where: for the error; default: the folder.

    Raises:
        InputError: a link, a file, a folder that guardkit did not make, or one with something else in it, or something that was changed.
    """
    named, where = f"{short_path(folder)}: " if where else "", where or str(folder)
    if folder.is_symlink():
        hint = "remove the link (what it points to stays), or name that folder itself"
        raise InputError(f"{named}a link where a folder is to be written", where=where, hint=hint)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{named}a file where a folder is to be written", where=where, hint=kind.hint)
    there = files_below(folder)
    if not (there := there - litter(folder, there)):
        return
    wrote = kind.wrote(folder)
    if wrote is None:
        raise InputError(f"{named}not empty, and no {kind.name} that guardkit made", where=where, hint=kind.hint)
    if strange := sorted(there - wrote.keys()):
        hint = f"move what is yours elsewhere, or {kind.hint}"
        raise InputError(f"{named}something else is in this {kind.name}: {_some(strange)}", where=where, hint=hint)
    if digests and not overwrite and (changed := sorted(n for n in there if not _as_written(folder / n, wrote[n]))):
        flag = f", or say {kind.flag}" if kind.flag else ""
        hint = f"{kind.hint}{flag}: these changes would be lost"
        raise InputError(f"{named}files of this {kind.name} were changed since guardkit wrote them: {_some(changed)}", where=where, hint=hint)


def _as_written(path: Path, sha256: str | None) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    try:
        return sha256 is None or sha256_file(path) == sha256
    except OSError:  # what cannot be read is not known to be ours
        return False


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"


@contextmanager
def new_folder(final: Path, kind: Kind, *, overwrite: bool = False) -> Iterator[Path]:
    """A fresh hidden folder that replaces the folder `final` when the block ends without an error; with one, it is removed.

    Args:
        final: the folder.
        kind: what it is, and what may be replaced.
        overwrite: as for `check_own`.

    Raises:
        InputError: as `check_own`; another process works on it; a folder of the user's has the hidden name.
    """
    with _working(final) as box:
        before = _standing(final)
        check_own(final, kind, overwrite=overwrite)
        box.new.mkdir(mode=FOLDER)
        yield box.new
        _set_modes(box.new, final)
        fsync_tree(box.path)
        fsync_path(final.parent)
        if changed := sorted({n for n, _ in before.items() ^ _standing(final).items()}):
            raise _changed(box.new, final, changed)
        if final.exists():
            final.rename(box.old)
        box.new.rename(final)
        fsync_path(final.parent)
        shutil.rmtree(box.kept, ignore_errors=True)


def work_beside(new: Path) -> Path:
    """A folder for caches and the like beside one that `new_folder` gave; removed with it, whatever happens."""
    work = new.parent / "work"
    work.mkdir(mode=FOLDER)
    return work


def kept_beside(new: Path) -> Path:
    """A folder beside one that `new_folder` gave that stays when the block ends with an error, or by a kill, and goes once the new one is there."""
    kept = new.parent / _KEPT
    kept.mkdir(mode=FOLDER, exist_ok=True)
    return kept


def kept_of(final: Path) -> Path:
    """Where that folder is; it need not be there."""
    return beside(final) / _KEPT


def drop_kept(final: Path) -> None:
    """Remove that folder, where there is one and nobody works there."""
    if kept_of(final).exists():
        with suppress(Busy), _working(final) as box:
            shutil.rmtree(box.kept, ignore_errors=True)


def remove_folder(folder: Path, kind: Kind, *, overwrite: bool = False) -> None:
    """Remove a folder of guardkit's: at once for whoever looks, and nobody's own with it.

    Args:
        folder: to be removed.
        kind: what it is.
        overwrite: as for `check_own`.

    Raises:
        InputError: as `new_folder`.
    """
    with _working(folder) as box:
        check_own(folder, kind, overwrite=overwrite)
        if folder.exists():
            folder.rename(box.gone)
            fsync_path(folder.parent)


def recover_folder(final: Path) -> None:
    """Clear up what a crash inside `new_folder` or `remove_folder` left.

    Afterwards `final` is the whole old folder or the whole new one; or absent, where there was no old one.

    Raises:
        InputError: as `new_folder`.
    """
    if beside(final).exists():
        with _working(final):
            pass


def sweep(folder: Path) -> list[str]:
    """`recover_folder` for all that is in `folder`, but what another process works on; the names of the leftovers."""
    left = []
    for path in sorted(folder.glob(".?*.guardkit")):
        with suppress(Busy, FileNotFoundError):  # another process works there, or has just ended
            if _is_box(path):
                recover_folder(path.with_name(path.name[1:].removesuffix(".guardkit")))
                left.append(path.name)
    return left


class _Box:
    """The hidden folder of one that is being made."""

    def __init__(self, final: Path) -> None:
        self.final, self.path = final, beside(final)
        self.new, self.old, self.work, self.gone, self.kept = (self.path / n for n in ("new", "old", "work", "gone", _KEPT))
        try:
            make_folder(final.parent)
            self._lock = self._take()
        except OSError as e:
            if e.errno in FULL:
                raise
            raise InputError(f"the folder cannot be written: {e.strerror}", where=str(final)) from None

    def _take(self) -> Lock:
        while True:
            with suppress(FileExistsError):
                self.path.mkdir(mode=FOLDER)
            try:
                if not _is_box(self.path):
                    raise InputError("a file or folder with the name of guardkit's own is in the way", where=str(self.path), hint="move it elsewhere")
                return Lock(self.path / _LOCK, short_path(self.final))
            except FileNotFoundError:  # who worked there has just ended and taken it away
                continue

    def recover(self) -> None:
        """Finish or undo what was begun here, and drop what is left of it."""
        old, new = self.old.exists(), self.new.exists()
        if old and new and os.path.lexists(self.final):
            before, made = short_path(self.old), short_path(self.new)
            message = f"it was put here while guardkit replaced what was here: {before} is what was here before, {made} the new folder"
            raise InputError(message, where=str(self.final), hint="move it elsewhere and do the same again")
        if old and not self.final.exists():
            (self.new if new else self.old).rename(self.final)
            fsync_path(self.final.parent)
        for path in (self.old, self.new, self.work, self.gone):
            shutil.rmtree(path, ignore_errors=True)
            if os.path.lexists(path):
                _log.warning("%s, which nobody needs, could not be removed; the next command that writes there tries again", short_path(path))
        with suppress(OSError):
            self.kept.rmdir()  # where nothing is kept

    def close(self) -> None:
        """Leave the folder, and nothing of it where nothing else is in it."""
        if _names(self.path) == [_LOCK]:
            self._lock.remove()
            with suppress(OSError):
                self.path.rmdir()
        else:
            self._lock.release()


@contextmanager
def _working(final: Path) -> Iterator[_Box]:
    box = _Box(final)
    try:
        box.recover()
        try:
            yield box
        finally:
            box.recover()
    finally:
        box.close()


def _is_box(path: Path) -> bool:
    """Whether a folder is one that guardkit works in: it has the mark, or a kill came before it had, or after it was taken away."""
    if path.is_symlink() or not path.is_dir():
        return False
    names, lock = _names(path), path / _LOCK
    return not names or is_lock(lock) or (names == [_LOCK] and not lock.is_symlink() and lock.stat().st_size == 0)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _standing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What is in a folder, for seeing whether it is still so."""
    stats = {name: (folder / name).lstat() for name in (files_below(folder) if folder.is_dir() else ())}
    return {name: (s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats.items()}


def _changed(new: Path, final: Path, names: list[str]) -> InputError:
    """The error for what came in the way during the work; `new` gets a name beside `final`."""
    aside = next(p for n in count(2) if not os.path.lexists(p := final.with_name(f"{final.name}-{n}")))
    new.rename(aside)
    message = f"{_some(names)} changed or came there while guardkit worked; what it made is in {short_path(aside)}"
    return InputError(message, where=str(final), hint="move one of the two elsewhere")


def _set_modes(new: Path, old: Path) -> None:
    """The modes of what is replaced, and for what is new the owner's alone (`toolkit.common.files`), whichever library wrote it. A file that has
    another name, too, is another folder's as well, and stays as it is.

    None of the files where all have theirs, so that what was digested as it was written need not be digested again; else all, in the order in which
    they were written: a manifest stays the one that was changed last.
    """
    there = {path: path.lstat() for name in files_below(new) if not (path := new / name).is_symlink()}
    files = {path: mode_of(old / path.relative_to(new), FILE) for path, found in there.items() if found.st_nlink == 1}
    if any(stat.S_IMODE(path.stat().st_mode) != mode for path, mode in files.items()):
        for path in sorted(files, key=lambda p: (p.stat().st_mtime_ns, p.stat().st_ctime_ns)):
            path.chmod(files[path])
    for root in (new, *(p for p in new.rglob("*") if p.is_dir() and not p.is_symlink())):
        root.chmod(mode_of(old / root.relative_to(new), FOLDER))
