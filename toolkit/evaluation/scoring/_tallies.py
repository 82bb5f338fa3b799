"""The per-row table counted: how many rows of each benchmark, model and task have the same label and the same votes.

All figures of counts come from these tallies, whose size does not depend on the number of rows. Of the table, what is counted is held in memory
(words as categories, the hash of the id: about 60 bytes a line); texts are not read. With several draws, rows are grouped by id first.

What cannot be counted is an error that names the row: a line that is there twice (same benchmark, id, model, draw and task), a row with several
labels, a line with both a verdict and a reason why there is none or with neither, a task without a positive label, and, where the labels are given,
a label that is none. That ids are what they should be is seen by their 64-bit hashes: lines whose hashes all differ are different lines, and models
whose rows of a label have hashes of the same sum have the same rows. Only where that fails lines are compared one by one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from toolkit.common.errors import InputError, nearest
from toolkit.evaluation._row_table import ROWS
from toolkit.evaluation.scoring._policies import NOT_JUDGED

KEYS = ("benchmark", "model", "task")
_NEEDED = ("benchmark", "id", "model", "task", "gold", "verdict")
_OPTIONAL = ("draw", "unread", "probability", "tokens", "seconds")


_ODD, _ODDER = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
"""Odd numbers without a pattern, which spread small numbers over 64 bits."""


@dataclass(frozen=True)
class Votes:
    """What the draws of a row say.

    Attributes:
        gold: the row's label.
        labels: (label, draws that say it), in the alphabet.
        unread: draws that say nothing.
        likely: whether the mean probability of the positive label is at least one half; None where it is not known.
    """

    gold: str
    labels: tuple[tuple[str, int], ...]
    unread: int
    likely: bool | None = None

    @property
    def draws(self) -> int:
        """Of the row."""
        return self.unread + sum(n for _, n in self.labels)


@dataclass
class Tally:
    """One benchmark, model and task, and one part of it in a breakdown.

    Attributes:
        benchmark: its name.
        model: its name.
        task: its name.
        part: category or source in a breakdown; None: the whole, or rows that have none.
        rows: number of rows by votes; rows without a label are in `unlabelled` alone.
        unlabelled: rows without a label.
        reasons: lines by why no verdict was read.
        draws: of each row; where rows have different numbers, the most.
        tokens: mean of a row's generations together; None: not known.
        seconds: likewise.
        probabilities: lines with a probability.
    """

    benchmark: str
    model: str
    task: str
    part: str | None
    rows: Counter[Votes] = field(default_factory=Counter)
    unlabelled: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    draws: int = 1
    tokens: float | None = None
    seconds: float | None = None
    probabilities: int = 0

    @property
    def n(self) -> int:
        """Rows with a label."""
        return self.rows.total()

    @property
    def judged(self) -> bool:
        """Whether the model judges the task at all."""
        return set(self.reasons) != {NOT_JUDGED} or any(v.labels for v in self.rows)


def prepared(rows: pl.LazyFrame | pl.DataFrame, positives: Mapping[str, str], more: Sequence[str] = ()) -> pl.LazyFrame:
    """The columns that scoring needs, those that may be absent filled in.

    Raises:
        InputError: a column is not there.
    """
    lazy = rows.lazy()
    there = lazy.collect_schema()
    lacks = [c for c in (*_NEEDED, *more) if c not in there]
    if lacks:
        raise InputError(f"the per-row table has no column {', '.join(map(repr, lacks))}", hint=f"its columns: {', '.join(there)}")
    for c, kind in ((c, there[c]) for c in (*_NEEDED, *_OPTIONAL, "output") if c in there):
        number = ROWS[c].is_numeric()
        if not (kind == pl.Null or (kind.is_numeric() if number else isinstance(kind, pl.String | pl.Categorical | pl.Enum))):
            raise InputError(f"column {c!r} of the per-row table holds {kind}, not {'numbers' if number else 'texts'}")
    fill: dict[str, pl.Expr] = {c: pl.lit(None, ROWS[c]) for c in _OPTIONAL if c not in there}
    if "draw" in fill:
        fill["draw"] = pl.lit(0, pl.Int64)
    if "unread" in fill:
        fill["unread"] = pl.when(pl.col("verdict").is_null()).then(pl.lit("unread"))
    fill |= {c: pl.lit(None, ROWS[c]) for c in (*_NEEDED, *_OPTIONAL, *more) if c in ROWS and there.get(c) == pl.Null}
    return lazy.with_columns(**fill).select(list(dict.fromkeys((*_NEEDED, *_OPTIONAL, *more))))


def tallies(
    rows: pl.LazyFrame, positives: Mapping[str, str], *, likely: bool = False, labels: Mapping[str, Sequence[str]] | None = None
) -> list[Tally]:
    """Count a `prepared` table, in the order in which benchmarks, models and tasks are in it.

    Args:
        rows: the table.
        positives: positive label by task.
        likely: whether `Votes.likely` is needed.
        labels: by task, those that there are; a verdict or label that is none of them is an error.

    Raises:
        InputError: see the module's docstring.
    """
    lines, held = _lines(rows, [])
    _check(lines, held, rows, positives, labels)
    return _counted(rows, lines, [], likely)


def split_by(rows: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """The table with a column `part`: the values of a column; of a list, a line is in each of its values once, and in null where it is empty."""
    listed = rows.collect_schema()[by].base_type() == pl.List
    one = pl.when(pl.col(by).list.len() > 0).then(pl.col(by).list.unique(maintain_order=True))
    split = rows.with_columns((one if listed else pl.col(by)).alias("part"))
    return (split.explode("part") if listed else split).with_columns(pl.col("part").cast(pl.String))


def parts(rows: pl.LazyFrame, by: str, *, likely: bool = False) -> list[Tally]:
    """As `tallies`, of a table that has been checked, by the parts of `split_by`."""
    split = split_by(rows, by)
    return _counted(split, _lines(split, ["part"])[0], ["part"], likely)


def _lines(rows: pl.LazyFrame, more: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines by all that they are counted by; and what is held of each line."""
    words = [*KEYS, *more, "gold", "verdict", "unread"]
    held = rows.select(*words, "draw", "probability", "tokens", "seconds", pl.col("id").hash().alias("ids"), pl.col("id").is_null().alias("nameless"))
    schema = held.collect_schema()
    held = held.with_columns(pl.col(c).cast(pl.Categorical) for c in words if not isinstance(schema[c], pl.Categorical | pl.Enum))
    frame = held.collect(engine="streaming")
    frame, code = _coded(frame, words)
    several = frame["draw"].null_count() > 0 or frame["draw"].min() != frame["draw"].max()
    known = {c: pl.col(c).count() if frame[c].null_count() else pl.len() for c in ("probability", "tokens", "seconds")}
    lines = (
        frame.with_columns(code)
        .with_row_index("_at")
        .lazy()
        .group_by("code", *(["draw"] if several else []))
        .agg(
            pl.len().alias("n"),
            *(pl.col(c).min() for c in ("_at", *([] if several else ["draw"]))),
            *(pl.col(c).sum() for c in ("ids", "tokens", "seconds")),
            pl.col("nameless").any(),
            *(count.alias(f"{c}_known") for c, count in known.items()),
        )
        .sort("_at")
        .collect(engine="streaming")
    )
    names = frame.select(words)[lines["_at"]].with_columns(pl.all().cast(pl.String))
    return names.hstack(lines.drop("code")), frame


