"""DPO with weights, held against TRL's own trainer and against the formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from shardfolders import dpo_rows, turn

from toolkit.common.errors import InputError
from toolkit.common.models import model_hash
from toolkit.training import DpoConfig, train_dpo

Write = Callable[..., Path]
Tiny = tuple[Path, dict[str, Any]]
PLAIN = {"loss_type": ["sigmoid"], "loss_weights": [1.0], "beta": 0.1}
BOTH = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 2.0], "beta": 0.1}


def make(cls: Any, folder: Path, rows: Sequence[Mapping[str, Any]], work: Path, weights: Sequence[float] | None, **settings: Any) -> Any:
    """A trainer of either kind on rows held in memory, in their order."""
    from datasets import Dataset
    from transformers import AutoTokenizer

    from toolkit.training._training_config import trainer_args

    fixed = {"per_device_train_batch_size": len(rows), "gradient_accumulation_steps": 1, "train_sampling_strategy": "sequential"}
    args = trainer_args(DpoConfig(model=str(folder), trainer=fixed | settings), str(work))
    data = Dataset.from_list([{k: r[k] for k in ("id", "prompt", "chosen", "rejected")} for r in rows])
    if weights is not None:
        data = data.add_column("weight", list(weights))
    return cls(model=str(folder), args=args, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(folder))


def loss_and_grad(trainer: Any) -> tuple[float, Any]:
    """Loss of the first batch and its gradient, flattened."""
    import torch

    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


@pytest.fixture
def measure(tiny: Tiny, tmp_path: Path) -> Callable[..., tuple[float, Any]]:
    from toolkit.training._trainers import WeightedDPOTrainer

    def run(rows: Sequence[Mapping[str, Any]], weights: Sequence[float] | None, **settings: Any) -> tuple[float, Any]:
        return loss_and_grad(make(WeightedDPOTrainer, tiny[0], rows, tmp_path, weights, **settings))

    return run


@pytest.mark.parametrize("precompute", [True, False])
@pytest.mark.parametrize("losses", [PLAIN, BOTH])
def test_weight_one_is_trls_own_loss_and_gradient(tiny: Tiny, tmp_path: Path, losses: dict[str, Any], precompute: bool) -> None:
    import torch
    from trl.trainer.dpo_trainer import DPOTrainer

    from toolkit.training._trainers import WeightedDPOTrainer

    rows, settings = dpo_rows(5), losses | {"precompute_ref_log_probs": precompute}
    theirs = loss_and_grad(make(DPOTrainer, tiny[0], rows, tmp_path, None, **settings))
    ours = loss_and_grad(make(WeightedDPOTrainer, tiny[0], rows, tmp_path, [1.0] * 5, **settings))
    assert ours[0] == theirs[0] and torch.equal(ours[1], theirs[1])


def test_a_whole_training_with_weight_one_is_trls_own(tiny: Tiny, tmp_path: Path) -> None:
    import torch
    from trl.trainer.dpo_trainer import DPOTrainer

    from toolkit.training._trainers import WeightedDPOTrainer

    settings = BOTH | {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 2, "learning_rate": 1e-3}
    theirs = make(DPOTrainer, tiny[0], dpo_rows(7), tmp_path, None, **settings)
    ours = make(WeightedDPOTrainer, tiny[0], dpo_rows(7), tmp_path, [1.0] * 7, **settings)
    start = [p.clone() for p in theirs.model.parameters()]
    theirs.train()
    ours.train()
    assert all(torch.equal(a, b) for a, b in zip(theirs.model.parameters(), ours.model.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(start, ours.model.parameters(), strict=True))


def test_doubling_a_weight_doubles_that_pairs_gradient(measure: Callable[..., Any]) -> None:
    import torch

    rows = dpo_rows(4)
    without, once, twice = (measure(rows, [1.0, w, 1.0, 1.0], **PLAIN)[1] for w in (0.0, 1.0, 2.0))
    alone = measure([rows[1]], [1.0], **PLAIN)[1] / 4  # its own gradient, unpadded, as one of four
    assert alone.norm() > 1e-4
    torch.testing.assert_close(once - without, alone, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(twice - without, 2 * alone, rtol=1e-3, atol=1e-7)


def test_the_sft_part_does_not_move_with_weights(measure: Callable[..., Any]) -> None:
    import torch

    rows, heavy = dpo_rows(4), [3.0, 0.0, 1.5, 0.2]
    only_sft = BOTH | {"loss_weights": [0.0, 2.0]}
    loss_one, grad_one = measure(rows, [1.0] * 4, **only_sft)
    loss_heavy, grad_heavy = measure(rows, heavy, **only_sft)
    assert loss_heavy == loss_one and torch.equal(grad_heavy, grad_one)
    moved_both = measure(rows, heavy, **BOTH)[1] - measure(rows, [1.0] * 4, **BOTH)[1]
    moved_plain = measure(rows, heavy, **PLAIN)[1] - measure(rows, [1.0] * 4, **PLAIN)[1]
    torch.testing.assert_close(moved_both, moved_plain, rtol=1e-3, atol=1e-6)


def test_the_mean_is_over_pairs_not_over_the_sum_of_weights(measure: Callable[..., Any]) -> None:
    rows = dpo_rows(4)
    assert measure(rows, None, **PLAIN)[0] == pytest.approx(math.log(2), rel=1e-5)  # the start model is its own reference
    assert measure(rows, [0.8] * 4, **PLAIN)[0] == pytest.approx(0.8 * math.log(2), rel=1e-5)
    assert measure(rows, [4.0, 0.0, 0.0, 0.0], **PLAIN)[0] == pytest.approx(math.log(2), rel=1e-5)
    assert measure(rows, [2.0] * 4, **(PLAIN | {"loss_weights": [3.0]}))[0] == pytest.approx(6 * math.log(2), rel=1e-5)


def test_the_loss_is_the_formula_once_the_model_has_moved(tiny: Tiny, tmp_path: Path) -> None:
    """Computed from logits here, pair by pair, without TRL."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from toolkit.training._trainers import WeightedDPOTrainer

    rows, weights = dpo_rows(3), [0.8, 1.0, 1.2]
    trainer = make(WeightedDPOTrainer, tiny[0], rows, tmp_path, weights, **BOTH)
    with torch.no_grad():
        for p in trainer.model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny[0])
    reference = AutoModelForCausalLM.from_pretrained(tiny[0])

    def logps(model: Any, prompt: Any, answer: Any) -> Any:
        head = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        ids = torch.tensor([tokenizer.apply_chat_template(prompt + answer, return_dict=True)["input_ids"]])
        with torch.no_grad():
            log = torch.log_softmax(model(ids).logits[0, :-1], dim=-1)
        return log.gather(1, ids[0, 1:, None])[len(head) - 1 :, 0]

    preference, chosen_tokens = 0.0, []
    for row, weight in zip(rows, weights, strict=True):
        up, down = (logps(trainer.model, row["prompt"], row[k]) for k in ("chosen", "rejected"))
        delta = up.sum() - down.sum() - sum(s * logps(reference, row["prompt"], row[k]).sum() for s, k in ((1, "chosen"), (-1, "rejected")))
        preference += weight * math.log1p(math.exp(-0.1 * delta.item())) / 3
        chosen_tokens.append(up)
    expected = preference - 2.0 * torch.cat(chosen_tokens).mean().item()
    assert loss_and_grad(trainer)[0] == pytest.approx(expected, rel=1e-4)


