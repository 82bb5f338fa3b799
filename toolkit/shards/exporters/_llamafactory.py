"""LLaMA-Factory: JSON Lines and the ``dataset_info.json`` that describes them (LLaMA-Factory, data/README.md; read against
``llamafactory/data/parser.py`` and ``converter.py`` of 0.9.5).

Chat messages go out in its sharegpt format with OpenAI's words for the tags, plain text in its alpaca format. There a prompt is
``instruction + newline + input`` and an empty input adds nothing, so the whole prompt is the instruction. Media are tags in the text (``<image>``)
and files in the columns ``images``, ``videos``, ``audios``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from toolkit.records import KINDS
from toolkit.shards.exporters._references import listed, tagged
from toolkit.shards.exporters._shapes import Format, Made, provenance

if TYPE_CHECKING:
    import polars as pl

TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}


class LlamaFactory(Format):
    """``<split>.jsonl`` for each split and ``dataset_info.json``; as ``dataset`` give ``guardkit_sft_train``, say."""

    name = "llamafactory"
    doc = "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md"
    chat = True
    media = KINDS

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        import polars as pl

        chat, pairs = self.shards.form == "messages", self.shards.kind == "preference"
        if self.shards.has_media:
            rows = tagged(rows, self.shards)
        if not chat:
            columns = [pl.col("prompt").alias("instruction"), pl.lit("").alias("input")]
            columns += [pl.col("chosen"), pl.col("rejected")] if pairs else [pl.col("completion").alias("output")]
        elif pairs:
            columns = [pl.col("prompt").alias("messages"), pl.col("chosen").list.first(), pl.col("rejected").list.first()]
        else:
            columns = [pl.concat_list("prompt", "completion").alias("messages")]
        columns += listed() if self.shards.has_media else []
        return [Made("default", split, f"{split}.jsonl", rows.select(*columns, *provenance(self.shards)))]

    def carried(self) -> list[str]:
        return [*super().carried(), *self.shards.has("id", "source", "licence", "teacher", "task")]

    def notes(self) -> list[str]:
        names = ", ".join(self._name(split) for split in self._splits())
        stage = "dpo" if self.shards.kind == "preference" else "sft"
        media = ["In LLaMA-Factory, media_dir is the dataset's folder."] if self.shards.has_media else []
        return [*super().notes(), *media, f"In LLaMA-Factory: dataset_dir is this folder, stage {stage}, dataset one of {names}."]

    def beside(self) -> dict[str, str]:
        info = {self._name(split): self._entry(f"{split}.jsonl") for split in self._splits()}
        return {"dataset_info.json": json.dumps(info, indent=2) + "\n"}

    def _splits(self) -> list[str]:
        return [split for split in self.shards.splits if self.written[split]]

    def _name(self, split: str) -> str:
        kind = "dpo" if self.shards.kind == "preference" else "sft"
        return f"guardkit_{kind}_{split}"

    def _entry(self, file: str) -> dict[str, Any]:
        chat, pairs = self.shards.form == "messages", self.shards.kind == "preference"
        answers = {"chosen": "chosen", "rejected": "rejected"} if pairs else {}
        answers |= {f"{kind}s": f"{kind}s" for kind in KINDS} if self.shards.has_media else {}
        if chat:
            entry: dict[str, Any] = {"file_name": file, "formatting": "sharegpt", "columns": {"messages": "messages", **answers}, "tags": TAGS}
        else:
            columns = {"prompt": "instruction", "query": "input", **(answers or {"response": "output"})}
            entry = {"file_name": file, "formatting": "alpaca", "columns": columns}
        return {**entry, "ranking": True} if pairs else entry
