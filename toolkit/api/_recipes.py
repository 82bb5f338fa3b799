"""Looking at a recipe without running it: check, plan, explain."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.api._results import Checked, Explained, Planned
from toolkit.api._run import AnyRecipe, Paths, planned, run_folder
from toolkit.common.paths import at_door
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.pipeline import Plan, PlannedStep, Selection, prospect, reach, settled


def check(
    recipe: AnyRecipe,
    *,
    overrides: str | Sequence[str] = (),
    sources: Paths | None = None,
    allow: str | Collection[str] = (),
    until: str | Sequence[str] = (),
    from_: str | Sequence[str] = (),
    only: str | Sequence[str] = (),
) -> Checked:
    """Check a recipe without running it, or those of its steps that `run` would take with the same `until`, `from_` and `only`.

    Returns:
        ``recipe``, ``steps`` (how many), ``words`` (what options come to that do not speak for themselves: rules of what is hard),
        ``needs`` (what this machine lacks to run it, in words), and what it reaches (`toolkit.pipeline.reach`):
        ``sends``, ``fetches``, ``allowed``.

    Raises:
        InputErrors: all faults, each by file, line and key.

    Example:
        >>> toolkit.check("small.yaml")["steps"]
        7
    """
    plan = planned(recipe, overrides, sources, allow, Selection(several(until), several(from_), several(only)))
    return Checked({"recipe": plan.recipe.spec.recipe, "steps": len(plan.chosen), "words": plan.words(), "needs": plan.needs(), **reach(plan)})


def plan(
    recipe: AnyRecipe,
    *,
    overrides: str | Sequence[str] = (),
    sources: Paths | None = None,
    output: str | Path | None = None,
    sample: int = 200,
    probe: int = 0,
    budget: float | None = None,
    allow: str | Collection[str] = (),
    until: str | Sequence[str] = (),
    from_: str | Sequence[str] = (),
    only: str | Sequence[str] = (),
) -> Planned:
    """What a run would do and what it would cost.

    Args:
        recipe, overrides, sources, output, allow, until, from_, only: as for `run`.
        sample: rows of each step that asks a model to look at, at most.
        probe: rows of each step to ask for real, for what answers take; they go into the journal.
        budget: dollars that the run will have: every price must then be known, and the probe spends no more.

    Returns:
        ``recipe``, ``output``, ``words`` (as `check`), ``needs``, ``notes``, ``total`` (calls, dollars, seconds of all models), and for each
        step ``step``, ``use``,
        ``state`` (build, reuse, or unless: built unless all steps in ``unless`` come out equal), ``rows`` that come out and ``calls`` that it
        makes (None where neither can be known before the run), ``exact`` (of a finished step), else they are estimates; ``models``: for each
        model that a step to be built asks ``name``, ``model``, ``endpoint``, ``calls``, ``answered`` (in the journal), ``prompt_tokens``,
        ``output_tokens``, ``dollars``, ``seconds`` (each ``low``, ``mid``, ``high``, or None), ``basis`` (what the figures rest on, in words).

    Raises:
        InputErrors: as `check`; with a budget, each price that is not known.
        Stopped: the probe used the budget up.
        Missing: the probe lacks a key, a service or an extra.

    Example:
        >>> found = toolkit.plan("small.yaml", overrides="seeds.limit=2", output="outputs/other")
        >>> [(step["step"], step["state"], step["rows"]) for step in found["steps"]][:2]
        [('seeds', 'build', 8), ('clean', 'build', 8)]
    """
    from toolkit.pipeline import forecast

    checked = planned(recipe, overrides, sources, allow, Selection(several(until), several(from_), several(only)))
    return Planned(forecast(checked, run_folder(checked, output), sample=sample, probe=probe, budget=budget))


def explain(
    recipe: AnyRecipe,
    *,
    overrides: str | Sequence[str] = (),
    sources: Paths | None = None,
    output: str | Path | None = None,
    allow: str | Collection[str] = (),
) -> Explained:
    """The resolved recipe, every value with its origin (file and line, ``--set …``, or a default), and what a run would do with each step.

    Args:
        recipe, overrides, sources, output, allow: as for `run`.

    Returns:
        ``recipe``: the recipe's own keys; ``steps``: for each ``id, use, version, where, from, from_origin, with``, ``words`` (what its options come
        to, as of a rule of what is hard), and as in `plan` ``state`` and ``unless``. Values are ``{"value", "origin"}``; nested options have dotted
        names.

    Raises:
        InputErrors: as `check`.

    Example:
        >>> steps = toolkit.explain("small.yaml", overrides="seeds.limit=2")["steps"]
        >>> steps[0]["with"]["limit"]
        {'value': 2, 'origin': '--set seeds.limit=2'}
    """
    checked = planned(recipe, overrides, sources, allow)
    spec, file = checked.recipe.spec, checked.recipe.file
    given = file.data if isinstance(file.data, dict) else {}
    texts: Mapping[Any, str] = getattr(file, "overridden", {})
    top = {
        k: {"value": v, "origin": file.where((k,)) if k in given or (k,) in texts else "default"}
        for k, v in spec.model_dump(mode="json").items()
        if k != "steps"
    }
    folder = at_door(output) if output is not None else workspace() / spec.recipe
    checked = settled(checked, folder)
    found = prospect(checked, folder)
    return Explained({"recipe": top, "steps": [_explained(s, checked) | found.state(s.id) for s in checked.steps.values()]})


def _explained(step: PlannedStep, plan: Plan) -> dict[str, Any]:
    op, spec = step.operator, step.spec
    options = {}
    for path, value in _leaves(op.config.model_dump(mode="json", by_alias=True)):
        origin = spec.where("with", *path) if _is_given(spec.options, path) else f"default of {op.name}"
        options[".".join(path)] = {"value": value, "origin": origin}
    return {
        "id": step.id,
        "use": op.name,
        "version": op.version,
        "where": spec.where(),
        "from": step.inputs,
        "from_origin": spec.where("from") if spec.inputs is not None else "default: the step before",
        "with": options,
        "words": list(op.words(plan.context(step.id))),
    }


def _leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, (*path, name))
        else:
            yield (*path, name), inner


def _is_given(options: Any, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(options, dict) or name not in options:
            return False
        options = options[name]
    return True
