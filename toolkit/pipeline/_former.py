"""Steps of an earlier guardkit. Their fingerprints are of the whole guard and without the step's own id; their manifests do not say what they read.

A step whose manifest does not say `fingerprint_version` was made then. It is recognised as long as nothing of all that has changed. What it read can
be known as long as that still exists: the fingerprints prove it (`reads_of`). So it is written down before a run builds anything (`write_down`),
and a step that is built anew, for an operator's new version say, and comes out equal leaves those of then as they are, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.files import digest, write_atomic
from toolkit.common.manifests import SEAL, sealed
from toolkit.operators import Operator
from toolkit.pipeline._finished import MANIFEST, StepFolder
from toolkit.pipeline._inputs import taken
from toolkit.pipeline._lineage import upstream

if TYPE_CHECKING:
    from toolkit.pipeline._planned import Plan, PlannedStep

_GUARD, _TAXONOMY, _SEED = "guard", "taxonomy", "seed"
_USED: dict[str, frozenset[str]] = {
    **dict.fromkeys(("sample", "synthesise", "swap_labels"), frozenset({_GUARD, _TAXONOMY, _SEED})),
    "load_predictions": frozenset({_GUARD, _SEED}),
    **dict.fromkeys(("select", "cap"), frozenset({_SEED})),
    "generate": frozenset(),
}
"""What guardkit's operators covered that have come to name more or less; of the others it is what their facets are parts of."""


def former_identity(plan: Plan, step: PlannedStep) -> dict[str, Any]:
    """What shaped a step but its inputs, as its fingerprint covered it then."""
    from toolkit.sources import GUARDS

    spec, operator = plan.recipe.spec, step.operator
    used = _used(operator)
    out: dict[str, Any] = {"use": operator.name, "version": operator.version, "config": operator.identity()}
    if _GUARD in used:
        out["guard"] = plan.guard.fingerprint
    if _TAXONOMY in used:
        out["taxonomy"] = plan.taxonomy.fingerprint
    if _SEED in used:
        out["seed"] = [spec.seed, step.id]
    if "recipe" in used:
        out["recipe"] = [spec.recipe, spec.version, spec.seed, plan.taxonomy.name, upstream(plan.steps, step.inputs)]
    out["files"] = {name: sha256 for name, sha256 in step.identity["files"].items() if not name.startswith(GUARDS)}
    return out


def _used(operator: Operator) -> frozenset[str]:
    words = frozenset(word.partition(".")[0] for word in operator.uses)
    return _USED.get(operator.name, words)


def is_former(done: StepFolder) -> bool:
    """Whether a step was made by such a guardkit."""
    return "fingerprint_version" not in done.manifest


def reads_of(plan: Plan, done: StepFolder) -> dict[str, dict[str, str]] | None:
    """What a step read, as manifests say it (`inputs`): as written down, or as its fingerprint proves. None where neither tells."""
    read: dict[str, dict[str, str]] | None = done.manifest.get("inputs")
    return read if read is not None or not is_former(done) else _proven(plan, done, lambda step: _finished_at(done.path.parent / step))


def write_down(plan: Plan, folder: Path, done: Mapping[str, StepFolder]) -> None:
    """Have the manifests of such steps say what they read, where one that they read is about to be built anew. Each is whole before and after.

    Args:
        plan: the checked recipe.
        folder: of the run.
        done: the steps that are not built.
    """
    for group in plan.groups:
        found = _finished_at(folder / group[-1].id)
        if found is None or not is_former(found) or "inputs" in found.manifest or all(s in done for g in group for s in g.inputs.values()):
            continue
        if (read := reads_of(plan, found)) is not None and found.intact():  # a manifest that is younger than a change would hide it
            manifest = {k: v for k, v in found.manifest.items() if k != SEAL} | {"inputs": read}
            write_atomic(found.path / MANIFEST, json.dumps(sealed(manifest), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _finished_at(folder: Path) -> StepFolder | None:
    try:
        found = StepFolder.open(folder)
    except InputError:
        return None
    return found if found.step == folder.name else None


def _proven(plan: Plan, done: StepFolder, lying: Callable[[str], StepFolder | None]) -> dict[str, dict[str, str]] | None:
    """What a step read, if what is there is that: its fingerprint comes of its own identity and the fingerprints of these steps."""
    made_as, prints, read = done.manifest.get("identity", {}), dict[str, str](), dict[str, dict[str, str]]()
    for step in (s for s in plan.steps.values() if s.id in made_as):
        inputs = {}
        for name, source in step.inputs.items():
            if source in prints:  # it ran in the same group, without a folder
                inputs[name] = prints[source]
                continue
            if (found := lying(source)) is None:
                return None
            own = found.manifest["fingerprint"]
            inputs[name] = own if plan.steps[source].operator.deterministic else digest([own, found.digest()])
            read.setdefault(step.id, {})[name] = taken(plan, step, name, found).digest()
        prints[step.id] = digest({**made_as[step.id], "inputs": inputs})
    return read if prints.get(done.step) == done.manifest["fingerprint"] else None
