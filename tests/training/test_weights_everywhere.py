"""A pair's weight means the same however the training is done: all weights or LoRA, a quantised base, an adapter that is gone on with, mixed precision,
gradient checkpointing, gradient accumulation, and a reference that is computed before or during the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bases import base
from shardfolders import SFT, dpo_rows, sft_rows, write

from toolkit.training import DpoConfig, SftConfig, train_sft

lora = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
bits = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "bf16": {"trainer": {"bf16": True}},
    "lora": {"lora": {"rank": 4}},
    "lora, checkpointing": {"lora": {"rank": 4}, "trainer": {"gradient_checkpointing": True}},
    "dora, whole layers": {"lora": {"rank": 4, "dora": True, "modules_to_save": ["embed_tokens", "lm_head"]}},
    "4bit": {"lora": {"rank": 4, "quantize": "4bit"}, "start": "wide"},  # on CPUs with AVX512-BF16 bitsandbytes packs rows of whole blocks of 64
    "8bit": {"lora": {"rank": 4, "quantize": "8bit"}},
    "an adapter": {"lora": {}, "start": "adapter"},
}
LIVE = ("lora", "an adapter")
"""Tried with a reference during the training, too; for the others it is the same code, and `test_weighted_dpo` tries all weights."""
ALL = [pytest.param(w, marks=[m for m, on in ((lora, "lora" in o), (bits, "bit" in w)) if on]) for w, o in WAYS.items()]
CASES = [pytest.param(*p.values, before, marks=p.marks) for p in ALL for before in (True, False) if before or p.values[0] in LIVE]
LOSS = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 2.0], "beta": 0.1}


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("starts")
    found = {"base": base(top / "base"), "wide": base(top / "wide", hidden_size=64, intermediate_size=64), "adapter": top / "adapter"}
    if find_spec("peft") is not None:
        trainer = {"max_steps": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "learning_rate": 1e-2}
        config = SftConfig.model_validate({"model": str(found["base"]), "lora": {"rank": 4, "merge": False}, "trainer": trainer, "threads": 1})
        train_sft(write(top / "sft", sft_rows(8), SFT), found["adapter"], config)
    return found


def made(cls: Any, starts: Mapping[str, Path], way: str, weights: Sequence[float] | None, work: Path, **settings: Any) -> Any:
    """A trainer of either kind on rows in their order, its trained weights moved a little, so that policy and reference differ."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer

    from toolkit.training._lora_training import start_of, with_lora
    from toolkit.training._training_config import trainer_args

    how = WAYS[way]
    fixed = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "train_sampling_strategy": "sequential", **LOSS}
    trainer = fixed | how.get("trainer", {}) | settings
    config = DpoConfig.model_validate({"model": str(starts[how.get("start", "base")]), "trainer": trainer, "lora": how.get("lora")})
    args = trainer_args(config, str(work))
    start = start_of(config.model, config.lora)
    model, more = with_lora(start.base, start, config, args)
    rows = [{k: r[k] for k in ("id", "prompt", "chosen", "rejected")} for r in dpo_rows(4)]
    data = Dataset.from_list(rows)
    if weights is not None:
        data = data.add_column("weight", list(weights))
    out = cls(model=model, args=args, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(starts["base"]), **more)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in trained(out):
            p.add_(0.05 * torch.randn(p.shape, generator=generator).to(p.dtype))
    return out


def trained(trainer: Any) -> list[Any]:
    return [p for p in trainer.model.parameters() if p.requires_grad]


def loss_and_gradient(trainer: Any) -> tuple[float, Any]:
    import torch

    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), torch.cat([(p.grad if p.grad is not None else p * 0).float().flatten() for p in trained(trainer)])


@pytest.mark.parametrize(("way", "precompute"), CASES)
def test_weight_one_is_trls_and_doubling_a_weight_doubles_its_pairs_part(starts: dict[str, Path], tmp_path: Path, way: str, precompute: bool) -> None:
    import torch
    from trl.trainer.dpo_trainer import DPOTrainer

    from toolkit.training._trainers import WeightedDPOTrainer

    def measure(cls: Any, weights: Sequence[float] | None) -> tuple[float, Any]:
        return loss_and_gradient(made(cls, starts, way, weights, tmp_path, precompute_ref_log_probs=precompute))

    theirs, ours = measure(DPOTrainer, None), measure(WeightedDPOTrainer, [1.0] * 4)
    assert ours[0] == theirs[0] and torch.equal(ours[1], theirs[1]) and ours[1].norm() > 1e-3
    (zero, none), (two, twice) = (measure(WeightedDPOTrainer, [1.0, w, 1.0, 1.0]) for w in (0.0, 2.0))
    assert two - ours[0] == pytest.approx(ours[0] - zero, rel=1e-2) and abs(two - zero) > 0.05
    once, again = ours[1] - none, twice - ours[1]
    rounding = 0.1 if "bit" in way else 0.02  # TRL trains adapters of a quantised base in bfloat16
    assert (again - once).norm() < rounding * once.norm() and once.norm() > 1e-4


@pytest.mark.parametrize("way", [pytest.param("lora", marks=lora), pytest.param("an adapter", marks=lora)])
def test_accumulated_or_at_once_a_training_is_the_same_and_with_weight_one_trls(starts: dict[str, Path], tmp_path: Path, way: str) -> None:
    import torch
    from trl.trainer.dpo_trainer import DPOTrainer

    from toolkit.training._trainers import WeightedDPOTrainer

    def end(cls: Any, weights: Sequence[float] | None, size: int) -> Any:
        settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 4 // size, "max_steps": 2, "loss_weights": [1.0, 0.0]}
        trainer = made(cls, starts, way, weights, tmp_path, optim="sgd", learning_rate=1.0, **settings)
        first = torch.cat([p.detach().flatten().clone() for p in trained(trainer)])
        trainer.train()
        return torch.cat([p.detach().flatten() for p in trained(trainer)]) - first

    assert torch.equal(end(WeightedDPOTrainer, [1.0] * 4, 2), end(DPOTrainer, None, 2))
    at_once, one_by_one = (end(WeightedDPOTrainer, [0.5, 1.0, 1.5, 3.0], size) for size in (4, 1))
    assert at_once.norm() > 1e-3
    torch.testing.assert_close(one_by_one, at_once, rtol=1e-2, atol=1e-5)
