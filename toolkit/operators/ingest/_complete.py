"""Rows of files completed to the record ``seed`` or ``reasoned``: what is missing of it gets its stated default, nothing that is there is changed."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Context
from toolkit.records import MEDIA, Column, content_id, frame_has_media, group_id, hashes, to_polars

_TEXT = {"licence": "unknown", "teacher": "unknown", "reasoning_key": ""}


def check_record(name: str, record: Mapping[str, Column], have: Columns, guard: Guard) -> None:
    """What the files must say themselves.

    Raises:
        InputError: a column of another type than the record's; no prompt, or no reasoning; labels, and nothing that says who gave them.
    """
    for column in have.values():
        if column.name in record and record[column.name].type != column.type:
            mismatch = f"{column.name} holds {column.type}, and the record {name!r} {record[column.name].type} there"
            raise InputError(f"read.columns: {mismatch}")
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
        kept = source.is_in(["to_infer", "not_applicable"])  # declared by the files themselves
        rows = rows.with_columns(pl.when(label.is_null() & ~kept).then(none).otherwise(source).alias(f"label_{task.name}_source"))
    if "content_id" not in rows.columns:
        rows = rows.with_columns(pl.Series("content_id", _contents(rows), dtype=pl.String))
    if "group" not in rows.columns:
        rows = rows.with_columns(pl.Series("group", _groups(rows), dtype=pl.String))
    return rows


def _contents(rows: pl.DataFrame) -> list[str | None]:
    out: list[str | None] = []
    for context, prompt, response, *media in rows.select("context", "prompt", "response", *_media(rows)).iter_rows():
        messages = [(m["role"], m["content"]) for m in context or ()]
        out.append(None if prompt is None else content_id(messages, prompt, response, hashes(*media)))
    return out


def _groups(rows: pl.DataFrame) -> list[str | None]:
    return [None if p is None else group_id(p, hashes(*media)) for p, *media in rows.select("prompt", *_media(rows)).iter_rows()]


def _media(rows: pl.DataFrame) -> list[str]:
    return [MEDIA] if frame_has_media(rows) else []


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
