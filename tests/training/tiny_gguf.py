"""A GGUF file of a Llama with random weights, written by the package gguf as llama.cpp's converter writes it, and what is in it."""

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WIDTH, HEADS, GROUPS, FORWARD, ROOM = 64, 4, 2, 96, 4096
MERGES = ["Ġ Ġ", "h e", "l l", "he ll", "hell o", "Ġ hello", "Ġ w", "1 2", "Ġ 1"]


def tokens() -> list[str]:
    """Special tokens, bytes, what the merges make."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return [*SPECIAL, *bytes_to_unicode().values(), *(m.replace(" ", "") for m in MERGES)]


def write_gguf(
    path: Path, *, seed: int = 0, arch: str = "llama", pre: str = "smollm", leave_out: str = "", more_tokens: int = 0, begin: bool = False
) -> dict[str, Any]:
    """Write a file; its tensors by transformers' names, as a reader is to find them (float32).

    Args:
        path: of the file.
        seed: of the weights.
        arch: that it states.
        pre: how it states that texts are split.
        leave_out: name of a tensor that it lacks.
        more_tokens: that the tokenizer has and the model does not embed.
        begin: whether it wants its begin token before a text.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, dequantize, quantize

    rng, vocab = np.random.default_rng(seed), tokens()
    writer = GGUFWriter(path, arch)
    writer.add_context_length(ROOM)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(vocab))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*vocab, *(f"<|more{n}|>" for n in range(more_tokens))])
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(vocab) - len(SPECIAL)) + [3] * more_tokens)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT)
    writer.add_add_bos_token(begin)
    small = WIDTH // HEADS * GROUPS
    shapes = {
        "model.embed_tokens": ("token_embd", (len(vocab), WIDTH)),
        "model.norm": ("output_norm", (WIDTH,)),
        "model.layers.0.input_layernorm": ("blk.0.attn_norm", (WIDTH,)),
        "model.layers.0.post_attention_layernorm": ("blk.0.ffn_norm", (WIDTH,)),
        "model.layers.0.self_attn.q_proj": ("blk.0.attn_q", (WIDTH, WIDTH)),
        "model.layers.0.self_attn.k_proj": ("blk.0.attn_k", (small, WIDTH)),
        "model.layers.0.self_attn.v_proj": ("blk.0.attn_v", (small, WIDTH)),
        "model.layers.0.self_attn.o_proj": ("blk.0.attn_output", (WIDTH, WIDTH)),
        "model.layers.0.mlp.gate_proj": ("blk.0.ffn_gate", (FORWARD, WIDTH)),
        "model.layers.0.mlp.up_proj": ("blk.0.ffn_up", (FORWARD, WIDTH)),
        "model.layers.0.mlp.down_proj": ("blk.0.ffn_down", (WIDTH, FORWARD)),
    }
    found: dict[str, Any] = {}
    for name, (there, shape) in shapes.items():
        if there == leave_out:
            continue
        weights = rng.normal(1.0 if len(shape) == 1 else 0.0, 0.05, shape).astype(np.float32)
        heads = {"blk.0.attn_q": HEADS, "blk.0.attn_k": GROUPS}.get(there)
        if len(shape) == 1:
            writer.add_tensor(f"{there}.weight", weights)
            found[f"{name}.weight"] = weights
            continue
        kind = GGMLQuantizationType.Q4_1 if "ffn" in there else GGMLQuantizationType.Q8_0
        blocks = quantize(_paired(weights, heads) if heads else weights, kind)
        writer.add_tensor(f"{there}.weight", blocks, raw_dtype=kind)
        whole = dequantize(blocks, kind)
        found[f"{name}.weight"] = _halved(whole, heads) if heads else whole
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return found


def _paired(weights: Any, heads: int) -> Any:
    """Rows of each head in the order of llama.cpp, whose rotary positions turn neighbours: transformers turns the halves."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weights.shape)


def _halved(weights: Any, heads: int) -> Any:
    return weights.reshape(heads, weights.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(weights.shape)


def pieces(text: str, merges: Sequence[str] = MERGES) -> list[str]:
    """The tokens of a text without special ones, by the definition of byte-level BPE: digits alone, GPT-2's split, merges in their order."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    regex: Any = import_module("regex")  # of transformers, without types
    alphabet, ranks = bytes_to_unicode(), {tuple(m.split(" ")): n for n, m in enumerate(merges)}
    out: list[str] = []
    for part in regex.findall(r"\p{N}|[^\p{N}]+", text):
        for word in regex.findall(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", part):
            symbols = [alphabet[b] for b in word.encode()]
            while pairs := [(ranks[p], i) for i, p in enumerate(pairwise(symbols)) if p in ranks]:
                _, at = min(pairs)
                symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
            out += symbols
    return out
