"""The rows that guards dispute most, of a run or an evaluation, with what they wrote side by side: see `toolkit.disputes`.

Votes are read whole (about 100 bytes a generation); texts only of the rows that are shown. Where a run's rows have their texts by reference, they are
read out of its files, which must be as they were.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.common.errors import GuardkitError, InputError, did_you_mean, short_path
from toolkit.common.outputs import check_output
from toolkit.common.paths import at_door, is_there
from toolkit.evaluation import read_evaluation
from toolkit.mining import Votes, ranked_disputes, tally
from toolkit.pipeline._current import refuse_stale
from toolkit.pipeline._diff_side import Side
from toolkit.pipeline._finished import StepFolder, run_of
from toolkit.pipeline._inputs import Taken
from toolkit.pipeline._plan import make_plan
from toolkit.pipeline._planned import Plan
from toolkit.pipeline._progress import Progress
from toolkit.pipeline._recipe import kept_recipe
from toolkit.pipeline._row_files import output_file, write_rows
from toolkit.pipeline._stop import stopping

_KEYS = ("parent", "guard_model", "draw")
_OF_ROW = ("source", "categories", "prompt", "response")
_VERDICT = "verdict_"


def find_disputes(folder: str | Path, *, task: str | None, limit: int, output: str | Path | None, progress: Progress) -> dict[str, Any]:
    """The document of `toolkit.disputes`."""
    target, place = output_file(output), at_door(folder)
    voices: _Voices = _OfEvaluation(place) if is_there(place / "evaluation.json", Path.is_file) else _OfRun(place)
    if target is not None:
        check_output(target, reads=(voices.folder,))
    if task is not None and task not in voices.tasks:
        raise InputError(f"no verdicts on a task {task!r}", where=str(folder), hint=did_you_mean(task, voices.tasks))
    with stopping(), progress:
        whole, counts, votes = _ranked(voices, task, progress)
        shown = [_shown(line, votes[line["task"]], voices) for line in whole.head(limit).iter_rows(named=True)]
        for name in dict.fromkeys(line["task"] for line in shown):
            progress.start(f"texts, {name}")
            voices.add_texts(name, [line for line in shown if line["task"] == name])
        if target is not None:
            write_rows(target, [whole])
    return {
        "folder": short_path(voices.folder),
        "of": voices.of,
        "tasks": [{"task": name, **n} for name, n in counts.items()],
        "disputed": whole.height,
        "shown": shown,
        "notes": voices.notes,
        "output": None if target is None else short_path(target),
    }


def _ranked(voices: _Voices, task: str | None, progress: Progress) -> tuple[pl.DataFrame, dict[str, dict[str, int]], dict[str, Votes]]:
    """The list of all disputed rows, how many there are of each task, and the votes."""
    found: list[pl.DataFrame] = []
    counts: dict[str, dict[str, int]] = {}
    votes: dict[str, Votes] = {}
    for name in [task] if task else voices.tasks:
        progress.start(f"votes, {name}")
        votes[name] = one = voices.votes(name)
        part = ranked_disputes(one)
        if (rows := int((one.tasks[name].counts.sum(axis=(1, 2)) > 0).sum())) or task:
            counts[name] = {"rows": rows, "disputed": part.height}
            found.append(part.drop("rank"))
    return _together(found), counts, votes


def _together(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The lists of all tasks as one; lines that are alike come by task, then as in their own list."""
    if not parts:
        return pl.DataFrame(schema={"rank": pl.Int64})
    whole = pl.concat(parts).sort(["entropy", "votes", "divergence"], descending=True, nulls_last=True, maintain_order=True)
    return whole.with_row_index("rank", 1).with_columns(pl.col("rank").cast(pl.Int64))


def _shown(line: dict[str, Any], votes: Votes, voices: _Voices) -> dict[str, Any]:
    """A line with the guards' votes; the texts come later."""
    task_votes = votes.tasks[line["task"]]
    at = int(votes.parents.index_of(line["id"]) or 0)
    by = {}
    for g, guard in enumerate(votes.guards):
        n = {label: int(task_votes.counts[at, g, i]) for i, label in enumerate(task_votes.labels)} | {"unread": int(task_votes.unread[at, g])}
        if any(n.values()):
            by[guard] = {label: count for label, count in n.items() if count}
    return {**line, "by_guard": by, **dict.fromkeys(_OF_ROW), "outputs": []}


