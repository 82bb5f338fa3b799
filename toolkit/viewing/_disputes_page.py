"""The rows on which guards disagree most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.pipeline import Progress, find_disputes
from toolkit.viewing._rows_page import number_of
from toolkit.viewing._subject import Subject
from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MOST, SIZE = 200, 20
"""Rows that are shown, and how many of them on a page."""


def disputes(viewed: Viewed, request: Request) -> Response:
    """The most disputed rows, of all tasks or one, with what the guards wrote side by side. Found once, until the run's steps change."""
    task = request.query_params.get("task") or None
    version = [(done.step, done.manifest["fingerprint"]) for done in viewed.subject.steps()]
    key = f"disputes {task}"
    kept = viewed.state.get(key)
    if kept is None or kept[0] != version:
        found = find_disputes(viewed.subject.place, task=task, limit=MOST, output=None, progress=Progress.silent())
        kept = viewed.state[key] = (version, found)
    found, page = kept[1], number_of(request.query_params.get("page", "1"), "page")
    rows = [_with_guards(row) for row in found["shown"][(page - 1) * SIZE : page * SIZE]]
    return viewed.page(request, "disputes.html", "Disputes", found=found, task=task, rows=rows, page=page, pages=-(-len(found["shown"]) // SIZE) or 1)


def _with_guards(row: dict[str, Any]) -> dict[str, Any]:
    """A disputed row with the outputs of each guard together."""
    guards: dict[str, list[dict[str, Any]]] = {}
    for output in row["outputs"]:
        guards.setdefault(str(output["guard"]), []).append(output)
    return {**row, "guards": guards}


def _has_verdicts(subject: Subject) -> bool:
    return subject.kind == "run" and any(done.manifest["use"] == "verdicts" if "use" in done.manifest else False for done in subject.steps())


PAGES = [Page("/disputes", "Disputes", disputes, shows=_has_verdicts)]
