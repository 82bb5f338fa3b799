"""The first page: what is viewed, and the tables in it; of a run its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError
from toolkit.viewing._going_on import StepState, run_state_now
from toolkit.viewing._paged_table import Table
from toolkit.viewing._subject import Subject
from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


@dataclass
class StepLine:
    """A step of a run: how far it is, the step in whose folder its rows are, its tables, generations that failed."""

    state: StepState
    use: str = ""
    home: str = ""
    rows: Table | None = None
    rejects: Table | None = None
    others: list[Table] = field(default_factory=list)
    failed: int = 0


def overview(viewed: Viewed, request: Request) -> Response:
    """The steps of a run with their tables, else the tables."""
    subject = viewed.subject
    fault = None
    if subject.kind == "run":
        try:
            now = run_state_now(subject.place)
            return viewed.page(request, "run.html", subject.name, now=now, lines=_lines(subject, {s.step: StepLine(s) for s in now.steps}))
        except InputError as e:  # of its recipe or its log, say: what was built can be looked at
            fault = e
    tables = [subject.table(name) for name in subject.tables()]
    return viewed.page(request, "overview.html", subject.name, tables=tables, fault=fault)


def _lines(subject: Subject, lines: dict[str, StepLine]) -> list[StepLine]:
    """A line for each step of the recipe, and for those that are built and no longer in it."""
    for done in subject.steps():
        for count in done.manifest["counts"]:
            line = lines.setdefault(count["step"], StepLine(StepState(count["step"], "no longer in the recipe")))
            line.use, line.home = count["use"], done.step
        lines[done.step].failed = done.failed
    for name in subject.tables():
        step, _, rest = name.partition("/")
        table = subject.table(name)
        if not rest:
            lines[step].rows = table
        elif rest == "rejects":
            lines[step].rejects = table
        else:
            lines[step].others.append(table)
    return list(lines.values())


PAGES = [Page("/", "Overview", overview)]
