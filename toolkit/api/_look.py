"""Looking at what there is: sources, runs, the schema of recipes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.common.errors import GuardkitError, InputError, did_you_mean, short_path
from toolkit.common.paths import at_door
from toolkit.common.resources import workspace
from toolkit.operators import describe_operator as describe
from toolkit.operators import operator_class, operator_names
from toolkit.pipeline import RecipeSpec, StepFolder, clean, kept_recipe, recipe_steps, run_of, stale, step_folders
from toolkit.report import Figures, Lines, as_html, as_text, run_state


class NoStep(InputError, KeyError):  # noqa: N818 (named by what is wrong)
    """A step that has no folder in a run; to a dict's reader a `KeyError` as well."""

    __str__ = Exception.__str__


class Steps(dict[str, StepFolder]):
    """The finished steps of a run, by id. One that is not there says why, and where its rows are.

    Example:
        >>> sorted(toolkit.read_run("outputs/small"))
        ['few', 'reasoning', 'rendered', 'seeds', 'shards']
    """

    def __init__(self, folder: Path) -> None:
        super().__init__({done.step: done for done in step_folders(folder)})
        self.folder = folder
        self.stale = stale(self.values())
        """Those that are not what the recipe makes (any more), since the last run has not come to them."""

    def _lines(self) -> list[dict[str, Any]]:
        state = {True: "stale", False: "built"}
        return [
            {
                "step": n,
                "state": state[n in self.stale],
                "rows": s.stored,
                "columns": len(s.manifest["columns"]) or None,
                "folder": short_path(s.path),
            }
            for n, s in self.items()
        ]

    def __repr__(self) -> str:
        return as_text(self._lines(), f"Finished steps of {short_path(self.folder)}")

    def _repr_html_(self) -> str:
        return as_html(self._lines(), f"Finished steps of {short_path(self.folder)}")

    def __missing__(self, step: str) -> StepFolder:
        for done in self.values():
            if step in (ran := [c["step"] for c in done.manifest["counts"]]):
                what = f"the step {step!r} ran together with {done.step!r}: its rows went on, and those that {done.step!r} kept are stored"
                more = f"; rows that {step!r} did not keep: `rejects(run, {step!r})`" if ran[-1] != step else ""
                raise NoStep(what, where=str(done.path), hint=f"read {done.step!r}{more}")
        known = [s for s in recipe_steps(self.folder) if s not in self]
        if step in known:
            raise NoStep(f"the step {step!r} is not built yet", where=str(self.folder), hint="run its recipe again: it goes on where it stopped")
        raise NoStep(f"no step called {step!r}", where=str(self.folder), hint=did_you_mean(step, [*self, *known]))


def read_run(folder: str | Path) -> Steps:
    """The finished steps of a run, by id.

    Of a step ``.polars()``, ``.pandas()`` and ``.datasets()`` give all rows, or some of their columns, as a table, ``.blocks()`` a bounded block at a
    time, and ``.artefact(name)`` what else it made. A step that ran together with the next one has no folder: asked for, it says which step has
    its rows.

    Raises:
        InputError: not the folder of a run; from the result for a step that is not there (a `KeyError`, too).

    Example:
        >>> rows = toolkit.read_run("outputs/small")["seeds"]
        >>> rows.rows
        20
        >>> rows.polars(["prompt", "label_prompt"]).shape
        (20, 2)
        >>> toolkit.read_run("outputs/small")["clean"]
        Traceback (most recent call last):
            ...
        toolkit.api._look.NoStep: outputs/small/few: the step 'clean' ran together with 'few': ...
    """
    return Steps(_run(folder))


