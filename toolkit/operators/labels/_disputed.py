"""The labels that voters do not settle, for `relabel`: what becomes of their rows, and the list for review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.operators.labels import _review_list as review_list

if TYPE_CHECKING:
    from toolkit.operators.base import StepInput
    from toolkit.operators.judge._votes import Ballots, Rows

REASONS = ("contradicted", "no_consensus")


class Disputed:
    """The labels that are not settled, once all votes are counted.

    Args:
        rows: that are judged.
        ballots: the votes.
        table: for each row ``consensus_<task>``, ``consensus_share_<task>`` and ``_set_<task>`` (the consensus is the label from now on).
        protect: sources of labels that stand whatever the voters say.
        most: lines of the list for review, at most.
    """

    def __init__(self, rows: Rows, ballots: Ballots, table: pl.DataFrame, protect: Sequence[str], most: int) -> None:
        self._rows, self._ballots = rows, ballots
        parts = []
        for n, task in enumerate(ballots.labels):
            whole = rows.table.select(
                pl.int_range(pl.len(), dtype=pl.Int64).alias("_at"),
                pl.lit(n).alias("_task"),
                "id",
                pl.lit(task).alias("task"),
                pl.col(f"label_{task}").alias("label"),
                pl.col(f"label_{task}_source").alias("label_source"),
                table[f"consensus_{task}"].alias("suggested"),
                table[f"consensus_share_{task}"].alias("share"),
            )
            stands = pl.col("label").is_not_null() & pl.col("label_source").is_in(list(protect))
            settled = stands | (pl.col("label_source") == "not_applicable") | (pl.col("label") == pl.col("suggested")).fill_null(False)
            parts.append(whole.filter(~table[f"_set_{task}"] & ~settled))
        contradicted, open_ = (pl.lit(r) for r in REASONS)
        lines = pl.concat(parts).with_columns(pl.when(pl.col("suggested").is_null()).then(open_).otherwise(contradicted).alias("reason"))
        self.lines = lines.sort("_at", "_task").drop("_task")
        """`_at` (a row's place), `id`, `task`, `label` and `label_source` as they came, `suggested`: the consensus; its `share` of the voices;
        `reason`."""
        self.listed = self.lines.sort("reason", "share", "_at", descending=[False, True, False], maintain_order=True).head(most)
        self._texts: list[pl.DataFrame] = []

    def marks(self, start: int, block: pl.DataFrame) -> pl.DataFrame:
        """For each row of a block, whose first is at the place `start`: `reason` and `detail`, with every vote; null where all is settled."""
        mine = self.lines.filter(pl.col("_at").is_between(start, start + block.height, closed="left"))
        self._texts.append(review_list.texts_of(block, self.listed["id"].unique()))
        words = [
            f"{task}: {label or 'no label'}; {self._ballots.describe(task, at) or 'no votes'}"
            for task, label, at in mine.select("task", "label", "_at").iter_rows()
        ]
        found = mine.select("_at", "reason", pl.Series("detail", words, dtype=pl.String)).group_by("_at", maintain_order=True)
        of = found.agg(pl.col("reason").first(), pl.col("detail").str.join(" | "))
        return pl.DataFrame({"_at": pl.int_range(start, start + block.height, eager=True)}).join(of, on="_at", how="left", maintain_order="left")

    def counts(self) -> list[dict[str, Any]]:
        """How many labels are not settled: ``task, reason, labels``."""
        found = self.lines.group_by("task", "reason").len("labels").sort("task", "reason")
        return [{**line, "labels": int(line["labels"])} for line in found.to_dicts()]

    def write(self, inputs: Mapping[str, StepInput], folder: Path) -> None:
        """The list for review, once `marks` has seen every block."""
        lines = self.listed.with_row_index("rank", 1).cast({"rank": pl.Int64}).with_columns(pl.lit(0.0).alias("against_share"))
        tables = [i for n, i in inputs.items() if n != "rows" or self._rows.of_verdicts]
        described = review_list.described(lines, self._rows, self._ballots)
        review_list.write(described, self._texts, review_list.examples(lines, tables), folder)
