"""How the rows of a step were made: the steps before it, each with its options and what became of its rows.

It holds nothing that differs between two runs with the same bytes: no time, no host, no cost of one invocation, and of an absolute path only its
last part. What a generation step's answers took (tokens, dollars) is in its `stats`, as the journal has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from toolkit.common.files import digest
from toolkit.common.secrets import bare_urls
from toolkit.pipeline._counts import Counts

if TYPE_CHECKING:
    from toolkit.pipeline._finished import StepFolder
    from toolkit.pipeline._planned import Plan, PlannedStep


def upstream(steps: Mapping[str, PlannedStep], inputs: Mapping[str, str]) -> list[str]:
    """Ids of the steps that these inputs come from, directly or through others, in the order of the plan."""
    found: set[str] = set()
    waiting = list(inputs.values())
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += steps[step].inputs.values()
    return [step for step in steps if step in found]


def lineage(plan: Plan, step: str, made: Mapping[str, StepFolder], live: Sequence[Counts]) -> dict[str, Any]:
    """How the rows of a step were made.

    Args:
        plan: the checked recipe.
        step: whose rows are meant.
        made: folders of the steps that are built.
        live: counts of the steps that run together with it.

    Returns:
        recipe, version, seed, taxonomy; digest (of all that shapes these steps); steps: [{step, use, version, options, shape, in, kept, rejected,
        merged, set_aside, and where there are any: factor, parents, asked, failed, stats}].
    """
    before = upstream(plan.steps, row_inputs(plan.steps[step]))
    counted = {c["step"]: (c, folder.manifest) for folder in made.values() for c in folder.manifest["counts"]}
    counted |= {c.step: (c.as_dict(), {}) for c in live}
    spec = plan.recipe.spec
    return {
        "recipe": spec.recipe,
        "version": spec.version,
        "seed": spec.seed,
        "taxonomy": plan.taxonomy.name,
        "digest": digest([plan.steps[s].identity for s in before]),
        "steps": [_line(plan.steps[s], *counted[s]) for s in before if s in counted],
    }


def row_inputs(step: PlannedStep) -> dict[str, str]:
    """The inputs of a step whose rows it reads, and takes no artefact from."""
    takes, fixed = step.operator.takes, step.operator.inputs
    return {name: source for name, source in step.inputs.items() if takes.get(name if name in fixed else "*") is None}


def _line(planned: PlannedStep, counts: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"step": planned.id, "use": planned.operator.name, "version": planned.operator.version}
    out["options"] = shareable(planned.operator.identity())
    out |= {name: counts[name] for name in ("shape", "in", "kept", "rejected", "merged", "set_aside", "factor", "parents") if name in counts}
    if manifest.get("step") == planned.id:
        out |= {name: manifest[name] for name in ("asked", "failed") if manifest.get(name)}
        if manifest.get("stats"):
            out["stats"] = shareable(manifest["stats"])
    return out


def shareable(value: Any) -> Any:
    """A value without what only this machine's owner should know: of an absolute path its last part, no user, password or query in a URL."""
    if isinstance(value, Mapping):
        return {str(k): shareable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [shareable(v) for v in value]
    if isinstance(value, str):
        return PurePath(value).name if value.startswith(("/", "~")) else bare_urls(value)
    return value
