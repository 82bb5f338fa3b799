"""Media in other trainers' formats, as references: the files stay where they are, named by their places below the dataset's folder.

OpenAI's form has content parts (`parts_lines`). Others mark the place in the text by a tag and list the files in columns beside it (`tagged`,
`listed`): there a text that holds such a tag by itself would be taken for a picture, and is refused. Media are before the text of the first message
of the user, in the row's order, as they do where a guard is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from toolkit.records import KINDS, MEDIA, others
from toolkit.shards._kinds import refuse

if TYPE_CHECKING:
    import polars as pl

    from toolkit.shards.exporters._shapes import ShardSet

HINT = "leave the rows out in a step before the shards"


def check_kinds(rows: pl.DataFrame, shards: ShardSet, name: str, kinds: Sequence[str]) -> None:
    """Refuse rows with media of other kinds than a format has a place for (InputError)."""
    if rows.height:
        refuse(rows.filter(others(kinds) != ""), f"media that the format {name!r} has no place for", str(shards.folder), HINT)


def listed(kinds: Sequence[str] = KINDS, *, named: bool = False) -> list[pl.Expr]:
    """A column for each kind, ``images`` say: its files in order; `named`: each as ``{"image": …}``."""
    import polars as pl

    one = pl.element().struct
    file = {kind: pl.struct(one.field("uri").alias(kind)) if named else one.field("uri") for kind in kinds}
    return [pl.col(MEDIA).list.eval(file[kind].filter(one.field("kind") == kind)).alias(f"{kind}s") for kind in kinds]


def tagged(rows: pl.DataFrame, shards: ShardSet) -> pl.DataFrame:
    """The rows, a tag for each of their media in their prompts, ``<image>`` say.

    Raises:
        InputError: a message has such a tag in its text already; with the rows.
    """
    import polars as pl

    tags = [f"<{kind}>" for kind in KINDS]
    texts = pl.concat_list("prompt", *shards.of.answers).list.eval(pl.element().struct.field("content")).list.join("\n")
    refuse(rows.filter(texts.str.contains_any(tags)), f"a text with one of {', '.join(tags)}, which stand for files there", str(shards.folder), HINT)
    before = pl.col("prompt").list.slice(0, (pl.col("prompt").list.first().struct.field("role") == "system").cast(pl.Int64))
    marks = pl.col(MEDIA).list.eval(pl.format("<{}>", pl.element().struct.field("kind"))).list.join("")
    asks = pl.col("prompt").list.get(before.list.len()).struct
    asked = pl.struct(role=asks.field("role"), content=pl.concat_str(marks, asks.field("content")))
    rest = pl.col("prompt").list.slice(before.list.len() + 1)
    return rows.with_columns(pl.concat_list(before, pl.concat_list(asked), rest).alias("prompt"))


def parts_lines(made: pl.DataFrame, media: pl.Series, at: Sequence[str]) -> list[bytes]:
    """Rows as lines of JSON, their images as content parts.

    Args:
        made: the rows without their media.
        media: of each row.
        at: where a row has its messages.
    """
    out = []
    for row, files in zip(made.iter_rows(named=True), media.to_list(), strict=True):
        messages: Any = row
        for key in at:
            messages = messages[key]
        asks = next(m for m in messages if m["role"] == "user")
        if files:
            parts = [{"type": "image_url", "image_url": {"url": one["uri"]}} for one in files]
            asks["content"] = [*parts, *([{"type": "text", "text": asks["content"]}] if asks["content"] else [])]
        out.append(orjson.dumps(row))
    return out
