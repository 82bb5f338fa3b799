"""The rows that guards dispute most, in order, and why each is where it does.

A row is disputed on a task if its votes (generations whose verdict could be read) are for more than one label. First come those with the largest vote
entropy, of equal ones those with more votes, then those on which guards differ from each other rather than from draw to draw (divergence; see
`toolkit.mining.measures`).
"""

from __future__ import annotations

import polars as pl

from toolkit.mining._measures import MEASURES, measures_of
from toolkit.mining._tally import Votes

_MOSTLY = 2 / 3
"""Share of the entropy from which on a dispute counts as one between guards; below its rest, to be within them."""


def ranked_disputes(votes: Votes) -> pl.DataFrame:
    """The disputed rows of all tasks, most disputed first.

    Returns:
        `rank` (from 1), `id`, `task`, `label` (null where the row has none), `votes`, `right`, `wrong`, `unread`, `error_rate`, `entropy`, `margin`,
        `divergence` and `why`, in words.
    """
    parts = [_of_task(votes, task, n) for n, task in enumerate(votes.tasks)]
    order = ["entropy", "votes", "divergence", "_row", "_task"]
    whole = pl.concat(parts).sort(order, descending=[True, True, True, False, False], nulls_last=True)
    return whole.drop("_row", "_task").with_row_index("rank", 1).with_columns(pl.col("rank").cast(pl.Int64))


def _of_task(votes: Votes, task: str, number: int) -> pl.DataFrame:
    task_votes = votes.tasks[task]
    by = task_votes.counts.sum(axis=1).astype("int64")
    words = dict(enumerate(task_votes.labels))
    numbers = {"right": task_votes.right, "wrong": task_votes.wrong, "unread": task_votes.unread}
    table = pl.DataFrame(
        {
            "id": votes.parents,
            "task": pl.repeat(task, len(votes.parents), dtype=pl.String, eager=True),
            "label": pl.Series(task_votes.gold, dtype=pl.Int64).replace_strict(words, default=None, return_dtype=pl.String),
            "votes": pl.Series(by.sum(axis=1), dtype=pl.Int64),
            **{name: pl.Series(n.sum(axis=1), dtype=pl.Int64) for name, n in numbers.items()},
            **{name: pl.Series(name, values, nan_to_null=True).round(9) for name, values in measures_of(task_votes).items()},
            "_most": pl.Series(by.max(axis=1), dtype=pl.Int64),
            "_leading": pl.Series(by.argmax(axis=1), dtype=pl.Int64).replace_strict(words, default=None, return_dtype=pl.String),
            "_row": pl.int_range(len(votes.parents), eager=True),
            "_task": pl.repeat(number, len(votes.parents), dtype=pl.Int64, eager=True),
        }
    ).filter(pl.col("entropy") > 0)
    names = ["id", "task", "label", "votes", "right", "wrong", "unread", *MEASURES, "why", "_row", "_task"]
    return table.with_columns(_why().alias("why")).select(names)


def _why() -> pl.Expr:
    votes = pl.format("{} of {} votes say {}", "_most", "votes", "_leading")
    label = pl.when(pl.col("label").is_null()).then(pl.lit("")).otherwise(pl.format(", the label is {}", pl.col("label").fill_null("")))
    between = pl.col("divergence") / pl.col("entropy")
    kind = (
        pl.when(between.is_null())
        .then(pl.lit("one guard, which differs from draw to draw"))
        .when(between >= _MOSTLY)
        .then(pl.lit("guards differ from each other"))
        .when(between <= 1 - _MOSTLY)
        .then(pl.lit("guards differ from draw to draw"))
        .otherwise(pl.lit("guards differ from each other and from draw to draw"))
    )
    return pl.concat_str(votes, label, pl.lit("; "), kind)
