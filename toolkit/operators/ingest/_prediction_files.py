"""Which files of predictions there are, and which draw of which guard each holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.common.errors import InputError
from toolkit.common.paths import Roots
from toolkit.sources import expand_files


@dataclass(frozen=True)
class Part:
    """One file of what a guard wrote.

    Attributes:
        number: of the file, among all.
        guard: its name.
        draw: which of the guard's draws it holds, where it does not say so itself.
        path: of the file.
        name: by which it is in the step's identity.
    """

    number: int
    guard: str
    draw: int
    path: Path
    name: str


def parts_of(files: Mapping[str, str | Sequence[str]], roots: Roots) -> list[Part]:
    """The files of each guard in order. A file is a draw, and so are each item of a list and each file that a pattern fits; all files of a folder
    are one draw.

    Raises:
        InputError: no such file; one that is there twice.
    """
    out: list[Part] = []
    seen: dict[Path, str] = {}
    for guard, given in files.items():
        draws = _draws(given, roots)
        alone = len(draws) == 1
        for draw, (paths, folder) in enumerate(draws):
            for i, path in enumerate(paths):
                if (other := seen.setdefault(path.resolve(), guard)) != guard:
                    raise InputError(f"{other!r} and {guard!r} are the same file: one guard would count twice", where=str(path))
                if any(p.guard == guard and p.path.resolve() == path.resolve() for p in out):
                    raise InputError(f"the same file twice for {guard!r}: one draw would count twice", where=str(path))
                below = f"{i:05d}/{path.name}" if folder else ""
                out.append(Part(len(out), guard, draw, path, "/".join(filter(None, (guard, "" if alone else f"draw-{draw}", below)))))
    return out


def _draws(given: str | Sequence[str], roots: Roots) -> list[tuple[list[Path], bool]]:
    """For each draw its files, and whether they are those of a folder."""
    out: list[tuple[list[Path], bool]] = []
    for item in [given] if isinstance(given, str) else given:
        folder = roots.first(item, Path.is_dir) is not None
        found = expand_files([item], roots)
        out += [(found, True)] if folder else [([path], False) for path in found]
    return out


def check_copies(parts: Sequence[Part], digests: Mapping[str, str]) -> None:
    """Refuse (InputError) two draws of a guard whose files are equal byte by byte."""
    known: dict[tuple[str, str], Part] = {}
    for part in parts:
        first = known.setdefault((part.guard, digests[part.name]), part)
        if first.draw != part.draw:
            hint = "name each draw once; what is drawn at temperature 0 is one draw"
            message = f"two draws of {part.guard!r} are the same, byte by byte: {first.path.name} and {part.path.name}"
            raise InputError(message, where=str(part.path), hint=hint)


def equal_files(parts: Sequence[Part], digests: Mapping[str, str]) -> list[str]:
    """In words, which files of different guards are equal byte by byte: a copy under another name would count as a guard of its own."""
    first: dict[str, Part] = {}
    out = []
    for part in parts:
        other = first.setdefault(digests[part.name], part)
        if other.guard != part.guard:
            out.append(f"a file of {other.guard!r} and one of {part.guard!r} are equal, byte by byte: {other.path.name} and {part.path.name}")
    return out
