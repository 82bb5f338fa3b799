"""What `noise`, `review` and `relabel` show of a finished step: which labels are in doubt, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from toolkit.operators._value_counts import Tally
from toolkit.operators.figures import Cell, Figure, Finished, Table, some, stat


def transitions(changes: pl.DataFrame) -> list[dict[str, Any]]:
    """For a manifest, labels before and after (``task, label, new_label, rows``) of the lines of an artefact `changes`."""
    tally = Tally("task", "label", "new_label")
    tally.add(changes)
    return tally.lines()


def _tasks(step: Finished) -> dict[str, Any] | None:
    """What was counted of each task."""
    return {name.removeprefix("task_"): found for name, found in step.stats.items() if name.startswith("task_")} or None


def _doubts(step: Finished) -> dict[str, Any] | None:
    names = ("labelled", "voted_on", "always_wrong", "off_diagonal")
    return {task: {n: found[n] for n in names} for task, found in (_tasks(step) or {}).items()} or None


def _show_doubts(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, int]]) -> Iterator[Table | str]:
    numbers = ("with a label", "voted on", "all votes against", "confidently another")
    yield Table(
        f"Labels, and what votes say against them ({step.step})", ("task",), numbers, [[task, *found.values()] for task, found in value.items()]
    )
    yield f"Lines of the list for review ({step.step}): {step.stats.get('listed', 0):,}"
    if others := step.stats.get("verdicts_of_other_rows"):
        yield f"Verdicts about other rows, which do not count ({step.step}): {others:,}"


def _voters(step: Finished) -> dict[str, Any] | None:
    return {task: found["voters"] for task, found in (_tasks(step) or {}).items() if found["voters"]} or None


def _show_voters(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[Table | str]:
    rows: list[list[Cell]] = [
        [task, voter, n["votes"], None if n["agree"] is None else f"{100 * n['agree']:.1f}"] for task, by in value.items() for voter, n in by.items()
    ]
    yield Table(f"Votes on rows with a label ({step.step})", ("task", "voter"), ("votes", "for the label %"), rows, parts=True)
    for voter, n in (step.stats.get("votes_left_out") or {}).items():
        yield f"Votes of {voter} on rows that it was trained on, which do not count ({step.step}): {n:,}"


def _joint(step: Finished) -> dict[str, Any] | None:
    return {task: found["confident_joint"] for task, found in (_tasks(step) or {}).items() if found["confident_joint"] is not None} or None


def _show_joint(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterator[Table]:
    rows: list[list[Cell]] = [[t, a, b, n] for t, joint in value.items() for a, to in joint.items() for b, n in to.items() if n]
    if rows:
        title = f"Rows whose votes are for one label with confidence ({step.step})"
        yield Table(title, ("task", "label", "votes are for"), ("rows",), rows, parts=True)


def _show_sources(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table]:
    rows: list[list[Cell]] = [[n["source"], n["rows"], n["doubted"], f"{100 * n['doubted'] / n['rows']:.1f}", n["always_wrong"]] for n in value]
    yield Table(f"Rows in doubt by source ({step.step})", ("source",), ("rows", "in doubt", "%", "all votes against"), rows)


NOISE = (
    Figure("doubts", "labels by task: how many were voted on, have all votes against them, are confidently another", _doubts, _show_doubts),
    Figure("voters", "votes of each voter on rows with a label, and the share of them for it", _voters, _show_voters),
    Figure("confident_joint", "rows by their label and by the label that their votes are for with confidence", _joint, _show_joint),
    Figure("doubted_by_source", "rows of which something speaks against a label, by source", some("doubted_by_source"), _show_sources),
)


def _decided(step: Finished, figure: Figure, value: Mapping[str, int]) -> Iterator[str]:
    words = {"keep": "kept", "set": "set", "drop": "row dropped", "unsure": "unsure"}
    decided = ", ".join(f"{words[name]} {value[name]:,}" for name in words if value.get(name)) or "none"
    yield f"Decisions of reviewers ({step.step}): {decided}; labels changed {step.stats.get('labels_changed', 0):,}"
    for name, title in (("undecided", "Lines without a decision"), ("about_other_rows", "Decisions about rows that are not there")):
        if n := step.stats.get(name):
            yield f"{title} ({step.step}): {n:,}"


def _moved(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table]:
    changed = [n for n in value if n["label"] != n["new_label"]]
    if changed:
        what = "Labels that the consensus would set" if step.stats.get("applied") is False else "Labels that changed"
        rows: list[list[Cell]] = [[n["task"], n["label"], n["new_label"], n["rows"]] for n in changed]
        yield Table(f"{what} ({step.step})", ("task", "label", "new label"), ("rows",), rows, parts=True)


_MOVED = Figure("labels", "labels that were set or confirmed, before and after", some("labels"), _moved)
REVIEWED = (Figure("decisions", "reviewers' decisions about rows that are there", stat("decisions"), _decided), _MOVED)


def _consensus(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, int]]) -> Iterator[Table | str]:
    numbers = ("with a quorum", "filled", "changed") if step.stats.get("applied") else ("with a quorum", "would be filled", "would be changed")
    rows: list[list[Cell]] = [[task, n["quorum"], n["filled"], n["changed"]] for task, n in value.items()]
    yield Table(f"Consensus of the voters on {step.stats.get('rows', 0):,} rows ({step.step})", ("task",), numbers, rows)
    if others := step.stats.get("verdicts_of_other_rows"):
        yield f"Verdicts about other rows, which do not count ({step.step}): {others:,}"


RELABELLED = (
    Figure("consensus", "rows by task on which voters agree, and labels filled in and changed", _tasks, _consensus),
    Figure("disputed", "labels that the voters do not settle, of rows that leave", some("disputed")),
    _MOVED,
)
