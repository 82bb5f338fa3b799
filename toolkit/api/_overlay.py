"""The overlay of a dataset: what people decided about its rows, kept for good."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit.api._results import Overlaid
from toolkit.common.errors import InputError, short_path
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.guards import load_guard
from toolkit.operators.labels._decisions import Decision, read_decisions
from toolkit.pipeline import stopping
from toolkit.shards import Overlay, add_to_overlay, read_overlay


def overlay(
    file: str | Path,
    *,
    add: str | Path | None = None,
    reviewer: str | None = None,
    why: str | None = None,
    guard: str | Path = "guardreasoner",
) -> Overlaid:
    """What people decided about the rows of a dataset, in a file of its own beside it that only grows; and decisions added to it (docs/overlay.md).

    Args:
        file: the overlay, ``NAME.overlay.jsonl``; with `add` it is made where there is none.
        add: decisions to add: a sheet (CSV, parquet) as the operator `review` takes it, filled in, or another overlay. Those that are in the overlay
            already are left out, lines of a sheet without a decision, too.
        reviewer: who decided, where the sheet does not say.
        why: the note of decisions without one.
        guard: whose tasks and labels these are.

    Returns:
        ``file``, ``lines``, ``decisions``, ``rows`` (that they are about), ``superseded`` (decisions about a row and task that was decided again),
        ``by`` (task, reviewer, decision, and how many), ``first`` and ``last`` (when), ``signatures`` (line, by, key), ``unsigned`` (decisions after
        the last signature), ``added``.

    Raises:
        InputError: no overlay, or one that was changed, with the line; a decision that nobody made; InputErrors: faults of the decisions, each with
            its place. Missing: it is signed, and the package that checks signatures is not there.

    Example:
        >>> _ = open("decided.csv", "w").write("id,task,label,decision,note\\nr1,prompt,harmful,flip,a recipe\\nr2,prompt,harmful,,\\n")
        >>> found = toolkit.overlay("seeds.overlay.jsonl", add="decided.csv", reviewer="anna")
        >>> found.added, found.by
        (1, [{'task': 'prompt', 'reviewer': 'anna', 'decision': 'flip', 'decisions': 1}])
    """
    place, added = at_door(file), 0
    if add is not None:
        sheet = at_door(add)
        check_output(place, reads=[sheet], own="overlay")
        decided = [one for last in read_decisions(sheet, load_guard(str(guard))).every for one in (*last.before, last)]
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        with stopping():
            added = add_to_overlay(place, [_cells(d, reviewer, why) for d in decided], now)
    return Overlaid(_figures(read_overlay(place), added))


def _cells(d: Decision, reviewer: str | None, why: str | None) -> dict[str, str | None]:
    who = d.reviewer or reviewer
    if not who:
        raise InputError("nobody made this decision", where=d.where, hint="fill in the column reviewer, or name them with {--reviewer|reviewer}")
    label = {"label": d.label} if d.checked else {}
    return {"id": d.id, "task": d.task, **label, "decision": d.decision, "reviewer": who, "note": d.note or why, "when": d.when}


def _figures(found: Overlay, added: int) -> dict[str, Any]:
    decided = found.decisions.values()
    by = Counter((d["task"], d["reviewer"], d["decision"]) for d in decided)
    when = sorted(str(d["when"]) for d in decided)
    return {
        "file": short_path(found.path),
        "lines": len(found.seals),
        "decisions": len(decided),
        "rows": len({d["id"] for d in decided}),
        "superseded": len(decided) - len({(d["id"], d["task"]) for d in decided}),
        "by": [{"task": t, "reviewer": r, "decision": d, "decisions": n} for (t, r, d), n in sorted(by.items(), key=str)],
        "first": when[0] if when else None,
        "last": when[-1] if when else None,
        "signatures": [{"line": n, "by": s.by, "key": s.key} for n, s in found.signatures.items()],
        "unsigned": len(found.unsigned()),
        "added": added,
    }
