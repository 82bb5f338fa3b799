"""Packed rows: they do not see each other, the loss stays on completions, and a batch of packs makes the update that its rows make one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bases import base, tokenizer_of
from shardfolders import dpo_rows, sft_rows

from toolkit.common.errors import InputError, Missing
from toolkit.training import DpoConfig, SftConfig, train_dpo, train_sft

Write = Callable[..., Path]
ONCE = {"max_steps": 1, "gradient_accumulation_steps": 1}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("start") / "base")


def gradient(cls: Any, start: Path, rows: Sequence[Any], work: Path, **settings: Any) -> tuple[Any, Any, float]:
    """The first batch, the gradient of its loss by weights, and the loss."""
    import torch
    from datasets import Dataset

    from toolkit.training._shared import Bounds, Dropped
    from toolkit.training._training_config import trainer_args

    args = trainer_args(
        SftConfig(model=str(start), trainer={"train_sampling_strategy": "sequential", "shuffle_dataset": False} | settings), str(work)
    )
    more = {"bounds": Bounds(256, 256, 265), "dropped": Dropped()} if cls.__name__ == "GuardSft" else {}
    data = Dataset.from_list([{k: r[k] for k in ("id", "prompt", "completion")} for r in rows])
    trainer = cls(model=str(start), args=args, train_dataset=data, processing_class=tokenizer_of(start), **more)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    seen = {name: value.clone() for name, value in batch.items() if hasattr(value, "clone")}
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return seen, torch.cat([p.grad.flatten() for p in trainer.model.parameters()]), loss.item()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packs_make_the_update_of_their_rows(start: Path, tmp_path: Path, attention: str) -> None:
    import torch
    from trl.trainer.sft_trainer import SFTTrainer

    from toolkit.training._trainers import GuardSft

    rows = sft_rows(9)
    one = {"model_init_kwargs": {"attn_implementation": attention}, "max_length": 256}
    batch, packed, loss = gradient(GuardSft, start, rows, tmp_path, packing=True, per_device_train_batch_size=8, **one)
    assert 1 < batch["input_ids"].size(0) < 9, "several packs of several rows"
    plain, alone, expected = gradient(GuardSft, start, rows, tmp_path, per_device_train_batch_size=9, **one)
    assert (batch["labels"] != -100).sum() == (plain["labels"] != -100).sum() and batch["tokens"] == plain["attention_mask"].sum()
    assert loss == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(packed, alone, rtol=1e-3, atol=1e-6)
    flat, theirs, their_loss = gradient(SFTTrainer, start, rows, tmp_path, packing=True, per_device_train_batch_size=8, **one)
    assert flat["input_ids"].size(0) == 1 and their_loss == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(packed, theirs, rtol=1e-3, atol=1e-6)


def test_texts_of_a_pack_do_not_see_each_other(start: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from toolkit.training._packing import PackCollator

    texts = [list(range(10, 17)), list(range(40, 52)), list(range(90, 93))]
    pack = {"input_ids": [t for text in texts for t in text], "labels": [t for text in texts for t in text], "seq_lengths": [7, 12, 3]}
    short = {"input_ids": [5, 6], "labels": [5, 6], "seq_lengths": [2]}
    batch = PackCollator(pad_token_id=0)([pack, short])
    assert batch["position_ids"].tolist() == [[*range(7), *range(12), *range(3)], [0, 1, *range(20)]]
    assert batch["labels"][0][[0, 7, 19]].tolist() == [-100] * 3 and batch["labels"][1].tolist() == [-100, 6] + [-100] * 20
    model = AutoModelForCausalLM.from_pretrained(start)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        for row, first, text in ((0, 0, texts[0]), (0, 7, texts[1]), (0, 19, texts[2]), (1, 0, [5, 6])):
            alone = model(input_ids=torch.tensor([text])).logits[0]
            torch.testing.assert_close(logits[row, first : first + len(text)], alone, rtol=1e-4, atol=1e-5)


def test_a_packed_training_counts_its_tokens(start: Path, tmp_path: Path, write_sft: Write) -> None:
    shards = write_sft(sft_rows(9))

    def train(**trainer: Any) -> dict[str, Any]:
        config = SftConfig(model=str(start), trainer=ONCE | {"max_length": 256, "max_steps": -1, "num_train_epochs": 1} | trainer, threads=1)
        return train_sft(shards, tmp_path / "out", config)

    plain, packed = train(per_device_train_batch_size=9), train(per_device_train_batch_size=9, packing=True)
    assert packed["tokens"] == plain["tokens"] and packed["loss_first"] == pytest.approx(plain["loss_first"], rel=1e-5)


def test_padding_free_without_flash_attention_is_padded_and_reported(
    start: Path, tmp_path: Path, write_sft: Write, caplog: pytest.LogCaptureFixture
) -> None:
    config = SftConfig(model=str(start), trainer=ONCE | {"padding_free": True, "per_device_train_batch_size": 4}, threads=1)
    with caplog.at_level(logging.WARNING, logger="toolkit"):
        found = train_sft(write_sft(sft_rows(4)), tmp_path / "out", config)
    assert "padded instead" in caplog.text and found["rows_used"] == 4


@pytest.mark.parametrize("strategy", ["wrapped", "bfd_split"])
def test_rows_are_not_cut_to_pack_them(start: Path, tmp_path: Path, write_sft: Write, strategy: str) -> None:
    config = SftConfig(model=str(start), trainer=ONCE | {"packing": True, "packing_strategy": strategy})
    with pytest.raises(InputError, match="cuts rows in pieces"):
        train_sft(write_sft(sft_rows(4)), tmp_path / "out", config)


def test_pairs_are_padded(start: Path, tmp_path: Path, write_dpo: Write) -> None:
    with pytest.raises(InputError, match="no padding-free preference training"):
        train_dpo(write_dpo(dpo_rows(4)), tmp_path / "out", DpoConfig(model=str(start), trainer=ONCE | {"padding_free": True}))


@pytest.mark.skipif(find_spec("liger_kernel") is not None, reason="liger_kernel is installed")
def test_kernels_that_are_not_installed_are_named(start: Path, tmp_path: Path, write_dpo: Write) -> None:
    with pytest.raises(Missing, match=r"liger_kernel(.|\n)*pip install liger-kernel"):
        train_dpo(write_dpo(dpo_rows(4)), tmp_path / "out", DpoConfig(model=str(start), trainer=ONCE | {"use_liger_kernel": True}))
