"""The training bench runs on a tiny shape, and both trainers read the same tokens there."""

from __future__ import annotations

import json
from pathlib import Path

import gpu_check
import pytest


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_both_trainers_learn_the_same_from_the_same_rows(method: str, tmp_path: Path) -> None:
    import torch

    shape = gpu_check.Shape(16, 32, 1, 2, 2, 1024, 4, 48, recompute=False)
    ends, tokens = [], []
    for which in ("guardkit", "trl"):
        model = gpu_check.random_model(shape, gpu=False)
        trainer = gpu_check.make_trainer(which, method, shape, model, gpu_check.words_tokenizer(), 2, tmp_path / which, gpu=False)
        if method == "dpo":
            trainer.train_dataset = trainer.train_dataset.map(lambda row: {"weight": 1.0} if "weight" in row else {})
        trainer.quick = False  # TRL's own log-probabilities, to the last bit
        clock = gpu_check.steps_clock(gpu=False)
        trainer.add_callback(clock)
        trainer.train()
        assert len(clock.seconds) == 1
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        tokens.append(trainer.state.log_history[-2]["num_tokens"])
    assert tokens[0] == tokens[1] and torch.equal(ends[0], ends[1])


def test_a_goal_that_is_missed_is_reported() -> None:
    found = {"shape": "8b", "method": "sft", "ratio": 0.9, "mfu": 0.4, "tokens_a_second": 9.0, "plain": 10.0, "turns": (0.8, 1.0)}
    assert [w.split(":")[1].strip()[:5] for w in gpu_check.short_of(found)] == ["0.900", "MFU 4"]
    assert gpu_check.short_of(found | {"ratio": 1.0, "mfu": 0.5}) == [] == gpu_check.short_of(found | {"ratio": 1.0, "mfu": None})
    assert "| 8b | sft | 9 | 10 | 0.900 | 0.800 to 1.000 | 40.0% |" in gpu_check.report("a card", [found])


def test_work_is_counted_without_embeddings() -> None:
    shape = gpu_check.SHAPES["tiny"]
    model = gpu_check.random_model(shape, gpu=False)
    layer = 2 * shape.width**2 + 2 * shape.width**2 + 3 * shape.width * shape.inner + 2 * shape.width
    assert gpu_check.weights_of(model) == shape.layers * layer + shape.width + shape.vocab * shape.width


def test_the_command_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    gpu_check.main(["--shapes", "tiny", "--methods", "sft", "--updates", "1", "--turns", "1", "--json"])
    [found] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])["found"]
    assert found["mfu"] is None and found["ratio"] == pytest.approx(found["tokens_a_second"] / found["plain"])
