"""An export opened by EasyR1's own code (b44b311): its RLHFDataset, its reward manager and its configuration. `make trainers` runs it.

Left out are what only a GPU has: vLLM, which the package of its rollouts imports, and qwen-vl-utils, which reads clips.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from online import exported, options, outputs, pictured, printed, tokenizer

verl = pytest.importorskip("verl")


@pytest.fixture(autouse=True, scope="module")
def without_a_gpu() -> None:
    clips, reader = ModuleType("qwen_vl_utils"), ModuleType("qwen_vl_utils.vision_process")
    reader.fetch_video = None  # type: ignore[attr-defined]
    rollout = ModuleType("verl.workers.rollout")
    rollout.__path__ = [str(Path(verl.__file__).parent / "workers" / "rollout")]
    sys.modules |= {"qwen_vl_utils": clips, "qwen_vl_utils.vision_process": reader, "verl.workers.rollout": rollout}
    from verl.workers.rollout.config import RolloutConfig

    rollout.RolloutConfig = RolloutConfig  # type: ignore[attr-defined]


def test_easyr1_reads_the_rows_and_calls_the_reward(tmp_path: Path) -> None:
    import torch
    from verl.protocol import DataProto
    from verl.utils.dataset import RLHFDataset, collate_fn
    from verl.workers.reward.config import RewardConfig
    from verl.workers.reward.function import AutoRewardManager

    folder, rows = exported(tmp_path, "easyr1")
    tok = tokenizer(tmp_path / "tok")
    read = RLHFDataset(str(folder / "train.parquet"), tok, None, max_prompt_length=4096, filter_overlong_prompts_workers=1)
    assert len(read) == len(rows)
    for i, row in enumerate(rows):
        asked = tok.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
        assert tok.decode(read[i]["raw_prompt_ids"]) == asked and json.loads(read[i]["ground_truth"])["id"] == row["id"]

    config = RewardConfig(reward_function=f"{folder / 'reward' / 'guardkit_reward.py'}:compute_score")
    config.post_init()
    ids = [tok(text or "\n", add_special_tokens=False)["input_ids"] for text in outputs(rows)]
    size = max(map(len, ids))
    batch = collate_fn([read[i] for i in range(len(rows))])
    batch["responses"] = torch.tensor([[*one, *[0] * (size - len(one))] for one in ids])
    batch["response_mask"] = torch.tensor([[1] * len(one) + [0] * (size - len(one)) for one in ids])
    found, parts = AutoRewardManager(config, tok).compute_reward(DataProto.from_single_dict(batch))
    assert found.sum(-1).tolist() == pytest.approx(printed(rows, [len(one) for one in ids]), abs=1e-6)
    assert set(parts) == {"overall", "format", "accuracy"}


class Processor:
    """What EasyR1 asks of a processor: a template, and the tokens of texts and pictures; pictures are None in a row without any."""

    image_processor = None

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.pictures: list[Any] = []

    def apply_chat_template(self, messages: list[dict[str, Any]], **_: Any) -> str:
        return "".join("[picture]" if part["type"] == "image" else part["text"] for part in messages[0]["content"])

    def __call__(self, images: Any, texts: list[str], **_: Any) -> dict[str, Any]:
        self.pictures.append(images and [image.size for image in images])
        return dict(self.tokenizer(texts, add_special_tokens=False, return_tensors="pt"))


def test_easyr1_opens_pictures_and_takes_rows_without_any(tmp_path: Path) -> None:
    from verl.utils.dataset import RLHFDataset

    folder, tok = pictured(tmp_path, "easyr1"), tokenizer(tmp_path / "tok")
    read = RLHFDataset(
        str(folder / "train.parquet"),
        tok,
        Processor(tok),
        image_dir=str(tmp_path),
        min_pixels=None,
        max_pixels=None,
        filter_overlong_prompts=False,
    )
    texts = [tok.decode(read[i]["raw_prompt_ids"]) for i in range(3)]
    assert texts == ["[picture][picture]This, 0?", "This, 1?", "[picture]This, 2?"]
    assert read.processor.pictures == [[(40, 30)] * 2, None, [(40, 30)]]
    assert [len(read[i]["multi_modal_data"]["images"]) for i in range(3)] == [2, 0, 1]


def test_the_configuration_is_one_of_easyr1(tmp_path: Path) -> None:
    from omegaconf import OmegaConf
    from verl.trainer.config import PPOConfig

    folder, _ = exported(tmp_path, "easyr1")
    given = [f"{name}={value}" for name, value in options(folder / "train.sh", r'^  ([a-z_.]+)="?([^" ]+)"? \\$').items() if name != "config"]
    assert len(given) >= 5
    merged = OmegaConf.merge(OmegaConf.structured(PPOConfig()), OmegaConf.load(folder / "config.yaml"))
    whole = OmegaConf.to_object(OmegaConf.merge(merged, OmegaConf.from_dotlist([one for one in given if "$" not in one])))
    for name in (one.partition("=")[0] for one in given):
        assert OmegaConf.select(merged, name, default="none") != "none", name
    assert whole.worker.rollout.n == 8 and whole.algorithm.disable_kl and whole.worker.actor.clip_ratio_high == 0.2
