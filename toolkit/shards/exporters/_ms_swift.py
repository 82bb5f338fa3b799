"""ms-swift: JSON Lines in its standard form (ms-swift docs, "Custom dataset"; read against ``swift/dataset/preprocessor/core.py``,
``swift/rewards/orm.py`` and ``swift/rl_core`` of 4.6.0): ``messages``, and for preference pairs ``rejected_response`` beside the conversation
that ends with the chosen answer. Media are tags in the text (``<image>``) and files in the columns ``images``, ``videos``, ``audios``.

Rows for online reinforcement learning have messages that end with the user's, and ``solution``: the labels by task as JSON text. ms-swift gives its
reward functions every column. They are in ``rl/`` where the shards carry labels, beside the reward and ``train.sh``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.records import KINDS
from toolkit.shards.exporters._references import listed, tagged
from toolkit.shards.exporters._reward_files import PLUGIN, RewardFormat, script
from toolkit.shards.exporters._shapes import Made, answer_text, as_messages, conversation, provenance

if TYPE_CHECKING:
    import polars as pl

_OPTIONS = (
    "--split_dataset_ratio 0",
    "--strict true",
    "--remove_unused_columns false",
    "--reward_funcs guardkit",
    "--num_generations 8",
    "--temperature 1.0",
    "--max_length 2048",
    "--truncation_strategy delete",
    "--max_completion_length 1024",
    "--beta 0",
    "--epsilon 0.2",
    "--epsilon_high 0.2",
    "--learning_rate 1e-6",
    "--per_device_train_batch_size 8",
    "--per_device_eval_batch_size 8",
    "--gradient_accumulation_steps 8",
    "--num_train_epochs 1",
    "--eval_steps 100",
    "--save_steps 100",
    "--logging_steps 1",
    "--torch_dtype bfloat16",
    "--use_vllm true",
    "--vllm_mode colocate",
)


class MsSwift(RewardFormat):
    """``<split>.jsonl`` for each split; give the file as ``--dataset``. With labels ``rl/<split>.jsonl``, ``train.sh`` and the reward, too."""

    name = "ms-swift"
    doc = "https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html"
    trainer = "ms-swift"
    chat = True
    media = KINDS
    kinds = ("sft", "preference", "rl")
    limit = "--max_length"
    imports = """
try:
    from swift.rewards import ORM, orms
except ImportError:  # ms-swift 3
    from swift.plugin import ORM, orms
"""
    calls = '''class GuardkitReward(ORM):
    """--external_plugins THIS_FILE --reward_funcs guardkit"""

    def __call__(self, completions, solution, **columns):
        return reward.ms_swift(completions, solution, columns)


orms["guardkit"] = GuardkitReward
'''

    def configs(self) -> list[str]:
        return [*(["default"] if self.shards.of.answers else []), *(["rl"] if self.guard is not None else [])]

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        form, pairs = self.shards.form, self.shards.kind == "preference"
        self.counted(rows)
        if self.shards.has_media:
            rows = tagged(rows, self.shards)
        files, made = listed() if self.shards.has_media else [], []
        if self.shards.of.answers:
            columns = [conversation(form, "chosen" if pairs else "completion").alias("messages")]
            columns += [answer_text("rejected", form).alias("rejected_response")] if pairs else []
            made.append(Made("default", split, f"{split}.jsonl", rows.select(*columns, *files, *provenance(self.shards))))
        if self.guard is not None:
            asks = [as_messages("prompt", form, "user").alias("messages"), self.truth().alias("solution")]
            rl = rows.select(*asks, *files, *self.response(), *provenance(self.shards))
            made.append(Made("rl", split, f"rl/{split}.jsonl", rl))
        return made

    def carried(self) -> list[str]:
        return [*super().carried(), *(self.labels() if self.guard is not None else [])]

    def notes(self) -> list[str]:
        media = ["ms-swift looks files up from the folder ROOT_IMAGE_DIR, the dataset's."] if self.shards.has_media else []
        return [*super().notes(), *media]

    def launch(self, train: str, validate: str) -> dict[str, str]:
        media = ['export ROOT_IMAGE_DIR="${MEDIA:?"folder of the dataset, from which its files are named"}"'] if self.shards.has_media else []
        command = ["swift rlhf", "--rlhf_type grpo", '--model "$MODEL"', f'--dataset "$here/rl/{train}.jsonl"']
        command += [f'--val_dataset "$here/rl/{validate}.jsonl"', f'--external_plugins "$here/{PLUGIN}"', *_OPTIONS]
        about = "Starts ms-swift 4 (GRPO without KL). Further options of ms-swift may follow: --num_generations 16, say."
        return {"train.sh": script(about, media, command)}
