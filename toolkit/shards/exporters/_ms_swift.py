"""ms-swift: JSON Lines in its standard form (ms-swift docs, "Custom dataset"; read against ``swift/dataset/preprocessor/core.py`` of
4.6.0): ``messages``, and for preference pairs ``rejected_response`` beside the conversation that ends with the chosen answer.
Media are tags in the text (``<image>``) and files in the columns ``images``, ``videos``, ``audios``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.records import KINDS
from toolkit.shards.exporters._references import listed, tagged
from toolkit.shards.exporters._shapes import Format, Made, answer_text, conversation, provenance

if TYPE_CHECKING:
    import polars as pl


class MsSwift(Format):
    """``<split>.jsonl`` for each split; give the file as ``--dataset``."""

    name = "ms-swift"
    doc = "https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html"
    chat = True
    media = KINDS

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        form, pairs = self.shards.form, self.shards.kind == "preference"
        if self.shards.has_media:
            rows = tagged(rows, self.shards)
        columns = [conversation(form, "chosen" if pairs else "completion").alias("messages")]
        columns += [answer_text("rejected", form).alias("rejected_response")] if pairs else []
        columns += listed() if self.shards.has_media else []
        return [Made("default", split, f"{split}.jsonl", rows.select(*columns, *provenance(self.shards)))]

    def carried(self) -> list[str]:
        return [*super().carried(), *self.shards.has("id", "source", "licence", "teacher", "task")]
