"""A tiny Llama with random weights, a byte-level tokenizer and a chat template, made in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


def tiny_llama(folder: Path, *, seed: int = 0, positions: int = 512, template: str | None = TEMPLATE, layers: int = 2, width: int = 64) -> Path:
    """Write the model to `folder`; its vocabulary is 256 bytes and five special tokens, and it ends about one text in 80 tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    vocabulary = {c: i for i, c in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = {"eos_token": special[1], "pad_token": special[0]}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, additional_special_tokens=special[2:])
    fast.chat_template = template
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj")


def tiny_adapter(folder: Path, base: Path, *, seed: int, rank: int = 8, **config: Any) -> Path:
    """Write a LoRA adapter with random weights for a model of `tiny_llama`, as peft writes it."""
    import torch
    from safetensors.torch import save_file

    shape = json.loads((base / "config.json").read_text())
    width, inner, heads = shape["hidden_size"], shape["intermediate_size"], shape["num_attention_heads"]
    narrow = shape["num_key_value_heads"] * width // heads
    sizes = {"q_proj": (width, width), "v_proj": (width, narrow), "o_proj": (width, width), "gate_proj": (width, inner), "down_proj": (inner, width)}
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(shape["num_hidden_layers"]):
        for target in TARGETS:
            wide, out = sizes[target.split(".")[1]]
            stem = f"base_model.model.model.layers.{layer}.{target}"
            weights[f"{stem}.lora_A.weight"] = torch.randn(rank, wide, generator=generator) * 0.1
            weights[f"{stem}.lora_B.weight"] = torch.randn(out, rank, generator=generator) * 0.1
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    stated = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 16, "bias": "none", "base_model_name_or_path": str(base)}
    stated |= {"target_modules": [t.split(".")[1] for t in TARGETS], **config}
    (folder / "adapter_config.json").write_text(json.dumps(stated))
    return folder
