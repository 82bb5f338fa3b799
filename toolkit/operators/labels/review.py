"""Operator `review`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from toolkit.common.errors import GuardkitError, InputError
from toolkit.guards import Guard
from toolkit.operators.base import Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.labels._decisions import CATEGORIES, NONE, Decision, Decisions, joined_names, raise_all, read_decisions
from toolkit.operators.labels._label_figures import REVIEWED, transitions
from toolkit.operators.labels._trail import COLUMN, TRAIL, entry, extended
from toolkit.records import Column, load_record
from toolkit.shards import public_keys

CATEGORIES_SOURCE = "categories_source"
_OF_CATEGORIES = (CATEGORIES, CATEGORIES_SOURCE)
SOURCE = "reviewed"
"""Source of a label that a reviewer set or confirmed (``label_sources`` of schemas/records/seed.yaml)."""


class ReviewConfig(Config):
    """Options of `review`."""

    decisions: str
    """CSV or parquet with the columns id, task, decision (keep, flip, a label of the task, drop, unsure; empty for none yet), and perhaps label (that
    the decision is about), reviewer, note and when: the list that `noise` made, filled in; or an overlay (``….overlay.jsonl``, docs/overlay.md), of
    whose decisions about a row and task the last one counts. A relative path starts in the working folder or in the recipe's."""
    signed_by: str | None = None
    """File of public keys, one of which must have signed every decision of the overlay."""
    unknown: Literal["error", "skip"] = "error"
    """What becomes of a decision about a row that is not there: stop, or leave it out and count it."""


