"""What a training takes in memory: by hand, against what torch holds, and in the words of a check and of `guardkit train`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import base

import toolkit
from toolkit.common.paths import Roots
from toolkit.pipeline import Progress
from toolkit.training import DpoConfig, SftConfig, memory_words
from toolkit.training._memory import Memory, Shape, activations_of, memory_of

GIB = 2**30


def test_an_8b_model_as_it_is_known_from_practice() -> None:
    llama = Shape.of({"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336})
    assert llama is not None and llama.adapter(16) == 41_943_040, "peft reports so many for rank 16 on all linear layers"
    whole = memory_of(8_030_000_000)
    assert whole.total == 16 * 8_030_000_000 and memory_of(8_030_000_000, sharded=8).total == 2 * 8_030_000_000
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
    toolkit.train("sft", {"shards": "shards", "output": "out", "model": "base", "trainer": once, "threads": 1}, Progress(stated))
    assert "takes about 0.0 GiB (weights 0.0" in stated.getvalue()


def test_the_parts_are_named() -> None:
    assert Memory(GIB, GIB, GIB).words() == "about 3.0 GiB (weights 1.0, gradients 1.0, optimizer 1.0; activations come on top)"
