"""Operator `noise`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, Missing
from toolkit.evaluation import Noise as Judged
from toolkit.evaluation import disagreement, fractions, score_labels
from toolkit.guards import Guard
from toolkit.operators._value_counts import Tally
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.judge._votes import Ballots, Rows, annotators, are_verdicts, check_inputs, generation_columns, known_voters
from toolkit.operators.labels import _review_list as review_list
from toolkit.operators.labels._label_figures import NOISE
from toolkit.records import Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MISSING = "the package 'cleanlab' is missing: pip install 'guardkit[noise]'"
_COLUMNS: dict[str, tuple[str, bool, str]] = {
    "noise_{}": ("float64", False, "probability that the label is wrong, by all who voted; 0 where there is no label or no vote"),
    "n_votes_{}": ("int64", False, "readable votes of guards and of a blind teacher"),
    "n_against_{}": ("int64", False, "those for another label; 0 where the row has none"),
    "n_unread_{}": ("int64", False, "outputs whose verdict could not be read"),
    "against_{}": ("float64", False, "share of the votes for another label, in [0, 1]; 0 without votes or label"),
    "always_wrong_{}": ("bool", False, "whether there are votes and all are for another label"),
    "self_confidence_{}": ("float64", False, "confident learning: share of the voters' voices for the label; 1 without votes or label"),
    "margin_{}": ("float64", False, "confident learning: normalised margin, adjusted for each class; 1 without votes or label"),
    "off_diagonal_{}": ("bool", False, "confident learning: whether the votes are for another label with confidence"),
    "disagreement_{}": ("float64", False, "entropy of the source's annotators, in [0, 1]; 0 where it has none"),
    "suggested_{}": ("string", True, "most probable other label, where anything speaks against the row's"),
}
_SHOWN = ("noise", "self_confidence", "margin", "off_diagonal", "always_wrong", "n_votes", "n_against", "n_unread", "disagreement")
"""Scores that the review list shows."""
_LEAST = 1e-9
"""Share of the annotators for another label that counts as none: the rounding of sums."""


class NoiseConfig(Config):
    """Options of `noise`."""

    tasks: list[str] | None = Field(None, min_length=1)
    """Tasks to look at (default: all of the guard's)."""
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Weight of a voter (a guard's name, `(blind)` for a blind teacher) in confident learning and in `noise_<task>`; 1 by default, 0 leaves it out of
    both. The counts take every vote."""
    in_sample: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    """For a guard the rows that it was trained on, by values of text columns: {main: {split: [train]}}; its votes on them do not count, for a guard
    repeats the labels that it learned."""
    most: int = Field(1000, ge=0)
    """Lines of the review list, at most."""


class Noise(DatasetOperator):
    """Score how likely each label is wrong, from votes, and list the most suspect ones for review. Drops nothing and changes no label.

    Votes are verdicts of guards (steps of `verdicts`, as `from: {rows: STEP, verdicts: STEP}`; further ones under any name; or the rows are
    themselves verdicts, as predictions are), of a blind teacher (`blind_<task>`), and the source's annotators (`votes`). Guards that were trained
    on a row repeat its label: their votes are not out of sample, as confident learning wants them. Let guards judge rows that they have not seen
    (leave-one-out subsets), and name the others' rows under `in_sample`.

    `noise_<task>` ranks all evidence at once: naive Bayes over the voters, with their error rates against the labels, tempered by how much their
    errors agree (docs/label-noise.md has the formula). Thresholds belong to a `select` step: `at_most: {noise_prompt: 0.4}`. The artefact `review`
    holds the list with texts, votes and an example of reasoning against the label, as parquet and as CSV to fill in for the operator
    `review`. Memory: about 700 bytes a row and task with three guards (1.3 million rows and 15 million verdicts: 2.5 GB), and the texts of the list.
    """

    name = "noise"
    shape = "merge"
    inputs = ("rows", "*")
    carries_media = True
    config_class = NoiseConfig
    example = {"tasks": ["prompt"], "in_sample": {"main": {"split": ["train"]}}}
    uses = frozenset({"guard.tasks"})
    makes = ("review",)
    figures = NOISE
    config: NoiseConfig

    def reads(self, guard: Guard) -> list[str]:
        labels = [f"label_{t}{s}" for t in guard.task_names for s in ("", "_source")]
        return ["id", "prompt", *labels, *dict.fromkeys(c for where in self.config.in_sample.values() for c in where)]

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("noise", "float64", doc="the largest noise_<task>"), *(_column(n, t) for t in self._tasks(guard) for n in _COLUMNS)]

    def _tasks(self, guard: Guard) -> list[str]:
        return [t for t in guard.task_names if t in (self.config.tasks or guard.task_names)]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_inputs(self.name, inputs, self.config.tasks, guard)
        rows = inputs.get("rows", {})
        for name in dict.fromkeys(c for where in self.config.in_sample.values() for c in where):
            if name in rows and rows[name].type != "string":
                raise InputError(f"noise.in_sample compares text, and the column {name!r} holds {rows[name].type}")
        out = super().columns(inputs, guard)
        gone = set(generation_columns(guard)) - {"id"} if are_verdicts(rows, guard) else set()
        return {n: c for n, c in out.items() if n not in gone or n in {w.name for w in self.writes(guard)}}

    def needs(self, ctx: Context) -> list[str]:
        return [] if find_spec("cleanlab") else [MISSING]

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        if not find_spec("cleanlab"):
            raise Missing("confident learning needs the package 'cleanlab'", hint="install it: pip install 'guardkit[noise]'")
        tasks = self._tasks(ctx.guard)
        more = [*(f"blind_{t}" for t in tasks), "votes", *(c for where in self.config.in_sample.values() for c in where)]
        rows = Rows(inputs["rows"], ctx.guard, more)
        tables = [i for n, i in inputs.items() if n != "rows"] + ([inputs["rows"]] if rows.of_verdicts else [])
        ballots = Ballots(rows, ctx.guard, tasks)
        for source in tables:
            ballots.read(source)
        ballots.blind()
        left_out = ballots.leave_out(self.config.in_sample, ctx)
        known_voters(self.config.weights, ballots.voters, ctx)
        frames, lines = {}, []
        for task in tasks:
            frames[task], line = self._task(task, rows, ballots, out)
            lines.append(review_list.ranking([line], self.config.most).drop("rank"))
        out.stat("rows", rows.height)
        out.stat("verdicts_of_other_rows", ballots.strangers)
        if left_out:
            out.stat("votes_left_out", left_out)
        self._write(rows, tables, ballots, pl.concat(frames.values(), how="horizontal"), review_list.ranking(lines, self.config.most), out, ctx)

    def _task(self, task: str, rows: Rows, ballots: Ballots, out: Output) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The columns of one task, and its lines for the review list."""
        import numpy as np

        words = ballots.labels[task]
        labels = rows.codes(task, words)
        people = annotators(rows, task, words)
        counts = ballots.readable(task)
        judged = score_labels(labels, {v: fractions(c) for v, c in counts.items()}, people, self.config.weights)
        at = np.arange(rows.height)
        votes = np.zeros(rows.height, dtype=np.int64)
        right = np.zeros(rows.height, dtype=np.int64)
        for c in counts.values():
            votes += c.sum(axis=1, dtype=np.int64)
            right += np.where(labels >= 0, c[at, labels], 0)
        against = np.where(labels >= 0, votes - right, 0)
        values = {
            "noise_{}": judged.noise,
            "n_votes_{}": votes,
            "n_against_{}": against,
            "n_unread_{}": ballots.unread(task),
            "against_{}": against / np.where(votes > 0, votes, 1),
            "always_wrong_{}": (against == votes) & (votes > 0),
            "self_confidence_{}": judged.self_confidence,
            "margin_{}": judged.margin,
            "off_diagonal_{}": judged.off_diagonal,
            "disagreement_{}": disagreement(people) if people is not None else np.zeros(rows.height),
        }
        frame = pl.DataFrame({n.format(task): v for n, v in values.items()})
        doubted = (labels >= 0) & ((against > 0) | judged.off_diagonal)
        if people is not None:
            doubted |= (labels >= 0) & (people.sum(axis=1) - people[at, labels] > _LEAST)
        best = pl.Series(judged.best, dtype=pl.Int64).replace_strict(dict(enumerate(words)), default=None, return_dtype=pl.String)
        frame = frame.with_columns(pl.when(pl.Series(doubted)).then(best).otherwise(None).alias(f"suggested_{task}"))
        self._stats(task, words, labels, counts, judged, frame, out)
        return frame, _lines(task, doubted, rows, frame, self.config.most)

    def _stats(
        self, task: str, words: Sequence[str], labels: NDArray[np.int64], counts: Mapping[str, Any], judged: Judged, frame: pl.DataFrame, out: Output
    ) -> None:
        import numpy as np

        known = labels >= 0
        voters = {}
        for voter, c in counts.items():
            total, right = int(c[known].sum()), int(c[np.flatnonzero(known), labels[known]].sum())
            voters[voter] = {"votes": total, "agree": round(right / total, 6) if total else None}
        joint = judged.joint
        out.stat(
            f"task_{task}",
            {
                "labelled": int(known.sum()),
                "voted_on": int((known & (frame[f"n_votes_{task}"] > 0).to_numpy()).sum()),
                "always_wrong": int(frame[f"always_wrong_{task}"].sum()),
                "off_diagonal": int(judged.off_diagonal.sum()),
                "voters": voters,
                "correlation_of_errors": round(judged.correlation, 6),
                "confident_joint": None if joint is None else {a: {b: int(joint[i, j]) for j, b in enumerate(words)} for i, a in enumerate(words)},
            },
        )

    def _write(
        self, rows: Rows, tables: Sequence[StepInput], ballots: Ballots, scores: pl.DataFrame, lines: pl.DataFrame, out: Output, ctx: Context
    ) -> None:
        """The rows with their scores, and the review list."""
        scores = scores.with_columns(pl.max_horizontal(f"noise_{t}" for t in ballots.labels).alias("noise"))
        ids = lines["id"].unique()
        texts: list[pl.DataFrame] = []
        doubted = pl.any_horizontal(pl.col(f"suggested_{t}").is_not_null() for t in ballots.labels)
        wrong = pl.any_horizontal(f"always_wrong_{t}" for t in ballots.labels)
        sources = Tally("source")
        at = 0
        for block in rows.blocks():
            if self.config.most:
                texts.append(review_list.texts_of(block, ids))
            new = scores[at : at + block.height]
            whole = block.drop(new.columns, strict=False).hstack(new)
            out.keep(whole)
            if "source" in whole.columns:
                sources.add(whole, doubted=doubted, always_wrong=wrong)
            at += block.height
            ctx.progress(at, rows.height, "rows")
        out.merge_count(rows.read - rows.height)
        against = review_list.examples(lines, tables)
        review_list.write(review_list.described(lines, rows, ballots), texts, against, out.folder("review"))
        out.stat("listed", lines.height)
        out.stat("doubted_by_source", sources.lines())


def _column(name: str, task: str) -> Column:
    kind, nullable, doc = _COLUMNS[name]
    return Column(name.format(task), kind, nullable, doc)


def _lines(task: str, doubted: NDArray[np.bool_], rows: Rows, frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """The `most` first rows of a task whose label something speaks against, and all that tie with the last of them in `noise`."""
    import numpy as np

    found = np.flatnonzero(doubted)
    if 0 < most < found.size:
        noise = frame[f"noise_{task}"].to_numpy()[found]
        found = found[noise >= np.partition(noise, -most)[-most]]
    at = pl.Series("_at", found, dtype=pl.Int64)
    mine, scores = rows.table[at], frame[at]
    blind = f"blind_{task}"
    return pl.DataFrame([at, mine["id"]]).with_columns(
        pl.lit(task).alias("task"),
        mine[f"label_{task}"].alias("label"),
        mine[f"label_{task}_source"].alias("label_source"),
        scores[f"suggested_{task}"].alias("suggested"),
        *(scores[f"{p}_{task}"].alias(p) for p in _SHOWN),
        (mine[blind] if blind in mine.columns else pl.lit(None, pl.String)).alias("blind"),
        scores[f"against_{task}"].alias("against_share"),
    )
