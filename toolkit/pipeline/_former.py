"""Fingerprints as they were before a step counted the facets of its guard that it reads: of the whole guard, and without its own id.

A step whose manifest does not say `fingerprint_version` was made then. It is still recognised as long as nothing of all that has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.operators import Operator
from toolkit.pipeline._lineage import upstream
from toolkit.sources import GUARDS

if TYPE_CHECKING:
    from toolkit.pipeline._plan import Plan, PlannedStep

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
