"""Looking at what there is: sources, runs, the schema of recipes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.common.errors import GuardkitError, InputError, short_path
from toolkit.common.paths import at_door, is_there
from toolkit.common.resources import workspace
from toolkit.operators import operator_class, operator_names
from toolkit.pipeline import RecipeSpec, StepFolder, clean, kept_recipe, step_folders
from toolkit.report import summarise


def read_run(folder: str | Path) -> dict[str, StepFolder]:
    """The finished steps of a run, by id; ``.blocks()`` gives a step's rows, ``.artefact(name)`` what else it made.

    A step that ran together with the next one has no folder of its own.

    Raises:
        InputError: not the folder of a run.
    """
    folder = _run(folder)
    return {done.step: done for done in step_folders(folder)}


def list_runs() -> list[dict[str, Any]]:
    """The runs in the workspace: ``folder``, ``recipe``, ``steps`` in the recipe, ``built`` of them; ``problem`` where one cannot be read."""
    out: list[dict[str, Any]] = []
    for path in sorted(workspace().glob("*/run.json")):
        line: dict[str, Any] = {"folder": short_path(path.parent), "recipe": None, "steps": 0, "built": 0, "problem": None}
        try:
            summary = summarise(path.parent)
        except GuardkitError as e:
            out.append(line | {"problem": str(e)})
            continue
        built = sum(s["state"] == "built" for s in summary["steps"])
        out.append(line | {"recipe": summary["recipe"], "steps": len(summary["steps"]), "built": built})
    return out


def clean_run(folder: str | Path) -> list[str]:
    """Remove from a run's folder the steps that its recipe no longer has, and what killed runs left; the journal stays.

    Returns:
        What was removed.

    Raises:
        InputError: not the folder of a run, or one that a process is working in.
    """
    folder = _run(folder)
    recipe = kept_recipe(folder)
    return clean(folder, {s.id for s in recipe.steps})


def _run(folder: str | Path) -> Path:
    path = at_door(folder)
    if not is_there(path / "run.json", Path.is_file):
        raise InputError("not the folder of a run", where=str(folder), hint="see `guardkit runs list`")
    return path


def sources_table() -> list[dict[str, Any]]:
    """The sources: name, hub id, rows, licence, gated, description, problem."""
    from toolkit.sources import list_sources

    return [asdict(s) for s in list_sources()]


def describe_source(name: str) -> dict[str, Any]:
    """A source's whole definition, without what it leaves out.

    Raises:
        InputError: no such source, or faults in its file.
    """
    from toolkit.sources import load_source

    return load_source(name).model_dump(mode="json", exclude_defaults=True)


def check_sources(name: str | None = None) -> list[dict[str, Any]]:
    """Try each hub source, or one: ``{source, ok, result}``.

    Raises:
        InputError: no such source, or one that is not on the hub.
    """
    from toolkit.guards import load_guard
    from toolkit.sources import check_hub, list_sources, load_source
    from toolkit.taxonomy import load_taxonomy

    if name is not None and load_source(name).hub is None:
        raise InputError(f"the source {name!r} is not on the hub")
    out = []
    for source in [name] if name is not None else [s.name for s in list_sources() if s.hub]:
        try:
            found = check_hub(load_source(source), guard=load_guard("guardreasoner"), taxonomy=load_taxonomy())
            words = f"fine, {found.rows} rows looked at" if found.ok else f"missing columns {found.missing}, faulty rows {found.faults}"
            out.append({"source": source, "ok": found.ok, "result": words})
        except GuardkitError as e:
            out.append({"source": source, "ok": False, "result": str(e)})
    return out


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of recipes, each step's `with` according to its operator; operators of other packages included.

    Raises:
        InputError: an operator of another package cannot be loaded.
    """
    schema = RecipeSpec.model_json_schema(by_alias=True)
    step = schema["$defs"]["StepSpec"]
    step["properties"]["use"]["enum"] = operator_names()
    step["allOf"] = []
    for name in operator_names():
        options = operator_class(name).config_class.model_json_schema(ref_template="#/$defs/" + name + ".{model}")
        for inner, about in options.pop("$defs", {}).items():
            schema["$defs"][f"{name}.{inner}"] = about
        schema["$defs"][name] = options
        step["allOf"].append({"if": {"properties": {"use": {"const": name}}}, "then": {"properties": {"with": {"$ref": f"#/$defs/{name}"}}}})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "guardkit recipe"}
