"""Log-probabilities of tokens on a CPU, several times as fast as TRL's.

TRL computes them of all positions, tile by tile of 4,096 tokens, in torch operations of which each goes through a tile of hundreds of megabytes: a
small model spends half of its training there. Here only positions that are learnt are computed, in tiles that fit into a core's cache. The figures
are the same but for the rounding of floats. GPUs have TRL's own kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import trl.trainer.utils

from toolkit.training._media_rows import backbone_of

_TILE = 1 << 19
"""Logits of a tile: 2 MiB in float32."""
_KNOWN = frozenset(("log_probs", "entropy", "mean_logits", "is_top1"))
_UTILS: Any = trl.trainer.utils
_TRL: Any = _UTILS._ChunkedLogProbFunction


class LogProbs(torch.autograd.Function):
    """For each position the log-probability of its token, log softmax(scale x hidden x weight^T); beside it entropy, mean logit, and whether the
    token is the likeliest.

    Shapes: hidden (N, H), weight (V, H), targets (N,); each output (N,). The gradient is that of the log-probability: the others are for reports.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, targets: Any, scale: float, outputs: Sequence[str]) -> Any:
        """Log-probabilities; entropies in nats and mean logits, None unless `outputs` names them; whether the token is the likeliest."""
        found, log_z, top = (torch.empty(len(targets), dtype=kind) for kind in (torch.float32, torch.float32, torch.bool))
        entropy, mean = (torch.empty(len(targets)) if name in outputs else None for name in ("entropy", "mean_logits"))
        for a, b in _tiles(len(targets), len(weight)):
            z = _logits(hidden[a:b], weight, scale)
            if mean is not None:
                mean[a:b] = z.mean(-1)
            most, likeliest = z.max(-1, keepdim=True)
            z -= most
            e = z.exp()
            total = e.sum(-1)
            norm = total.log()
            found[a:b] = z.gather(-1, targets[a:b, None])[:, 0] - norm
            log_z[a:b] = norm + most[:, 0]
            top[a:b] = likeliest[:, 0] == targets[a:b]
            if entropy is not None:
                entropy[a:b] = norm - e.mul_(z).sum(-1) / total
        ctx.save_for_backward(hidden, weight, targets, log_z)
        ctx.scale = scale
        ctx.mark_non_differentiable(*(x for x in (entropy, mean, top) if x is not None))
        ctx.set_materialize_grads(False)
        return found, entropy, mean, top

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Of log p_t by the logits: 1[token = t] - p."""
        hidden, weight, targets, log_z = ctx.saved_tensors
        if grads[0] is None:
            return None, None, None, None, None
        by_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        by_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for a, b in _tiles(len(targets), len(weight)):
            g = grads[0][a:b, None] * ctx.scale
            z = _logits(hidden[a:b], weight, ctx.scale)
            z.sub_(log_z[a:b, None]).exp_().mul_(-g).scatter_add_(-1, targets[a:b, None], g)
            if by_hidden is not None:
                torch.mm(z, weight, out=by_hidden[a:b])
            if by_weight is not None:
                by_weight.addmm_(z.t(), hidden[a:b])
        return by_hidden, by_weight, None, None, None


def _tiles(count: int, vocabulary: int) -> Iterator[tuple[int, int]]:
    size = max(16, _TILE // vocabulary)
    return ((a, min(a + size, count)) for a in range(0, count, size))


def _logits(hidden: Any, weight: Any, scale: float) -> Any:
    z = hidden @ weight.t()
    return z if scale == 1.0 else z.mul_(scale)


class _Chosen:
    """Stands for TRL's function where that is looked up, and takes the one here if it can."""

    @staticmethod
    def apply(
        hidden: Any, weight: Any, bias: Any, targets: Any, temperature: float, chunk: int, softcap: float | None, scale: float, outputs: Sequence[str]
    ) -> Any:
        """As TRL's: log-probabilities, entropies, None, mean logits, whether the token is the likeliest."""
        plain = hidden.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not plain or bias is not None or softcap is not None or set(outputs) - _KNOWN:
            return _TRL.apply(hidden, weight, bias, targets, temperature, chunk, softcap, scale, outputs)
        found, entropy, mean, top = LogProbs.apply(hidden, weight, targets, scale / temperature, outputs)  # type: ignore[no-untyped-call]
        return found, entropy, None, mean, top


@contextmanager
def quick_head(on: bool) -> Iterator[None]:
    """Have models that TRL prepared compute log-probabilities so, unless not `on`."""
    if not on:
        yield
        return
    before = _UTILS._ChunkedLogProbFunction, _UTILS._use_triton
    _UTILS._ChunkedLogProbFunction, _UTILS._use_triton = _Chosen, lambda device: True  # the latter: positions that are learnt alone
    try:
        yield
    finally:
        _UTILS._ChunkedLogProbFunction, _UTILS._use_triton = before


class QuickHead:
    """In front of TRL's trainers: `quick` has the loss computed by `quick_head`. A trainer that is made by hand has TRL's, bit for bit."""

    quick = False

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of a batch."""
        own: Any = self
        with quick_head(self.quick), backbone_of(own.model), backbone_of(getattr(own, "ref_model", None)):
            return super().compute_loss(*args, **kwargs)  # type: ignore[misc]

    def compute_ref_log_probs(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Those of DPO's reference."""
        with quick_head(self.quick), backbone_of(model):
            return super().compute_ref_log_probs(model, *args, **kwargs)  # type: ignore[misc]
