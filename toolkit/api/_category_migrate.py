"""A category renamed, merged or removed, in a taxonomy's file and, where that is asked for, in the shards that use it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, InputErrors, did_you_mean, short_path
from toolkit.common.files import write_atomic
from toolkit.common.paths import at_door
from toolkit.common.resources import find, names, shipped, workspace
from toolkit.common.yamlfile import load_yaml, read_text
from toolkit.report import Figures, Lines
from toolkit.shards import MANIFEST, read_manifest, rewrite_categories, shard_rows, verify
from toolkit.shards.exporters import shard_folder
from toolkit.taxonomy import change_category, load_taxonomy, parse_taxonomy


def migrate_category(
    name: str,
    *,
    to: str | None = None,
    drop: bool = False,
    taxonomy: str | Path | None = None,
    shards: Iterable[str | Path] = (),
    rewrite: bool = False,
    output: str | Path | None = None,
) -> Figures:
    """Rename a category of your own, merge it into another one, or remove it. Shards that use it are named, and nothing is changed, unless `rewrite`.

    Args:
        name: of the category, in a file of yours.
        to: a new name, or another category that it becomes a part of.
        drop: remove it; rows keep their other categories.
        taxonomy: where it is; without it one in ``schemas/taxonomies``.
        shards: folders to look at beside those of the workspace.
        rewrite: write the shards that use it anew, with the column `categories` changed; those of before stay as they are.
        output: folder for these (default: ``<name>-to-<to>`` or ``without-<name>`` in the workspace).

    Returns:
        ``file`` (with ``.removed`` behind it where nothing was left in it), ``category``, ``became`` (None for none), ``shards`` (``folder``,
        ``rows``, ``new``: where it was written anew) and ``runs``, whose recipes name the category or its taxonomy and would build their rows anew.

    Raises:
        InputError: no such category, one of guardkit's own, or shards that use it; InputErrors: what would be wrong with the file.

    Example:
        >>> _ = toolkit.new_category("loud", definition="Wanting to rob others of their sleep by much noise.")
        >>> found = toolkit.migrate_category("loud", to="late-noise")
        >>> found["became"], toolkit.load_taxonomy("loud").category("loud").name
        ('late-noise', 'late-noise')
    """
    if drop == (to is not None):
        raise InputError("nothing says what becomes of the category", hint="{--to NAME|to=NAME} for another name or category, or {--drop|drop=True}")
    path, own = _file_with(name, taxonomy)
    text, whole = read_text(path), load_taxonomy(path)
    old = whole.category(name)
    words = {old.name, *old.aliases}
    taken = to in whole.scheme(whole.name)
    changed = change_category(text, path, old.name, to, base=taken and to not in own)
    after = parse_taxonomy(changed, path) if changed else whole
    became = None if to is None else after.category(to).name
    used = Lines(_using(sorted({*_shards_of(workspace()), *(shard_folder(at_door(s)) for s in shards)}), words))
    if used and not rewrite:
        hint = "{--rewrite|rewrite=True} writes these rows anew beside them, with the change; nothing was changed yet"
        raise InputErrors([InputError(f"{line['rows']:,} rows are of {name!r}", where=line["folder"], hint=hint) for line in used])
    target = workspace() / (f"{old.name}-to-{became}" if became else f"without-{old.name}") if output is None else at_door(output)
    places = _places(target, [line["folder"] for line in used])
    for line, place in zip(used, places, strict=True):  # all are looked at before the first is written
        verify(at_door(line["folder"]))
        if place.exists():
            raise InputError("is there already", where=short_path(place), hint="give another folder with {--output|output}, or move it")
    for line, place in zip(used, places, strict=True):
        rewrite_categories(at_door(line["folder"]), place, dict.fromkeys(sorted(words), became))
        line["new"] = short_path(place)
    if changed:
        write_atomic(path, changed)
    else:  # nothing would be left in it
        path = path.rename(path.with_name(f"{path.name}.removed"))
    return Figures({"file": short_path(path), "category": old.name, "became": became, "shards": used, "runs": _runs(words | {whole.name})})


def _file_with(name: str, taxonomy: str | Path | None) -> tuple[Path, set[str]]:
    """The user's file that has a category, and the names and aliases of all categories in it."""
    own: dict[str, Path] = {}
    for each in names("taxonomies") if taxonomy is None else [taxonomy]:
        path = find("taxonomies", str(each))
        words = {word for c in load_yaml(path).data["categories"] for word in (c["name"], *(c.get("aliases") or ()))}
        if name in words and shipped("schemas") in path.resolve().parents:
            hint = "a file of your own that extends it has your own categories"
            raise InputError(f"{name!r} is a category of guardkit's, which stays as it is", where=short_path(path), hint=hint)
        if name in words:
            return path, words
        own |= dict.fromkeys(words, path)
    raise InputError(f"no file of yours has a category {name!r}", hint=did_you_mean(name, own))


def _shards_of(folder: Path) -> Iterator[Path]:
    """All shards in a workspace."""
    for path in folder.rglob(MANIFEST):
        if (path.parent / "data").is_dir() and (path.parent / "README.md").is_file():
            yield path.parent


def _using(folders: Iterable[Path], words: set[str]) -> Iterator[dict[str, Any]]:
    """The shards that have rows of a category by one of its names."""
    import polars as pl

    for folder in folders:
        manifest = read_manifest(folder)
        if words.isdisjoint(line["category"] for line in manifest.get("tables", {}).get("categories", [])):
            continue
        of = pl.col("categories").list.eval(pl.element().is_in(words)).list.any()
        rows = sum(block.select(of.sum()).item() for block in shard_rows(folder, manifest, ["categories"]))
        yield {"folder": short_path(folder), "rows": rows, "new": None}


def _places(target: Path, folders: Iterable[str]) -> list[Path]:
    """For each folder of shards a folder of its own below another one, called by the run and the step."""
    out: list[Path] = []
    for folder in folders:
        parts = [part for part in Path(folder).parts[-3:] if part not in ("shards", "outputs", "/")]
        name = "-".join(parts) or "shards"
        place = target / name
        out.append(place if place not in out else target / f"{name}-{len(out)}")
    return out


def _runs(words: set[str]) -> list[str]:
    """Runs whose recipe names one of some words: what they build by the taxonomy would be built anew."""
    named = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(words)))})(?![\w-])")
    return [short_path(p.parent) for p in sorted(workspace().glob("*/recipe.yaml")) if named.search(read_text(p))]
