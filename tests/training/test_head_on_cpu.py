"""Log-probabilities on a CPU are TRL's but for rounding, with their gradients, and only positions that are learnt are computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import trl.trainer.utils

from toolkit.training._head_on_cpu import quick_head

UTILS: Any = trl.trainer.utils
OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")


def _figures(quick: bool, scale: float, kind: torch.dtype, softcap: float | None) -> list[Any]:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(70, 16, generator=generator).to(kind).requires_grad_()
    weight = torch.randn(40_000, 16, generator=generator).to(kind).requires_grad_()  # several tiles
    targets = torch.randint(0, 40_000, (70,), generator=generator)
    with quick_head(quick):
        found = UTILS._ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.5, 8192, softcap, scale, OUTPUTS)
    (found[0] * torch.linspace(-1, 1, 70)).sum().backward()
    return [x.detach().float() for x in (*found, hidden.grad, weight.grad) if x is not None]


@pytest.mark.parametrize(("kind", "softcap"), [(torch.float32, None), (torch.bfloat16, None), (torch.float32, 3.0)])
def test_figures_and_gradients_are_trls(kind: torch.dtype, softcap: float | None) -> None:
    theirs, ours = _figures(False, 0.7, kind, softcap), _figures(True, 0.7, kind, softcap)
    assert len(ours) == len(theirs) == 6
    same = kind == torch.float32 and softcap is None
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 if same else 0, rtol=1e-4 if same else 0)  # what it cannot do is left to TRL
    assert UTILS._ChunkedLogProbFunction.__module__.startswith("trl") and not UTILS._use_triton(torch.device("cpu"))


def test_positions_that_are_not_learnt_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from toolkit.training import _head_on_cpu

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2))
    UTILS.add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    ids = torch.arange(24).view(2, 12)
    labels = ids.clone()
    labels[0, :9] = labels[1, :7] = -100
    seen: list[int] = []
    plain: Any = _head_on_cpu.LogProbs.apply

    def counted(hidden: Any, *rest: Any) -> Any:
        seen.append(len(hidden))
        return plain(hidden, *rest)

    monkeypatch.setattr(_head_on_cpu.LogProbs, "apply", counted)

    def run(quick: bool) -> tuple[Any, Any]:
        model.zero_grad()
        with quick_head(quick):
            out = model(input_ids=ids, labels=labels, fused_lm_head=True)
        out.loss.backward()
        return out.log_probs.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    theirs, ours = run(False), run(True)
    assert seen == [3 + 5]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
