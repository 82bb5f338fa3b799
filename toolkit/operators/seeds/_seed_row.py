"""A candidate as a row of the record ``made_seed``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.operators.seeds._grid import Place, constructed, judged_tasks
from toolkit.operators.seeds._prompts import as_context
from toolkit.records import content_id, group_id, row_id

if TYPE_CHECKING:
    from toolkit.operators.base import Context
    from toolkit.operators.seeds._candidate import Candidate, Stage
    from toolkit.operators.seeds._seed_options import GenerateSeedsConfig
    from toolkit.taxonomy import Category


@dataclass(frozen=True)
class Accepted:
    """What is kept of an accepted seed that may be varied."""

    id: str
    prompt: str
    group: str
    style: str


def seed_row(
    found: Candidate,
    place: Place,
    category: Category,
    ctx: Context,
    config: GenerateSeedsConfig,
    *,
    style: str,
    rule: str | None,
    parent: Accepted | None,
    models: Mapping[Stage, str],
) -> dict[str, Any]:
    """The row; under ``_constructed`` the labels that it has by how it was made, by task.

    Args:
        found: what was answered, as far as it went.
        place: that it is for.
        category: of the place.
        ctx: of the step.
        config: options of the step.
        style: how it was asked to be written.
        rule: that it was asked to be written by.
        parent: the seed that it is made of.
        models: names of those who answered.
    """
    cell, keys = place.cell, found.keys or {}
    prompt = found.messages[-1] if found.messages else ""
    context = as_context(found.messages)
    content = content_id([(m["role"], m["content"]) for m in context], prompt, found.response)
    source = config.source or ctx.step
    labels, by_construction = _labels(found, place, ctx)
    harmful = cell.label == "harmful" or (cell.label == "borderline" and found.verdict is not None and found.verdict["in_category"] == "yes")
    return {
        "id": row_id(source, content, 0),
        "content_id": content,
        "context": context,
        "prompt": prompt,
        "response": found.response,
        **labels,
        "categories": [category.name] if harmful else [],
        "votes": [],
        "source": source,
        "source_row": place.number,
        "licence": config.licence,
        "language": cell.language,
        "group": parent.group if parent is not None else group_id(prompt),
        "split": None,
        "seed_category": category.name,
        "seed_label": cell.label,
        "seed_form": cell.form,
        "seed_rule": rule,
        "seed_style": style,
        "seed_change": cell.change,
        "seed_of": parent.id if parent is not None else None,
        "seed_model": models.get("author", ""),
        "seed_key": keys.get("author", ""),
        "reply_model": models.get("reply"),
        "reply_key": keys.get("reply"),
        "judge_model": models.get("judge"),
        "judge_key": keys.get("judge"),
        "suspect": None,
        **{f"blind_{t}": (found.verdict or {}).get(t) for t in ctx.guard.task_names},
        "_constructed": by_construction,
    }


def _labels(found: Candidate, place: Place, ctx: Context) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """The label columns, and by task the labels that are settled by construction."""
    cell = place.cell
    settled: dict[str, str | None] = {}
    known = {t.name for t in judged_tasks(ctx.guard, response=cell.form != "prompt")}
    out: dict[str, str | None] = {}
    for task in ctx.guard.tasks:
        if task.applies == "response" and cell.form == "prompt":
            label, source = None, "not_applicable"
        elif task.name not in known:
            label, source = None, "absent"
        elif (label := constructed(task, cell.label, cell.form)) is not None:
            settled[task.name] = label
            source = "constructed" if found.verdict is None else "consensus"
        else:
            label = None if found.verdict is None else found.verdict[task.name]
            source = "to_infer" if label is None else "inferred"
        out |= {f"label_{task.name}": label, f"label_{task.name}_source": source}
    return out, settled


def unconfirmed(made: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a candidate whose labels are what was wanted, and nobody confirmed them."""
    return {**made, **{n: "constructed" for n, v in made.items() if n.startswith("label_") and n.endswith("_source") and v == "consensus"}}
