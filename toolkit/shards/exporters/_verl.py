"""verl: parquet for its RL trainers and for its SFT trainer (verl docs, "Prepare data for post-training"; read against
``verl/utils/dataset/rl_dataset.py``, ``multiturn_sft_dataset.py``, ``verl/trainer/ppo/reward.py`` and the reward manager ``naive.py`` of 0.9.1).

An RL row is {data_source, prompt, ability, reward_model {style: rule, ground_truth}, extra_info {split, index, …}}, as RSafe's are
(spec F.3). The ground truth is the row's labels as JSON text, ``{"<task>": "<label>" or null, …}`` in the guard's order of tasks: a
reward function reads it with ``json.loads``. An SFT row is {messages, …}. Media are tags in the text (``<image>``), and ``{"image": …}`` in the
column ``images``, likewise ``videos``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.shards.exporters._references import listed, tagged
from toolkit.shards.exporters._reward_files import PLUGIN, RewardFormat, script
from toolkit.shards.exporters._shapes import Made, as_messages, conversation, provenance

if TYPE_CHECKING:
    import polars as pl

ABILITY = "safety"
_OPTIONS = (
    "algorithm.adv_estimator=grpo",
    "algorithm.use_kl_in_reward=False",
    "data.prompt_key=prompt",
    "data.max_prompt_length=2048",
    "data.max_response_length=1024",
    "data.filter_overlong_prompts=True",
    "data.train_batch_size=128",
    "actor_rollout_ref.actor.use_kl_loss=False",
    "actor_rollout_ref.actor.clip_ratio=0.2",
    "actor_rollout_ref.actor.clip_ratio_low=0.2",
    "actor_rollout_ref.actor.clip_ratio_high=0.2",
    "actor_rollout_ref.actor.optim.lr=1e-6",
    "actor_rollout_ref.actor.ppo_mini_batch_size=64",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.n=8",
    "actor_rollout_ref.rollout.temperature=1.0",
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=2",
)
_TRAINER = (
    "trainer.nnodes=1",
    'trainer.n_gpus_per_node="${GPUS:-8}"',
    "trainer.total_epochs=1",
    "trainer.test_freq=20",
    "trainer.save_freq=20",
    "trainer.logger=[console]",
    "trainer.project_name=guardkit",
    "trainer.experiment_name=verl",
)


class Verl(RewardFormat):
    """``sft/<split>.parquet``, and ``rl/<split>.parquet``, ``train.sh`` and the reward where the shards carry labels."""

    name = "verl"
    doc = "https://verl.readthedocs.io/en/latest/preparation/prepare_data.html"
    trainer = "verl"
    chat = True
    kinds = ("sft", "rl")
    media = ("image", "video")
    grouped = False
    limit = "data.max_prompt_length"
    calls = '''def compute_score(data_source, solution_str, ground_truth, extra_info=None, tokenizer=None, **_):
    """Score, form and accuracy of an output."""
    return reward.verl(solution_str, ground_truth, extra_info, tokenizer)
'''

    def configs(self) -> list[str]:
        return [*(["rl"] if self.shards.tasks else []), *(["sft"] if self.shards.of.answers else [])]

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        import polars as pl

        form, files = self.shards.form, list[pl.Expr]()
        self.counted(rows)
        if self.shards.has_media:
            rows, files = tagged(rows, self.shards), listed(self.media, named=True)
        made = []
        if self.shards.tasks:
            rl = rows.with_columns(pl.int_range(start, start + rows.height, dtype=pl.Int64).alias("_index")).select(
                pl.col("source").cast(pl.String).fill_null("unknown").alias("data_source"),
                as_messages("prompt", form, "user"),
                *files,
                pl.lit(ABILITY).alias("ability"),
                pl.struct(style=pl.lit("rule"), ground_truth=self.truth()).alias("reward_model"),
                pl.struct(self._extra(split)).alias("extra_info"),
            )
            made.append(Made("rl", split, f"rl/{split}.parquet", rl))
        if self.shards.of.answers:
            sft = rows.select(conversation(form, "completion").alias("messages"), *files, *provenance(self.shards))
            made.append(Made("sft", split, f"sft/{split}.parquet", sft))
        return made

    def _extra(self, split: str) -> list[pl.Expr]:
        import polars as pl

        extra = [pl.lit(split).alias("split"), pl.col("_index").alias("index"), *provenance(self.shards), *self.response()]
        if all(f"label_{t}_source" in self.shards.columns for t in self.shards.tasks):
            extra.append(self.truth("label_{}_source").alias("label_sources"))
        return extra

    def carried(self) -> list[str]:
        return [*super().carried(), *self.labels(), *self.shards.has(*(f"label_{t}_source" for t in self.shards.tasks))]

    def notes(self) -> list[str]:
        notes = super().notes()
        if self.shards.has_media:
            notes.append("verl looks files up from its working folder: train.sh goes to the folder MEDIA, the dataset's.")
        if not self.shards.tasks:
            return [*notes, "The shards carry no labels, so there are no files for reinforcement learning: make them anew with this guardkit."]
        return [*notes, "ground_truth is JSON text of the labels by task, which the reward reads."]

    def launch(self, train: str, validate: str) -> dict[str, str]:
        media = ['cd "${MEDIA:?"folder of the dataset, from which its files are named"}"'] if self.shards.has_media else []
        command = ["python3 -m verl.trainer.main_ppo", *_OPTIONS, f'data.train_files="$here/rl/{train}.parquet"']
        command += [f'data.val_files="$here/rl/{validate}.parquet"', 'actor_rollout_ref.model.path="$MODEL"']
        command += [f'reward.custom_reward_function.path="$here/{PLUGIN}"', "reward.custom_reward_function.name=compute_score"]
        if self.formula is not None and self.formula.length is not None:
            command.append('+reward.custom_reward_function.reward_kwargs.tokenizer="$MODEL"')
        about = "Starts verl 0.9 (GRPO without KL). Further options of verl may follow: actor_rollout_ref.rollout.n=16, say."
        return {"train.sh": script(about, media, [*command, *_TRAINER])}
