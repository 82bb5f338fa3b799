"""What `mine` says of all votes: how they fall, how far guards agree, and where hard rows come from. Counted when it runs, drawn from its manifest.

The statistics are in the step's manifest: small, whatever the number of rows (a histogram has ten bins, a list of sources 50 lines).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.guards import Guard
from toolkit.mining import MEASURES, Votes, agreement, count_votes, measures
from toolkit.operators._drawn import agreed, measured, of_known_tasks, voted
from toolkit.operators.figures import Cell, Figure, Finished, Table, stat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 10
LENGTHS = (256, 1024, 4096)
"""Characters of prompt and response together that part the lengths."""
_MOST = 50
_SHOWN = 8
_NONE = "(none)"
_OTHERS = "(others)"


def statistics(table: pl.DataFrame | Votes, mined: pl.DataFrame, guard: Guard) -> dict[str, Any]:
    """Statistics of all votes, for the manifest.

    Args:
        table: verdicts in `judged` columns, or their votes (`toolkit.mining.count_votes`), which then need not be counted again.
        mined: one line a row, with the columns of `toolkit.mining.measures` where they are made already.
        guard: whose tasks these are.

    Returns:
        ``votes``: by task the `rows` with a label, `right`, `wrong` and `unread` generations on them, and `by_wrong`: rows by their number of wrong
        ones. ``histograms``: by task and measure `n` (rows that have it), its `mean`, and `rows` between each two `edges` (the last included).
        ``agreement``: as `toolkit.mining.agreement`.
    """
    votes = table if isinstance(table, Votes) else count_votes(table, guard)
    found = mined if all(f"{m}_{t}" in mined.columns for m in MEASURES for t in votes.tasks) else measures(votes, guard)
    return {
        "votes": {t: _votes(votes, t) for t in votes.tasks},
        "histograms": {t: _histograms(found, t, len(task_votes.labels)) for t, task_votes in votes.tasks.items()},
        "agreement": agreement(votes, guard),
    }


def _votes(votes: Votes, task: str) -> dict[str, Any]:
    import numpy as np

    task_votes = votes.tasks[task]
    known = task_votes.gold >= 0
    wrong = task_votes.wrong[known].sum(axis=1)
    by = np.bincount(wrong) if known.any() else np.zeros(0, np.int64)
    numbers = {
        name: int(counts[known].sum()) for name, counts in (("right", task_votes.right), ("wrong", task_votes.wrong), ("unread", task_votes.unread))
    }
    return {"rows": int(known.sum()), **numbers, "by_wrong": {str(n): int(rows) for n, rows in enumerate(by) if rows}}


def _histograms(found: pl.DataFrame, task: str, labels: int) -> dict[str, Any]:
    import numpy as np

    out = {}
    for name in MEASURES:
        values = found[f"{name}_{task}"].drop_nulls().to_numpy()
        top = float(np.log2(labels)) if name in ("entropy", "divergence") else 1.0
        out[name] = _histogram(values, top)
    return out


def _histogram(values: NDArray[np.float64], top: float) -> dict[str, Any]:
    import numpy as np

    rows, edges = np.histogram(np.clip(values, 0, top), bins=BINS, range=(0, top))
    mean = round(float(values.mean()), 6) if len(values) else None
    return {"n": len(values), "mean": mean, "edges": [round(float(e), 6) for e in edges], "rows": rows.tolist()}


class HardShare:
    """How many rows are hard, by source, category and length; rows come a block at a time.

    A row of several categories counts in each of them. Memory: a line for each source and category.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[int]] = {}

    def add(self, rows: pl.DataFrame, hard: pl.Series) -> None:
        """Count rows of the record `seed`, and whether each is hard."""
        size = pl.sum_horizontal(pl.col(c).str.len_chars().fill_null(0) for c in ("prompt", "response"))
        shown = rows.select("source", "categories", size.alias("_size"), hard.alias("_hard"))
        self._count("source", shown.select(pl.col("source").fill_null(_NONE).alias("name"), "_hard"))
        some = pl.col("categories").list.len().fill_null(0) > 0
        names = shown.select(pl.when(some).then(pl.col("categories").list.unique()).otherwise(pl.lit([_NONE])).alias("name"), "_hard")
        self._count("category", names.explode("name"))
        self._count(
            "length", shown.select(pl.col("_size").cut(list(LENGTHS), labels=_lengths(), left_closed=True).cast(pl.String).alias("name"), "_hard")
        )

    def _count(self, by: str, shown: pl.DataFrame) -> None:
        for name, rows, hard in shown.group_by("name").agg(pl.len(), pl.col("_hard").sum().alias("_n")).iter_rows():
            counts = self._counts.setdefault((by, name), [0, 0])
            counts[0] += rows
            counts[1] += hard

    def lines(self) -> list[dict[str, Any]]:
        """``by, name, rows, hard, share``: those of most rows first, lengths in order; what is beyond 50 of a kind is put together."""
        out: list[dict[str, Any]] = []
        for by in ("source", "category", "length"):
            lines = [(name, rows, hard) for (kind, name), (rows, hard) in self._counts.items() if kind == by]
            lines.sort(key=lambda one: (_lengths().index(one[0]) if by == "length" else -one[1], one[0]))
            if len(lines) > _MOST:
                rest = lines[_MOST - 1 :]
                lines = [*lines[: _MOST - 1], (_OTHERS, sum(r for _, r, _ in rest), sum(h for _, _, h in rest))]
            out += [{"by": by, "name": name, "rows": rows, "hard": hard, "share": round(hard / rows, 6)} for name, rows, hard in lines]
        return out


