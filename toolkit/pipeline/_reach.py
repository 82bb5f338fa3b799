"""What a recipe sends where, what it fetches, and what it was given leave for: for whoever runs a recipe that another wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.common.gguf_models import is_gguf
from toolkit.common.reach import asked, hub_names, inner
from toolkit.common.secrets import bare_urls
from toolkit.generation import BaseBackendConfig
from toolkit.operators import GenerationOperator
from toolkit.operators._uses import guard_for
from toolkit.pipeline._planned import Plan, PlannedStep
from toolkit.records import MEDIA


def reach(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """What a plan reaches.

    Returns:
        ``sends``: for each endpoint of a step ``step, url, model, key`` (the environment variable that goes there) and ``columns`` (those whose
        texts, or files, may go into a request). ``fetches``: ``step, what, name`` of what the hub would be asked for. ``allowed``: ``step, name,
        why`` of each thing that needed leave.
    """
    out: dict[str, list[dict[str, Any]]] = {"sends": [], "fetches": [], "allowed": []}
    for step in (plan.steps[s] for s in plan.chosen):
        op = step.operator
        guard = guard_for(op, plan.guard)
        columns = op.sends(guard) if isinstance(op, GenerationOperator) else op.reads(guard)
        shown = not op.carries_media and any(plan.steps[i].media for i in step.inputs.values())  # one that carries media on asks about texts
        for config in inner(op.config):
            if isinstance(config, BaseBackendConfig) and (to := config.sends()) is not None:
                sent = [*columns, *([MEDIA] if shown and config.carries and MEDIA not in columns else [])]
                out["sends"].append({"step": step.id, "url": bare_urls(to.url), "model": to.model, "key": to.key, "columns": sent})
        out["fetches"] += [{"step": step.id, "what": what, "name": name} for what, name in _fetched(plan, step)]
        out["allowed"] += [{"step": step.id, "name": a.name, "why": a.why} for a in asked(op.config)]
    return out


def _fetched(plan: Plan, step: PlannedStep) -> Iterator[tuple[str, str]]:
    """What is not here and would come from the hub."""
    for _, what, name in hub_names(step.operator.config):
        if plan.recipe.roots.first(name, Path.is_dir) is None and not is_gguf(name, plan.recipe.roots):
            yield what, name
    yield from step.operator.fetches(plan.context(step.id))
