"""Which columns hold labels, and what their values mean for a guard's tasks: for drafting a source.

A column is a task's where its values are the labels or say their sides (``safe``, ``unsafe``), or where its name does (``is_safe``, ``toxicity``) and
its values are true or false, or a number. A column's name also says what is judged, prompt or response; where it does not, that is left open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.guards import Guard, Task
from toolkit.sources.draft._meanings import aim, labels_of, named, word_map, yes_or_no
from toolkit.sources.draft._profile import ColumnLook

_PLAIN = frozenset(("label", "labels", "target", "class", "y", "output", "score", "gold"))
"""Names that say a label and nothing of it."""
_NO_LABEL = frozenset(
    ["id", "idx", "index", "count", "num", "number", "len", "length", "tokens", "time", "timestamp", "date", "year", "agreement", "version", "rank"]
)


@dataclass
class LabelDraft:
    """A task's label rule, without who gave it; `notes` and `open`: what to say beside it, and what a person has to decide."""

    rule: dict[str, Any] | None = None
    columns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Reading:
    """A column read as one task's label. `fit`: how well it fits; `clear`: its name, or the guard, leaves no other task; `likely`: no task
    is likelier;
    `unsure`: what to decide."""

    column: ColumnLook
    task: Task
    rule: dict[str, Any]
    fit: int
    why: str
    notes: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    clear: bool = True
    likely: bool = True


def draft_labels(columns: Mapping[str, ColumnLook], taken: Collection[str], guard: Guard, response: bool) -> dict[str, LabelDraft]:
    """A rule for each task that one can be found for.

    Args:
        columns: of the file.
        taken: those that hold something else.
        guard: its tasks.
        response: whether rows have a response.
    """
    free = [c for c in columns.values() if c.name not in taken and c.values and not set(c.words) & _NO_LABEL]
    readings = [r for c in free for t in guard.tasks if (r := _reading(c, t, guard, response)) is not None]
    readings.sort(key=lambda r: -r.fit)
    out: dict[str, LabelDraft] = {}
    used: dict[str, str] = {}
    for reading in readings:
        task, name = reading.task.name, reading.column.name
        if task in out and name not in used:
            out[task].notes.append(f"also possible: {name} ({reading.why})")
        elif name in used and not reading.clear and task not in out:
            out[used[name]].open.append(f"{name} may judge what {task} asks instead: its name does not say")
        elif task not in out and name not in used and reading.likely:
            used[name] = task
            out[task] = LabelDraft(reading.rule, [name], list(reading.notes), list(reading.unsure))
    _any(out, [c for c in free if c.name not in used], guard, response)
    for task, found in out.items():
        _agreement(found, columns)
        _lacking(found, columns, guard.task(task))
    return out


def _reading(column: ColumnLook, task: Task, guard: Guard, response: bool) -> _Reading | None:
    fit, clear = aim(column.words, task, guard, response)
    found = next((r for way in (_by_words, _by_name, _by_score) if (r := way(column, task, fit)) is not None), None) if fit else None
    return replace(found, clear=clear, likely=clear or fit > 1) if found is not None else None


def _by_words(column: ColumnLook, task: Task, fit: int) -> _Reading | None:
    """Values that are the labels, or say their sides."""
    if column.kind != "text" or not column.counts:
        return None
    found = word_map(column.counts, task)
    rows = sum(column.counts[v] for v in found)
    if rows * 2 < len(column.values):
        return None
    left = {v: n for v, n in column.counts.items() if v not in found}
    unsure = [f"{v!r} ({n:,} rows) has no label in the map: those rows are rejected" for v, n in left.items()]
    exact = all(v == label for v, label in found.items())
    rule: dict[str, Any] = {"column": column.name, "map": found}
    return _Reading(column, task, rule, 20 + fit + exact, "by its values", (_counted(column),), tuple(unsure[:5]))


