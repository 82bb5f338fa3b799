"""Tiny models of random weights in the field's architectures, each with the peculiarities of its family: chat template, special tokens, ties.

The chat templates are written here; they have the shape of the published ones (which roles, which tokens, what comes before an answer), not their text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bases import CHATML

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
QWEN25 = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
GEMMA3 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI4 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A family of base models.

    Attributes:
        architecture: class of transformers, without ``ForCausalLM``.
        template: of its instruct models; None for a base model without one.
        special: control tokens beside ends and beginning.
        bos, eos, pad: None where its tokenizer has none.
        doubles: whether its tokenizer puts a beginning before any text, as its template does.
        tied: whether embeddings and last layer share their weights.
        beyond: rows of the embeddings that no token uses (more than nought), or tokens that have no embedding (less).
        arguments: of its template, as a guard is trained without thoughts.
        config: further keys of its configuration.
    """

    architecture: str
    template: str | None
    special: tuple[str, ...]
    bos: str | None
    eos: str
    pad: str | None
    doubles: bool = False
    tied: bool = False
    beyond: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
IM = ("<|im_start|>", "<|im_end|>")
THOUGHTS = ("<think>", "</think>")
FAMILIES: dict[str, Family] = {
    "llama 3 base": Family("Llama", None, HEADERS, "<|begin_of_text|>", "<|end_of_text|>", None, doubles=True),
    "llama 3.2": Family("Llama", LLAMA3, HEADERS, "<|begin_of_text|>", "<|eot_id|>", None, doubles=True, tied=True),
    "qwen 2.5": Family("Qwen2", QWEN25, IM, None, "<|im_end|>", "<|endoftext|>", tied=True, beyond=64),
    "qwen 2.5 base": Family("Qwen2", QWEN25, IM, None, "<|endoftext|>", "<|endoftext|>", beyond=64),
    "qwen 3": Family(
        "Qwen3", QWEN3, (*IM, *THOUGHTS), None, "<|im_end|>", "<|endoftext|>", tied=True, beyond=64, arguments={"enable_thinking": False},
        config={"head_dim": 16},
    ),
    "gemma 3": Family(
        "Gemma3", GEMMA3, ("<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", "<pad>", doubles=True, tied=True, beyond=64,
        config={"head_dim": 16, "sliding_window": 32, "query_pre_attn_scalar": 16, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "smollm 2": Family("Llama", CHATML, IM, "<|im_start|>", "<|im_end|>", "<|im_end|>", tied=True),
    "mistral": Family("Mistral", MISTRAL, ("[INST]", "[/INST]"), "<s>", "</s>", None, doubles=True, config={"sliding_window": 64}),
    "phi 3": Family(
        "Phi3", PHI3, ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"), "<s>", "<|endoftext|>", "<|endoftext|>", beyond=32,
        config={"pad_token_id": 0},
    ),
    "phi 4": Family("Phi3", PHI4, (*IM, "<|im_sep|>"), "<|endoftext|>", "<|endoftext|>", "<|dummy|>", beyond=-1, config={"pad_token_id": 0}),
}  # fmt: skip


def field_base(folder: Path, family: Family) -> Path:
    """Write a tiny model of a family to `folder`: a byte is a token, and so are the family's control tokens."""
    import torch
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    names = [n for n in (family.bos, family.eos, *family.special, family.pad) if n is not None]
    raw.add_special_tokens([AddedToken(t, normalized=False) for t in dict.fromkeys(names)])
    if family.doubles and family.bos is not None:
        raw.post_processor = processors.TemplateProcessing(single=f"{family.bos} $A", special_tokens=[(family.bos, raw.token_to_id(family.bos))])
    given = {"bos_token": family.bos, "eos_token": family.eos, "pad_token": family.pad}
    make: Callable[..., Any] = transformers.PreTrainedTokenizerFast
    tokenizer = make(tokenizer_object=raw, **{k: v for k, v in given.items() if v is not None})
    tokenizer.chat_template = family.template
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    room = {"max_position_embeddings": 512, "initializer_range": 0.1, "tie_word_embeddings": family.tied}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    name = {"Gemma3": "Gemma3TextConfig"}.get(family.architecture, f"{family.architecture}Config")
    config = getattr(transformers, name)(vocab_size=raw.get_vocab_size() + family.beyond, **(shape | room | ids | family.config))
    torch.manual_seed(0)
    getattr(transformers, f"{family.architecture}ForCausalLM")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
