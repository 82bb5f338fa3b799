"""The doubtful labels of a finished step, kind by kind: see `toolkit.reviewing._queue`."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.pipeline import Place, Progress, StepFolder, find_disputes, row_blocks
from toolkit.reviewing._item import CATEGORIES, NONE, Evidence, Item, item_of, texts_of

if TYPE_CHECKING:
    import polars as pl

_LIST, _REJECTS = "review/review.parquet", "rejects.parquet"
_ROW = ("id", "context", "prompt", "response", "completion", "categories", "source")


def fits(kind: str, done: StepFolder, guard: Guard) -> bool:
    """Whether a step can have doubts of this kind."""
    there = set(done.columns)
    if kind == "noise":
        return _LIST in done.manifest["files"]
    if kind == "disputes":
        return done.manifest["counts"][-1]["use"] == "mine" or (
            {"parent", "guard_model"} <= there and any(f"verdict_{t}" in there for t in guard.task_names)
        )
    if kind == "blind":
        return ("parent" not in there and any(f"blind_{t}" in there for t in guard.task_names)) or "disputed" in _reasons(done)
    if kind == "categories":
        return "categories_source" in there and "parent" not in there
    if kind == "flags":
        return "faults" in there and "parent" not in there
    if kind == "rejects":
        return bool(_reasons(done, "rejected"))
    return bool(done.row_files()) and "id" in there and any(f"label_{t}" in there for t in guard.task_names)


def _reasons(done: StepFolder, *outcomes: str) -> set[str]:
    kinds = outcomes or ("rejected", "set_aside")
    return {reason for counts in done.manifest["counts"] for kind in kinds for reason, n in counts[kind].items() if n}


def _noise(done: StepFolder, guard: Guard, most: int) -> Iterator[Item]:
    for block in done.read(_LIST):
        for row in block.iter_rows(named=True):
            if row["task"] not in guard.task_names:
                continue
            evidence = [Evidence(name, f"{row[name]:.2f}") for name in ("noise", "self_confidence") if row.get(name) is not None]
            evidence += [Evidence(name, row[name]) for name in ("votes", "annotators") if row.get(name)]
            if row.get("against"):
                evidence.append(Evidence(f"{row['against_by']} writes", row["against"], quoted=True))
            labelled = {f"label_{row['task']}": row["label"], f"label_{row['task']}_source": row["label_source"]}
            yield item_of({**row, **labelled}, row["task"], evidence, row["suggested"])


def _disputes(done: StepFolder, guard: Guard, most: int) -> Iterator[Item]:
    try:
        found = find_disputes(done.path, task=None, limit=most, output=None, progress=Progress.silent())
    except InputError:  # a step `mine` whose verdicts are gone
        return
    for line in found["shown"]:
        task = line["task"]
        if task not in guard.task_names:
            continue
        evidence = [Evidence("why", line["why"])]
        evidence += [Evidence(who, ", ".join(f"{label} {n}" for label, n in votes.items())) for who, votes in line["by_guard"].items()]
        against = [o for o in line["outputs"] if o["output"] and o["verdict"] not in (None, line["label"])]
        evidence += [Evidence(f"{o['guard']} writes", o["output"], quoted=True) for o in against[:1]]
        votes: dict[str, int] = {}
        for of in line["by_guard"].values():
            for label, n in of.items():
                votes[label] = votes.get(label, 0) + n
        others = {label: n for label, n in votes.items() if label in guard.task(task).labels and label != line["label"]}
        yield item_of({**line, f"label_{task}": line["label"]}, task, evidence, max(others, key=lambda v: others[v], default=None))


def _blind(done: StepFolder, guard: Guard, most: int) -> Iterator[Item]:
    for row in _set_aside(done, "disputed"):
        for task in guard.task_names:
            yield from _contradicted(row, task, [Evidence("set aside", row["_detail"], quoted=True)])
    tasks = [t for t in guard.task_names if {f"blind_{t}", f"label_{t}"} <= set(done.columns)]
    for block in _blocks(done, [*_labels(tasks), *(f"blind_{t}" for t in tasks), "reasoning"]) if tasks else ():
        for row in block.iter_rows(named=True):
            for task in tasks:
                yield from _contradicted(row, task, _reasoning(row))


def _contradicted(row: Mapping[str, Any], task: str, evidence: Sequence[Evidence]) -> Iterator[Item]:
    blind, label = row.get(f"blind_{task}"), row.get(f"label_{task}")
    if blind is not None and label is not None and blind != label:
        yield item_of(row, task, [Evidence("blind verdict", blind), *evidence], blind)


def _categories(done: StepFolder, guard: Guard, most: int) -> Iterator[Item]:
    """Rows that have no category because answers differ or cannot be read, or that came with others; then those with the least agreement."""
    tasks = [t for t in guard.task_names if f"label_{t}" in done.columns]
    doubted: list[tuple[float, int, Item]] = []
    at = 0
    for block in _blocks(done, [*_labels(tasks), "categories_source", "categories_votes", "categories_agreement", "categories_before"]):
        for row in block.iter_rows(named=True):
            at += 1
            source, agreement, before = row["categories_source"], row.get("categories_agreement"), row.get("categories_before")
            other = set(before or ()) not in (set(), set(row["categories"] or ()))
            if source != "reviewed" and (source in ("undecided", "unread") or other or (agreement is not None and agreement < 1)):
                doubt = 0.0 if source in ("undecided", "unread") or other else agreement or 0.0
                doubted.append((doubt, at, _about_categories(row)))
        doubted = heapq.nsmallest(most, doubted, key=lambda d: d[:2])
    return (item for _, _, item in sorted(doubted, key=lambda d: d[:2]))


def _about_categories(row: Mapping[str, Any]) -> Item:
    votes = sorted(row.get("categories_votes") or [], key=lambda v: (-v["n"], v["category"]))
    own, before = sorted(row["categories"] or ()), sorted(row.get("categories_before") or ())
    evidence = [Evidence("where they come from", row["categories_source"])]
    evidence += [Evidence("answers", ", ".join(f"{v['category']} {v['n']}" for v in votes))] if votes else []
    evidence += [Evidence("it came with", " ".join(before))] if before else []
    choices = dict.fromkeys([*own, *(v["category"] for v in votes), *before, NONE])
    best = next((v["category"] for v in votes if v["category"] not in (own or [NONE])), None)
    named = Item(str(row["id"]), CATEGORIES, " ".join(own) or None, row["categories_source"], best, texts_of(row), (), row.get("source"))
    return replace(named, evidence=tuple(evidence), categories=tuple(c for c in choices if c != NONE), choices=tuple(choices))


def _flags(done: StepFolder, guard: Guard, most: int) -> Iterator[Item]:
    tasks = [t for t in guard.task_names if f"label_{t}" in done.columns]
    for block in _blocks(done, [*_labels(tasks), *(f"blind_{t}" for t in tasks), "faults", "fault_details", "reasoning"]):
        for row in block.iter_rows(named=True):
            if row["faults"]:
                details = row.get("fault_details") or []
                evidence = [Evidence("fault", f"{code}: {detail}", quoted=True) for code, detail in zip(row["faults"], details, strict=False)]
                yield from _each_label(row, tasks, [*evidence, *_reasoning(row)])


def _rejects(done: StepFolder, guard: Guard, most: int) -> Iterator[Item]:
    for row in _set_aside(done, None):
        evidence = [Evidence("rejected", row["_reason"]), Evidence("found", row["_detail"] or "", quoted=True), *_reasoning(row)]
        yield from _each_label(row, guard.task_names, [e for e in evidence if e.text])


def _set_aside(done: StepFolder, reason: str | None) -> Iterator[dict[str, Any]]:
    """Rows that left a step, as they came into it: for one reason, or as rejects; with `_reason` and `_detail`."""
    if _REJECTS not in done.manifest["files"]:
        return
    for block in done.read(_REJECTS, ["id", "outcome", "reason", "detail", "row"]):
        for line in block.iter_rows(named=True):
            if line["row"] is None or line["id"] is None or not (line["outcome"] == "rejected" if reason is None else line["reason"] == reason):
                continue
            try:
                row = json.loads(line["row"])
            except ValueError:
                continue
            if isinstance(row, dict):
                yield {**row, "id": line["id"], "_reason": line["reason"], "_detail": line["detail"]}


def _every(done: StepFolder, guard: Guard, most: int) -> Iterator[Item]:
    tasks = [t for t in guard.task_names if f"label_{t}" in done.columns]
    for name in done.row_files():
        wanted = [c for c in (*_ROW, *_labels(tasks), *(f"blind_{t}" for t in tasks)) if c in done.columns]
        for block in done.read(name, wanted):
            for row in block.iter_rows(named=True):
                yield from _each_label(row, tasks, [])


def every_label(place: Place, guard: Guard) -> Iterator[Item]:
    """Every label of shards or files, in the order of the rows."""
    wanted = {*_ROW, *_labels(guard.task_names), *(f"blind_{t}" for t in guard.task_names)}
    for block, _ in row_blocks(place, lambda there: [c for c in there if c in wanted]):
        if "id" not in block.columns:
            raise InputError("no column 'id': a decision could not name its row", where=place.name, hint="rows as guardkit writes them have ids")
        for row in block.iter_rows(named=True):
            yield from _each_label(row, guard.task_names, [])


def _each_label(row: Mapping[str, Any], tasks: Sequence[str], evidence: Sequence[Evidence]) -> Iterator[Item]:
    for task in tasks:
        if row.get(f"label_{task}") is not None:
            blind = row.get(f"blind_{task}")
            yield item_of(row, task, evidence, blind if blind != row[f"label_{task}"] else None)


def _labels(tasks: Sequence[str]) -> list[str]:
    return [f"label_{t}{s}" for t in tasks for s in ("", "_source")]


def _reasoning(row: Mapping[str, Any]) -> list[Evidence]:
    return [Evidence(f"{row.get('teacher') or 'the teacher'} writes", row["reasoning"], quoted=True)] if row.get("reasoning") else []


def _blocks(done: StepFolder, more: Sequence[str]) -> Iterator[pl.DataFrame]:
    return done.blocks([c for c in dict.fromkeys((*_ROW, *more)) if c in done.columns])


DOUBTS: dict[str, Callable[[StepFolder, Guard, int], Iterator[Item]]] = {
    "noise": _noise,
    "disputes": _disputes,
    "blind": _blind,
    "categories": _categories,
    "flags": _flags,
    "rejects": _rejects,
    "labels": _every,
}
