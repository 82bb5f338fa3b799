"""Which of a run's finished steps are current, and which are stale.

A run that failed or was stopped leaves folders of an earlier recipe, or of what an earlier step made, beside those that it made itself. So
``run.json`` names the steps that the last run made or found up to date, each with a digest of what it made: written when a run begins, and whenever
it has made another. A finished step that is not among them is stale: it is left where it is, but nobody takes it for what the recipe makes.

A run of some steps alone leaves the others as they were, unless they depend on one that is not current, or their part of the recipe has changed.
The ``run.json`` of an earlier guardkit names none: all finished steps count as current then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, short_path
from toolkit.common.files import digest, write_atomic
from toolkit.common.manifests import read_manifest
from toolkit.common.yamlfile import parse_yaml
from toolkit.pipeline._finished import StepFolder, step_folders
from toolkit.pipeline._planned import Plan
from toolkit.pipeline._recipe import Recipe, build_recipe, kept_recipe, resolved_yaml
from toolkit.pipeline._selection import inputs_of

STALE = "it is of an earlier recipe, or of inputs that have changed since, and the last run has not come to it"
AGAIN = "run the recipe again; what is still right is reused"
_SHAPING = ("guard", "taxonomy", "seed")


class Current:
    """The steps of a run that are current, as ``run.json`` says.

    Args:
        folder: of the run, as it was before this run writes to it.
        plan: the checked recipe.
        done: its finished steps, as `toolkit.pipeline.finished` gives them.
    """

    def __init__(self, folder: Path, plan: Plan, done: Mapping[str, StepFolder]) -> None:
        self._folder, self._recipe = folder, plan.recipe
        self._steps = {f.step: _digest(f) for f in done.values()}
        if len(plan.steps) < len(plan.recipe.steps):
            self._carry(plan, done)

    def write(self) -> None:
        """Write ``run.json``."""
        spec, loop = self._recipe.spec, self._recipe.loop
        document: dict[str, Any] = {"recipe": spec.recipe, "version": spec.version, "current": dict(sorted(self._steps.items()))}
        if loop is not None and loop.ended is not None:
            document["rounds"] = {"ended": loop.ended.round, "why": loop.ended.why, "skipped": loop.skipped()}
        write_atomic(self._folder / "run.json", json.dumps(document) + "\n")

    def add(self, done: StepFolder) -> None:
        """A step is built, or found up to date."""
        if self._steps.get(done.step) != (made := _digest(done)):
            self._steps[done.step] = made
            self.write()

    def goes_on(self, recipe: Recipe) -> None:
        """The run goes on with this recipe: its loop has ended before its time, or has not after all."""
        self._recipe = recipe
        self.write()

    def _carry(self, plan: Plan, done: Mapping[str, StepFolder]) -> None:
        """Steps that this run does not look at stay current where nothing that they depend on is known to have changed."""
        try:
            before, old, folders = _named(self._folder), _parts(kept_recipe(self._folder)), step_folders(self._folder)
        except InputError:  # no run, or none that can be read: nothing in it is current
            return
        as_kept = build_recipe(parse_yaml(resolved_yaml(plan.recipe), "recipe"), self._folder)
        loop = plan.recipe.loop
        new, reads = _parts(as_kept.with_end(loop.ended if loop is not None else None)), inputs_of(plan.recipe.steps)
        known = {c["step"] for f in done.values() for c in f.manifest["counts"]}
        order = {step: n for n, step in enumerate(reads)}
        for folder in sorted((f for f in folders if f.step in reads and f.step not in plan.steps), key=lambda f: order[f.step]):
            made = [c["step"] for c in folder.manifest["counts"]]
            same = all(s in new and new[s] == old.get(s) for s in made) and (before is None or before.get(folder.step) == _digest(folder))
            if same and known.issuperset(r for s in made for r in reads[s] if r not in made):
                self._steps[folder.step] = _digest(folder)
                known.update(made)


def stale(folders: Iterable[StepFolder]) -> set[str]:
    """The ids of those finished steps of one run that are not current."""
    found = list(folders)
    current = _named(found[0].path.parent) if found else None
    return set() if current is None else {f.step for f in found if current.get(f.step) != _digest(f)}


def refuse_stale(folder: Path) -> None:
    """Refuse what is in the folder of a stale step, where it would be taken for what its recipe makes.

    Raises:
        InputError: it does.
    """
    if (step := stale_step(folder)) is not None:
        hint = f"{AGAIN}. Or copy the folder, if this is what you want"
        raise InputError(f"the step {step!r} is stale: {STALE}", where=short_path(folder), hint=hint)


def stale_step(folder: Path) -> str | None:
    """The id of the stale step whose folder this is, or that made what is in it; None where it is current, or no step's."""
    for place in (folder, folder.parent):
        if (place.parent / "run.json").is_file():
            try:
                return next(iter(stale([StepFolder.open(place)])), None)
            except InputError:
                continue
    return None


def _named(run: Path) -> dict[str, str] | None:
    """What ``run.json`` says; None where it names none."""
    try:
        current = read_manifest(run / "run.json").get("current")
    except FileNotFoundError:
        return None
    return {str(k): str(v) for k, v in current.items()} if isinstance(current, dict) else None


def _digest(done: StepFolder) -> str:
    return digest([done.manifest["fingerprint"], done.manifest["files"]])


def _parts(recipe: Recipe) -> dict[str, Any]:
    """For each step all that a kept recipe says of what it makes."""
    top = [getattr(recipe.spec, k) for k in _SHAPING]
    return {s.id: [top, s.use, s.inputs, s.options] for s in recipe.steps}