def _coded(frame: pl.DataFrame, words: Sequence[str]) -> tuple[pl.DataFrame, pl.Expr]:
    """The frame and one number for each combination of the words in it, whose categories may have to become fewer for that."""
    sizes = _sizes(frame, words)
    if math.prod(sizes) >= 2**63:
        frame = frame.with_columns(pl.col(c).cast(pl.Enum(frame[c].drop_nulls().unique().cast(pl.String))) for c in words)
        sizes = _sizes(frame, words)
    code = pl.lit(0, pl.UInt64)
    for c, size in zip(words, sizes, strict=True):
        code = code * size + pl.col(c).to_physical().cast(pl.UInt64).fill_null(size - 1)
    return frame, code.alias("code")


def _sizes(frame: pl.DataFrame, words: Sequence[str]) -> list[int]:
    return [(most or 0) + 2 for most in frame.select(pl.col(words).to_physical().max()).row(0)]


def _check(
    lines: pl.DataFrame, held: pl.DataFrame, rows: pl.LazyFrame, positives: Mapping[str, str], labels: Mapping[str, Sequence[str]] | None
) -> None:
    nameless = pl.any_horizontal(*(pl.col(c).is_null() for c in (*KEYS, "draw")), "nameless")
    faults: list[tuple[pl.Expr, str, str | None]] = [
        (nameless, "a line without benchmark, id, model, task or draw", None),
        (pl.col("verdict").is_null() == pl.col("unread").is_null(), "of verdict and unread exactly one must be given", None),
    ]
    for task in lines["task"].drop_nulls().unique().to_list():
        mine = pl.col("task") == task
        if task not in positives:
            raise InputError(f"no positive label is known of task {task!r}", hint=nearest(task, positives))
        for column in ("gold", "verdict") if labels is not None and task in labels else ():
            known = list((labels or {})[task])
            for value in lines.filter(mine)[column].drop_nulls().unique().to_list():
                if value not in known:
                    near = nearest(value, known) or f"its labels: {', '.join(known)}"
                    faults.append((mine & (pl.col(column) == value), f"{column} {value!r} is no label of task {task!r}", near))
    for fault, message, hint in faults:
        if not lines.filter(fault).is_empty():
            raise InputError(message, where=_first(rows.with_columns(nameless=pl.col("id").is_null()).filter(fault)), hint=hint)
    _check_ids(lines, held, rows)


