"""The list that `noise` makes for reviewers: the most suspect labels first, each with what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.csvfile import write_sheet
from toolkit.operators.base import StepInput

if TYPE_CHECKING:
    from toolkit.operators.judge._votes import Ballots, Rows

TEXTS = ("source", "context", "prompt", "response")
EMPTY = ("decision", "reviewer", "note")
"""Columns for the reviewer, which `review` reads."""


def ranking(tables: Sequence[pl.DataFrame], most: int) -> pl.DataFrame:
    """The first `most` lines of all tasks' tables together.

    Ordered by `noise`, then by the share of votes against, then by annotators' disagreement; among equals by id and task, which is chance, but the
    same in every run.
    """
    lines = pl.concat(tables)
    order = ["noise", "against_share", "disagreement", "id", "task"]
    out = lines.sort(order, descending=[True, True, True, False, False]).head(most)
    return out.with_row_index("rank", 1).cast({"rank": pl.Int64})


def texts_of(block: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """Id and texts of the rows of a block that are in the list."""
    mine = block.filter(pl.col("id").is_in(ids.implode()))
    cells: list[pl.Expr] = []
    for name in TEXTS:
        if name not in block.columns:
            cells.append(pl.lit(None, pl.String).alias(name))
        elif name == "context":
            turn = pl.format("{}: {}", pl.element().struct.field("role"), pl.element().struct.field("content"))
            cells.append(pl.col(name).list.eval(turn).list.join("\n\n").alias(name))
        else:
            cells.append(pl.col(name))
    return mine.select("id", *cells)


def examples(lines: pl.DataFrame, sources: Iterable[StepInput]) -> pl.DataFrame:
    """For each line the first output, in the order of the inputs, whose verdict is not the line's label: id, task, against_by, against."""
    found = [pl.DataFrame(schema=dict.fromkeys(["id", "task", "against_by", "against"], pl.String))]
    left = lines.select("id", "task", "label")
    tasks = left["task"].unique().sort().to_list()
    for source in sources:
        for block in source.blocks(["parent", "guard_model", "output", *(f"verdict_{t}" for t in tasks)]):
            if not left.height:
                break
            mine = block.filter(pl.col("parent").is_in(left["id"].unique().implode()))
            if not mine.height:
                continue
            long = pl.concat(
                mine.select("parent", "guard_model", "output", pl.col(f"verdict_{t}").alias("verdict"), pl.lit(t).alias("task")) for t in tasks
            )
            long = long.join(left, left_on=["parent", "task"], right_on=["id", "task"], how="inner", maintain_order="left")
            long = long.filter(pl.col("verdict") != pl.col("label")).unique(["parent", "task"], keep="first", maintain_order=True)
            new = long.select(pl.col("parent").alias("id"), "task", pl.col("guard_model").alias("against_by"), pl.col("output").alias("against"))
            found.append(new)
            left = left.join(new, on=["id", "task"], how="anti", maintain_order="left")
    return pl.concat(found)


def described(lines: pl.DataFrame, rows: Rows, ballots: Ballots) -> pl.DataFrame:
    """The lines with `votes` (by voter) and `annotators` in words; `_at` (the row's place) and `against_share` go."""
    by_voter = [ballots.describe(task, at) for task, at in lines.select("task", "_at").iter_rows()]
    people: list[str | None] = [None] * lines.height
    if "votes" in rows.table.columns:
        votes_of_rows = rows.table["votes"].gather(lines["_at"]).to_list()
        people = [_people(votes, task) for votes, task in zip(votes_of_rows, lines["task"], strict=True)]
    return lines.with_columns(pl.Series("votes", by_voter, pl.String), pl.Series("annotators", people, pl.String)).drop("_at", "against_share")


def _people(votes: Any, task: str) -> str | None:
    of_task = [v for v in votes or [] if v["task"] == task]
    return ", ".join(f"{v['label']} {v['n'] if v['n'] is not None else format(v['share'], '.0%')}" for v in of_task) or None


def write(lines: pl.DataFrame, texts: Sequence[pl.DataFrame], against: pl.DataFrame, folder: Path) -> None:
    """Write ``review.parquet`` and ``review.csv``."""
    words = pl.concat(texts) if texts else pl.DataFrame(schema=dict.fromkeys(["id", *TEXTS], pl.String))
    table = lines.join(words.unique("id", keep="first", maintain_order=True), on="id", how="left", maintain_order="left")
    table = table.join(against, on=["id", "task"], how="left", maintain_order="left")
    table = table.with_columns(pl.lit(None, pl.String).alias(n) for n in EMPTY)
    table.write_parquet(folder / "review.parquet", compression="zstd")
    write_sheet(table, folder / "review.csv")