class Review(DatasetOperator):
    """Apply reviewers' decisions to labels: the way back in for the list that `noise` made.

    A label changes only where a decision says so. A label that was set or confirmed has the source `reviewed`, and what it was before, who decided
    and why is in `label_trail`. A dropped row is rejected as `reviewed_out`, whatever else was decided about it. Rows that no decision is about
    stay as they are. Decisions of the task `categories` set the row's categories alike (and `categories_source`, where it is there). An unknown
    row, task or label, a row decided twice, and a decision about another label than the row has now stop the run, each with file and line. The
    artefact `changes` (parquet: id, task, label, source, new_label, new_source, decision, reviewer, why) has a line for each
    label that was set or confirmed.
    """

    name = "review"
    shape = "one_to_one"
    config_class = ReviewConfig
    example = {"decisions": "review.csv"}
    uses = frozenset({"guard.tasks"})
    makes = ("changes",)
    figures = REVIEWED
    passes = 1
    config: ReviewConfig

    def reads(self, guard: Guard) -> list[str]:
        return ["id", *(f"label_{t}{s}" for t in guard.task_names for s in ("", "_source"))]

    def writes(self, guard: Guard) -> list[Column]:
        labels = set(self.reads(guard)) - {"id"}
        return [*(c for c in load_record("seed", guard.task_names).columns if c.name in labels), COLUMN]

    def identity(self) -> dict[str, Any]:
        return {"unknown": self.config.unknown}  # what is in the file counts, not where it is

    def _path(self, ctx: Context) -> Path:
        return ctx.roots.file(self.config.decisions)

    def files(self, ctx: Context) -> dict[str, str]:
        path = self._path(ctx)
        found = {"decisions": ctx.files.digest(path)}
        if self.config.signed_by is not None:
            found["signed_by"] = ctx.files.digest(ctx.roots.file(self.config.signed_by))
        self._read(ctx)  # raises what is wrong with the file before a row is read
        return found

    def _read(self, ctx: Context) -> Decisions:
        """The decisions, signed as they are to be."""
        found, keys = read_decisions(self._path(ctx), ctx.guard, ctx.files), self.config.signed_by
        if keys is None:
            return found
        if found.overlay is None:
            raise InputError("signed_by is for an overlay: a sheet has no signature", where=self.config.decisions, hint="guardkit overlay --help")
        if lines := found.overlay.unsigned(public_keys(ctx.roots.file(keys))):
            some = f"{len(lines):,} decisions are signed by none of the keys in {keys}, the first on line {lines[0]}"
            raise InputError(some, where=str(found.overlay.path), hint="guardkit sign FILE --key KEY, by whoever vouches for them")
        return found

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        decisions = self._read(ctx)
        ids = pl.Series(list(decisions.by_row), dtype=pl.String)
        seen: set[str] = set()
        faults: list[GuardkitError] = []
        changes: list[dict[str, Any]] = []
        done = 0
        for block in inputs["rows"].blocks():
            mine = block.filter(pl.col("id").is_in(ids.implode()))
            seen.update(mine["id"])
            gone = {i: d for i in mine["id"] if (d := _drop(decisions.by_row[i]))}
            new = [self._decided(row, decisions.by_row[row["id"]], changes, faults, ctx) for row in mine.iter_rows(named=True)]
            dropped = pl.col("id").is_in(pl.Series(list(gone), dtype=pl.String).implode())
            rejects = block.filter(dropped)
            out.keep(_replaced(block.filter(~dropped), [n for n in new if n is not None and n["id"] not in gone], ctx.guard))
            out.reject(rejects, "reviewed_out", pl.Series([_why(gone[i]) for i in rejects["id"]], dtype=pl.String))
            done += block.height
            ctx.progress(done, inputs["rows"].rows, "rows")
        self._finish(decisions, seen, faults, changes, out)

    def _decided(
        self, row: dict[str, Any], by_task: Mapping[str, Decision], changes: list[dict[str, Any]], faults: list[GuardkitError], ctx: Context
    ) -> dict[str, Any] | None:
        """The row's new labels, sources and trail; None, with a fault, where a decision cannot be applied."""
        new = {**{n: row[n] for n in (*self.reads(ctx.guard), *_OF_CATEGORIES) if n in row}, TRAIL: None}
        entries = []
        try:
            for task, last in by_task.items():
                label, source = _now(row, task, last)
                known = [label]
                for d in (*last.before, last):
                    if d is not last and d.checked and d.label not in known:
                        continue  # stale, and decided again since
                    _not_stale(d, known, source)
                    about = d.label if d.checked else label
                    after = (label, source) if d.decision in ("unsure", "drop") else (_label(d, about, source, ctx.guard), SOURCE)
                    by = f"{ctx.step} (review)"
                    entries.append(entry(task, (label, source), after, by, d.decision, reviewer=d.reviewer, why=d.note, when=d.when))
                    label, source = after
                    known.append(label)
                if f"label_{task}" in row:
                    new |= {f"label_{task}": label, f"label_{task}_source": source}
                else:
                    new |= {CATEGORIES: (label or "").split(), CATEGORIES_SOURCE: source}
            new[TRAIL] = extended(row.get(TRAIL), entries)
        except InputError as e:
            faults.append(e)
            return None
        if not _drop(by_task):
            changes += [{"id": row["id"], **e} for e in entries if e["decision"] != "unsure"]
        return new

    def _finish(self, decisions: Decisions, seen: set[str], faults: list[GuardkitError], changes: list[dict[str, Any]], out: Output) -> None:
        strange = [d for d in decisions.every if d.id not in seen]
        if self.config.unknown == "error":
            hint = "unknown: skip leaves decisions about rows that are not there out"
            faults += [InputError(f"no row has the id {d.id!r}", where=d.where, hint=hint if n == 0 else None) for n, d in enumerate(strange)]
        raise_all(faults)
        columns = ("id", "task", "label", "source", "new_label", "new_source", "decision", "reviewer", "why")
        table = pl.DataFrame(changes, schema=dict.fromkeys(columns, pl.String), orient="row")
        table.write_parquet(out.folder("changes") / "changes.parquet", compression="zstd")
        applied = Counter(d.decision if d.decision in ("keep", "drop", "unsure") else "set" for d in decisions.every if d.id in seen)
        out.stat("decisions", dict(sorted(applied.items())))
        out.stat("labels_changed", table.filter(pl.col("label").ne_missing(pl.col("new_label"))).height)
        out.stat("labels", transitions(table))
        out.stat("undecided", decisions.undecided)
        out.stat("about_other_rows", len(strange))
        if (overlay := decisions.overlay) is not None:
            out.stat("overlay", {"lines": len(overlay.seals), "seal": overlay.seals[-1], "signed_to": overlay.signed_to()})