def list_runs() -> Lines:
    """The runs in the workspace: ``folder``, ``recipe``, ``steps`` in the recipe, those ``built`` and ``stale``, and a ``problem`` with reading one.

    Example:
        >>> [(run["folder"], run["built"]) for run in toolkit.list_runs()]
        [('outputs/small', 7)]
    """
    out = Lines()
    for path in sorted(workspace().glob("*/run.json")):
        line: dict[str, Any] = {"folder": short_path(path.parent), "recipe": None, "steps": 0, "built": 0, "stale": 0, "problem": None}
        try:
            state = run_state(path.parent)
        except GuardkitError as e:
            out.append(line | {"problem": str(e)})
            continue
        counts = {how: sum(s["state"] == how for s in state["steps"]) for how in ("built", "stale")}
        out.append(line | {"recipe": state["recipe"], "steps": len(state["steps"]), **counts})
    return out


def clean_run(folder: str | Path) -> list[str]:
    """Remove from a run's folder the steps that its recipe no longer has, and what killed runs left; the journal stays.

    Returns:
        What was removed.

    Raises:
        InputError: not the folder of a run, or one that a process is working in.

    Example:
        >>> toolkit.clean_run("outputs/small")
        []
    """
    folder = _run(folder)
    recipe = kept_recipe(folder)
    return clean(folder, {s.id for s in recipe.steps})


def _run(folder: str | Path) -> Path:
    return run_of(at_door(folder))[0]


def sources_table() -> Lines:
    """The sources: name, hub id, rows, licence, gated, description, problem.

    Example:
        >>> "wildguard_train" in [source["name"] for source in toolkit.sources_table() if source["gated"]]
        True
    """
    from toolkit.sources import list_sources

    return Lines(asdict(s) for s in list_sources())


def describe_source(name: str) -> Figures:
    """A source's whole definition, without what it leaves out.

    Raises:
        InputError: no such source, or faults in its file.

    Example:
        >>> toolkit.describe_source("wildguard_train")["hub"]["id"]
        'allenai/wildguardmix'
    """
    from toolkit.sources import load_source

    return Figures(load_source(name).model_dump(mode="json", exclude_defaults=True))


def list_operators() -> Lines:
    """The operators, those of other packages too: name, kind, shape, and in ``doc`` what each does.

    Raises:
        InputError: an operator of another package cannot be loaded.

    Example:
        >>> [line["kind"] for line in toolkit.list_operators() if line["name"] == "normalise"]
        ['row']
    """
    found = map(describe, operator_names())
    return Lines({**{k: o[k] for k in ("name", "kind", "shape")}, "doc": " ".join(o["doc"].split("\n\n")[0].split())} for o in found)


def describe_operator(name: str) -> Figures:
    """An operator's documentation, ``options`` and columns (``reads``, ``writes``, ``drops``).

    Raises:
        InputError: no such operator, or one that cannot be loaded.

    Example:
        >>> [option["name"] for option in toolkit.describe_operator("normalise")["options"]]
        ['unicode', 'strip', 'control', 'max_chars']
    """
    return Figures(describe(name))


def list_guards() -> Lines:
    """The guard definitions: name, version, ``tasks`` with their labels, description. `toolkit.load_guard` gives a whole one.

    Raises:
        InputError: faults in a guard's file.

    Example:
        >>> [guard["tasks"]["refusal"] for guard in toolkit.list_guards() if guard["name"] == "guardreasoner"]
        [['compliance', 'refusal']]
    """
    from toolkit.common.resources import names
    from toolkit.guards import load_guard

    found = map(load_guard, names("guards"))
    return Lines(
        {"name": g.name, "version": g.version, "tasks": {t.name: list(t.labels) for t in g.tasks}, "description": g.description} for g in found
    )


def check_sources(name: str | None = None) -> Lines:
    """Try each hub source, or one: ``{source, ok, result}``.

    Raises:
        InputError: no such source, or one that is not on the hub.

    Example:
        >>> [found] = toolkit.check_sources("toxicchat_train")
        >>> sorted(found)
        ['ok', 'result', 'source']
    """
    from toolkit.guards import load_guard
    from toolkit.sources import check_hub, list_sources, load_source
    from toolkit.taxonomy import load_taxonomy

    if name is not None and load_source(name).hub is None:
        raise InputError(f"the source {name!r} is not on the hub")
    out = Lines()
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

    Example:
        >>> toolkit.recipe_schema()["title"]
        'guardkit recipe'
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
