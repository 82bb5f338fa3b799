"""A review: whose turn which label is, decisions, agreement, what reviewers disagree on, and the list that the operator `review` takes.

The folder of a review is beside what is reviewed (``outputs/quickstart.review``):

review.json          what is the same for all reviewers: share of double annotation, seed
decisions/           a log for each reviewer (`toolkit.reviewing._decision_log`)
adjudicated/         a log for each adjudicator, of labels that reviewers disagreed on

Who decides what: a label is decided by two if ``hash(seed, id, task)`` falls into the share that is annotated double, else by one. Of the reviewers
those are meant whose ``hash(seed, id, task, name)`` is smallest (rendezvous hashing), so that a reviewer who joins takes labels over and no
others change hands; a label that enough have decided is nobody's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, nearest, short_path
from toolkit.common.files import digest, make_folder, write_atomic
from toolkit.common.locks import Lock
from toolkit.common.manifests import read_manifest
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door
from toolkit.reviewing._decision_log import SUFFIX, UNDO, Decided, DecisionLog, check_name, read_log
from toolkit.reviewing._decision_words import decision_word
from toolkit.reviewing._item import CATEGORIES, Evidence, Item
from toolkit.reviewing._queue import Queue
from toolkit.reviewing._reviewer_agreement import agreement_of
from toolkit.reviewing._settled_list import COLUMNS, settled_line

SETTINGS = "review.json"
_FORMAT = 1


class Review:
    """A review of one queue, by one reviewer or by nobody, who can look at it and export.

    Attributes:
        queue: the labels.
        reviewer: who decides; None for nobody.
        adjudicates: whether the labels are those that others disagree on.
        double, seed: share of labels that two decide, and what decides which.

    Example:
        >>> with open_review("outputs/small/seeds", kind="labels", reviewer="anna") as review:
        ...     item = review.next()
        ...     review.decide(item, "keep", note="a threat")
        ...     review.figures()["decided"]
        1
    """

    def __init__(
        self,
        queue: Queue,
        reviewer: str | None = None,
        *,
        team: Iterable[str] = (),
        double: float | None = None,
        seed: int | None = None,
        adjudicate: bool = False,
        to: Path | None = None,
    ) -> None:
        self.queue, self.reviewer, self.adjudicates = queue, reviewer, adjudicate
        self.folder = to or queue.folder
        self._log: DecisionLog | None = None
        self._skipped: list[tuple[str, str]] = []
        self._kept: dict[Path, tuple[tuple[int, int, int], list[Decided]]] = {}
        self._assigned: tuple[Sequence[str], list[list[str]]] = ((), [])
        names = [check_name(n) for n in (*team, *([reviewer] if reviewer is not None else []))]
        if reviewer is not None:
            make_folder(self.folder)
        self.double, self.seed = self._settings(double, seed, write=reviewer is not None)
        if reviewer is not None:
            for name in dict.fromkeys(team):
                if name != reviewer and not (self._logs() / f"{name}{SUFFIX}").exists():
                    DecisionLog(self._logs(), name).close()
            self._log = DecisionLog(self._logs(adjudicate), reviewer)
        self._team = names

    def __enter__(self) -> Review:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the reviewer's log back."""
        if self._log is not None:
            self._log.close()

    def _logs(self, adjudicated: bool = False) -> Path:
        return self.folder / ("adjudicated" if adjudicated else "decisions")

    def _settings(self, double: float | None, seed: int | None, *, write: bool) -> tuple[float, int]:
        """What all reviewers of the folder go by; written when the first begins."""
        if double is not None and not 0 <= double <= 1:
            raise InputError(f"double is the share of labels that two decide, from 0 to 1, not {double}")
        path = self.folder / SETTINGS
        try:
            kept = read_manifest(path)
        except FileNotFoundError:
            found = (double or 0.0, seed or 0)
            if write:
                lock = Lock(self.folder / ".review.lock", "the review's folder", "try again")
                try:
                    write_atomic(path, json.dumps({"format": _FORMAT, "double": found[0], "seed": found[1]}) + "\n")
                finally:
                    lock.release()
            return found
        if kept.get("format") != _FORMAT or not isinstance(kept.get("double"), int | float) or not isinstance(kept.get("seed"), int):
            raise InputError("no settings of a review", where=str(path), hint="move the folder elsewhere, or give another with {--to|to}")
        for name, given in (("double", double), ("seed", seed)):
            if given is not None and given != kept[name]:
                hint = f"leave {{--{name}|{name}}} out to go on, or begin another review with {{--to|to}}"
                raise InputError(f"this review was begun with {name} {kept[name]}, not {given}", where=str(path), hint=hint)
        return float(kept["double"]), int(kept["seed"])

    # What there is ----------------------------------------------------------------------------------------------------

    def decisions(self, *, adjudicated: bool = False) -> dict[str, list[Decided]]:
        """The decisions that hold, by reviewer, as they are on the disk now; of all queues of the folder."""
        folder = self._logs(adjudicated)
        logs = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
        return {path.stem: self._log_of(path) for path in logs}

    def _log_of(self, path: Path) -> list[Decided]:
        """A log's decisions; read again only where something was written since."""
        try:
            found = path.stat()
        except FileNotFoundError:  # gone since it was listed
            return []
        now = (found.st_ino, found.st_size, found.st_mtime_ns)
        if path not in self._kept or self._kept[path][0] != now:
            self._kept[path] = (now, read_log(path))
        return self._kept[path][1]

    def _by_label(self, *, adjudicated: bool = False) -> dict[tuple[str, str], dict[str, Decided]]:
        """For each label of the queue the decisions about it that are not stale, by reviewer."""
        out: dict[tuple[str, str], dict[str, Decided]] = {}
        for name, decisions in self.decisions(adjudicated=adjudicated).items():
            for d in decisions:
                if (at := self.queue.place(d.key)) is not None and d.label == self.queue.items[at].label:
                    out.setdefault(d.key, {})[name] = d
        return out

    def reviewers(self) -> list[str]:
        """All that have a log, and who was named."""
        return sorted({*self.decisions(), *([] if self.adjudicates else self._team)})

    def wanted(self, item: Item) -> int:
        """How many are to decide a label: one or two."""
        return self._wanted(item.key)

    def _wanted(self, key: tuple[str, str]) -> int:
        return 2 if _share(self.seed, *key) < self.double else 1

    def meant(self, item: Item, reviewers: Sequence[str]) -> list[str]:
        """Who of the reviewers is to decide a label."""
        return sorted(reviewers, key=lambda name: _share(self.seed, *item.key, name))[: self.wanted(item)]

    def disagreements(self) -> list[Item]:
        """The labels that reviewers disagree on and nobody has adjudicated, with what each of them decided as evidence."""
        done = self._by_label(adjudicated=True)
        out = []
        for key, found in self._by_label().items():
            if len({d.decision for d in found.values()}) > 1 and key not in done:
                item = self.queue.items[self.queue.place(key) or 0]
                decided = [Evidence(name, ": ".join(t for t in (d.decision, d.note) if t)) for name, d in sorted(found.items())]
                out.append(Item(**{**vars(item), "evidence": (*decided, *item.evidence)}))
        return sorted(out, key=lambda item: self.queue.place(item.key) or 0)

    def left(self) -> list[Item]:
        """What the reviewer is still to decide, in the order of the queue; what was skipped comes last."""
        if self.adjudicates:
            mine = self.disagreements()
        else:
            decided, team = self._by_label(), self.reviewers()
            mine = self._left_of(self.reviewer, team, decided) if self.reviewer is not None else []
        late = {key: n for n, key in enumerate(self._skipped)}
        return sorted(mine, key=lambda item: late.get(item.key, -1))

    def next(self) -> Item | None:
        """The next label; None where nothing is left."""
        return next(iter(self.left()), None)

    # What is decided --------------------------------------------------------------------------------------------------

    def decide(self, item: Item, decision: str, note: str | None = None) -> str:
        """Decide a label; durable when this returns. An earlier decision of the reviewer's about it is replaced.

        Args:
            item: of the queue.
            decision: a label of the task, ``keep``, ``flip`` (of two labels), ``drop`` (the row is to go) or ``unsure``.
            note: why.

        Returns:
            What is recorded: a label, ``drop`` or ``unsure``.

        Raises:
            InputError: nobody reviews, a label that is not in the queue (any more), no such decision.
        """
        if self._log is None:
            raise InputError("nobody reviews", hint="say who: {--reviewer|reviewer}")
        at = self.queue.place(item.key)
        if at is None or self.queue.items[at].label != item.label:
            ids = [i.id for i in self.queue.items]
            what = (
                f"no label of the row {item.id!r} for the task {item.task!r} is in the queue"
                if at is None
                else f"the label of {item.id!r} has changed since"
            )
            raise InputError(what, where=short_path(self.queue.of), hint=nearest(item.id, ids) or "the row is gone: open the review again")
        word = self.word(item, decision)
        self._log.add(*item.key, item.label, word, note=(note or "").strip() or None, step=self.queue.step)
        self._skipped = [k for k in self._skipped if k != item.key]
        return word

    def word(self, item: Item, decision: str) -> str:
        """What a decision comes to: a label of the task, ``drop`` or ``unsure`` (InputError: none of them)."""
        return decision_word(self.queue, item, decision)

    def skip(self, item: Item) -> None:
        """Leave a label for later: it comes again after all others, in this session."""
        self._skipped = [k for k in self._skipped if k != item.key] + [item.key]

    def undo(self) -> Item | None:
        """Take the reviewer's last decision of this queue back; its label, or None where there is none."""
        if self._log is None:
            return None
        mine = [d for d in read_log(self._log.path) if self.queue.place(d.key) is not None]
        if not mine:
            return None
        last = mine[-1]
        self._log.add(last.id, last.task, last.label, UNDO, step=self.queue.step)
        return self.queue.items[self.queue.place(last.key) or 0]

    # What it comes to -------------------------------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """Progress and agreement: see `toolkit.review`."""
        decided, adjudicated, every = self._by_label(), self._by_label(adjudicated=True), self.decisions()
        team = self.reviewers()
        double = [item for item in self.queue.items if self.wanted(item) == 2]
        enough = sum(len(decided.get(item.key, {})) >= self.wanted(item) for item in self.queue.items)
        values = {key: {name: None if d.decision == "unsure" else d.decision for name, d in by.items()} for key, by in decided.items()}
        tasks = [t for t in (*self.queue.guard.task_names, CATEGORIES) if any(i.task == t for i in self.queue.items)]
        agreement = [{"task": t, **agreement_of({k: v for k, v in values.items() if k[1] == t})} for t in tasks]
        return {
            "of": short_path(self.queue.of),
            "step": self.queue.step,
            "kind": self.queue.kind,
            "folder": short_path(self.folder),
            "labels": len(self.queue.items),
            "decided": enough,
            "left": len(self.queue.items) - enough,
            "double": {"share": self.double, "labels": len(double), "decided": sum(len(decided.get(i.key, {})) > 1 for i in double)},
            "reviewers": [
                {"reviewer": n, "decisions": sum(n in by for by in decided.values()), "left": len(self._left_of(n, team, decided))} for n in team
            ],
            "agreement": [a for a in agreement if a["rows"]],
            "disagreements": len(self.disagreements()),
            "adjudicated": len(adjudicated),
            **self._strange(every),
            "notes": list(self.queue.notes),
        }

    def _left_of(self, name: str, team: Sequence[str], decided: Mapping[tuple[str, str], Mapping[str, Decided]]) -> list[Item]:
        """What a reviewer of a team is still to decide."""
        if self._assigned[0] != team:
            self._assigned = (list(team), [self.meant(item, team) for item in self.queue.items])
        out = []
        for item, names in zip(self.queue.items, self._assigned[1], strict=True):
            there = decided.get(item.key, {})
            if name in names and name not in there and len(there) < self.wanted(item):
                out.append(item)
        return out

    def _strange(self, every: Mapping[str, Sequence[Decided]]) -> dict[str, int]:
        """How many decisions are about labels that are not in the queue any more, or that have changed since."""
        mine = [d for decisions in every.values() for d in decisions if d.step == self.queue.step]
        places = [(d, self.queue.place(d.key)) for d in mine]
        return {
            "gone": sum(at is None for _, at in places),
            "stale": sum(at is not None and self.queue.items[at].label != d.label for d, at in places),
        }

    def settled(self) -> list[dict[str, str | None]]:
        """The list that the operator `review` takes: one line a label that is decided, adjudicated or agreed on, without those of which a second
        decision is still to come or that reviewers disagree on. Decisions about labels of other queues of the folder are among them."""
        by: dict[tuple[str, str], list[Decided]] = {}
        for decisions in self.decisions().values():
            for d in decisions:
                by.setdefault(d.key, []).append(d)
        adjudicated = [d for decisions in self.decisions(adjudicated=True).values() for d in decisions]
        final = {d.key: d for d in sorted(adjudicated, key=lambda d: d.when)}
        lines = []
        for key, found in by.items():
            at = self.queue.place(key)
            current = self.queue.items[at].label if at is not None else found[0].label
            if (line := settled_line(found, final.get(key), current, self._wanted(key))) is not None:
                lines.append(line)
        return sorted(lines, key=self._order)

    def _order(self, line: Mapping[str, str | None]) -> tuple[int, tuple[str, str]]:
        """By the queue; lines of other queues come last."""
        key = str(line["id"]), str(line["task"])
        at = self.queue.place(key)
        return len(self.queue.items) if at is None else at, key

    def export(self, output: str | Path) -> dict[str, Any]:
        """Write what is settled as CSV, parquet or JSON Lines, or add it to an overlay: ``output``, ``lines`` (of an overlay those that are new)."""
        import polars as pl

        from toolkit.pipeline import output_file, write_rows
        from toolkit.shards import DECIDED, add_to_overlay, is_overlay

        read, elsewhere = (self.queue.of, self.folder), "name another place with {--export|output}"
        lines = self.settled()
        if is_overlay(place := at_door(output)):
            check_output(place, reads=read, hint=elsewhere, own="overlay")
            return {"output": short_path(place), "lines": add_to_overlay(place, [{n: line[n] for n in DECIDED} for line in lines], "")}
        target = output_file(output) or place
        check_output(target, reads=read, hint=elsewhere)
        write_rows(target, [pl.DataFrame(lines, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")])
        return {"output": short_path(target), "lines": len(lines)}


@lru_cache(1 << 16)
def _share(seed: int, *words: str) -> float:
    """A number in [0, 1) that depends on these alone."""
    return int(digest([seed, *words])[:13], 16) / 16**13


def open_review(
    of: str | Path,
    *,
    reviewer: str | None = None,
    team: Iterable[str] = (),
    double: float | None = None,
    seed: int | None = None,
    adjudicate: bool = False,
    to: str | Path | None = None,
    **queue: Any,
) -> Review:
    """A review of a place: `Review` over `open_queue`, which says what `of` and the rest may be."""
    from toolkit.reviewing._queue import open_queue

    return Review(
        open_queue(of, **queue),
        reviewer,
        team=team,
        double=double,
        seed=seed,
        adjudicate=adjudicate,
        to=None if to is None else at_door(to),
    )
