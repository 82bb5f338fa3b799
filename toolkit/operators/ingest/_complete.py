"""Rows of files completed to the record ``seed`` or ``reasoned``: what is missing of it gets its stated default, nothing that is there is changed."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Context
from toolkit.records import Column, content_id, to_polars

_TEXT = {"licence": "unknown", "teacher": "unknown", "reasoning_key": ""}


def check_record(name: str, record: Mapping[str, Column], have: Columns, guard: Guard) -> None:
    """What the files must say themselves.

    Raises:
        InputError: a column of another type than the record's; no prompt, or no reasoning; labels, and nothing that says who gave them.
    """
    for column in have.values():
        if column.name in record and record[column.name].type != column.type:
            said = f"{column.name} holds {column.type}, and the record {name!r} {record[column.name].type} there"
            raise InputError(f"read.columns: {said}")
    for must in ("prompt", "reasoning"):
        if must in record and must not in have:
            raise InputError(f"the record {name!r} needs the column {must!r}", hint=f"columns: {{{must}: COLUMN OF THE FILES}}")
    for task in guard.task_names:
        if f"label_{task}" in have and f"label_{task}_source" not in have:
            hint = f"constants: {{label_{task}_source: human}}, or another word of schemas/records/seed.yaml"
            raise InputError(f"nothing says who gave label_{task}", hint=hint)


def complete(rows: pl.DataFrame, want: Columns, ctx: Context, place: int) -> pl.DataFrame:
    """The rows with every column of `want`.

    Args:
        rows: of one block.
        want: columns of the record, and of the files.
        ctx: the step's.
        place: number of the block's first row in all files.
    """
    types = to_polars(tuple(want.values()))
    for name in want:
        if name not in rows.columns and name not in ("content_id", "group"):
            rows = rows.with_columns(_default(name, ctx, place, rows.height).cast(types[name]).alias(name))
    for task in ctx.guard.tasks:
        label, source = pl.col(f"label_{task.name}"), pl.col(f"label_{task.name}_source")
        none = pl.lit("absent")
        if task.applies == "response":
            none = pl.when(pl.col("response").is_null()).then(pl.lit("not_applicable")).otherwise(none)
        kept = source.is_in(["to_infer", "not_applicable"])  # said so by the files themselves
        rows = rows.with_columns(pl.when(label.is_null() & ~kept).then(none).otherwise(source).alias(f"label_{task.name}_source"))
    if "content_id" not in rows.columns:
        rows = rows.with_columns(pl.Series("content_id", _contents(rows), dtype=pl.String))
    if "group" not in rows.columns:
        rows = rows.with_columns(pl.Series("group", [None if p is None else content_id([], p, None) for p in rows["prompt"]], dtype=pl.String))
    return rows


def _contents(rows: pl.DataFrame) -> list[str | None]:
    out: list[str | None] = []
    for context, prompt, response in rows.select("context", "prompt", "response").iter_rows():
        out.append(None if prompt is None else content_id([(m["role"], m["content"]) for m in context or ()], prompt, response))
    return out


def _default(name: str, ctx: Context, place: int, n: int) -> pl.Expr:
    if name in ("context", "categories", "votes"):
        return pl.lit([])
    if name == "source_row":
        return pl.int_range(place, place + n)
    if name == "source":
        return pl.lit(ctx.step)
    if name.startswith("label_") and name.endswith("_source"):
        return pl.lit("absent")
    return pl.lit(_TEXT.get(name))
