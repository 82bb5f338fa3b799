"""A beginning: a source and a recipe drafted from a file of labelled rows, or a shipped recipe to change. Nothing is ever overwritten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.api._recipes import check
from toolkit.api._results import Drafted
from toolkit.common.errors import GuardkitError, InputError, InputErrors, short_path
from toolkit.common.files import make_folder, open_own
from toolkit.common.outputs import MARKS, check_output, marked
from toolkit.common.paths import at_door, here, is_there
from toolkit.common.resources import find, find_recipe, names, recipe_names
from toolkit.common.yamlfile import load_yaml
from toolkit.guards import load_guard
from toolkit.report import Lines
from toolkit.sources import LabelSource, expand_files
from toolkit.sources.draft import Draft, draft_source, draft_yaml, flow
from toolkit.taxonomy import load_taxonomy


def init(
    file: str | Path | None = None,
    *,
    recipe: str | None = None,
    to: str | Path | None = None,
    name: str | None = None,
    guard: str | Path = "guardreasoner",
    taxonomy: str | Path = "guardkit",
    labelled_by: LabelSource | None = None,
) -> Drafted:
    """Draft a source and a recipe by looking at a file, or copy a shipped recipe out to be changed.

    What was guessed and what could not be decided is in the source's file beside its place, with the candidates. The recipe runs as it is, with
    the embedded teacher. Nothing is overwritten.

    Args:
        file: labelled rows: CSV, TSV, JSON Lines, JSON or parquet, or a folder of such files with the same columns.
        recipe: instead of a file: the name of a recipe (`list_recipes`) to be copied, with the schemas beside it.
        to: of a draft the folder (default: the working folder), of a copy its file or folder.
        name: of the source and the recipe; default: after the file.
        guard, taxonomy: by name or file.
        labelled_by: who gave the labels: human, vote, inferred, consensus, reviewed or written; without it `inferred` is there, to be looked at.

    Returns:
        ``recipe`` and ``source`` (the files written; no source with a copy), ``rows`` looked at and ``kept`` of them as the draft reads them,
        ``uses`` (what each column was taken for), ``unused`` (columns), ``open`` (what is to be decided), ``faults`` (what `check` says of the
        recipe).

    Raises:
        InputError: neither a file nor a recipe, or both; a file that cannot be read, or has no column that could be a prompt; a place where something
            is already.

    Example:
        >>> polars.DataFrame({"question": ["How do I bake bread?", "Write an insult."], "toxic": [0, 1]}).write_csv("mine.csv")
        >>> found = toolkit.init("mine.csv", labelled_by="human")
        >>> found["recipe"], found["source"], found["uses"]
        ('mine.yaml', 'schemas/sources/mine.yaml', {'question': 'prompt', 'toxic': 'label of prompt'})
        >>> toolkit.check("mine.yaml")["steps"]
        8
    """
    if (file is None) == (recipe is None):
        raise InputError("give either a file to look at or a recipe to copy", hint=f"recipes: {', '.join(recipe_names())}")
    if recipe is not None:
        return _copied(recipe, to)
    place = at_door(file or "")
    folder = here() if to is None else at_door(to)
    called = _named(name, place)
    targets = {"source": folder / "schemas" / "sources" / f"{called}.yaml", "recipe": folder / f"{called}.yaml"}
    _free(targets.values(), place)
    if (kind := marked(place)) is not None:
        raise InputError(f"no labelled rows: the folder is {MARKS[kind][0]}", where=str(place), hint="give the file that the rows came from")
    first = expand_files([place])[0]
    if str(guard).endswith((".yaml", ".yml")):
        guard = find("guards", guard)
    draft = draft_source(first, called, guard=load_guard(guard), taxonomy=load_taxonomy(taxonomy), labelled_by=labelled_by)
    if is_there(place, Path.is_dir):
        draft.source["files"] = [f"*{''.join(first.suffixes[-2:]) if first.suffix == '.gz' else first.suffix}"]
    data = place.relative_to(folder).as_posix() if place.is_relative_to(folder) else str(place)
    write_new(targets["source"], draft_yaml(draft))
    write_new(targets["recipe"], "\n".join(_recipe_lines(draft, called, data, str(guard), str(taxonomy), targets["recipe"])) + "\n")
    return _drafted(draft, targets)


def list_recipes() -> Lines:
    """The recipes that `init` copies and `run` knows by name: ``name``, ``file``, ``description``; ``problem`` where one cannot be read.

    Example:
        >>> "quickstart" in [recipe["name"] for recipe in toolkit.list_recipes()]
        True
    """
    out = Lines()
    for name in recipe_names():
        path = find_recipe(name)
        line = {"name": name, "file": short_path(path), "description": "", "problem": None}
        try:
            data = load_yaml(path).data
        except GuardkitError as e:
            line["problem"] = str(e)
        else:
            line["description"] = " ".join(str(data.get("description", "")).split()) if isinstance(data, dict) else ""
        out.append(line)
    return out


def _copied(recipe: str, to: str | Path | None) -> Drafted:
    source = find_recipe(recipe)
    plain = recipe.removesuffix(".yaml").removesuffix("/recipe").strip("/").replace("/", "-")
    target = here() if to is None else at_door(to)
    if target.suffix not in (".yaml", ".yml"):
        target = target / f"{plain}.yaml"
    _free([target], source)
    write_new(target, source.read_text(encoding="utf-8"))
    beside = source.parent / "schemas"
    for file in sorted(beside.rglob("*.yaml")) if source.name == "recipe.yaml" else ():  # what the recipe names; one that is there stays
        own = target.parent / "schemas" / file.relative_to(beside)
        if not os.path.lexists(own):
            write_new(own, file.read_text(encoding="utf-8"))
    return Drafted({"recipe": short_path(target), "source": None, "rows": 0, "kept": 0, "uses": {}, "unused": [], "open": [], "faults": []})


def _named(name: str | None, file: Path) -> str:
    """The name of source and recipe."""
    if name is not None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise InputError(f"{name!r} cannot name a source", hint="small letters, digits and _, a letter first")
        return name
    stem = file.name.partition(".")[0] or file.name
    plain = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    plain = plain if plain[:1].isalpha() else f"rows_{plain}".rstrip("_")
    return f"{plain}_own" if plain in {*names("sources"), "quickstart"} and not is_there(here() / "schemas" / "sources" / f"{plain}.yaml") else plain


def _free(targets: Iterable[Path], reads: Path) -> None:
    """Nothing is at these places, and something may."""
    for target in targets:
        check_output(target, reads=[reads], hint="name another place with {--to|to}")
        if os.path.lexists(target):
            raise InputError(
                "is there already, and nothing is overwritten", where=str(target), hint="give another {--name|name} or {--to|to}, or move it"
            )


def write_new(path: Path, text: str) -> None:
    """A new file; one that is there stays (InputError)."""
    try:
        make_folder(path.parent)
        fd = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except OSError as e:
        raise InputError(f"cannot be written: {e.strerror}", where=str(path)) from None
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            f.write(text)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _recipe_lines(draft: Draft, name: str, data: str, guard: str, taxonomy: str, path: Path) -> Iterator[str]:
    yield f"# Drafted by guardkit: read schemas/sources/{name}.yaml first, then: guardkit check {short_path(path)}; guardkit run {short_path(path)}"
    yield f"recipe: {flow(name)}"
    yield "version: 1"
    yield f"guard: {flow(guard)}"
    yield f"taxonomy: {flow(taxonomy)}"
    yield "seed: 1"
    yield ""
    yield "steps:"
    load: dict[str, Any] = {"source": name, "files": [data]}
    if draft.share > 0:
        load["max_rejected"] = round(min(1.0, draft.share * 1.5 + 0.01), 2)
        yield f"  # CHECK: {draft.share:.1%} of the rows that were looked at are rejected; the source's file says why"
    yield f"  - {{id: seeds, use: load, with: {flow(load)}}}"
    yield "  - {id: clean, use: normalise}"
    yield "  - {id: unique, use: deduplicate}"
    yield "  - {id: parts, use: split, with: {parts: {train: 0.9, test: 0.1}}}"
    yield "  # The embedded teacher puts its texts together from templates, for trying this out; a guard is to learn from a real one:"
    yield '  #   backend: {backend: openai, base_url: "http://localhost:8000/v1", model: MODEL, max_tokens: 2048}'
    yield "  - {id: reasoning, use: synthesise, with: {backend: {backend: template}}}"
    yield "  - {id: valid, use: validate}"
    yield "  - {id: sft-rows, use: render_sft}"
    yield f"  - {{id: sft-shards, use: shards, with: {flow({'title': name})}}}"
    yield "  # A guard, trained on them:"
    yield "  #   - {id: guard-main, use: train_sft, with: {model: MODEL_OR_FOLDER}}"


def _drafted(draft: Draft, targets: dict[str, Path]) -> Drafted:
    faults: list[str] = []
    try:
        check(targets["recipe"])
    except InputErrors as e:
        faults = [str(one) for one in e.errors]
    except GuardkitError as e:
        faults = [str(e)]
    return Drafted(
        {
            "recipe": short_path(targets["recipe"]),
            "source": short_path(targets["source"]),
            "rows": draft.looked,
            "kept": draft.kept,
            "uses": draft.uses,
            "unused": draft.unused,
            "open": draft.open,
            "faults": faults,
        }
    )
