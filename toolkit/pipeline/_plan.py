"""From a recipe to checked steps: operators, inputs, columns, and what each step's fingerprint covers.

All faults are found at once and before anything runs: unknown keys and operators, inputs that no earlier step makes, columns that no
earlier step writes, files that are not there. A step that depends on a faulty one is checked as far as that allows and reports nothing that
follows from the other's fault.

Of a recipe of which only some steps are to run (`toolkit.pipeline._selection`) those and what they depend on are planned, and no other is looked at.

A plan is of one moment: the files that its steps read are digested when it is made, and a step that finds another one when it is built is an error.
Make a new one for another run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputErrors, did_you_mean
from toolkit.common.files import digest
from toolkit.common.paths import is_there, near_folder
from toolkit.common.reach import refused, unknown
from toolkit.common.reading import Files
from toolkit.guards import load_guard
from toolkit.operators import Operator, operator_class
from toolkit.operators._media_taken import refuse_guard, refuse_media
from toolkit.operators._uses import counted, guard_for
from toolkit.pipeline._lineage import upstream
from toolkit.pipeline._planned import Faults, Plan, PlannedStep
from toolkit.pipeline._recipe import Recipe
from toolkit.pipeline._selection import EVERY, Selection, closure, inputs_of, readers
from toolkit.pipeline._step import Step
from toolkit.records import has_media, name_fault
from toolkit.taxonomy import load_taxonomy


def make_plan(
    recipe: Recipe,
    source_paths: Mapping[str, Sequence[str | Path]] | None = None,
    allow: Collection[str] = (),
    select: Selection = EVERY,
) -> Plan:
    """Check a recipe against its guard, taxonomy and operators.

    Args:
        recipe: as read.
        source_paths: input files for sources, given by the user; those of the recipe's own `sources` are behind them.
        allow: what the user gives leave for (`toolkit.common.reach`); an option that needs more is a fault.
        select: the steps to run.

    Raises:
        InputErrors: all faults, each by file, line and key; steps that are named and are none.
    """
    reads = inputs_of(recipe.steps)
    chosen = dict.fromkeys(select.chosen(reads)).keys()
    planned_ids, read_by = closure(reads, chosen), readers(reads)
    faults = Faults(recipe)
    where = recipe.file.where
    guard = faults.collect(lambda: load_guard(recipe.spec.guard, recipe.roots), where(("guard",)))
    taxonomy = faults.collect(lambda: load_taxonomy(recipe.spec.taxonomy, recipe.roots), where(("taxonomy",)))
    media = None if recipe.spec.media is None else recipe.roots.settled(recipe.spec.media)
    if media is not None and not is_there(media, Path.is_dir):
        faults.add("no such folder", where(("media",)), near_folder(media))
    drafts = _drafts(recipe, planned_ids, faults, allow)
    if guard is None or taxonomy is None:
        raise InputErrors(faults.found)
    again = partial(make_plan, source_paths=source_paths, allow=allow)
    plan = Plan(recipe, guard, taxonomy, {}, _source_paths(recipe, source_paths or {}, faults), chosen, media, again)
    for spec in recipe.steps:
        draft = drafts.get(spec.id)
        if draft is None or any(step not in plan.steps for step in draft[1].values()):
            continue
        planned = _complete(plan, spec, *draft, faults)
        if planned is not None:
            planned.consumers = read_by[spec.id]
            plan.steps[spec.id] = planned
    if not faults.found and len(plan.steps) == len(recipe.steps):  # else a file or a leave may be for a step that is not looked at
        _check_sources(plan, source_paths or {}, faults)
        faults.found += unknown([step.operator.config for step in plan.steps.values()], allow)
    if faults.found:
        raise InputErrors({str(e): e for e in faults.found}.values())  # rounds may share one
    return plan


def _source_paths(recipe: Recipe, given: Mapping[str, Sequence[str | Path]], faults: Faults) -> dict[str, list[Path]]:
    """Absolute files of the sources: those given to the command before the recipe's own."""
    out: dict[str, list[Path]] = {}
    sources: Mapping[str, Sequence[str | Path]] = {**recipe.spec.sources, **given}
    for name, paths in sources.items():
        where = f"--source {name}" if name in given else recipe.file.where(("sources", name))
        found = [faults.collect(partial(recipe.roots.settled, p), where) for p in paths]
        out[name] = [p for p in found if p is not None]
    return out


def _check_sources(plan: Plan, given: Mapping[str, Sequence[str | Path]], faults: Faults) -> None:
    """Files are named only for sources that a step reads."""
    known = {n for s in plan.steps.values() for n in s.operator.source_names(plan.context(s.id))}
    for name in plan.source_paths:
        if name not in known:
            where = f"--source {name}" if name in given else plan.recipe.file.where(("sources", name))
            faults.add("the recipe loads no source of that name", where, did_you_mean(name, known) if known else None)


def _drafts(recipe: Recipe, wanted: Collection[str], faults: Faults, allow: Collection[str]) -> dict[str, tuple[Operator, dict[str, str]]]:
    """For each of the wanted steps without a fault so far its operator and inputs: what needs neither guard nor columns."""
    out: dict[str, tuple[Operator, dict[str, str]]] = {}
    earlier: list[str] = []
    for spec in recipe.steps:
        if not spec.faulty and spec.id in wanted:
            draft = _draft(spec, earlier, faults, allow)
            if draft is not None:
                out[spec.id] = draft
        earlier.append(spec.id)
    return out


