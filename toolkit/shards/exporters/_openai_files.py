"""OpenAI fine-tuning: JSON Lines of chat examples, or of preference examples for its DPO (OpenAI docs, "Supervised fine-tuning" and "Direct
preference optimization"). A line holds these keys and no other, so nothing else of a row has a place. Images are content parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.records import MEDIA
from toolkit.shards.exporters._references import parts_lines
from toolkit.shards.exporters._shapes import Format, Made, as_messages, conversation

if TYPE_CHECKING:
    import polars as pl

LEAST = 10
"""Examples that OpenAI asks for at least in a training file (OpenAI docs, "Supervised fine-tuning")."""


class OpenAi(Format):
    """``<split>.jsonl`` for each split."""

    name = "openai"
    doc = "https://developers.openai.com/api/docs/guides/direct-preference-optimization"
    chat = True
    media = ("image",)

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        import polars as pl

        form, at = self.shards.form, ["messages"]
        if self.shards.kind == "sft":
            made = rows.select(conversation(form, "completion").alias("messages"))
        else:
            at = ["input", "messages"]
            made = rows.select(
                pl.struct(messages=as_messages("prompt", form, "user")).alias("input"),
                as_messages("chosen", form, "assistant").alias("preferred_output"),
                as_messages("rejected", form, "assistant").alias("non_preferred_output"),
            )
        lines = parts_lines(made, rows[MEDIA], at) if self.shards.has_media else None
        return [Made("default", split, f"{split}.jsonl", made, lines)]

    def notes(self) -> list[str]:
        few = [f"{split} has {n}" for split in self.shards.splits if 0 < (n := self.written[split]) < LEAST]
        images = ["The url of an image is a reference: OpenAI takes web addresses and data URIs."] if self.shards.has_media else []
        return [*super().notes(), *images, *([f"OpenAI asks for at least {LEAST} examples in a file: {', '.join(few)}."] if few else [])]
