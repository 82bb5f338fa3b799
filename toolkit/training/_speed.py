"""How fast a training is, against what its device can do.

Model FLOPs utilisation (MFU), as PaLM has it (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): tokens a second, times the operations that a
token needs in forward and backward pass, over the device's peak. A token needs 6 N for the weights and 12 L H Q T for the attention, with N weights,
L layers, H heads of size Q and T tokens a row; what is computed again (gradient checkpointing) does not count. Of the 6 N, 2 are the forward pass, 2
the gradient that is handed back and 2 that of the weights themselves, which only trained weights need: so 4 N + 2 N_trained with an adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PEAKS: Mapping[str, float] = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A40": 149.7e12,
    "A30": 165e12,
    "A10G": 70e12,
    "A10": 125e12,
    "RTX 6000 Ada": 364.2e12,
    "RTX A6000": 154.8e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
    "MI300X": 1307.4e12,
    "MI250X": 383e12,
}
"""Operations a second in bf16 with dense matrices, by a part of the device's name, from the makers' data sheets (NVIDIA: half of what they print
"with sparsity"; GeForce and RTX: the architecture white papers' figure with FP32 accumulation; AMD: peak bfloat16)."""


def peak_of(device: str) -> float | None:
    """A device's peak by its name; None where it is not known.

    Example:
        >>> peak_of("NVIDIA H100 80GB HBM3")
        989000000000000.0
    """
    return next((peak for name, peak in PEAKS.items() if f" {name.casefold()} " in f" {device.casefold().replace('-', ' ')} "), None)


def token_operations(parameters: int, trained: int, layers: int, heads: int, head_size: int, length: float) -> float:
    """Operations that a token needs in training.

    Args:
        parameters: weights that a token is multiplied with: all but an embedding table that is only looked up.
        trained: those of them that are trained.
        layers, heads, head_size: of the attention.
        length: tokens a row, as a token meets them: the sum of the squares of the rows' lengths over the sum of these.

    Example:
        >>> token_operations(1_000, 1_000, 2, 4, 8, 100.0)
        82800.0
    """
    return 4.0 * parameters + 2.0 * trained + 12.0 * layers * heads * head_size * length


def operations_of(model: Any, lengths: Any) -> float | None:
    """The same of a model of transformers, and the lengths of its rows; None where its configuration does not have the sizes."""
    text = model.config.get_text_config()
    layers, heads, width = (getattr(text, n, None) for n in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    if not (layers and heads and width) or not len(lengths):
        return None
    looked_up = 0
    table, out = model.get_input_embeddings(), model.get_output_embeddings()
    if table is not None and (out is None or out.weight is not table.weight):
        looked_up = table.weight.numel()
    every = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    size = getattr(text, "head_dim", None) or width // heads
    met = sum(n * n for n in lengths) / sum(lengths)
    return token_operations(every - looked_up, max(0, trained - looked_up) if trained == every else trained, layers, heads, size, met)


def device_peak(args: Any) -> float | None:
    """The peak of the device that a trainer runs on, if it computes in half precision there; None where it is not known."""
    import torch

    if args.device.type != "cuda" or not (args.bf16 or args.fp16):
        return None
    return peak_of(torch.cuda.get_device_name(args.device))