def _lengths() -> list[str]:
    bounds = [f"{n:,}" for n in LENGTHS]
    return [f"under {bounds[0]}", *(f"{a} to {b}" for a, b in pairwise(bounds)), f"{bounds[-1]} and more"]


# What people see ----------------------------------------------------------------------------------------------------


def _show_votes(step: Finished, figure: Figure, value: Mapping[str, Any] | None) -> Iterator[Table]:
    histograms = step.stats.get("histograms") or {}
    rows: list[list[Cell]] = []
    for task, n in (value or {}).items():
        votes = n["right"] + n["wrong"] + n["unread"]
        if votes:
            means = [_mean(histograms, task, m) for m in ("entropy", "margin", "divergence")]
            rows.append([task, n["rows"], *(_percent(n[k], votes) for k in ("right", "wrong", "unread")), *means])
    if rows:
        numbers = ("rows", "right %", "wrong %", "unread %", "entropy", "margin", "divergence")
        yield Table(f"Generations on rows with a label, and means of their votes ({step.step})", ("task",), numbers, rows)


def _show_histograms(step: Finished, figure: Figure, value: Mapping[str, Any] | None) -> Iterator[Table]:
    """Entropy, margin and divergence, two bins in one."""
    rows: list[list[Cell]] = []
    for task, measures_ in of_known_tasks(step, value):
        for name in ("entropy", "margin", "divergence"):
            bars = measures_[name]["rows"]
            if any(bars):
                rows.append([task, name, *(a + b for a, b in zip(bars[::2], bars[1::2], strict=True))])
    if rows:
        title = f"Rows by the measures of their votes, in fifths of the range from 0 to the largest value that may be ({step.step})"
        yield Table(title, ("task", "measure"), ("first", "second", "third", "fourth", "last"), rows, parts=True)


def _mean(histograms: Mapping[str, Any], task: str, measure: str) -> Cell:
    found = histograms.get(task, {}).get(measure, {}).get("mean")
    return None if found is None else f"{found:.3f}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}"


def _show_agreement(step: Finished, figure: Figure, value: Mapping[str, Any] | None) -> Iterator[Table | str]:
    rows: list[list[Cell]] = []
    most = max((len(found["guards"]) for found in (value or {}).values()), default=0)
    for task, found in of_known_tasks(step, value):
        if found["kappa"] is not None:
            error = "" if found["kappa_se"] is None else f" ± {1.96 * found['kappa_se']:.3f}"
            yield f"Fleiss' kappa, {task} ({step.step}): {found['kappa']:.3f}{error} over {found['rows']:,} rows"
        if len(found["guards"]) > 1 and most <= _SHOWN:
            rows += [
                [task, name, *(None if v is None else f"{100 * (1 - v):.1f}" for v in line), found["alone"][name] if most > 2 else None]
                for name, line in zip(found["guards"], found["matrix"], strict=True)
                if any(v is not None for v in line)
            ]
    if rows:
        guards = next(found["guards"] for found in (value or {}).values())
        alone = ("alone in rows",) if most > 2 else ()
        lines = [row[: 2 + len(guards) + len(alone)] for row in rows]
        title = f"Who disagrees with whom: percent of votes that differ, with itself from draw to draw ({step.step})"
        yield Table(title, ("task", "guard"), (*guards, *alone), lines, parts=True)


def _show_share(step: Finished, figure: Figure, value: list[dict[str, Any]] | None) -> Iterator[Table | str]:
    rows: list[list[Cell]] = []
    more = []
    for by in ("source", "category", "length"):
        mine = [line for line in value or () if line["by"] == by]
        if len(mine) > 1:
            rows += [[by, line["name"], line["rows"], line["hard"], _percent(line["hard"], line["rows"])] for line in mine[:_SHOWN]]
            more += [f"{len(mine) - _SHOWN:,} more by {by}"] if len(mine) > _SHOWN else []
    if rows:
        yield Table(f"Hard rows by where they come from ({step.step})", ("by", "name"), ("rows", "hard", "%"), rows, parts=True)
    if more:
        yield f"{', '.join(more)}: in the step's manifest and with --json"


VOTES = (
    Figure("votes", "generations by task: right, wrong, unread, and rows by their number of wrong ones", stat("votes"), _show_votes, drawn=voted),
    Figure("histograms", "rows by error rate, vote entropy, margin, divergence between guards", stat("histograms"), _show_histograms, drawn=measured),
    Figure("agreement", "Fleiss' kappa, agreement of each two guards, and who stands alone", stat("agreement"), _show_agreement, drawn=agreed),
    Figure("hard_share", "hard rows by source, category and length", stat("hard_share"), _show_share),
)
"""For `Operator.figures` of `mine`; `hard_share` is `HardShare.lines`."""
