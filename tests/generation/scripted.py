"""A real model of transformers that writes by a table: the logits of the next token, given the last one, are those of the table and nothing else.

It is a Llama whose layers add nothing (their last projections are zero), whose embeddings are the unit vectors, and whose output weights are the table:
so every probability can be computed on paper, by a softmax over one line of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
ELSE = -3.0
"""Logit of whatever a line does not name."""

Table = Mapping[str, Mapping[str, float]]

GUARD: Table = {
    "<|assistant|>": {"Answers: \nRequest:": 9.0},
    "Answers: \nRequest:": {" un": 4.0, " harm": 2.5, " Harmful": 1.0, " ": 0.5, " maybe": 2.0},
    " un": {"harm": 6.0, "safe": 2.0},
    "harm": {"ful": 8.0},
    " harm": {"ful": 8.0},
    "ful": {"\nCompletion:": 9.0},
    " Harmful": {"\nCompletion:": 9.0},
    "\nCompletion:": {" comp": 3.0, " refusal": 4.0},
    " comp": {"liance": 8.0},
    "liance": {"\nResponse:": 9.0},
    " refusal": {"\nResponse:": 9.0},
    "\nResponse:": {" harmful": 5.0, " unharmful": 1.0},
    " harmful": {"<|end|>": 9.0},
    " unharmful": {"<|end|>": 9.0},
}
"""A guard that answers in GuardReasoner's words, its labels cut into tokens in several ways."""


def scripted(folder: Path, table: Table = GUARD, *, width: int = 320) -> Path:
    """Write the model to `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    own = [t for t in dict.fromkeys([*table, *(n for line in table.values() for n in line)]) if t not in SPECIAL]
    names = {t: level.pre_tokenize_str(t)[0][0] for t in own}
    vocabulary = {c: i for i, c in enumerate(dict.fromkeys([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *names.values()]))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = level
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=SPECIAL[1], pad_token=SPECIAL[0], additional_special_tokens=list(SPECIAL[2:])
    )
    fast.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=4096,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
        rms_norm_eps=1e-12,
    )
    torch.manual_seed(0)  # the layers that add nothing
    model = LlamaForCausalLM(config)
    weights = torch.full((len(vocabulary), width), ELSE)
    for last, line in table.items():
        for token, logit in line.items():
            weights[vocabulary[names.get(token, token)], vocabulary[names.get(last, last)]] = logit
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(len(vocabulary), width))
        model.lm_head.weight.copy_(weights / math.sqrt(width))  # the norm makes a unit vector sqrt(width) long
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def share(line: Mapping[str, float], *tokens: str) -> float:
    """What the tokens of a line have among themselves, the first of them: exp(a) / sum of exp, on paper."""
    return math.exp(line[tokens[0]]) / sum(math.exp(line[t]) for t in tokens)