def _now(row: Mapping[str, Any], task: str, d: Decision) -> tuple[str | None, str]:
    """A row's label of a task, and where it comes from; for `categories` their names and what `assign_categories` says of them.

    Raises:
        InputError: the row has no categories to decide about.
    """
    if f"label_{task}" in row:
        return row[f"label_{task}"], row[f"label_{task}_source"]
    if CATEGORIES not in row:
        raise InputError(f"row {d.id!r}: there is no column 'categories' to decide about", where=d.where)
    return joined_names(row[CATEGORIES] or ()), row.get(CATEGORIES_SOURCE) or "source"


def _drop(by_task: Mapping[str, Decision]) -> Decision | None:
    return next((found for d in by_task.values() if (found := d.drops) is not None), None)


def _why(d: Decision) -> str:
    return ": ".join(part for part in (f"{d.task}, by {d.reviewer or 'a reviewer'}", d.note) if part)


def _not_stale(d: Decision, known: Sequence[str | None], source: str) -> None:
    """Raise InputError for a decision that was made about another label than the row has, or had after an earlier decision."""
    if d.checked and d.label not in known:
        label = known[0]
        about = repr(d.label) if d.label is not None else "no label"
        shown = repr(label) if label is not None else f"none ({source})"
        message = f"row {d.id!r}, task {d.task!r}: the decision is about {about}, and the label is {shown} by now"
        raise InputError(message, where=d.where, hint="decide again, or take the line out of a sheet")


def _label(d: Decision, label: str | None, source: str, guard: Guard) -> str | None:
    """The label that a decision gives; None for no category.

    Raises:
        InputError: the task does not apply to the row, or there is no label to keep or flip.
    """
    if source == "not_applicable":
        raise InputError(f"row {d.id!r}: the task {d.task!r} does not apply to it", where=d.where)
    if d.decision == NONE and d.task == CATEGORIES:
        return None
    if d.decision not in ("keep", "flip"):
        return d.decision
    if d.task == CATEGORIES and d.task not in guard.task_names:
        return label
    if label is None:
        raise InputError(
            f"row {d.id!r}, task {d.task!r}: {d.decision}, but it has no label ({source})", where=d.where, hint="say which label it should have"
        )
    return label if d.decision == "keep" else next(w for w in guard.task(d.task).labels if w != label)


def _replaced(block: pl.DataFrame, new: list[dict[str, Any]], guard: Guard) -> pl.DataFrame:
    """The block with the labels, sources and trails of some of its rows replaced; the column of the trails is added where it is not there."""
    if TRAIL not in block.columns:
        block = block.with_columns(pl.lit(None, pl.String).alias(TRAIL))
    if not new:
        return block
    names = [TRAIL, *(f"label_{t}{s}" for t in guard.task_names for s in ("", "_source")), *(n for n in _OF_CATEGORIES if n in block.columns)]
    types = dict.fromkeys(["id", *names], pl.String) | {n: block.schema[n] for n in _OF_CATEGORIES if n in block.columns}
    table = pl.DataFrame([{n: row[n] for n in types} for row in new], schema=types, orient="row")
    table = table.unique("id", keep="first").rename({n: f"_new_{n}" for n in names}).with_columns(pl.lit(True).alias("_hit"))
    joined = block.join(table, on="id", how="left", maintain_order="left")
    return joined.with_columns(pl.when("_hit").then(pl.col(f"_new_{n}")).otherwise(pl.col(n)).alias(n) for n in names).select(block.columns)
