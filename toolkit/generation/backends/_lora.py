"""A LoRA adapter merged into its base, for transformers: weight + alpha / rank · B A (Hu et al. 2021, "LoRA", section 4.1).

Contract: the files are those that peft writes (``adapter_config.json``, ``adapter_model.safetensors``). Only plain LoRA on linear layers is
merged, with or without rank stabilisation (Kalajdzievski 2023: alpha / sqrt(rank)); whatever else peft knows is an `InputError`, never
left out in silence. vLLM applies adapters without merging; the two differ by rounding.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.models import adapter_config

_PLAIN: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "use_dora": (False,),
    "lora_bias": (False,),
    "modules_to_save": (None, []),
    "rank_pattern": ({},),
    "alpha_pattern": ({},),
    "layer_replication": (None,),
    "fan_in_fan_out": (False,),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}
"""Keys of ``adapter_config.json`` and the values at which an adapter is plain (the initialisations named leave the base as it is)."""


def merge_adapter(model: Any, folder: Path) -> None:
    """Add an adapter to the weights of a model of transformers, in place.

    Args:
        model: the base.
        folder: of the adapter.

    Raises:
        InputError: an adapter of another kind, of another base, or without weights.
    """
    import torch
    from safetensors.torch import load_file

    config = adapter_config(folder) or {}
    for key, plain in {"peft_type": ("LORA",), **_PLAIN}.items():
        if key in config and config[key] not in plain:
            raise InputError(f"transformers takes plain LoRA adapters alone, and this one has {key} = {config[key]!r}", where=str(folder), hint=_HINT)
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise InputError("no adapter_model.safetensors", where=str(folder))
    if not isinstance(alpha := config.get("lora_alpha"), int | float):
        raise InputError(f"lora_alpha is no number: {alpha!r}", where=str(folder / "adapter_config.json"))
    weights = load_file(file)
    stem, a, b = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
    layers = {name.removesuffix(a) for name in weights if name.endswith(a)}
    if odd := sorted(set(weights) - {layer + end for layer in layers for end in (a, b)}) or sorted(n for n in layers if n + b not in weights):
        raise InputError(f"transformers takes plain LoRA adapters alone, and this one has {odd[0]}", where=str(folder), hint=_HINT)
    modules = dict(model.named_modules())
    with torch.no_grad():
        for layer in sorted(layers):
            down, up = weights[layer + a].float(), weights[layer + b].float()
            weight = getattr(modules.get(layer.removeprefix(stem)), "weight", None)
            if weight is None or weight.shape != (up.shape[0], down.shape[1]):
                raise InputError(f"an adapter of another base: this one has no layer {layer.removeprefix(stem)} of that size", where=str(folder))
            rank = down.shape[0]
            scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
            weight += (scale * up @ down).to(weight.dtype)


_HINT = "merge it with peft (merge_and_unload) and give the merged model, or use the backend vllm"