def _by_name(column: ColumnLook, task: Task, fit: int) -> _Reading | None:
    """True and false (or yes and no), where the name says what true is."""
    sides, meaning = labels_of(task), named(column.words)
    yes = {v: yes_or_no(v) for v in column.counts}
    if not sides or not yes or None in yes.values() or len(yes) > 2 or (column.kind == "number"):
        return None
    family = next(iter(sides))[0]
    if meaning is not None and meaning.family != family:
        return None
    if meaning is None and not (set(column.words) <= _PLAIN or fit >= 4):
        return None
    positive = meaning.positive if meaning is not None else True
    if column.kind == "flag":
        flags: list[Any] = [False, True] if all(type(v) is bool for v in column.values) else [0, 1]
        found = {v: sides[family, bool(v) == positive] for v in flags}
    else:
        found = {v: sides[family, notes == positive] for v, notes in yes.items()}
    open_ = () if meaning is not None else (f"nothing says which value of {column.name} is {task.positive}; true, yes and 1 are taken for it",)
    points = (10 if meaning is not None else 0) + fit
    return _Reading(column, task, {"column": column.name, "map": found}, points, "by its name", (_counted(column),), open_)


def _by_score(column: ColumnLook, task: Task, fit: int) -> _Reading | None:
    """A number with a threshold, where the name says what it measures."""
    sides, meaning = labels_of(task), named(column.words)
    if column.kind != "number" or not sides or meaning is None or meaning.family != next(iter(sides))[0]:
        return None
    low, high = min(column.values), max(column.values)
    at = 0.5 if low >= 0 and high <= 1 else (low + high) / 2
    high_is = sides[meaning.family, meaning.positive]
    low_is = sides[meaning.family, not meaning.positive]
    above = sum(v >= at for v in column.values)
    rows = f"{above:,} of {len(column.values):,} rows"
    text = f"{column.name} goes from {low:g} to {high:g}; from {at:g} on it is {high_is} ({rows}): is that the threshold?"
    rule = {"column": column.name, "threshold": at, "map": {True: high_is, False: low_is}}
    return _Reading(column, task, rule, 5 + fit, "a number", (), (text,))


def _counted(column: ColumnLook) -> str:
    top = [f"{_shown(v)} ({n:,})" for v, n in column.counts.most_common(8)]
    empty = column.rows - len(column.values)
    return f"{column.name}: {', '.join(top)}" + (f", nothing in {empty:,}" if empty else "")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)[:40]


def _any(out: dict[str, LabelDraft], free: list[ColumnLook], guard: Guard, response: bool) -> None:
    """Several columns of true and false that nobody knows the names of: a harm each, perhaps."""
    harm = [t for t in guard.tasks if ("harm", True) in labels_of(t) and (response or t.applies != "response")]
    flags = [c for c in free if c.kind == "flag" and "{k}" not in c.name]
    if not harm or len(flags) < 2:
        return
    names = [c.name for c in flags]
    listed = f"any: [{', '.join(names)}]"
    taken = [t.name for t in harm if t.name in out]
    for name in taken:
        out[name].notes.append(f"other columns of true and false: {', '.join(names)}; `{listed}` with {out[name].columns[0]} would take them all")
    if taken:
        return
    task = next((t for t in harm if t.applies == ("response" if response else "always")), harm[0])
    sides = labels_of(task)
    rule = {"any": names, "map": {True: sides["harm", True], False: sides["harm", False]}}
    text = f"no column is called so; a row is taken for {task.positive} where any of {', '.join(names)} is true: take out those that name no harm"
    out[task.name] = LabelDraft(rule, names, [], [text])


def _agreement(found: LabelDraft, columns: Mapping[str, ColumnLook]) -> None:
    """The share of annotators who gave the label, where a column says it."""
    if found.rule is None or "column" not in found.rule:
        return
    own = set(columns[found.rule["column"]].words)
    for c in columns.values():
        if "agreement" in c.words and set(c.words) - {"agreement"} <= own and c.kind in ("number", "flag") and all(0 <= v <= 1 for v in c.values):
            found.rule["agreement"] = c.name
            found.columns.append(c.name)
            return


def _lacking(found: LabelDraft, columns: Mapping[str, ColumnLook], task: Task) -> None:
    """A column that rows of JSON lack: only `any` leaves it out."""
    rule = found.rule or {}
    column = columns.get(rule.get("column", ""))
    if column is None or not column.lacking:
        return
    if column.kind == "flag" and "threshold" not in rule:
        labels = {bool(v): label for v, label in rule.pop("map").items()}
        rule |= {"any": [rule.pop("column")], "map": labels}
        rule.pop("agreement", None)
        found.notes.append(f"{column.lacking:,} of {column.rows:,} rows have no key {column.name}: they have no label of {task.name}")
    else:
        found.open.append(f"{column.lacking:,} of {column.rows:,} rows have no key {column.name}: they are rejected")