def _check_ids(lines: pl.DataFrame, held: pl.DataFrame, rows: pl.LazyFrame) -> None:
    """That no line is there twice and no row has several labels."""
    line, row = ["benchmark", "task", "model", "draw", "id"], ["benchmark", "task", "id"]
    sums: dict[tuple[str, str], dict[tuple[str, int], dict[str | None, tuple[int, int]]]] = {}
    for benchmark, task, model, draw, gold, n, ids in lines.select("benchmark", "task", "model", "draw", "gold", "n", "ids").iter_rows():
        mine = sums.setdefault((benchmark, task), {}).setdefault((model, draw), {})
        size, total = mine.get(gold, (0, 0))
        mine[gold] = (size + n, (total + ids) % 2**64)
    odd = [place for place, models in sums.items() if any(one != next(iter(models.values())) for one in models.values())]
    firsts = {next(iter(models)) for models in sums.values()}
    if not odd and len(firsts) == 1:  # the others have the same rows
        ((model, draw),) = firsts
        held = held.filter(pl.col("model") == model, pl.col("draw") == draw)
    if _twice(held):
        doubled = rows.group_by(line).len().filter(pl.col("len") > 1)
        if where := _first(rows.join(doubled, on=line, how="semi")):
            raise InputError("the line is there twice (same benchmark, id, model, draw and task)", where=where)
    if odd:
        these = rows.filter(pl.any_horizontal((pl.col("benchmark") == b) & (pl.col("task") == t) for b, t in odd))
        several = these.group_by(row).agg(pl.col("gold").cast(pl.String).unique().sort()).filter(pl.col("gold").list.len() > 1)
        if where := _first(these.join(several.drop("gold"), on=row, how="semi")):
            golds = these.join(several.rename({"gold": "golds"}), on=row, how="inner", maintain_order="left").head(1).collect()["golds"][0]
            raise InputError(f"a row with several labels: {', '.join(map(str, golds))}", where=where)


def _twice(held: pl.DataFrame) -> bool:
    """Whether two lines have the same hash of benchmark, model, task, draw and id."""
    import numpy as np

    place = held.select(_coded(held, list(KEYS))[1])["code"].to_numpy()
    marks = held["ids"].to_numpy() + place * np.uint64(_ODD) + held["draw"].to_numpy().astype(np.uint64) * np.uint64(_ODDER)
    marks.sort()
    return bool((marks[1:] == marks[:-1]).any())


def _first(rows: pl.LazyFrame) -> str | None:
    """The place of the first line, in words; None: there is none."""
    found = rows.select("benchmark", "id", "model", "draw", "task").head(1).collect()
    if found.is_empty():
        return None
    benchmark, row, model, draw, task = found.row(0)
    return f"{benchmark}: row {row}, model {model}, draw {draw}, task {task}"