def test_gradient_accumulation_and_padding_change_nothing(tiny: Tiny, tmp_path: Path) -> None:
    """Four pairs at once (padded) and one by one (not padded) make the same update, weights and all."""
    import torch

    from toolkit.training._trainers import WeightedDPOTrainer

    ends = []
    for size, steps in ((4, 1), (2, 2), (1, 4)):
        settings = PLAIN | {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "max_steps": 1, "optim": "sgd"}
        trainer = make(WeightedDPOTrainer, tiny[0], dpo_rows(4), tmp_path, [0.5, 1.0, 1.5, 3.0], learning_rate=1.0, **settings)
        trainer.train()
        ends.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    start = torch.cat([p.flatten() for p in make(WeightedDPOTrainer, tiny[0], dpo_rows(1), tmp_path, None).model.parameters()])
    assert (ends[0] - start).norm() > 1e-3
    for end in ends[1:]:
        torch.testing.assert_close(end - start, ends[0] - start, rtol=1e-2, atol=1e-6)


def test_other_losses_are_refused_with_weights_and_free_without(tiny: Tiny, tmp_path: Path, write_dpo: Write) -> None:
    from toolkit.training._trainers import WeightedDPOTrainer

    shards = write_dpo(dpo_rows(3))
    for trainer in ({"loss_type": ["ipo"], "loss_weights": [1.0]}, {"loss_type": ["sft"], "loss_weights": [1.0]}, {"ld_alpha": 0.5}):
        with pytest.raises(InputError, match="weighted pairs"):
            train_dpo(shards, tmp_path / "out", DpoConfig(model=str(tiny[0]), trainer=trainer))
    make(WeightedDPOTrainer, tiny[0], dpo_rows(2), tmp_path, None, loss_type=["ipo"], loss_weights=[1.0])


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -0.1])
def test_a_weight_that_is_no_weight_is_named(tiny: Tiny, tmp_path: Path, write_dpo: Write, bad: float | None) -> None:
    rows = dpo_rows(3)
    rows[1]["weight"] = bad
    with pytest.raises(InputError, match="pair-1: the weight is"):
        train_dpo(write_dpo(rows), tmp_path / "out", DpoConfig(model=str(tiny[0])))


