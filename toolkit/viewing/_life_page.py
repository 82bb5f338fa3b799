"""The page of a row's life: the interaction, the teacher's attempts, its reasoning, the guards' draws, its pairs, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import GuardkitError
from toolkit.guards import Guard, Section, load_guard, sections
from toolkit.pipeline import kept_recipe
from toolkit.viewing._differences import differences
from toolkit.viewing._life import Event, Life, life_of
from toolkit.viewing._rendering import as_text
from toolkit.viewing._subject import Subject
from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

OUTCOMES = {
    "kept": "kept",
    "made": "made of it",
    "rejected": "rejected",
    "set_aside": "set aside",
    "merged": "merged into another row",
    "joined": "another row was merged into it",
    "found": "in a report",
}
"""What became of a row, in words."""


@dataclass(frozen=True)
class Draw:
    """One answer of a guard: of which draw, what it wrote, and of each task the verdict, the label, why it could not be read."""

    event: Event
    number: Any
    output: str
    verdicts: Sequence[tuple[str, str | None, str | None, str | None]]


def life(viewed: Viewed, request: Request) -> Response:
    """The life of the row whose id is asked for; without one a form."""
    row = request.query_params.get("id", "").strip()
    if not row:
        return viewed.page(request, "life_form.html", "A row's life")
    found = life_of(viewed.subject, row)
    values, guard = found.values, _guard(viewed.subject)
    reasoning = as_text(values.get("reasoning"))
    return viewed.page(
        request,
        "life.html",
        f"Row {found.id}",
        life=found,
        values=values,
        first=found.first,
        lines=_lines(found),
        outcomes=OUTCOMES,
        labels=_labels(values),
        attempts=_attempts(values.get("trail")),
        faults=list(zip(_listed(values.get("faults")), _listed(values.get("fault_details")), strict=False)),
        left=[e for e in found.of_the_row() if e.outcome in ("rejected", "set_aside", "merged")],
        reasoning=reasoning,
        parts=_parts(guard, reasoning),
        guards=_draws(found, values),
        pairs=[(e, *reversed(differences(e.values["rejected"], e.values["chosen"]))) for e in _pairs(found)],
    )


@dataclass
class Line:
    """An event, or several rows of one table that were made of the row."""

    event: Event
    rows: int = 1


def _lines(found: Life) -> list[Line]:
    out: list[Line] = []
    for e in found.events:
        if out and e.outcome == "made" and (out[-1].event.table, out[-1].event.outcome) == (e.table, "made"):
            out[-1].rows += 1
        else:
            out.append(Line(e))
    return out


def _guard(subject: Subject) -> Guard | None:
    """The guard that a run is for; None where its definition is not there any more."""
    if subject.kind != "run":
        return None
    try:
        recipe = kept_recipe(subject.place)
        return load_guard(recipe.spec.guard, recipe.roots)
    except GuardkitError:
        return None


def _parts(guard: Guard | None, text: str) -> list[Section]:
    """The steps of a reasoning; none where the guard's form is not found in it."""
    return sections(guard, text) if guard is not None and text else []


def _labels(values: Mapping[str, Any]) -> list[tuple[str, Any, Any, Any]]:
    """Of each task the label, where it comes from, and what a teacher answered who was not shown it."""
    sources = [c for c in values if c.startswith("label_") and c.endswith("_source") and len(c) > len("label__source")]
    tasks = [c[len("label_") : -len("_source")] for c in sources]
    return [(t, values.get(f"label_{t}"), values.get(f"label_{t}_source"), values.get(f"blind_{t}")) for t in tasks]


def _attempts(trail: Any) -> list[dict[str, Any]]:
    """What a teacher wrote that was not taken (`trail` of the record `reasoned`)."""
    try:
        found = json.loads(trail) if isinstance(trail, str) else []
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _listed(value: Any) -> list[Any]:
    """A list, or none: a file of rows may have anything in a column of this name."""
    return value if isinstance(value, list) else []


def _draws(found: Life, values: Mapping[str, Any]) -> dict[str, list[Draw]]:
    """The answers of each guard, in order; a draw that several steps hold as the last of them has it."""
    last = {e.values["id"]: e for e in found.events if e.values.get("guard_model") is not None and _answers(e.values)}
    out: dict[str, list[Draw]] = {}
    for e in last.values():
        row = e.values
        tasks = [c.removeprefix("verdict_") for c in row if c.startswith("verdict_")]
        verdicts = [(t, row[f"verdict_{t}"], row.get(f"label_{t}") or values.get(f"label_{t}"), row.get(f"unread_{t}")) for t in tasks]
        out.setdefault(str(row["guard_model"]), []).append(Draw(e, row.get("draw"), as_text(row.get("output")), verdicts))
    return out


def _answers(row: Mapping[str, Any]) -> bool:
    """Whether a row is a guard's answer: its text, or the verdicts that were read in it."""
    return row.get("output") is not None or any(c.startswith("verdict_") for c in row)


def _pairs(found: Life) -> list[Event]:
    """Its preference pairs, each once, with both texts."""
    pairs: dict[Any, Event] = {}
    for e in found.events:
        if isinstance(e.values.get("chosen"), str) and isinstance(e.values.get("rejected"), str):
            pairs.setdefault(e.values["id"], e)
    return list(pairs.values())


PAGES = [Page("/life", "A row's life", life)]
