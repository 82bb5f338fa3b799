"""TRL: prompt-completion and preference data, conversational or standard (TRL docs, "Dataset formats and types").

The shards are in this format as they are, so every column goes along; what is new is one parquet file a split, without guardkit's manifest.
Images are listed in the column ``images`` in place of ``media``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.records import MEDIA
from toolkit.shards.exporters._references import listed
from toolkit.shards.exporters._shapes import Format, Made

if TYPE_CHECKING:
    import polars as pl


class Trl(Format):
    """``data/<split>-00000-of-00001.parquet`` with the shards' own columns."""

    name = "trl"
    doc = "https://huggingface.co/docs/trl/dataset_formats"
    weighs = True
    media = ("image",)

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        if self.shards.has_media:  # TRL itself puts them before the first message of the user (trl.data_utils.prepare_multimodal_messages)
            rows = rows.with_columns(listed(self.media)).drop(MEDIA)
        return [Made("default", split, f"data/{split}-00000-of-00001.parquet", rows)]

    def carried(self) -> list[str]:
        return list(self.shards.columns)

    def notes(self) -> list[str]:
        out = []
        if "weight" in self.shards.columns:
            out.append(
                "TRL's own DPOTrainer leaves the column weight unread; guardkit's train dpo uses it, and --weights repeat says it by repetition."
            )
        if self.shards.has_media:
            out.append("The column images holds names of files: give them the type datasets.Image before training.")
        return out
