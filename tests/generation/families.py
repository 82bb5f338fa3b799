"""Tiny tokenizers of the kinds that chat models have, each with a chat template of its family's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

TEXTS = [
    "How often do I water a fern?\nOnce a week, and more in summer.",
    "Die Küche: Brot, Suppe, Öl.",
    "# Task 1\nStep 1: The user asks about a garden.\n\nAnswers: unharmful",
    "天気は晴れ。庭で本を読む。",
]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + (m.content | trim) + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% elif m.role == 'system' %}{{ m.content }}"
    "{% else %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}{% elif m.role == 'assistant' %}"
    "{{ ' ' + m.content + ' ' + eos_token }}{% else %}{{ '<<SYS>>' + m.content }}{% endif %}{% endfor %}"
)
PLAIN = (
    "{{ bos_token or '' }}{% for m in messages %}{{ m.role + ':\n' + m.content }}{{ eos_token if m.role == 'assistant' else '' }}"
    "{{ '\n\n' if not loop.last or add_generation_prompt else '' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)


def byte_level(
    template: str, *, bos: str | None, eos: str, special: Sequence[str], plain: Sequence[str] = (), ignore_merges: bool = False, rstrip: bool = False
) -> Any:
    """As GPT-2, Llama 3, Qwen, DeepSeek: BPE over bytes, its control tokens behind the vocabulary."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    words = Regex(r"\p{N}|[^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    split = pre_tokenizers.Split(words, "isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    bpe.add_special_tokens([AddedToken(t, normalized=False, rstrip=rstrip) for t in dict.fromkeys([*([bos] if bos else []), eos, *special])])
    bpe.add_tokens([AddedToken(t, normalized=False) for t in plain])
    return fast(bpe, template, bos=bos, eos=eos, special=special)


def pieces(template: str, kind: str, *, prefix: str) -> Any:
    """As SentencePiece gives them: blanks written as ▁, the control tokens in the vocabulary itself, unknown characters as bytes (bpe)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    control = ["<unk>", "<s>", "</s>"]
    if kind == "bpe":
        raw = Tokenizer(models.BPE(unk_token=control[0], byte_fallback=True, fuse_unk=True))
        special: Any = [*control, *(f"<0x{n:02X}>" for n in range(256))]
        trainer: Any = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    else:
        raw = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=control, unk_token=control[0], show_progress=False)
        raw.normalizer = normalizers.NFKC()
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prefix, split=kind != "bpe")
    raw.decoder = decoders.Metaspace(prepend_scheme=prefix)
    raw.train_from_iterator([*TEXTS, "</ s> < s >"], trainer)
    if kind == "bpe":  # the bytes are in the vocabulary, and no tokens of their own
        import json

        spec = json.loads(raw.to_str())
        spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] in control]
        raw = Tokenizer.from_str(json.dumps(spec))
        raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    raw.add_special_tokens([AddedToken(t, normalized=False) for t in control])
    tokenizer = fast(raw, template, bos="<s>", eos="</s>", special=[])
    tokenizer.unk_token = control[0]
    return tokenizer


def fast(raw: Any, template: str, *, bos: str | None, eos: str, special: Sequence[str]) -> Any:
    from transformers import PreTrainedTokenizerFast

    names = {"bos_token": bos, "eos_token": eos, "pad_token": eos}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, additional_special_tokens=list(special), clean_up_tokenization_spaces=False, **names)
    tokenizer.chat_template = template
    return tokenizer


FAMILIES: dict[str, Callable[[], Any]] = {
    "chatml": lambda: byte_level(
        CHATML, bos=None, eos="<|im_end|>", special=["<|im_start|>", "<|endoftext|>"], plain=["<think>", "</think>", "\n\n"]
    ),
    "llama3": lambda: byte_level(CHATML, bos="<|begin|>", eos="<|im_end|>", special=["<|im_start|>"], ignore_merges=True),
    "gemma": lambda: byte_level(GEMMA, bos="<bos>", eos="<eos>", special=["<start_of_turn>", "<end_of_turn>"]),
    "deepseek": lambda: byte_level(
        R1, bos="<｜begin｜>", eos="<｜end｜>", special=[], plain=["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"]
    ),
    "phi": lambda: byte_level(CHATML, bos="<s>", eos="<|im_end|>", special=["<|im_start|>"], rstrip=True),
    "llama2": lambda: pieces(LLAMA2, "bpe", prefix="first"),
    "llama2-legacy": lambda: pieces(LLAMA2, "bpe", prefix="always"),
    "unigram": lambda: pieces(LLAMA2, "unigram", prefix="always"),
    "base": lambda: byte_level(PLAIN, bos="<|endoftext|>", eos="<|endoftext|>", special=[]),
}
CONTROL: dict[str, list[str]] = {
    "chatml": ["<|im_end|>", "<|im_start|>", "<|endoftext|>"],
    "llama3": ["<|im_end|>", "<|begin|>"],
    "gemma": ["<end_of_turn>", "<start_of_turn>", "<eos>", "<bos>"],
    "deepseek": ["<｜User｜>", "<｜Assistant｜>", "<｜end｜>"],
    "phi": ["<|im_end|>", "<|im_start|>"],
    "llama2": ["</s>", "<s>"],
    "llama2-legacy": ["</s>", "<s>"],
    "unigram": ["</s>", "<s>"],
    "base": ["<|endoftext|>"],
}
"""What a text may hold of each that would be a control token."""
