"""Reviewers' decisions about labels, as a file says them.

A line is about one row (`id`, as it stands) and one `task`. `decision` is ``keep`` (the label is right), ``flip`` (it is the other of two), a label
of the task, ``drop`` (the row is to go) or ``unsure`` (looked at, left as it is); empty where nobody has decided yet. `reviewer`, `note` and `when`
go into the row's trail. `label` is the label that the decision was made about: where the row has another one by now, the decision is stale.

The task may also be ``categories``: then `label` and `decision` are names of categories with spaces between them, or ``none``.

In a sheet a row and task are decided once. In an overlay (`toolkit.shards.read_overlay`) they may be decided again and again: the last decision
counts. It may be about the label that the row came with or about one that an earlier decision gave it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.common.csvfile import read_sheet
from toolkit.common.errors import GuardkitError, InputError, InputErrors, did_you_mean
from toolkit.common.reading import Files
from toolkit.guards import Guard
from toolkit.shards import Overlay, is_overlay, read_overlay
from toolkit.taxonomy import NAME as CATEGORY_NAME

WORDS = ("keep", "flip", "drop", "unsure")
CATEGORIES, NONE = "categories", "none"
"""A task of every row, beside the guard's; and what is decided of a row that falls under none."""
SHOWN = 20
"""Faults that one error lists, at most."""


@dataclass(frozen=True)
class Decision:
    """One decision; `where` is its file and line. `checked`: whether the file says which label it is about, which is then `label`."""

    id: str
    task: str
    decision: str
    reviewer: str | None
    note: str | None
    when: str | None
    label: str | None
    checked: bool
    where: str
    before: tuple[Decision, ...] = ()
    """Earlier decisions about the same row and task, oldest first."""

    @property
    def drops(self) -> Decision | None:
        """The decision by which the row is to go: the last one but for those that are unsure, if it says so."""
        last = next((d for d in (self, *reversed(self.before)) if d.decision != "unsure"), self)
        return last if last.decision == "drop" else None


@dataclass(frozen=True)
class Decisions:
    """A file's decisions, by id and task the last one, how many lines were left empty, and the overlay that the file is."""

    by_row: dict[str, dict[str, Decision]]
    undecided: int
    overlay: Overlay | None = None

    @property
    def every(self) -> list[Decision]:
        """All of them, in the order of the file."""
        return [d for by in self.by_row.values() for d in by.values()]


def read_decisions(path: Path, guard: Guard, held: Files | None = None) -> Decisions:
    """The decisions in a CSV or parquet file, or in an overlay.

    Raises:
        InputError: the file cannot be read, or has not the columns; InputErrors: lines at fault (a task or decision that is unknown, no id, a row
            and task decided twice), each with its place.
    """
    if is_overlay(path):
        return _of_overlay(read_overlay(path, held), guard)
    columns, lines = read_sheet(path, held)
    if missing := [c for c in ("id", "task", "decision") if c not in columns]:
        raise InputError(f"no column {missing[0]!r}", where=str(path), hint=f"it has: {', '.join(columns)}")
    found: dict[str, dict[str, Decision]] = {}
    faults: list[GuardkitError] = []
    undecided = 0
    for where, cells in lines:
        try:
            decision = _decision(where, cells, guard)
        except InputError as e:
            faults.append(e)
            continue
        if decision is None:
            undecided += 1
            continue
        before = found.setdefault(decision.id, {}).setdefault(decision.task, decision)
        if before is not decision:
            kind = "decided twice" if before.decision == decision.decision else f"decided as {decision.decision!r} and as {before.decision!r}"
            faults.append(InputError(f"row {decision.id!r}, task {decision.task!r}: {kind}", where=where, hint=f"the other: {before.where}"))
    raise_all(faults)
    return Decisions(found, undecided)


def _of_overlay(overlay: Overlay, guard: Guard) -> Decisions:
    found: dict[str, dict[str, Decision]] = {}
    faults: list[GuardkitError] = []
    for line, cells in overlay.decisions.items():
        try:
            decision = _decision(f"{overlay.path}:{line}", cells, guard)
        except InputError as e:
            faults.append(e)
            continue
        if decision is not None:
            of_row = found.setdefault(decision.id, {})
            former = of_row.get(decision.task)
            of_row[decision.task] = replace(decision, before=(*former.before, replace(former, before=()))) if former else decision
    raise_all(faults)
    return Decisions(found, 0, overlay)


def _decision(where: str, cells: Mapping[str, str | None], guard: Guard) -> Decision | None:
    """The decision of a line; None where it is empty."""

    def word(name: str) -> str:
        return (cells.get(name) or "").strip()

    decision = word("decision")
    if not decision:
        return None
    row = cells.get("id")
    if row is None:
        raise InputError("a decision without an id", where=where)
    task = word("task")
    more = (word("reviewer") or None, cells.get("note"), word("when") or None)
    if task == CATEGORIES and task not in guard.task_names:
        about = joined_names(word("label").split())
        known_words = {w: w for w in ("keep", "drop", "unsure", NONE)}
        return Decision(row, task, known_words.get(decision.casefold()) or _names(decision, where), *more, about, "label" in cells, where)
    if task not in guard.task_names:
        raise InputError(f"the guard {guard.name!r} has no task {task!r}", where=where, hint=did_you_mean(task, guard.task_names))
    labels = guard.task(task).labels
    known = {w.casefold(): w for w in (*labels, *WORDS)}
    if decision.casefold() not in known:
        raise InputError(f"unknown decision {decision[:60]!r}", where=where, hint=did_you_mean(decision, known.values()))
    decision = known[decision.casefold()]
    if decision == "flip" and len(labels) != 2:
        raise InputError(f"flip, but the task {task!r} has {len(labels)} labels", where=where, hint=f"say which: {', '.join(labels)}")
    about = word("label") or None
    if about is not None and about not in labels:
        raise InputError(f"{about[:60]!r} is no label of the task {task!r}", where=where, hint=did_you_mean(about, labels))
    return Decision(row, task, decision, *more, about, "label" in cells, where)


def joined_names(names: Iterable[str]) -> str | None:
    """Categories as a label of the task `categories`: None for none."""
    return " ".join(sorted(set(names) - {NONE})) or None


def _names(text: str, where: str) -> str:
    """Names of categories, in order (InputError: none of them)."""
    for name in text.split():
        if not re.fullmatch(CATEGORY_NAME, name):
            raise InputError(f"unknown decision {text[:60]!r}", where=where, hint="keep, drop, unsure, none, or names of categories")
    return joined_names(text.split()) or NONE


def raise_all(faults: Iterable[GuardkitError]) -> None:
    """Raise the faults, if there are any; of many the first."""
    found = list(faults)
    if len(found) == 1:
        raise found[0]
    if len(found) > SHOWN:
        found = [*found[:SHOWN], InputError(f"and {len(found) - SHOWN} more faults of the kind")]
    if found:
        raise InputErrors(found)