def _counted(rows: pl.LazyFrame, lines: pl.DataFrame, more: list[str], likely: bool) -> list[Tally]:
    found: dict[tuple[Any, ...], Tally] = {}
    draws: dict[tuple[Any, ...], set[int]] = {}
    totals: dict[tuple[Any, ...], Counter[str]] = {}
    for line in lines.iter_rows(named=True):
        key = tuple(line[c] for c in (*KEYS, *more))
        tally = found.setdefault(key, Tally(key[0], key[1], key[2], key[3] if more else None))
        draws.setdefault(key, set()).add(line["draw"])
        if line["unread"] is not None:
            tally.reasons[line["unread"]] += line["n"]
        tally.probabilities += line["probability_known"]
        totals.setdefault(key, Counter()).update({c: line[c] for c in ("n", "tokens", "seconds", "tokens_known", "seconds_known")})
    several = likely or any(len(d) > 1 for d in draws.values())
    for key, gold, votes, n in _votes(rows, lines, more, likely) if several else _single(lines, more):
        tally = found[key]
        if gold is None:
            tally.unlabelled += n
        else:
            tally.rows[votes] += n
    for key, tally in found.items():
        total, size = totals[key], tally.n + tally.unlabelled
        tally.draws = max((v.draws for v in tally.rows), default=len(draws[key]))
        for c in ("tokens", "seconds"):
            if known := total[f"{c}_known"]:
                setattr(tally, c, total[c] / known * total["n"] / size)
    return _ordered(list(found.values()))


def _ordered(found: list[Tally]) -> list[Tally]:
    """By benchmark, model, task and part, each in the order in which it comes first."""
    places = [{v: i for i, v in reversed(list(enumerate(getattr(t, c) for t in found)))} for c in ("benchmark", "model", "task", "part")]
    return sorted(found, key=lambda t: (places[0][t.benchmark], places[1][t.model], places[2][t.task], places[3][t.part]))


def _single(lines: pl.DataFrame, more: list[str]) -> Iterator[tuple[tuple[Any, ...], str | None, Votes, int]]:
    """Lines as rows of one draw."""
    for *key, gold, verdict, n in lines.select(*KEYS, *more, "gold", "verdict", "n").iter_rows():
        yield tuple(key), gold, Votes(gold, ((verdict, 1),) if verdict is not None else (), int(verdict is None)), n


def _votes(rows: pl.LazyFrame, lines: pl.DataFrame, more: list[str], likely: bool) -> Iterator[tuple[tuple[Any, ...], str | None, Votes, int]]:
    """Rows of several draws by their votes."""
    words = sorted(lines["verdict"].drop_nulls().unique().to_list())
    names = [f"_{i}" for i in range(len(words))]
    per_row = per_row_votes(rows, words, more)
    if not likely:
        per_row = per_row.with_columns(_likely=pl.lit(None, pl.Boolean))
    grouped = per_row.group_by(*KEYS, *more, "gold", *names, "_unread", "_likely").len().sort(pl.all()).collect(engine="streaming")
    for line in grouped.iter_rows():
        key, gold, counts = line[: 3 + len(more)], line[3 + len(more)], line[4 + len(more) : -3]
        unread, probable, n = line[-3:]
        yield key, gold, Votes(gold, tuple((w, c) for w, c in zip(words, counts, strict=True) if c), unread, probable), n


def per_row_votes(rows: pl.LazyFrame, words: Sequence[str], more: Sequence[str] = ()) -> pl.LazyFrame:
    """One line for each row of a `prepared` table: the keys, id, gold, ``_0``, ``_1``, … (draws that say each of the words), _unread, _likely."""
    return rows.group_by(*KEYS, *more, "id").agg(
        pl.col("gold").first(),
        *((pl.col("verdict") == w).sum().cast(pl.Int64).alias(f"_{i}") for i, w in enumerate(words)),
        pl.col("verdict").null_count().cast(pl.Int64).alias("_unread"),
        (pl.col("probability").mean() >= 0.5).alias("_likely"),
        pl.col("probability").mean().alias("_probability"),
    )
