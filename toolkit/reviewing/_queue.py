"""The queue of a review: the doubtful labels of a run's step, of shards or of files, the most doubtful first.

========== =========================================================================================================================================
kind       what is in it
========== =========================================================================================================================================
noise      the list that a step `noise` made: labels that votes speak against
disputes   labels on which guards' verdicts differ (`guardkit disputes`)
blind      labels that a teacher or judge contradicts which was not shown them (`blind_<task>`), also of rows that were set aside for it
categories rows on whose categories the answers of `assign_categories` differ
flags      labels of rows in which `validate` found a fault (`faults: flag`)
rejects    labels of rows that a step rejected
labels     every label of a step, of shards or of files, in the order of the rows
========== =========================================================================================================================================

Without a step a run's queue is of the first of these kinds that any of its steps has, of the last such step; `labels` only where a step is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from toolkit.common.errors import InputError, did_you_mean, short_path, worded
from toolkit.common.paths import at_door
from toolkit.guards import Guard, load_guard
from toolkit.pipeline import StepFolder, builder_of, kept_recipe, named_definition, place_of, refuse_stale, run_of, stale, step_folders
from toolkit.reviewing._doubts import DOUBTS, every_label, fits
from toolkit.reviewing._item import Item
from toolkit.taxonomy import Taxonomy, load_taxonomy

Kind = Literal["noise", "disputes", "blind", "categories", "flags", "rejects", "labels"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST = 1000
"""Labels of a queue, unless more are asked for."""


@dataclass(frozen=True)
class Queue:
    """Labels that are to be decided, most doubtful first.

    Attributes:
        of: the run, shards or file, as it was named.
        folder: of the review, beside it.
        step, kind: what it is a queue of; None where nothing is in doubt.
        items: the labels, each once.
        guard, taxonomy: whose tasks and categories they are.
        notes: remarks.
    """

    of: Path
    folder: Path
    step: str | None
    kind: Kind | None
    items: tuple[Item, ...]
    guard: Guard
    taxonomy: Taxonomy
    notes: tuple[str, ...] = ()
    _places: dict[tuple[str, str], int] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._places.update({item.key: n for n, item in enumerate(self.items)})

    def place(self, key: tuple[str, str]) -> int | None:
        """Where a label, by id and task, is in the queue, from 0; None where it is not."""
        return self._places.get(key)


def open_queue(
    of: str | Path,
    *,
    step: str | None = None,
    kind: Kind | None = None,
    most: int = MOST,
    guard: str | Path | None = None,
    taxonomy: str | Path | None = None,
) -> Queue:
    """The queue of a place.

    Args:
        of: a run, a step of one, shards, or files of rows.
        step: of a run.
        kind: what is in doubt; default: what there is.
        most: labels, at most.
        guard, taxonomy: whose tasks and categories; default: the recipe's, else guardkit's own.

    Raises:
        InputError: nothing there, a run that is being built, no such step or kind, a stale step.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"nothing is reviewed as {kind!r}", hint=did_you_mean(str(kind), KINDS))
    if not isinstance(most, int) or most < 1:
        raise InputError(f"most is a number of labels from 1, not {most!r}")
    place = at_door(of)
    try:
        run, own = run_of(place)
    except InputError:
        return _of_files(place, step, kind, most, guard, taxonomy)
    _refuse_running(run)
    recipe = kept_recipe(run)
    roots = recipe.roots
    definition = named_definition(load_guard, guard, recipe.spec.guard, roots, "{--guard|guard}")
    known = named_definition(load_taxonomy, taxonomy, recipe.spec.taxonomy, roots, "{--taxonomy|taxonomy}")
    wanted = step or own
    every = step_folders(run)
    if wanted is not None:
        if wanted not in {f.step for f in every}:
            raise InputError(f"the run has no finished step {wanted!r}", where=str(run), hint=did_you_mean(wanted, [f.step for f in every]))
        refuse_stale(run / wanted)
    old, order = stale(every), [s.id for s in recipe.steps]
    current = sorted((f for f in every if f.step in order and f.step not in old), key=lambda f: order.index(f.step), reverse=True)
    named, found, items = _first(current, wanted, kind, definition, most)
    notes = [] if items else [_empty(run, wanted, kind)]
    if len(items) == most:
        notes.append(worded(f"the first {most:,} labels: {{--most|most}} takes more"))
    return Queue(run, _beside(run), named, found, tuple(items), definition, known, tuple(notes))


def _first(
    current: Sequence[StepFolder], wanted: str | None, kind: Kind | None, guard: Guard, most: int
) -> tuple[str | None, Kind | None, list[Item]]:
    """The first kind, and of it the last step, that has a doubtful label."""
    mine = [f for f in current if wanted in (None, f.step)]
    for each in (k for k in KINDS if kind in (None, k) and (k != "labels" or wanted is not None or kind == "labels")):
        fitting = [f for f in mine if fits(each, f, guard)]
        for done in sorted(fitting, key=lambda f: each == "disputes" and f.manifest["counts"][-1]["use"] != "mine"):
            if items := list(islice(_once(DOUBTS[each](done, guard, most)), most)):
                return done.step, each, items
    return wanted, kind, []


def _once(items: Iterator[Item]) -> Iterator[Item]:
    seen: set[tuple[str, str]] = set()
    for item in items:
        if item.key not in seen:
            seen.add(item.key)
            yield item


def _of_files(place: Path, step: str | None, kind: Kind | None, most: int, guard: str | Path | None, taxonomy: str | Path | None) -> Queue:
    found = place_of(place, step)
    if kind not in (None, "labels"):
        raise InputError(f"{kind!r} is reviewed of a run's step, and this is none", where=str(place), hint="leave {--kind|kind} out")
    definition, known = load_guard(guard or "guardreasoner", None), load_taxonomy(taxonomy or "guardkit", None)
    items = list(islice(_once(every_label(found, definition)), most))
    notes = [] if items else [worded(f"no row of {short_path(place)} has a label of {definition.name!r}: {{--guard|guard}} names another guard")]
    if len(items) == most:
        notes.append(worded(f"the first {most:,} labels: {{--most|most}} takes more"))
    return Queue(place, _beside(place), None, "labels" if items else None, tuple(items), definition, known, tuple(notes))


def _beside(place: Path) -> Path:
    return place.with_name(f"{place.name}.review")


def _empty(run: Path, step: str | None, kind: Kind | None) -> str:
    what = {
        None: "nothing is in doubt",
        "noise": "no label is listed as noise",
        "disputes": "no label is disputed",
        "blind": "no blind verdict contradicts a label",
        "categories": "no category is in doubt",
        "flags": "no row has a fault",
        "rejects": "no row with labels was rejected",
        "labels": "no row has a label",
    }[kind]
    where = short_path(run / step) if step else short_path(run)
    labels = "review every label of it with {--kind|kind} labels"
    more = labels if step else f"name a step with {{--step|step}}, and {labels}"
    return f"{where}: {what}; {worded(more)}"


def _refuse_running(run: Path) -> None:
    """Refuse a run that is being built: its rows may be others in a moment."""
    if (builder := builder_of(run)) is not None:
        hint = "wait until it ends, and review then; decisions that are made are kept"
        raise InputError(f"the run is being built by process {builder}", where=str(run), hint=hint)
