"""EasyR1: parquet for its RLHFDataset, its configuration and its reward function (read against ``verl/utils/dataset.py``,
``verl/workers/reward/function.py`` and ``verl/trainer/config.py`` of github.com/hiyouga/EasyR1 at b44b311).

A row is {prompt, answer, …}: the prompt is plain text, which EasyR1 makes one message of the user's, and the answer JSON text of the row's id and
labels. EasyR1 gives a reward function the answer alone of a row, so the id goes along in it: outputs of one id are about one row. Images are a tag
``<image>`` in the prompt each and files in the column ``images``; where the file has that column EasyR1 looks at no other, so a data set has images
or clips, not both. Rows without any have an empty list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.common.errors import InputError
from toolkit.common.parquet import batches, open_parquet
from toolkit.records import MEDIA
from toolkit.shards._kinds import refuse
from toolkit.shards.exporters._references import HINT, listed, tagged
from toolkit.shards.exporters._reward_files import PLUGIN, RewardFormat, script
from toolkit.shards.exporters._shapes import Made, ShardSet, provenance

if TYPE_CHECKING:
    from typing import Self

    import polars as pl

_CONFIG = """\
# EasyR1's configuration; what is not here keeps EasyR1's own value. train.sh names model and files.
data:
  prompt_key: prompt
  answer_key: answer
  image_key: images
  video_key: videos
  max_prompt_length: 2048
  max_response_length: 1024
  rollout_batch_size: 128
  val_batch_size: 256
  format_prompt: null # the prompt is what the guard reads, letter for letter
  filter_overlong_prompts: true
algorithm:
  adv_estimator: grpo
  disable_kl: true # no reference model, no KL term
  use_kl_loss: false
worker:
  actor:
    global_batch_size: 64
    micro_batch_size_per_device_for_update: 1
    micro_batch_size_per_device_for_experience: 2
    clip_ratio_low: 0.2
    clip_ratio_high: 0.2
    optim: {lr: 1.0e-6, weight_decay: 1.0e-2}
  rollout:
    n: 8 # outputs for each prompt
    temperature: 1.0
    top_p: 1.0
    val_override_config: {temperature: 0.0, n: 1}
  reward:
    num_cpus: 1
trainer:
  project_name: guardkit
  experiment_name: easyr1
  logger: [console]
  total_epochs: 1
  val_freq: 20
  save_freq: 20
  save_limit: 3
"""


class EasyR1(RewardFormat):
    """``<split>.parquet``, ``config.yaml``, ``train.sh`` and the reward."""

    name = "easyr1"
    doc = "https://github.com/hiyouga/EasyR1"
    trainer = "EasyR1"
    chat = True
    kinds = ("rl", "sft")
    media = ("image", "video")
    answers = False
    limit = "data.max_prompt_length"
    calls = '''REWARD_NAME = "guardkit"
REWARD_TYPE = "batch"


def compute_score(reward_inputs):
    """Overall reward, form and accuracy of each output of a batch."""
    return reward.easyr1(reward_inputs)
'''

    @classmethod
    def opened(cls, shards: ShardSet, guard: str | None, formula: str | None = None) -> Self:
        if shards.kind in cls.kinds and not shards.tasks:
            hint = "keep label_<task> in the rows that the shards are made of"
            raise InputError(f"the format {cls.name!r} is for rows with labels, and the shards have none", where=str(shards.folder), hint=hint)
        form = super().opened(shards, guard, formula)
        form._medium = _medium(shards)
        return form

    _medium = "image"

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        import polars as pl

        files = list[pl.Expr]()
        self.counted(rows)
        if self.shards.has_media:
            rows, files = tagged(rows, self.shards), listed((self._medium,))
        text = pl.col("prompt")
        if self.shards.form == "messages":
            where = str(self.shards.folder)
            refuse(rows.filter(text.list.len() != 1), "a prompt of several messages, where EasyR1 has one of the user's", where, HINT)
            text = text.list.first().struct.field("content")
        labels = pl.struct(pl.col(f"label_{t}").alias(t) for t in self.shards.tasks).alias("labels")
        answer = pl.struct([*map(pl.col, self.shards.has("id")), labels, *self.response()]).struct.json_encode()
        made = rows.select(text.alias("prompt"), *files, answer.alias("answer"), *provenance(self.shards))
        return [Made("default", split, f"{split}.parquet", made)]

    def carried(self) -> list[str]:
        return [*(name for name in super().carried() if name not in self.shards.of.answers), *self.labels()]

    def notes(self) -> list[str]:
        media = ["The files are looked up from the folder MEDIA (data.image_dir): the dataset's."] if self.shards.has_media else []
        return [*super().notes(), *media]

    def launch(self, train: str, validate: str) -> dict[str, str]:
        media = ['MEDIA=${MEDIA:?"folder of the dataset, from which its files are named"}'] if self.shards.has_media else []
        command = ["python3 -m verl.trainer.main", 'config="$here/config.yaml"', f'data.train_files="$here/{train}.parquet"']
        command += [f'data.val_files="$here/{validate}.parquet"', *(['data.image_dir="$MEDIA"'] if media else [])]
        command += ['worker.actor.model.model_path="$MODEL"', f'worker.reward.reward_function="$here/{PLUGIN}:compute_score"']
        command += ["trainer.nnodes=1", 'trainer.n_gpus_per_node="${GPUS:-8}"']
        about = "Starts EasyR1 (GRPO without KL). Further options of EasyR1 may follow: worker.rollout.n=16, say. No @ may be in this folder's path."
        return {"config.yaml": _CONFIG, "train.sh": script(about, media, command)}


def _medium(shards: ShardSet) -> str:
    """The kind of media that the rows have; ``image`` where they have none."""
    import polars as pl

    kinds: set[str] = set()
    for name, about in shards.manifest["files"].items() if shards.has_media else ():
        if about["split"] in shards.splits:
            with open_parquet(shards.folder / name, sha256=about["sha256"]) as f:
                for batch in batches(f, shards.folder / name, 8192, [MEDIA]):
                    found = pl.DataFrame(pl.from_arrow(batch))[MEDIA].drop_nulls()
                    kinds |= set(found.list.explode(empty_as_null=False).struct.field("kind").drop_nulls().unique())
    if {"image", "video"} <= kinds:
        hint = "make shards of each, and train on one after the other"
        raise InputError("EasyR1 reads images or clips of a data set, not both", where=str(shards.folder), hint=hint)
    return "video" if "video" in kinds else "image"
