"""What sets of rows hold twice and share, and what a score is without the rows that it should not be made of.

Two rows have the same *input* when their earlier messages, prompt and response are equal, letter by letter (as their content ids are); rows of the
same input whose labels for a task differ are in *conflict* (a missing label differs from nothing). What a training set shares with a benchmark is
found by the one rule of the operator `decontaminate`, elsewhere; here it is a mark on the benchmark's rows, like the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.evaluation.scoring._results import Readings, results

if TYPE_CHECKING:
    import polars as pl

INPUT_TEXTS = ("context", "prompt", "response")
MARKS = ("duplicate", "conflict", "training")
"""Marks of a benchmark's row: its input came before in the benchmark; rows of its input have different labels; a training set has text of it."""


def numbered(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All rows of some sets.

    Args:
        frames: `id`, texts (`context` as JSON) and labels of each set, all text.

    Returns:
        set (number), n (number of the row), id, texts, labels, and `input` and `same_prompt`: number of the first row with the same.
    """
    import polars as pl

    each = [frame.with_columns(pl.lit(i, pl.Int64).alias("set")) for i, frame in enumerate(frames)]
    whole = pl.concat([pl.DataFrame(schema=dict.fromkeys(("id", *INPUT_TEXTS), pl.String)), *each], how="diagonal")
    whole = whole.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("n"))
    return whole.with_columns(pl.col("n").min().over(INPUT_TEXTS).alias("input"), pl.col("n").min().over("prompt").alias("same_prompt"))


def conflicting(whole: pl.DataFrame) -> pl.Series:
    """For each row of `numbered` whether rows of its set and input have different labels for a task."""
    import polars as pl

    labels = [c for c in whole.columns if c.startswith("label_")]
    differ = [pl.col(c).drop_nulls().n_unique().over("set", "input") > 1 for c in labels]
    return whole.select((pl.any_horizontal(differ) if differ else pl.col("n") < 0).alias("conflict")).to_series()


def held_twice(whole: pl.DataFrame, sets: int) -> list[dict[str, int]]:
    """What each of the sets holds: rows, different inputs and prompts, duplicates (rows whose input came before), conflicts (inputs)."""
    import polars as pl

    found = whole.with_columns(conflicting(whole)).group_by("set").agg(
        pl.len().alias("rows"),
        pl.col("input").n_unique().alias("inputs"),
        (pl.len() - pl.col("input").n_unique()).alias("duplicates"),
        pl.col("same_prompt").n_unique().alias("prompts"),
        pl.col("input").filter("conflict").n_unique().alias("conflicts"),
    )  # fmt: skip
    by = {line.pop("set"): line for line in found.iter_rows(named=True)}
    none = dict.fromkeys(("rows", "inputs", "duplicates", "prompts", "conflicts"), 0)
    return [by.get(i, none) for i in range(sets)]


def shared(whole: pl.DataFrame, what: str) -> dict[tuple[int, int], int]:
    """How many different inputs (`input`), or prompts (`same_prompt`), each two sets have both; pairs that share none are not there."""
    import polars as pl

    each = whole.select("set", what).unique()
    both = each.join(each, on=what).filter(pl.col("set") < pl.col("set_right")).group_by("set", "set_right").len()
    return {(a, b): n for a, b, n in both.iter_rows()}


def marked(whole: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The rows of benchmarks, by their names, with the marks that the rows themselves give: benchmark, id, n, duplicate, conflict."""
    import polars as pl

    of = pl.DataFrame({"set": range(len(names)), "benchmark": names}, schema={"set": pl.Int64, "benchmark": pl.String})
    first = pl.col("n").min().over("set", "input")
    rows = whole.with_columns(conflicting(whole), duplicate=pl.col("n") != first)
    return rows.join(of, on="set", maintain_order="left").select("benchmark", "id", "n", "duplicate", "conflict")


def clean_scores(
    rows: pl.LazyFrame | pl.DataFrame,
    marks: pl.DataFrame,
    positives: Mapping[str, str],
    readings: Readings | None = None,
) -> list[dict[str, Any]]:
    """F1 on all rows of a benchmark, without those of each mark, and on those without any.

    Args:
        rows: the per-row table (`ROWS`).
        marks: `benchmark`, `id` and what there is of `MARKS`, as booleans.
        positives: by task, the label that F1 is of.
        readings: as in `results`.

    Returns:
        One dict for each benchmark, model and task of which rows are marked at all or not: benchmark, model, task, n, f1; for each mark ``n_<mark>``
        (rows that bear it), ``f1_without_<mark>``; n_clean, f1_clean, f1_clean_low, f1_clean_high. None: no such figure.

    Raises:
        InputError: rows that the marks do not know.
    """
    import polars as pl

    kinds = [m for m in MARKS if m in marks.columns]
    table = rows.lazy().join(marks.lazy().select("benchmark", "id", *kinds), on=["benchmark", "id"], how="left", maintain_order="left")
    if kinds:
        strange = table.filter(pl.col(kinds[0]).is_null()).select("benchmark", "id").head(1).collect()
        if strange.height:
            raise InputError(f"no row {strange['id'][0]!r} in the benchmark {strange['benchmark'][0]!r}", hint="give the files that were evaluated")
    whole = _scored(table, positives, readings)
    without = {m: _scored(table.filter(~pl.col(m)), positives, readings) for m in kinds}
    clean = _scored(table.filter(~pl.any_horizontal(kinds)) if kinds else table, positives, readings)
    out = []
    for key, one in whole.items():
        line = {"benchmark": key[0], "model": key[1], "task": key[2], "n": one["n"], "f1": one["f1"]}
        for m in kinds:
            rest = without[m].get(key, {})
            line |= {f"n_{m}": one["n"] - rest.get("n", 0), f"f1_without_{m}": rest.get("f1")}
        rest = clean.get(key, {})
        ends = {f"f1_clean{end}": rest.get(f"f1{end}") for end in ("", "_low", "_high")}
        out.append({**line, "n_clean": rest.get("n", 0), **ends})
    return out


def _scored(rows: pl.LazyFrame, positives: Mapping[str, str], readings: Readings | None) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(r["benchmark"], r["model"], r["task"]): r for r in results(rows, positives, readings=readings)}
