"""Operator `normalise`.

Text is data: HTML stays as it is written, and nothing is interpreted. What a terminal would obey is taken out.
"""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field

from toolkit.guards import Guard
from toolkit.operators.base import Config, Context, RowOperator, mark
from toolkit.records import MEDIA, Column, content_id, frame_has_media, hashes, load_record

ESCAPES = (
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequence: colours, cursor
    "|(?:\x1b\\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)"  # operating system command: titles, links
    "|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\\\|\x9c)"  # device control and other strings
)
"""Terminal escape sequences (ECMA-48, 5.4 and 5.6). One that never ends is no sequence: of it only the control character goes."""

CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
"""Every C0 and C1 control character but newline and tab."""


class NormaliseConfig(Config):
    """Options of `normalise`."""

    unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    """Unicode normal form; NFKC also folds look-alike letters, which changes text that a guard may see."""
    strip: bool = True
    """Take white space off both ends."""
    control: Literal["remove", "keep"] = "remove"
    """Terminal escape sequences and control characters other than newline and tab."""
    max_chars: int | None = Field(None, ge=1)
    """Reject a row (`too_long`) whose prompt, response or any earlier message is longer."""


class Normalise(RowOperator):
    """Clean text: line ends, escape sequences and control characters, Unicode form, outer white space.

    Content ids are computed anew, and so are groups that stood for the prompt's text. A prompt without any text is rejected (`empty_prompt`) unless
    the row has media; an empty response stays an empty response, which is not the same as none.
    """

    name = "normalise"
    row_local = True
    carries_media = True
    config_class = NormaliseConfig
    example = {"max_chars": 20000}
    uses = frozenset()
    config: NormaliseConfig

    def reads(self, guard: Guard) -> list[str]:
        return ["context", "prompt", "response", "content_id", "group"]

    def writes(self, guard: Guard) -> list[Column]:
        return [c for c in load_record("seed").columns if c.name in self.reads(guard)]

    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        message = pl.element().struct
        rows = rows.with_columns(
            pl.col("prompt").alias("_prompt"),
            self._clean(pl.col("prompt")).alias("prompt"),
            self._clean(pl.col("response")).alias("response"),
            pl.col("context").list.eval(pl.struct(message.field("role"), self._clean(message.field("content")).alias("content"))),
        )
        media = frame_has_media(rows)
        texts = pl.struct("context", "prompt", "response", "_prompt", "group", *([MEDIA] if media else []))
        ids = texts.map_batches(_ids, return_dtype=IDS, is_elementwise=True)
        rows = rows.with_columns(ids.alias("_ids"))
        rows = rows.with_columns(pl.col("_ids").struct.field(n).alias(n) for n in ("content_id", "group")).drop("_ids", "_prompt")
        empty = pl.col("prompt").str.strip_chars() == ""
        rows = mark(rows, empty & (pl.col(MEDIA).list.len() == 0) if media else empty, "empty_prompt", "nothing left after cleaning")
        if self.config.max_chars is not None:
            earlier = pl.col("context").list.eval(message.field("content").str.len_chars()).list.max()
            lengths = (pl.col("prompt").str.len_chars(), pl.col("response").str.len_chars(), earlier)
            longest = pl.max_horizontal(lengths)
            rows = mark(rows, longest > self.config.max_chars, "too_long", pl.format("{} characters", longest))
        return rows

    def _clean(self, text: pl.Expr) -> pl.Expr:
        c = self.config
        text = text.str.replace_all("\r\n?", "\n")
        if c.control == "remove":
            text = text.str.replace_all(ESCAPES, "").str.replace_all(CONTROLS, "")
        if c.unicode != "none":
            text = text.str.normalize(c.unicode)
        return text.str.strip_chars() if c.strip else text


IDS = pl.Struct({"content_id": pl.String, "group": pl.String})


def _ids(rows: pl.Series) -> pl.Series:
    """Content id and group of each row; a group that is the id of the old prompt's text becomes that of the new one."""
    out: list[dict[str, str]] = []
    for context, prompt, response, old, group, *media in rows.struct.unnest().iter_rows():
        messages = [(m["role"], m["content"]) for m in context or ()]
        if group == content_id([], old, None):
            group = content_id([], prompt, None)
        out.append({"content_id": content_id(messages, prompt, response, hashes(*media)), "group": group})
    return pl.Series(out, dtype=IDS)
