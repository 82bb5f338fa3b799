"""What a training takes in memory, before anything is loaded: an estimate by formula, a tenth or two off at best.

Weights, gradients and the optimizer's state by their number of bytes. Activations as Korthikanti et al. 2022 count them (arXiv 2205.05198, equation 1
and table 2) for a layer of hidden size h with a heads on b rows of s tokens, in two bytes a value:

    s b h (34 + 5 a s / h)   all kept, the attention's scores too (``eager``)
    s b h 34                 the scores computed again or never kept (``sdpa`` and flash attention)
    s b h 2                  a layer's input alone: gradient checkpointing, with one layer at a time kept whole while its gradient is taken

They count a layer with an inner size of 4 h and dropout; gated layers of today's models come near it. Logits are left out: TRL's fused head never has
those of all tokens at once.

Where several devices share a model, each holds a part: with ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054) of the optimizer's state from stage 1
on, of the gradients from stage 2 on, of the weights from stage 3 on; with FSDP of all three. What is gathered for the layer at work comes on top. DPO
holds the reference's weights beside the model's, unless its log-probabilities are computed beforehand or it is the model without its adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.common.machine import GIB


@dataclass(frozen=True)
class Shape:
    """Sizes of a model, as its ``config.json`` has them."""

    layers: int
    width: int
    heads: int
    key_value_heads: int
    inner: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape | None:
        """Those of a configuration; None where it does not have them.

        Example:
            >>> Shape.of({"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4})
            Shape(layers=2, width=64, heads=4, key_value_heads=4, inner=256)
        """
        text = config.get("text_config") or config
        found = [text.get(name) for name in ("num_hidden_layers", "hidden_size", "num_attention_heads")]
        if not all(isinstance(n, int) and n > 0 for n in found):
            return None
        layers, width, heads = (int(n or 0) for n in found)
        return cls(layers, width, heads, text.get("num_key_value_heads") or heads, text.get("intermediate_size") or 4 * width)

    def adapter(self, rank: int) -> int:
        """Weights of a LoRA adapter of that rank on all linear layers but the last.

        Example:
            >>> Shape(1, 64, 4, 2, 256).adapter(8)
            11264
        """
        keys = self.width // self.heads * self.key_value_heads
        ins_and_outs = 2 * (self.width + self.width) + 2 * (self.width + keys) + 3 * (self.width + self.inner)
        return self.layers * rank * ins_and_outs


@dataclass(frozen=True)
class Memory:
    """What a training takes, in bytes, on each device."""

    weights: float
    gradients: float
    optimizer: float
    activations: float | None = None
    reference: float = 0.0

    @property
    def total(self) -> float:
        """Together; without activations where these are not known."""
        return self.weights + self.reference + self.gradients + self.optimizer + (self.activations or 0.0)

    def words(self) -> str:
        """In words.

        Example:
            >>> Memory(2**30, 2**30, 2**31, 2**29).words()
            'about 4.5 GiB (weights 1.0, gradients 1.0, optimizer 2.0, activations 0.5)'
        """
        parts: dict[str, float | None] = {"weights": self.weights, "reference": self.reference or None, "gradients": self.gradients}
        parts |= {"optimizer": self.optimizer, "activations": self.activations}
        named = ", ".join(f"{name} {size / GIB:,.1f}" for name, size in parts.items() if size is not None)
        return f"about {self.total / GIB:,.1f} GiB ({named}{'' if self.activations is not None else '; activations come on top'})"


def memory_of(
    parameters: int,
    *,
    trained: int | None = None,
    held: float = 4.0,
    moments: float = 2.0,
    parts: tuple[int, int, int] = (1, 1, 1),
    activations: float | None = None,
    reference: bool = False,
) -> Memory:
    """What a training takes on each device.

    Args:
        parameters: weights of the model.
        trained: those that are trained, beside them (an adapter's, in 4 bytes); None for all of them.
        held: bytes of a weight as it is loaded; gradients and the optimizer's state of weights that are trained are as wide.
        moments: numbers that the optimizer keeps for each weight: 2 with Adam, a quarter of that where it keeps them in 8 bits.
        parts: into how many parts weights, gradients and the optimizer's state are divided among devices.
        activations: in bytes; see `activations_of`.
        reference: whether the weights of a second model are held, too.

    Example:
        >>> memory_of(1_000).total, memory_of(1_000, trained=10, held=0.5).total, memory_of(1_000, parts=(1, 4, 4)).total
        (16000.0, 660.0, 7000.0)
    """
    own, taught = (0, parameters) if trained is None else (trained, trained)
    each = held if trained is None else 4.0
    weights, gradients, optimizer = held * parameters + 4.0 * own, each * taught, each * moments * taught
    second = held * parameters / parts[0] if reference else 0.0
    return Memory(weights / parts[0], gradients / parts[1], optimizer / parts[2], activations, second)


def activations_of(shape: Shape, length: int, batch: int, *, each: int = 2, scores: bool = False, checkpointed: bool = False) -> float:
    """Bytes of the activations of a batch; see above.

    Args:
        shape: of the model.
        length: tokens of a row, as it is padded.
        batch: rows on a device at a time; of pairs two for each.
        each: bytes of a value.
        scores: those of the attention are kept.
        checkpointed: gradient checkpointing.

    Example:
        >>> activations_of(Shape(2, 64, 4, 4, 256), 100, 1)
        435200.0
        >>> activations_of(Shape(2, 64, 4, 4, 256), 100, 1, checkpointed=True)
        243200.0
    """
    one = length * batch * shape.width * each / 2
    layer = one * (34 + (5 * shape.heads * length / shape.width if scores else 0))
    return one * 2 * shape.layers + layer if checkpointed else layer * shape.layers
