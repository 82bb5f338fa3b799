"""What reviewers have settled of a label, as a line of the list that the operator `review` takes."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.reviewing._decision_log import Decided
from toolkit.reviewing._item import CATEGORIES, NONE

COLUMNS = ("id", "task", "label", "decision", "reviewer", "note", "when", "step")
"""Of the list."""


def settled_line(decisions: Sequence[Decided], adjudicated: Decided | None, label: str | None, wanted: int) -> dict[str, str | None] | None:
    """The line of a label; None where reviewers disagree and nobody has adjudicated, or a decision is still to come.

    Args:
        decisions: of reviewers.
        adjudicated: the adjudicator's, if there is one.
        label: that the row has now; decisions about another one do not count.
        wanted: decisions that there should be.
    """
    found = [d for d in decisions if d.label == label]
    if adjudicated is not None and adjudicated.label == label:
        noted = "; ".join(f"{d.reviewer}: {d.decision}" for d in found)
        return _line(adjudicated, adjudicated.reviewer, ": ".join(t for t in (adjudicated.note, f"adjudicated ({noted})") if t))
    if len(found) < max(wanted, 1) or len({d.decision for d in found}) > 1:
        return None
    notes = [f"{d.reviewer}: {d.note}" if len(found) > 1 else d.note for d in found if d.note]
    return _line(max(found, key=lambda d: d.when), ", ".join(d.reviewer for d in found), "; ".join(n for n in notes if n))


def _line(d: Decided, reviewer: str, note: str | None) -> dict[str, str | None]:
    decision = "keep" if d.decision == (d.label or (NONE if d.task == CATEGORIES else None)) else d.decision
    words = (d.id, d.task, d.label, decision, reviewer, note or None, d.when, d.step)
    return dict(zip(COLUMNS, words, strict=True))
