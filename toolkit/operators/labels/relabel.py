"""Operator `relabel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from toolkit.common.errors import did_you_mean
from toolkit.common.yamlfile import FaultAt
from toolkit.evaluation import fractions, pooled
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.judge._votes import Ballots, Rows, are_verdicts, check_inputs, generation_columns, known_voters
from toolkit.operators.labels._disputed import Disputed
from toolkit.operators.labels._label_figures import RELABELLED, transitions
from toolkit.operators.labels._trail import COLUMN, TRAIL, entry, extended
from toolkit.records import Column, load_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EPS = 1e-9
"""Slack for the rounding of sums of shares."""


class RelabelConfig(Config):
    """Options of `relabel`."""

    change: Literal["missing", "contradicted", "both"] = "missing"
    """Which labels the consensus may set: those that are missing (never where the task does not apply), those that it contradicts, or both."""
    mode: Literal["change", "flag"] = "change"
    """Set the labels, or only say what would be set (`consensus_<task>` and the artefact)."""
    tasks: list[str] | None = Field(None, min_length=1)
    """Tasks to look at (default: all of the guard's)."""
    quorum: float = Field(1.0, gt=0.5, le=1)
    """Share of the voices that one label must have. A voter has one voice, whatever the number of its draws."""
    margin: float = Field(0.0, ge=0, le=1)
    """How far its share must be ahead of the next label's."""
    min_voters: int = Field(2, ge=1)
    """Voters with a readable vote on the row, at least."""
    min_votes: int = Field(1, ge=1)
    """Readable votes on the row, at least."""
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """How many voices a voter has (a guard's name, `(blind)` for a blind teacher): 1 by default, 0 for one that has no say."""
    protect: list[str] = ["reviewed"]
    """Sources of labels (human, reviewed, …) that are never changed, whatever contradicts them."""
    disputed: Literal["keep", "set_aside", "reject"] = "keep"
    """What becomes of a row whose label the voters do not settle on one of the tasks: no label has the quorum (`no_consensus`), or the consensus is
    for another than the one that stays (`contradicted`; not where its source is in `protect`). It goes on; or it leaves, with every vote in its
    detail, and such labels are listed for review (artefact `review`). With `change: missing` a label stays only where the voters agree with it."""
    most: int = Field(1000, ge=0)
    """Lines of the list for review, at most."""

    @model_validator(mode="after")
    def _settles(self) -> RelabelConfig:
        if self.disputed != "keep" and self.mode == "flag":
            raise ValueError("with mode: flag no label is set, so none can be settled: leave `disputed` at keep")
        return self

    @field_validator("protect")
    @classmethod
    def _sources_are_known(cls, value: list[str]) -> list[str]:
        known = load_record("seed").label_sources
        for i, word in enumerate(value):
            if word not in known:
                raise FaultAt(f"no source of labels is called {word!r}; {did_you_mean(word, known)}", i)
        return value


class Relabel(DatasetOperator):
    """Set labels by the consensus of several voters, with a trail: missing ones, contradicted ones, or both.

    IntentionReasoner labels so with LLaMA Guard and WildGuard, where they agree (`quorum: 1`, `min_voters: 2`). Votes come as for `noise`: verdicts
    of guards, and what a blind teacher answered; guards that were trained on a row repeat its label. A label that is set has the source `consensus`;
    what it was before, who voted how, and the step are in `label_trail` and, a line for each label, in the artefact `changes` (parquet: id, task,
    label, source, new_label, new_source, share, votes, applied). No other label changes, and none is invented for a task that does not apply to its
    row. With `mode: flag` nothing is written but `consensus_<task>`, the label that has the quorum, `consensus_share_<task>` and the artefact, with
    what would change. Rows on which the voters do not agree go on, unless `disputed` says otherwise: with `quorum: 1` then only those do that all
    voters are of one mind about, with `quorum: 0.51` most of them. Memory: as `noise`, and the lines of `changes`.
    """

    name = "relabel"
    shape = "merge"
    inputs = ("rows", "*")
    carries_media = True
    config_class = RelabelConfig
    example = {"change": "both", "quorum": 0.75, "min_voters": 3, "mode": "flag"}
    uses = frozenset({"guard.tasks"})
    makes: ClassVar[tuple[str, ...]] = ("changes",)
    figures = RELABELLED
    config: RelabelConfig

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if self.config.disputed != "keep":
            self.makes = ("changes", "review")  # type: ignore[misc]

    def identity(self) -> dict[str, Any]:
        later = ("disputed", "most") if self.config.disputed == "keep" else ()  # what was built before these options came stays
        return {n: v for n, v in super().identity().items() if n not in later}

    def factor(self, inputs: Sequence[str]) -> float | None:
        return 1.0 if self.config.disputed == "keep" else None

    def reads(self, guard: Guard) -> list[str]:
        return ["id", *(f"label_{t}{s}" for t in guard.task_names for s in ("", "_source"))]

    def _tasks(self, guard: Guard) -> list[str]:
        return [t for t in guard.task_names if t in (self.config.tasks or guard.task_names)]

    def writes(self, guard: Guard) -> list[Column]:
        out = []
        for t in self._tasks(guard):
            out.append(Column(f"consensus_{t}", "string", nullable=True, doc="the label that has the quorum of the voters; null where none has"))
            out.append(Column(f"consensus_share_{t}", "float64", doc="the largest share of the voices that a label has; 0 where nobody voted"))
        if self.config.mode == "flag":
            return out
        labels = {f"label_{t}{s}" for t in self._tasks(guard) for s in ("", "_source")}
        return [*(c for c in load_record("seed", guard.task_names).columns if c.name in labels), COLUMN, *out]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_inputs(self.name, {n: {k: v for k, v in c.items() if k != "votes"} for n, c in inputs.items()}, self.config.tasks, guard)
        out = super().columns(inputs, guard)
        rows = inputs.get("rows", {})
        gone = set(generation_columns(guard)) - {"id"} if are_verdicts(rows, guard) else set()
        return {n: c for n, c in out.items() if n not in gone}

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        tasks = self._tasks(ctx.guard)
        rows = Rows(inputs["rows"], ctx.guard, [f"blind_{t}" for t in tasks])
        ballots = Ballots(rows, ctx.guard, tasks)
        for source in [*(i for n, i in inputs.items() if n != "rows"), *([inputs["rows"]] if rows.of_verdicts else [])]:
            ballots.read(source)
        ballots.blind()
        known_voters(self.config.weights, ballots.voters, ctx)
        found = [self._task(task, rows, ballots) for task in tasks]
        table = pl.concat(found, how="horizontal") if found else pl.DataFrame()
        changes = _changes(rows, ballots, table, self.config.mode == "change")
        disputed = None if self.config.disputed == "keep" else Disputed(rows, ballots, table, self.config.protect, self.config.most)
        self._write(rows, table, changes, disputed, out, ctx)
        if disputed is not None:
            disputed.write(inputs, out.folder("review"))
            out.stat("disputed", disputed.counts())
            out.stat("listed", disputed.listed.height)
        changes.drop("_at").write_parquet(out.folder("changes") / "changes.parquet", compression="zstd")
        out.stat("rows", rows.height)
        out.stat("verdicts_of_other_rows", ballots.strangers)
        out.stat("labels", transitions(changes))
        out.stat("applied", self.config.mode == "change")
        for task in tasks:
            mine = changes.filter(pl.col("task") == task)
            filled = mine["label"].null_count()
            kinds = {"filled": filled, "changed": mine.height - filled, "quorum": table[f"consensus_{task}"].count()}
            out.stat(f"task_{task}", kinds)

    def _task(self, task: str, rows: Rows, ballots: Ballots) -> pl.DataFrame:
        """For each row: consensus, its share, and whether it sets the label (`_set_<task>`)."""
        import numpy as np

        c, labels = self.config, ballots.labels[task]
        counts = {v: n for v, n in ballots.readable(task).items() if c.weights.get(v, 1.0) > 0}
        none = np.zeros((rows.height, len(labels)))
        shares = pooled({v: fractions(n) for v, n in counts.items()}, c.weights) if counts else none
        votes = np.zeros(rows.height, dtype=np.int64)
        voters = np.zeros(rows.height, dtype=np.int64)
        for n in counts.values():
            votes += n.sum(axis=1, dtype=np.int64)
            voters += n.any(axis=1)
        best = shares.argmax(axis=1)
        ordered = np.sort(shares, axis=1)
        top, ahead = ordered[:, -1], ordered[:, -1] - ordered[:, -2]
        agreed = (top >= c.quorum - _EPS) & (ahead >= c.margin - _EPS) & (votes >= c.min_votes) & (voters >= c.min_voters)
        frame = pl.DataFrame({f"consensus_{task}": _words(best, agreed, labels), f"consensus_share_{task}": np.clip(top, 0, 1)})
        label, source, consensus = rows.table[f"label_{task}"], rows.table[f"label_{task}_source"], frame[f"consensus_{task}"]
        missing = label.is_null() & (source != "not_applicable")
        against = label.is_not_null() & (label != consensus) & ~source.is_in(c.protect)
        wanted = {"missing": missing, "contradicted": against, "both": missing | against}[c.change]
        return frame.with_columns((wanted & consensus.is_not_null()).fill_null(False).alias(f"_set_{task}"))

    def _write(self, rows: Rows, table: pl.DataFrame, changes: pl.DataFrame, disputed: Disputed | None, out: Output, ctx: Context) -> None:
        added = [n for n in table.columns if not n.startswith("_set_")]
        entries: dict[int, list[dict[str, Any]]] = {}
        if self.config.mode == "change":
            for line in changes.iter_rows(named=True):
                before, after = (line["label"], line["source"]), (line["new_label"], line["new_source"])
                changed = entry(line["task"], before, after, f"{ctx.step} (relabel)", "consensus", why=line["votes"])
                entries.setdefault(line["_at"], []).append(changed)
        at = 0
        for block in rows.blocks():
            part = table[at : at + block.height]
            new = block.drop(added, strict=False).hstack(part)
            if self.config.mode == "change":
                new = _set(new, self._tasks(ctx.guard))
                new = new.with_columns(_trails(new, entries, at))
            new = new.drop(n for n in table.columns if n not in added)
            if disputed is None:
                out.keep(new)
            else:
                marks = disputed.marks(at, block)
                gone = marks["reason"].is_not_null()
                out.keep(new.filter(~gone))
                outcome = "rejected" if self.config.disputed == "reject" else "set_aside"
                out.leave(block.filter(gone), outcome, marks["reason"].filter(gone), marks["detail"].filter(gone))
            at += block.height
            ctx.progress(at, rows.height, "rows")
        out.merge_count(rows.read - rows.height)


def _words(best: NDArray[np.int64], agreed: NDArray[np.bool_], labels: Sequence[str]) -> pl.Series:
    """Labels by their places, null where there is no consensus."""
    words = pl.Series(best, dtype=pl.Int64).replace_strict(dict(enumerate(labels)), default=None, return_dtype=pl.String)
    return pl.select(pl.when(pl.Series(agreed)).then(words).otherwise(None)).to_series()


def _changes(rows: Rows, ballots: Ballots, table: pl.DataFrame, applied: bool) -> pl.DataFrame:
    """A line for each label that the consensus sets or would set, in the order of the rows, then of the tasks."""
    parts = []
    for n, task in enumerate(ballots.labels):
        whole = rows.table.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("_at"),
            pl.lit(n).alias("_task"),
            "id",
            pl.lit(task).alias("task"),
            pl.col(f"label_{task}").alias("label"),
            pl.col(f"label_{task}_source").alias("source"),
            table[f"consensus_{task}"].alias("new_label"),
            pl.lit("consensus").alias("new_source"),
            table[f"consensus_share_{task}"].alias("share"),
        )
        parts.append(whole.filter(table[f"_set_{task}"]))
    out = pl.concat(parts).sort("_at", "_task").drop("_task")
    votes = [ballots.describe(task, at) for task, at in out.select("task", "_at").iter_rows()]
    return out.with_columns(pl.Series("votes", votes, pl.String), pl.lit(applied).alias("applied"))


def _set(block: pl.DataFrame, tasks: Sequence[str]) -> pl.DataFrame:
    """The block with its labels set where `_set_<task>` says so."""
    new = []
    for t in tasks:
        chosen = pl.col(f"_set_{t}")
        new.append(pl.when(chosen).then(pl.col(f"consensus_{t}")).otherwise(pl.col(f"label_{t}")).alias(f"label_{t}"))
        new.append(pl.when(chosen).then(pl.lit("consensus")).otherwise(pl.col(f"label_{t}_source")).alias(f"label_{t}_source"))
    return block.with_columns(new)


def _trails(block: pl.DataFrame, entries: Mapping[int, Sequence[dict[str, Any]]], at: int) -> pl.Series:
    """The block's trails, those of the rows in `entries` extended; `at` is the place of its first row."""
    old = block[TRAIL].to_list() if TRAIL in block.columns else [None] * block.height
    return pl.Series(TRAIL, [extended(trail, entries.get(n, ())) for n, trail in enumerate(old, at)], pl.String)
