"""Pages about a run: how far it is, what it did not keep, its recipe and plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.common.yamlfile import read_text
from toolkit.pipeline import inputs_of, kept_recipe
from toolkit.report import run_state
from toolkit.viewing._going_on import run_state_now
from toolkit.viewing._subject import Subject
from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def progress(viewed: Viewed, request: Request) -> Response:
    """How far the run is; the page asks again every few seconds while it goes on."""
    return viewed.page(request, "progress.html", "Progress", now=run_state_now(viewed.subject.place))


def rejects(viewed: Viewed, request: Request) -> Response:
    """What the steps did not keep, by reason, with links to the rows. The counts are those of the manifests: nothing is read for them."""
    lines: list[dict[str, Any]] = []
    for done in viewed.subject.steps():
        for count in done.manifest["counts"]:
            outcomes = [("rejected", reason, n) for reason, n in count["rejected"].items()]
            outcomes += [("merged", None, count["merged"])] if count["merged"] else []
            outcomes += [("set_aside", reason, n) for reason, n in count["set_aside"].items()]
            for outcome, reason, n in outcomes:
                lines.append({"step": count["step"], "use": count["use"], "in": count["in"], "outcome": outcome, "reason": reason, "rows": n})
                lines[-1]["table"] = f"{done.step}/rejects"
    return viewed.page(request, "rejects.html", "Rejects", lines=lines, there=viewed.subject.tables())


def recipe(viewed: Viewed, request: Request) -> Response:
    """The recipe that the run keeps, and its steps with what they read and whether they are built."""
    place = viewed.subject.place
    kept = kept_recipe(place)
    states = {line["step"]: line for line in run_state(place)["steps"]}
    text = read_text(place / "recipe.yaml", _RECIPE)
    return viewed.page(request, "recipe.html", "Recipe and plan", recipe=kept, states=states, written=text, sources=_sources(kept.steps))


_RECIPE = 4 << 20
"""Bytes of a recipe that are shown, at most."""


def _sources(steps: Any) -> dict[str, list[tuple[str, str]]]:
    """Of each step what it reads: by the name of the input the step."""
    reads = inputs_of(steps)
    return {s.id: list(s.inputs.items()) if isinstance(s.inputs, dict) else [("rows", source) for source in reads[s.id]] for s in steps}


def is_run(subject: Subject) -> bool:
    """Whether a run is viewed."""
    return subject.kind == "run"


PAGES = [
    Page("/progress", "Progress", progress, shows=is_run),
    Page("/rejects", "Rejects", rejects, shows=is_run),
    Page("/recipe", "Recipe and plan", recipe, shows=is_run),
]
