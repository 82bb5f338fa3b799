"""An export opened by verl's own code (0.9.1): its RLHFDataset, its loader of reward functions and its reward manager, and its configuration.
`make trainers` runs it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from online import exported, options, outputs, pictured, printed, tokenizer

verl = pytest.importorskip("verl")


def test_verl_reads_the_rows_and_calls_the_reward(tmp_path: Path) -> None:
    import torch
    from omegaconf import OmegaConf
    from verl import DataProto
    from verl.trainer.ppo.reward import load_reward_manager
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    folder, rows = exported(tmp_path, "verl")
    tok = tokenizer(tmp_path / "tok")
    data = OmegaConf.create({"max_prompt_length": 4096, "filter_overlong_prompts": True, "filter_overlong_prompts_workers": 1})
    data.cache_dir = str(tmp_path / "cache")
    read = RLHFDataset(str(folder / "rl" / "train.parquet"), tok, data)
    assert len(read) == len(rows)
    assert [read[i]["raw_prompt"] for i in range(len(rows))] == [row["prompt"] for row in rows]

    custom = {"path": str(folder / "reward" / "guardkit_reward.py"), "name": "compute_score", "reward_kwargs": {"tokenizer": str(tmp_path / "tok")}}
    manager = {"source": "register", "name": "naive"}
    naive = load_reward_manager(OmegaConf.create({"reward": {"custom_reward_function": custom, "reward_manager": manager}}), tok)
    ids = [tok(text or "\n", add_special_tokens=False)["input_ids"] for text in outputs(rows)]
    found = []
    for i, answer in enumerate(ids):
        batch = collate_fn([read[i]])
        batch["responses"], batch["attention_mask"] = torch.tensor([[*answer, 0]]), torch.tensor([[1] * len(answer) + [0]])
        proto = DataProto.from_single_dict(batch)
        found.append(asyncio.get_event_loop_policy().get_event_loop().run_until_complete(naive.run_single(proto)))
    assert [one["reward_score"] for one in found] == pytest.approx(printed(rows, [len(answer) for answer in ids]), abs=1e-6)
    assert {tuple(one["reward_extra_info"]) for one in found} == {("score", "format", "acc")}


def test_verl_puts_pictures_where_the_tags_are(tmp_path: Path) -> None:
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    folder = pictured(tmp_path, "verl")
    data = OmegaConf.create({"filter_overlong_prompts": False, "cache_dir": str(tmp_path / "cache")})
    read = RLHFDataset(str(folder / "rl" / "train.parquet"), tokenizer(tmp_path / "tok"), data, processor=object())  # it asks whether there is one
    cat = {"type": "image", "image": "cat.png"}
    assert [read[i]["raw_prompt"][0]["content"] for i in range(3)] == [
        [cat, cat, {"type": "text", "text": "This, 0?"}],
        "This, 1?",
        [cat, {"type": "text", "text": "This, 2?"}],
    ]


def test_the_script_says_what_the_configuration_has(tmp_path: Path) -> None:
    from hydra import compose, initialize_config_dir

    folder, _ = exported(tmp_path, "verl")
    given = options(folder / "train.sh", r"^  (\+?[a-z_.]+)=(\S+) \\$")
    assert len(given) > 25
    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        whole = compose("ppo_trainer", [f"{name}={value}" for name, value in given.items() if "$" not in value])
    assert whole.actor_rollout_ref.rollout.n == 8 and whole.reward.custom_reward_function.name == "compute_score"
    for name in given:
        if not name.startswith("+"):
            parent, _, key = name.rpartition(".")
            assert key in (whole if not parent else __import__("omegaconf").OmegaConf.select(whole, parent)), name