class _Voices(ABC):
    """Verdicts and outputs of guards, in a run or an evaluation.

    Attributes:
        folder: of the run or evaluation.
        of: the steps that hold the verdicts, or `evaluation`.
        tasks: that have verdicts.
        notes: remarks about it.
    """

    folder: Path
    of: list[str]
    tasks: list[str]

    def __init__(self) -> None:
        self.notes: list[str] = []

    def votes(self, task: str) -> Votes:
        """All votes on a task."""
        table = self._table(task)
        words = pl.concat([table[f"label_{task}"], table[f"{_VERDICT}{task}"]]).unique().drop_nulls().sort().to_list()
        words += [f"(label {n})" for n in range(len(words), 2)]  # measures take two labels, and nobody voted for these
        return tally(table, {task: words})

    @abstractmethod
    def _table(self, task: str) -> pl.DataFrame:
        """`parent`, `guard_model`, and label and verdict of the task."""

    @abstractmethod
    def _texts(self, task: str, ids: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Lines of some rows: `_KEYS`, `verdict`, `unread`, `output`, and `_OF_ROW` as far as they are known."""

    def add_texts(self, task: str, lines: Sequence[dict[str, Any]]) -> None:
        """Put into lines of one task what was asked and what each guard wrote."""
        by = {line["id"]: line for line in lines}
        for block in self._texts(task, list(by)):
            for verdict in block.iter_rows(named=True):
                line = by[verdict["parent"]]
                line |= {c: verdict[c] for c in _OF_ROW if verdict.get(c) is not None}
                line["outputs"].append({"guard": verdict["guard_model"], **{c: verdict.get(c) for c in ("draw", "verdict", "unread", "output")}})
        for line in lines:
            line["outputs"].sort(key=lambda o: (o["guard"], o["draw"] or 0))


class _OfEvaluation(_Voices):
    """An evaluation's table of rows; a row's id has the benchmark's name in front."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.of = folder, ["evaluation"]
        self._rows = read_evaluation(folder).rows().with_columns(pl.format("{}/{}", "benchmark", "id").alias("parent"), guard_model=pl.col("model"))
        self.tasks = self._rows.select(pl.col("task").unique(maintain_order=True)).collect()["task"].to_list()

    def _table(self, task: str) -> pl.DataFrame:
        names = {f"label_{task}": pl.col("gold"), f"{_VERDICT}{task}": pl.col("verdict")}
        return self._rows.filter(pl.col("task") == task).select("parent", "guard_model", **names).collect()

    def _texts(self, task: str, ids: Sequence[str]) -> Iterator[pl.DataFrame]:
        mine = self._rows.filter(pl.col("task") == task, pl.col("parent").is_in(ids))
        yield mine.select(*_KEYS, "verdict", "unread", "output", *_OF_ROW).collect()


class _OfRun(_Voices):
    """A run: the verdicts that its last step `mine` reads, or that one which is named, or else its last step with verdicts."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, step = run_of(folder)
        if step is not None:
            refuse_stale(folder)
        self._side = Side(self.folder)
        self._plan: Plan | None = None
        self.of = self._chosen(step)
        names = [c.removeprefix(_VERDICT) for c in self._columns(self.of[0]) if c.startswith(_VERDICT)]
        self.tasks = [t for t in names if all({f"{_VERDICT}{t}", f"label_{t}"} <= set(self._columns(s)) for s in self.of)]

    def _columns(self, step: str) -> list[str]:
        return list(self._side.folders[step].manifest["columns"])

    def _has_verdicts(self, step: str) -> bool:
        names = self._columns(step) if step in self._side.folders else []
        return {"parent", "guard_model"} <= set(names) and any(c.startswith(_VERDICT) for c in names)

    def _chosen(self, step: str | None) -> list[str]:
        if step is not None and self._has_verdicts(step):
            return [step]
        mined = [s for s in self._side.order if s in self._side.folders and self._side.counts[s]["use"] == "mine"]
        if step is not None and step not in mined:
            hint = "name the run, a step `mine` of it or one with verdicts"
            raise InputError(f"the step {step!r} has no verdicts", where=str(self.folder), hint=hint)
        if mined and (found := [s for s in self._side.inputs[step or mined[-1]] if self._has_verdicts(s)]):
            if step is None and len(mined) > 1:
                self.notes.append(f"of the verdicts that {mined[-1]!r} reads; name another step's folder for those of {', '.join(mined[:-1])}")
            return found
        last = [s for s in self._side.order if self._has_verdicts(s)][-1:]
        if not last:
            raise InputError("no finished step has verdicts", where=str(self.folder), hint="disputes are read of a run with a step `verdicts`")
        return last

    def _table(self, task: str) -> pl.DataFrame:
        names = ["parent", "guard_model", f"label_{task}", f"{_VERDICT}{task}"]
        blocks = [b for step in self.of for b in self._side.folders[step].blocks(names)]
        return pl.concat([pl.DataFrame(schema=dict.fromkeys(names, pl.String)), *blocks], how="vertical_relaxed")

    def _texts(self, task: str, ids: Sequence[str]) -> Iterator[pl.DataFrame]:
        for step in self.of:
            there = set(self._columns(step))
            known = [c for c in (*_KEYS, f"{_VERDICT}{task}", f"unread_{task}") if c in there]
            verdicts = _of(self._side.folders[step], ids, known).rename({f"{_VERDICT}{task}": "verdict", f"unread_{task}": "unread"}, strict=False)
            keys = [k for k in _KEYS if k in verdicts.columns]
            try:
                texts = self._written(step, ids, keys)
            except GuardkitError as e:
                self.notes.append(f"the texts of {step!r} cannot be read: {e}")
                texts = verdicts.select(keys)
            lacking = {"unread": pl.String, "output": pl.String, "draw": pl.Int64}
            whole = verdicts.join(texts, on=keys, how="left", maintain_order="left")
            yield whole.with_columns(pl.lit(None, kind).alias(c) for c, kind in lacking.items() if c not in whole.columns)

    def _written(self, step: str, ids: Sequence[str], keys: Sequence[str]) -> pl.DataFrame:
        """What was asked about these rows and what the guards wrote, from the step with verdicts or one before it that has it."""
        for one in self._before(step):
            done = self._side.folders.get(one)
            if done is None or not {*keys} <= set(done.manifest["columns"]):
                continue
            if "output" in done.manifest["columns"]:
                return _of(done, ids, [*keys, "output", *(c for c in _OF_ROW if c in done.manifest["columns"])])
            plan = self._plan = self._plan or make_plan(kept_recipe(self.folder))
            maker = plan.steps[one]
            if "output" in maker.referred:
                if maker.identity != done.manifest["identity"].get(one):
                    raise InputError(f"its files are not as {one!r} read them: run the recipe again")
                whole = Taken(done, maker.operator, None, "disputes", list(maker.referred), partial(plan.context, one))
                known = {*done.manifest["columns"], *maker.referred}
                return _of(whole, ids, [*keys, "output", *(c for c in _OF_ROW if c in known)])
        self.notes.append(f"no step of the run has the texts of {step!r}")
        return pl.DataFrame(schema={k: pl.Int64 if k == "draw" else pl.String for k in keys})

    def _before(self, step: str) -> list[str]:
        """The step, and those that it comes from, nearest first."""
        out = [step]
        for one in out:
            out += [s for s in self._side.inputs[one] if s not in out]
        return out


def _of(done: StepFolder | Taken, ids: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    """Some rows' lines: first their places by their ids alone, then these."""
    wanted = pl.Series(list(ids), dtype=pl.String).implode()
    at, start = [], 0
    for block in done.blocks(["parent"]):
        at.append(block["parent"].is_in(wanted).arg_true().cast(pl.Int64) + start)
        start += block.height
    places = pl.concat(at) if at else pl.Series(dtype=pl.Int64)
    parts = [p.select(columns) for p in done.take(places, columns)] if places.len() else []
    return pl.concat(parts) if parts else pl.DataFrame(schema={c: pl.Int64 if c == "draw" else pl.String for c in columns})
