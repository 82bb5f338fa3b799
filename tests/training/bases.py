"""Tiny random models to start from, whose tokenizer and chat template are what a test is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim }}"
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# The shape of templates that think by default: an answer that is trained gets an empty thought, a prompt that is asked an open one.
THINKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% else %}{{ '<think>\n' }}{% endif %}{% endif %}"
)
SPECIAL = ["<|bos|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|pad|>"]


def base(
    folder: Path, template: str | None = CHATML, *, eos: str | None = "<|im_end|>", pad: str | None = "<|pad|>", beyond: bool = False, **config: Any
) -> Path:
    """Write a Llama of some 10,000 weights to `folder`: a byte is a token, and so are `SPECIAL`, ``<think>`` and two newlines.

    Args:
        template: None for none.
        eos, pad: of `SPECIAL`, or None.
        beyond: add a padding token without enlarging the embeddings.
        config: of the model.
    """
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(t, normalized=False) for t in SPECIAL])
    raw.add_tokens([AddedToken(t, normalized=False) for t in ("<think>", "</think>", "\n\n")])
    size = raw.get_vocab_size()
    names = {"bos_token": "<|bos|>", "eos_token": eos, "pad_token": None if beyond else pad}
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=raw, **{k: v for k, v in names.items() if v is not None})
    if beyond:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    if template is not None:
        tokenizer.chat_template = template
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    room = {"max_position_embeddings": 256, "initializer_range": 0.1, "tie_word_embeddings": True}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    LlamaForCausalLM(LlamaConfig(vocab_size=size, **(shape | room | ids | config))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
