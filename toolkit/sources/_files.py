"""Which local files a source is read from, and which part each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from toolkit.common.errors import InputError, Missing, did_you_mean, short_path
from toolkit.common.outputs import marked
from toolkit.common.paths import Beside, Roots
from toolkit.common.resources import shipped
from toolkit.sources._formats import known_suffix
from toolkit.sources._source_definition import Part, Source


@dataclass(frozen=True)
class SourceFile:
    """One file; `part` is the name of its part, None where the source has no parts."""

    path: Path
    part: str | None = None


def source_files(
    source: Source, files: Sequence[str | Path] | None = None, *, parts: Sequence[str] | None = None, beside: Beside = None
) -> list[SourceFile]:
    """The files that `read_source` will read, in the order in which it reads them.

    Args:
        source: the source.
        files: files, folders (searched with the source's own patterns) or glob patterns; None: the files that ship with guardkit.
        parts: names of the parts to read; None: all.
        beside: folder that a relative path is also looked up from (that of the recipe).

    Returns:
        Empty only for a hub set without `files`.

    Raises:
        InputError: a file or part that is not there.
        Missing: the source has neither hub nor bundled files, and none were given.
    """
    names = source.part_names(parts) if source.parts else []
    if parts and not source.parts:
        raise InputError(f"source {source.name!r} has no parts")
    if files is None:
        if source.bundled is None:
            if source.hub is not None:
                return []
            raise Missing(f"source {source.name!r} needs its files", hint=source.obtain or f"of the names {', '.join(source.files)}")
        files = [_bundled(source.bundled, beside)]
    found: list[SourceFile] = []
    roots = Roots.of(beside)
    for item in files:
        found += _expand(source, item, roots)
    roots.saw(*(f.path for f in found))
    once = {f.path.resolve(): f for f in reversed(found)}
    wanted = [f for f in reversed(once.values()) if f.part is None or f.part in names]
    if not wanted:
        raise InputError(f"no files of source {source.name!r}" + (f" for the parts {', '.join(names)}" if parts else ""))
    return sorted(wanted, key=lambda f: names.index(f.part)) if source.parts else wanted  # type: ignore[arg-type]


def _bundled(folder: str, beside: Beside) -> Path:
    own = Roots.of(beside).folders[0] / "recipes" / folder
    return own if own.is_dir() else shipped("recipes") / folder


def expand_files(items: Sequence[str | Path], beside: Beside = None) -> list[Path]:
    """The files that some names stand for: files, folders (all files in them whose format is known; of a step and of shards those of its rows) or
    glob patterns; each once, in order.

    Raises:
        InputError: no such file, or no file in a folder; a run, whose steps each have rows.
    """
    out: list[Path] = []
    roots = Roots.of(beside)
    for item in items:
        found = _resolve(item, roots)
        if isinstance(found, Path):
            folder, found = found, _inside(found)
            if not found:
                raise InputError("no parquet, JSON or CSV file in this folder", where=str(folder))
        out += found
    roots.saw(*out)
    return list({p.resolve(): p for p in reversed(out)}.values())[::-1]


def _inside(folder: Path) -> list[Path]:
    """The files in a folder; of one that guardkit keeps, those that hold its rows."""
    kind = marked(folder)
    if kind == "run":
        steps = sorted(p.parent.parent.name for p in folder.glob("*/rows/rows.parquet"))
        hint = f"name a step whose rows are meant: {', '.join(short_path(folder / s) for s in steps)}"
        raise InputError("a run's folder, and each of its steps has rows", where=str(folder), hint=hint)
    if kind == "step":
        own = folder / "rows" / "rows.parquet"
        return [own] if own.is_file() else sorted((folder / "shards" / "data").rglob("*.parquet"))
    if kind == "shards":
        return sorted((folder / "data").rglob("*.parquet"))
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and known_suffix(p)]


def _expand(source: Source, item: str | Path, roots: Roots) -> list[SourceFile]:
    found = _resolve(item, roots)
    if isinstance(found, Path):
        return [SourceFile(found)] if source.format == "files" else _from_folder(source, found)
    return [_named(source, p) for p in found]


def _resolve(item: str | Path, roots: Roots) -> Path | list[Path]:
    """A folder, or the files that a name or pattern stands for."""
    if (path := roots.first(item, lambda p: p.is_dir() or p.is_file())) is not None:
        return path if path.is_dir() else [path]
    if (hits := roots.matching(item)) is not None:
        if hits:
            return hits
        raise InputError(f"no file matches {short_path(item)!r}")
    parent = Path(item).parent
    folder = roots.first(parent, Path.is_dir)
    hint = did_you_mean(Path(item).name, (p.name for p in folder.iterdir())) if folder else f"no such folder: {short_path(parent)}"
    raise InputError("no such file", where=str(item), hint=hint)


def _from_folder(source: Source, folder: Path) -> list[SourceFile]:
    if source.parts:
        found = [SourceFile(p, name) for name, part in source.parts.items() for p in _matching(folder, part.files)]
    else:
        found = next(([SourceFile(p) for p in hits] for pattern in source.files if (hits := _matching(folder, [pattern]))), [])
    if not found:
        patterns = [p for part in source.parts.values() for p in part.files] if source.parts else source.files
        hint = f"looked for {', '.join(patterns) or 'nothing: the source declares no file names'}; name the files one by one"
        raise InputError(f"no file of source {source.name!r} in this folder", where=str(folder), hint=hint)
    return found


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(p for pattern in patterns for p in folder.rglob(pattern) if p.is_file())


def _named(source: Source, path: Path) -> SourceFile:
    if not source.parts:
        return SourceFile(path)
    for name, part in source.parts.items():
        if _is_of(part, path):
            return SourceFile(path, name)
    known = [p for part in source.parts.values() for p in part.files]
    raise InputError(f"source {source.name!r} has no part with a file of this name", where=str(path), hint=did_you_mean(path.name, known))


def _is_of(part: Part, path: Path) -> bool:
    return any(fnmatchcase(path.name, pattern) for pattern in part.files)


def missing_columns(source: Source, required: Sequence[str], there: frozenset[str], where: str, hint: str | None = None) -> list[InputError]:
    """One error for each column that the source needs and that is not there; `hint`: what to do about it, else the nearest name."""
    return [
        InputError(f"source {source.name!r} needs the column {c!r}, which is not there", where=where, hint=hint or did_you_mean(c, there))
        for c in required
        if c not in there
    ]