def _draft(spec: Step, earlier: Sequence[str], faults: Faults, allow: Collection[str]) -> tuple[Operator, dict[str, str]] | None:
    cls = faults.collect(lambda: operator_class(spec.use), spec.where("use"))
    if cls is None:
        return None
    place = (*spec.key, "with") if spec.options else spec.key
    config = faults.collect(lambda: spec.file.model(cls.config_class, spec.options, place), spec.where())
    inputs = _inputs(cls, spec, earlier, faults)
    left = [] if config is None else refused(config, allow, lambda key: spec.file.where((*spec.key, "with", *key)))
    faults.found += left
    return None if config is None or inputs is None or left else (cls(config), inputs)


def _inputs(cls: type[Operator], spec: Step, earlier: Sequence[str], faults: Faults) -> dict[str, str] | None:
    """Step id of each input of an operator; faults go to `faults`."""
    at = spec.where("from")
    fixed = [n for n in cls.inputs if n != "*"]
    given = spec.inputs
    if not cls.inputs:
        if given is not None:
            faults.add(f"{spec.use} reads no step", at, "take `from` out")
            return None
        return {}
    if given is None and not earlier and not fixed and cls.shape == "source":
        return {}
    if given is None:
        if not earlier:
            faults.add(f"{spec.use} reads rows, and no step comes before", spec.where())
            return None
        given = earlier[-1]
    named = {fixed[0] if fixed else given: given} if isinstance(given, str) else dict(given)
    bad = [n for n in named if n not in fixed and "*" not in cls.inputs]
    missing = [n for n in fixed if n not in named]
    unknown = {n: s for n, s in named.items() if s not in earlier}
    for n in bad:
        faults.add(f"{spec.use} has no input called {n!r}", spec.where("from", n), did_you_mean(n, fixed))
    for n in missing:
        faults.add(f"{spec.use} also needs the input {n!r}", at, f"from: {{{n}: STEP}}")
    for s in unknown.values():
        faults.add(f"no earlier step called {s!r}", at, did_you_mean(s, earlier))
    return None if bad or missing or unknown else named


def _complete(plan: Plan, spec: Step, operator: Operator, inputs: dict[str, str], faults: Faults) -> PlannedStep | None:
    """The planned step; faults in what it takes from other steps and from files go to `faults`."""
    before = len(faults.found)
    _check_made(plan, spec, operator, inputs, faults)
    given = {name: plan.steps[step].handed for name, step in inputs.items()}
    operator.follow([plan.steps[s].operator for s in upstream(plan.steps, inputs)])
    at = spec.where("from") if spec.inputs is not None else spec.where()
    columns = faults.collect(lambda: operator.columns(given, guard_for(operator, plan.guard)), at)
    faults.collect(lambda: refuse_guard(operator, plan.guard), spec.where("use"))
    media = [step for step in inputs.values() if plan.steps[step].media]
    if media:
        faults.collect(lambda: refuse_media(operator, plan.guard), at)
    files = Files()
    identity = faults.collect(lambda: _identity(plan, spec, operator, inputs, files), spec.where("with"))
    for fault in filter(None, map(name_fault, columns or ())):
        faults.add(f"no column may be called so: {fault}", spec.where("with"))
    if len(faults.found) == before and spec.id in plan.chosen:
        faults.collect(lambda: operator.look(plan.context(spec.id, files=files, operator=operator)), spec.where("with"))
    if columns is None or identity is None or len(faults.found) > before:
        return None
    if operator.shape in ("expand", "pick") and "parent" not in columns:
        hint = "each child names its parent: this is a fault of the operator, not of the recipe"
        faults.add(f"the operator {operator.name!r} makes children but no column 'parent'", spec.where("use"), hint)
        return None
    sink = operator.shape == "sink"
    referred = {} if sink else {c.name: c for c in operator.refers(guard_for(operator, plan.guard))}
    has = bool(media) if sink else has_media(columns)
    return PlannedStep(spec.id, spec, operator, inputs, {} if sink else columns, identity, has, files, referred=referred)


def _check_made(plan: Plan, spec: Step, operator: Operator, inputs: Mapping[str, str], faults: Faults) -> None:
    """Each input's step makes what the operator takes from it: an artefact, or rows."""
    for name, step in inputs.items():
        source = plan.steps[step].operator
        wanted = operator.takes.get(name if name in operator.inputs else "*")
        where = spec.where("from")
        if wanted is not None and wanted not in source.makes:
            fit = [s.id for s in plan.steps.values() if wanted in s.operator.makes]
            hint = f"steps that do: {', '.join(fit)}" if fit else f"no earlier step makes one ({operator.name} takes it from the input {name!r})"
            faults.add(f"{step!r} ({source.name}) makes no {wanted!r}", where, hint)
        elif wanted is None and source.shape == "sink":
            faults.add(f"{step!r} ({source.name}) hands on no rows", where, f"read a step before {step!r}")


def _identity(plan: Plan, spec: Step, operator: Operator, inputs: Mapping[str, str], files: Files) -> dict[str, Any]:
    out: dict[str, Any] = {"use": operator.name, "version": operator.version, "config": operator.identity(), "step": spec.id}
    out |= counted(operator, plan.guard, plan.taxonomy)
    recipe = plan.recipe.spec
    if "seed" in operator.used():
        out["seed"] = recipe.seed
    if "recipe" in operator.used():  # what `Context.lineage` says beside what became of the rows
        before = upstream(plan.steps, inputs)
        out["recipe"] = [recipe.recipe, recipe.version, recipe.seed, plan.taxonomy.name, before]
        out["before"] = digest([plan.steps[s].identity for s in before])
    out["files"] = operator.files(plan.context(spec.id, files=files, operator=operator))
    return out
