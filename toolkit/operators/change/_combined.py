"""What a row that is combined of several says: texts joined, labels by rules over those of its parts.

All is over a frame with a line for each part: `_combined` (number of the combined row), and the part's columns, the parts of a row one after another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import polars as pl

from toolkit.guards import Guard, Task

Algebra = Literal["any", "all", "same", "none"]
SUREST_FIRST = ("reviewed", "human", "vote", "written", "policy", "consensus", "inferred", "constructed")
"""Who gave a label, the surest first: a label that follows from several counts as given by the least sure of them."""
_PLACES = re.compile(r"(\{text\}|\{n\})")


def label_of(task: Task, rule: Algebra) -> pl.Expr:
    """The label of a combined row, over the labels of its parts; null where they do not say.

    Args:
        task: whose labels, in ``label_<task>``. On a scale (`Task.ordinal`) the most severe label stands first for `any`, the least severe for `all`.
        rule: ``any``: the positive label if a part has it; else null if a part has none; else the others' label. ``all``: the same the other way
            round: a label that is not positive if a part has it, else null if a part has none, else the positive one. ``same``: the label that every
            part has. ``none``: null.
    """
    label = pl.col(f"label_{task.name}")
    unknown = label.null_count() > 0
    same = pl.when(~unknown & (label.n_unique() == 1)).then(label.first())
    if rule == "none":
        return pl.lit(None, pl.String)
    if rule == "same":
        return same
    if task.ordinal:
        place = label.replace_strict(task.labels, range(len(task.labels)), default=None, return_dtype=pl.Int64)
        first, end = (place.max(), len(task.labels) - 1) if rule == "any" else (place.min(), 0)
        found = pl.when(~unknown | (first == end)).then(first)
        return found.replace_strict(range(len(task.labels)), task.labels, default=None, return_dtype=pl.String)
    positive = label == task.positive
    if rule == "any":
        return pl.when(positive.any()).then(pl.lit(task.positive)).otherwise(same)
    others = label.filter(~positive)
    one = pl.when(others.n_unique() == 1).then(others.first())
    return pl.when(others.len() > 0).then(one).otherwise(pl.when(~unknown).then(pl.lit(task.positive)))


def labels_of(parts: pl.DataFrame, guard: Guard, rules: dict[str, Algebra]) -> pl.DataFrame:
    """Labels of the combined rows and who gave them, a line for each in the order of `_combined`.

    A label that is set has the source that is least sure (`SUREST_FIRST`) among those of the parts that have it. One that is not is
    ``not_applicable`` where the task judges responses and there is none, ``to_infer`` where a part's is, else ``absent``.
    """
    found = []
    for task in guard.tasks:
        label, source = f"label_{task.name}", f"label_{task.name}_source"
        mine = parts.select("_combined", "response", label, source)
        rows = mine.group_by("_combined", maintain_order=True).agg(
            label_of(task, rules[task.name]).alias("_label"),
            (pl.col(source) == "to_infer").any().alias("_infer"),
            pl.col("response").is_null().all().alias("_alone"),
        )
        place = pl.col(source).replace_strict(SUREST_FIRST, range(len(SUREST_FIRST)), default=len(SUREST_FIRST), return_dtype=pl.Int64)
        given = mine.join(rows, on="_combined", how="left").filter(pl.col(label) == pl.col("_label")).sort(place, maintain_order=True)
        given = given.group_by("_combined").agg(pl.col(source).last().alias("_source"))
        rows = rows.join(given, on="_combined", how="left", maintain_order="left")
        alone = pl.col("_alone") if task.applies == "response" else pl.lit(False)
        why = pl.when(alone).then(pl.lit("not_applicable")).when("_infer").then(pl.lit("to_infer")).otherwise(pl.lit("absent"))
        named = pl.when(~alone).then("_label")
        found.append(rows.select(named.alias(label), pl.when(named.is_null()).then(why).otherwise("_source").alias(source)))
    return pl.concat(found, how="horizontal")


def joined(column: str, form: str, separator: str) -> pl.Expr:
    """The texts of a column as one, over the parts of a combined row; null where no part has one. A text that is blank is left out.

    Args:
        column: of the texts.
        form: of each text: ``{text}`` is it, ``{n}`` its number among the parts, from 1.
        separator: what is between them.
    """
    n = pl.int_range(1, pl.len() + 1).cast(pl.String)
    kinds = {"{text}": pl.col(column), "{n}": n}
    piece = pl.concat_str([kinds.get(word, pl.lit(word)) for word in _PLACES.split(form) if word])
    filled = pl.col(column).fill_null("").str.strip_chars() != ""
    whole = piece.filter(filled).str.join(separator)
    return pl.when(pl.col(column).is_not_null().any()).then(whole)


def agreed(columns: Sequence[str]) -> list[pl.Expr]:
    """For each column the value that all parts have, else null."""
    return [pl.when(pl.col(c).n_unique() == 1).then(pl.col(c).first()).alias(c) for c in columns]