def test_dpo_prefers_the_chosen_answer(tiny: Tiny, tmp_path: Path, write_dpo: Write, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoConfig, AutoTokenizer

    rows = dpo_rows(40)
    for i, row in enumerate(rows):
        row["weight"] = 0.8 if i % 2 else 1.2
    rows[5]["rejected"] = turn("assistant", "xyzzy " * 200)
    before, seen = model_hash(tiny[0]), []
    config = DpoConfig(model=str(tiny[0]), threads=1, trainer={"learning_rate": 1e-3, "gradient_accumulation_steps": 8, "beta": 0.1})
    metrics = train_dpo(write_dpo(rows), tmp_path / "out" / "model", config, lambda *a: seen.append(a))
    assert metrics["loss_last"] < metrics["loss_first"] and metrics["pairs_right_last"] > 0.7
    assert (metrics["pairs"], metrics["pairs_used"]) == (40, 39)
    assert metrics["dropped"] == {"too_long": {"count": 1, "ids": ["pair-5"]}}
    assert (metrics["weight_min"], metrics["weight_max"]) == (0.8, 1.2) and metrics["weight_mean"] == pytest.approx(1.0)
    assert [s[0] for s in seen] == list(range(1, metrics["steps"] + 1)) and metrics["steps"] == 10
    assert model_hash(tiny[0]) == before != model_hash(tmp_path / "out" / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "out" / "model").chat_template and AutoConfig.from_pretrained(tmp_path / "out" / "model")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["model"]
    out, err = capfd.readouterr()
    assert out == "" and "it/s" not in err and "%|" not in err


def test_grouping_by_length_keeps_weights_with_their_pairs(tiny: Tiny, tmp_path: Path) -> None:
    from toolkit.training._trainers import WeightedDPOTrainer

    rows = dpo_rows(12)
    weights = [float(len(r["rejected"][0]["content"])) for r in rows]
    settings = PLAIN | {"per_device_train_batch_size": 3, "train_sampling_strategy": "group_by_length"}
    from toolkit.training._shared import Bounds, Dropped

    trainer = make(lambda **k: WeightedDPOTrainer(bounds=Bounds(128), dropped=Dropped(), **k), tiny[0], rows, tmp_path, weights, **settings)
    seen = 0
    for batch in trainer.get_train_dataloader():
        rejected = batch["input_ids"].chunk(2)[1]
        mask = batch["completion_mask"].chunk(2)[1].bool()
        for ids, answer, weight in zip(rejected, mask, batch["weight"], strict=True):
            text = trainer.processing_class.decode(ids[answer], skip_special_tokens=True)
            assert weight.item() == len(text)
            seen += 1
    assert seen == 12
