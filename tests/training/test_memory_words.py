"""What a training takes in memory: by hand, against what torch holds, and in the words of a check and of `guardkit train`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bases import base

import toolkit
from toolkit.common.paths import Roots
from toolkit.operators.train.train_dpo import TrainDpo, TrainDpoConfig
from toolkit.operators.train.train_sft import TrainSft, TrainSftConfig
from toolkit.pipeline import Progress
from toolkit.training import DpoConfig, SftConfig, memory_words
from toolkit.training._memory import Memory, Shape, activations_of, memory_of

GIB = 2**30


def test_an_8b_model_as_it_is_known_from_practice() -> None:
    llama = Shape.of({"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336})
    assert llama is not None and llama.adapter(16) == 41_943_040, "peft reports so many for rank 16 on all linear layers"
    whole = memory_of(8_030_000_000)
    assert whole.total == 16 * 8_030_000_000 and memory_of(8_030_000_000, parts=(8, 8, 8)).total == 2 * 8_030_000_000
    kept = activations_of(llama, 2048, 1, scores=True)
    assert kept == 32 * 2048 * 4096 * (34 + 5 * 32 * 2048 / 4096) and activations_of(llama, 2048, 1, checkpointed=True) < kept / 20
    assert activations_of(llama, 2048, 2, each=4) == 4 * activations_of(llama, 2048, 1)


def test_weights_gradients_and_moments_are_what_torch_holds(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base(tmp_path / "base"))
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimizer.step()
    weights = list(model.parameters())
    found = memory_of(sum(w.numel() for w in weights))
    assert found.weights == sum(w.nbytes for w in weights) and found.gradients == sum(w.grad.nbytes for w in weights)
    states = [t.nbytes for state in optimizer.state.values() for t in state.values() if t.numel() > 1]
    assert found.optimizer == sum(states)


@pytest.mark.parametrize("method", [SftConfig, DpoConfig])
def test_the_words_follow_the_options(tmp_path: Path, method: Any) -> None:
    model = str(base(tmp_path / "base", hidden_size=256, intermediate_size=512, num_hidden_layers=4))

    def total(**options: Any) -> tuple[float, float]:
        [words] = memory_words(method.model_validate({"model": model, **options}), Roots.of(None))
        assert words.startswith(f"Training {model!r} takes about ") and "weights" in words
        return float(words.split("about ")[1].split(" GiB")[0]), float(words.split("activations ")[1].split(")")[0])

    batch, wide = {"per_device_train_batch_size": 64}, {"per_device_train_batch_size": 128}
    few, many = total(trainer=batch), total(trainer=wide)
    assert many[1] == pytest.approx(2 * few[1], rel=0.1) and many[0] > few[0]
    assert total(trainer=batch | {"gradient_checkpointing": True})[1] < total(trainer=batch | {"gradient_checkpointing": False})[1]
    assert total(trainer=batch | {"max_length": 512})[1] < few[1]
    assert memory_words(method.model_validate({"model": model, "trainer": {"fsdp": "full_shard"}}), Roots.of(None)) == []


def test_a_check_and_a_training_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_sft: Callable[..., Path]) -> None:
    from test_checkpoints import shards_of

    monkeypatch.chdir(tmp_path)
    base(tmp_path / "base")
    shards_of(tmp_path / "shards")
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rows", "use": "render_sft"},
        {"id": "shards", "use": "shards"},
        {"id": "sft", "use": "train_sft", "with": {"model": "base"}},
    ]
    (tmp_path / "r.yaml").write_text(json.dumps({"recipe": "r", "steps": steps}))
    assert "Training 'base' takes about" in str(toolkit.plan("r.yaml"))
    stated = io.StringIO()
    once = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}
    config = {"shards": "shards", "output": "out", "model": "base", "trainer": once, "threads": 1}
    planned = toolkit.plan_training("sft", config)
    assert not (tmp_path / "out").exists() and planned["seconds"] is None and "takes about 0.0 GiB" in planned.words[-1]
    trained = toolkit.train("sft", config, Progress(stated))
    assert "takes about 0.0 GiB (weights 0.0" in stated.getvalue()
    same = ("rows", "rows_used", "dropped", "settings", "output")
    assert {name: planned[name] for name in same} == {name: trained[name] for name in same}
    again = toolkit.plan_training("sft", config)
    assert again["seconds"] is not None and again.words[-2].endswith("at the speed of the training whose model is in out.")


@pytest.mark.parametrize(
    ("options", "held"),
    [
        ({}, "119.2 GiB (weights 29.8, gradients 29.8, optimizer 59.6;"),
        ({"reference": True}, "149.0 GiB (weights 29.8, reference 29.8, gradients 29.8, optimizer 59.6;"),
        ({"parallel": "ddp"}, "119.2 GiB (weights 29.8, gradients 29.8, optimizer 59.6;"),
        ({"parallel": "fsdp2", "reference": True}, "37.3 GiB (weights 7.5, reference 7.5, gradients 7.5, optimizer 14.9;"),
        ({"parallel": "zero2", "reference": True}, "55.9 GiB (weights 14.9, reference 14.9, gradients 3.7, optimizer 22.4;"),
        ({"parallel": "zero3"}, "29.8 GiB (weights 3.7, gradients 3.7, optimizer 22.4;"),
        ({"parallel": {"zero_stage": 2}}, "41.0 GiB (weights 14.9, gradients 3.7, optimizer 22.4;"),
        ({"parallel": {"zero_stage": 2, "offload_optimizer_device": "cpu"}}, None),
    ],
)
def test_what_each_of_four_processes_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, held: str | None) -> None:
    monkeypatch.setattr("toolkit.training._memory_words.model_of", lambda name, roots: (None, 8_000_000_000))
    sharing, reference = options.get("parallel"), options.get("reference", False)
    if isinstance(sharing, dict):
        mine = {"distributed_type": "DEEPSPEED", "num_processes": 4, "deepspeed_config": sharing}
        (tmp_path / "mine.yaml").write_text(json.dumps(mine))
        sharing = str(tmp_path / "mine.yaml")
    trainer = {"bf16": True, "precompute_ref_log_probs": not reference}
    count = None if sharing is None or sharing.endswith(".yaml") else 4
    words = memory_words(DpoConfig(model="an/8b", trainer=trainer, parallel=sharing, processes=count), Roots.of(None))
    if held is None:
        assert words == []
    else:
        assert held in words[0] and ("in each of 4 processes" in words[0]) == (sharing is not None)


def test_a_dpo_step_holds_what_its_guard_was_trained_from(tmp_path: Path) -> None:
    model, ctx = str(base(tmp_path / "base")), cast("Any", SimpleNamespace(roots=Roots.of(None)))
    one, other = TrainSft(TrainSftConfig(model=model)), TrainSft(TrainSftConfig(model="another/model"))
    dpo = TrainDpo(TrainDpoConfig())
    assert dpo.words(ctx) == []
    dpo.follow([one])
    assert dpo.words(ctx)[0].startswith(f"Training {model!r} takes about")
    dpo.follow([one, other])
    assert dpo.words(ctx) == [], "which of the two is not known"


def test_the_parts_are_named() -> None:
    assert Memory(GIB, GIB, GIB).words() == "about 3.0 GiB (weights 1.0, gradients 1.0, optimizer 1.0; activations come on top)"
