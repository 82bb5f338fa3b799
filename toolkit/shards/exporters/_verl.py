"""verl: parquet for its RL trainers and for its SFT trainer (verl docs, "Prepare data for post-training"; read against
``verl/utils/dataset/rl_dataset.py`` and ``multiturn_sft_dataset.py`` of 0.9.1).

An RL row is {data_source, prompt, ability, reward_model {style: rule, ground_truth}, extra_info {split, index, …}}, as RSafe's are
(spec F.3). The ground truth is the row's labels as JSON text, ``{"<task>": "<label>" or null, …}`` in the guard's order of tasks: a
reward function reads it with ``json.loads``. An SFT row is {messages, …}. Media are tags in the text (``<image>``), and ``{"image": …}`` in the
column ``images``, likewise ``videos``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.shards.exporters._references import listed, tagged
from toolkit.shards.exporters._shapes import Format, Made, ShardSet, as_messages, conversation, provenance

if TYPE_CHECKING:
    import polars as pl

ABILITY = "safety"


class Verl(Format):
    """``sft/<split>.parquet``, and ``rl/<split>.parquet`` where the shards carry labels."""

    name = "verl"
    doc = "https://verl.readthedocs.io/en/latest/preparation/prepare_data.html"
    chat = True
    kinds = ("sft",)
    media = ("image", "video")

    def __init__(self, shards: ShardSet) -> None:
        super().__init__(shards)
        self._without = 0

    def configs(self) -> list[str]:
        return ["rl", "sft"] if self.shards.tasks else ["sft"]

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        import polars as pl

        form, files = self.shards.form, list[pl.Expr]()
        if self.shards.has_media:
            rows, files = tagged(rows, self.shards), listed(self.media, named=True)
        sft = rows.select(conversation(form, "completion").alias("messages"), *files, *provenance(self.shards))
        made = [Made("sft", split, f"sft/{split}.parquet", sft)]
        if self.shards.tasks:
            self._without += rows.filter(pl.all_horizontal(pl.col(f"label_{t}").is_null() for t in self.shards.tasks)).height
            rl = rows.with_columns(pl.int_range(start, start + rows.height, dtype=pl.Int64).alias("_index")).select(
                pl.col("source").cast(pl.String).fill_null("unknown").alias("data_source"),
                as_messages("prompt", form, "user"),
                *files,
                pl.lit(ABILITY).alias("ability"),
                pl.struct(style=pl.lit("rule"), ground_truth=self._labels("label_{}")).alias("reward_model"),
                pl.struct(self._extra(split)).alias("extra_info"),
            )
            made.insert(0, Made("rl", split, f"rl/{split}.parquet", rl))
        return made

    def _labels(self, column: str) -> pl.Expr:
        import polars as pl

        return pl.struct(pl.col(column.format(t)).alias(t) for t in self.shards.tasks).struct.json_encode()

    def _extra(self, split: str) -> list[pl.Expr]:
        import polars as pl

        extra = [pl.lit(split).alias("split"), pl.col("_index").alias("index"), *provenance(self.shards)]
        if all(f"label_{t}_source" in self.shards.columns for t in self.shards.tasks):
            extra.append(self._labels("label_{}_source").alias("label_sources"))
        return extra

    def carried(self) -> list[str]:
        names = [name for t in self.shards.tasks for name in (f"label_{t}", f"label_{t}_source")]
        return [*super().carried(), *self.shards.has("id", "source", "licence", "teacher", "task", *names)]

    def notes(self) -> list[str]:
        notes = super().notes()
        if self.shards.has_media:
            notes.append("verl looks files up from its working folder: run it in the dataset's folder.")
        if not self.shards.tasks:
            return [*notes, "The shards carry no labels, so there are no files for reinforcement learning: make them anew with this guardkit."]
        notes.append("ground_truth is JSON text of the labels by task. verl has no reward for these sources: name yours in its configuration.")
        return [*notes, *([f"{self._without:,} rows have no label at all, and so nothing to be rewarded for."] if self._without else [])]
