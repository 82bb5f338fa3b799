"""What a shard folder's manifest counts of its rows: values of some columns, labels, categories, lengths.

All are sums over rows, so they depend neither on the order of the rows nor on how they are cut into blocks. The same code counts while the
shards are written and again when they are verified. A column of another type than meant is left out, and so is one with more than `MOST` values
(licences and splits excepted) and a table with more than `LINES` lines: such columns hold no names, and a manifest is no place for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

SEED_MODELS = ("seed_model", "reply_model", "judge_model")
"""Columns that synthetic rows have (record ``made_seed``): who wrote prompt and response, and who judged them."""
COUNTED = ("source", "licence", "teacher", "chosen_model", "rejected_model", "task", "language", *SEED_MODELS)
"""Columns whose values the manifest counts, as far as they are there."""
UNKNOWN = "unknown"
"""What a null in such a column, and a row without a licence's column, counts as."""
NONE = "none"
"""What a row without the label, or without a category, counts as."""

MOST = 1000
"""Distinct values of a counted column."""
LINES = 10_000
"""Lines of a table."""


class RowCounts:
    """Counts rows.

    Args:
        names: the columns of the rows.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._tasks = [n.removeprefix("label_") for n in names if n.startswith("label_") and not n.endswith("_source")]
        self._counts: dict[str, Counter[str]] = {n: Counter() for n in COUNTED if n in self._names or n == "licence"}
        self._counts["split"] = Counter()
        self._many: set[str] = set()
        self._labels: Counter[tuple[str, ...]] = Counter()
        self._categories: Counter[tuple[str, ...]] = Counter()
        self._lengths: dict[str, list[int]] = {}

    @property
    def columns(self) -> list[str]:
        """The columns that are looked at."""
        more = [*COUNTED, "categories", "steps", "step_chars", *(f"label_{t}{s}" for t in self._tasks for s in ("", "_source"))]
        return [n for n in more if n in self._names]

    def add(self, rows: pl.DataFrame, split: str) -> None:
        """Count some rows of a split."""
        import polars as pl

        self._counts["split"][split] += rows.height
        self._add_counts(rows)
        rows = rows.select(n for n in self.columns if not rows.schema[n].is_nested() or n == "categories")
        have = rows.schema
        tasks = [t for t in self._tasks if f"label_{t}" in have]
        given = [pl.lit(UNKNOWN).alias("source")] if "source" not in have else []
        texts = {"source": UNKNOWN, **{f"label_{t}": NONE for t in tasks}, **{f"label_{t}_source": UNKNOWN for t in tasks}}
        rows = rows.with_columns(given).with_columns(_text(n, other) for n, other in texts.items() if n in have)
        if "labels" not in self._many:
            self._add_labels(rows, tasks)
        if "categories" not in self._many and have.get("categories") == pl.List(pl.String):
            self._add_categories(rows, tasks)
        for name, table in (("labels", self._labels), ("categories", self._categories)):
            if len(table) > LINES:
                self._many.add(name)
                table.clear()
        if (kind := have.get("steps")) is not None and kind.is_integer():
            self._add_lengths(rows)

    def _add_counts(self, rows: pl.DataFrame) -> None:
        for name, counter in self._counts.items():
            if name == "split" or name in self._many:
                continue
            if name not in rows.columns or rows.schema[name].is_nested():
                if name == "licence":
                    counter[UNKNOWN] += rows.height
                continue
            counter.update(dict(rows.select(_text(name, UNKNOWN))[name].value_counts().iter_rows()))
            if len(counter) > MOST and name != "licence":
                self._many.add(name)
                counter.clear()

    def _add_labels(self, rows: pl.DataFrame, tasks: Sequence[str]) -> None:
        import polars as pl

        for task in tasks:
            origin = pl.col(f"label_{task}_source") if f"label_{task}_source" in rows.columns else pl.lit(UNKNOWN)
            keys = rows.select("source", pl.col(f"label_{task}").alias("label"), origin.alias("origin"))
            for source, label, came, n in keys.group_by(pl.all()).len().iter_rows():
                self._labels[task, source, label, came] += n

    def _add_categories(self, rows: pl.DataFrame, tasks: Sequence[str]) -> None:
        import polars as pl

        own = pl.col("categories")
        some = pl.when(own.list.len() > 0).then(own.list.unique()).otherwise(pl.concat_list(pl.lit(NONE)))
        each = rows.select("source", some.alias("categories"), *(f"label_{t}" for t in tasks)).explode("categories")
        each = each.with_columns(pl.col("categories").fill_null(NONE))
        for task in tasks:
            for source, category, label, n in each.group_by("source", "categories", f"label_{task}").len().iter_rows():
                self._categories[task, source, category, label] += n

    def _add_lengths(self, rows: pl.DataFrame) -> None:
        import polars as pl

        kind = rows.schema.get("step_chars")
        chars = pl.col("step_chars") if kind is not None and kind.is_integer() else pl.lit(None, pl.Int64)
        found = rows.group_by("source").agg(pl.col("steps").count().alias("rows"), pl.col("steps").sum(), chars.sum().alias("chars"))
        for source, *figures in found.iter_rows():
            self._lengths[source] = [a + int(b) for a, b in zip(self._lengths.get(source, [0, 0, 0]), figures, strict=True)]

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows by column and value; ``split`` and ``licence`` are always there."""
        return {name: dict(sorted(counter.items())) for name, counter in self._counts.items() if counter}

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The tables, each a list of lines.

        Returns:
            labels: {task, source, label, origin, rows}: `origin` is ``label_<task>_source``, a row without the label counts as ``none``;
            categories: {task, source, category, label, rows}: a row counts once for each of its categories, one without as ``none``;
            lengths: {source, rows, steps, chars}: rows whose steps were counted, their steps, the characters of those steps (Unicode code points).
        """
        return {
            "labels": _lines(self._labels, ("task", "source", "label", "origin")),
            "categories": _lines(self._categories, ("task", "source", "category", "label")),
            "lengths": [{"source": s, "rows": n, "steps": steps, "chars": chars} for s, (n, steps, chars) in sorted(self._lengths.items())],
        }


def _text(name: str, other: str) -> pl.Expr:
    """A column as text, a null as `other`."""
    import polars as pl

    return pl.col(name).cast(pl.String).fill_null(other)


def _lines(counts: Counter[tuple[str, ...]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{**dict(zip(names, key, strict=True)), "rows": n} for key, n in sorted(counts.items())]
