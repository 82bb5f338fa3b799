"""Models to start from that are not quite whole: no padding token or one without an embedding, no template, few positions, no end token."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import CHATML, base, tokenizer_of
from shardfolders import dpo_rows, sft_rows, turn

from toolkit.common.errors import InputError
from toolkit.generation import TransformersConfig, build_request, complete, open_backend
from toolkit.training import DpoConfig, SftConfig, train_dpo, train_sft

Write = Callable[..., Path]
ONCE = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}


def train(folder: Path, shards: Path, out: Path, **trainer: Any) -> dict[str, Any]:
    return train_sft(shards, out, SftConfig.model_validate({"model": str(folder), "trainer": ONCE | trainer, "threads": 1}))


def asked(folder: Path, *prompts: str) -> list[Any]:
    c = TransformersConfig.model_validate({"backend": "transformers", "model": str(folder), "max_tokens": 5, "device": "cpu"})
    backend = open_backend(c)
    out = list(complete([build_request(backend, c, [{"role": "user", "content": p}]) for p in prompts], backend, None))
    backend.close()
    return out


def test_a_padding_token_beyond_the_embeddings(tmp_path: Path, write_sft: Write, write_dpo: Write, caplog: pytest.LogCaptureFixture) -> None:
    folder = base(tmp_path / "base", beyond=True)
    t = tokenizer_of(folder)
    assert t.pad_token_id == t.convert_tokens_to_ids("[PAD]") == len(t) - 1 == 265
    with caplog.at_level(logging.WARNING, logger="toolkit"):
        found = train(folder, write_sft(sft_rows(4)), tmp_path / "one")
    assert found["rows_used"] == 4
    assert "'[PAD]' (265) lies beyond the model's 265 embeddings: padded with '<|im_end|>'" in caplog.text
    assert tokenizer_of(tmp_path / "one").pad_token_id == t.eos_token_id
    train_dpo(write_dpo(dpo_rows(4)), tmp_path / "two", DpoConfig(model=str(folder), trainer=ONCE, threads=1))
    assert [x.error for x in asked(folder, "tea", "a longer prompt")] == [None, None], "the prompts of a batch are padded, too"


def test_a_token_of_a_row_beyond_the_embeddings_is_named_before_training(tmp_path: Path, write_sft: Write) -> None:
    folder = base(tmp_path / "base", CHATML.replace("'assistant\n'", "'assistant\n<judge>'"))
    t = tokenizer_of(folder)
    t.add_tokens(["<judge>"])
    t.chat_template = t.chat_template.replace("assistant\n' }}{% endif", "assistant\n' }}{% endif")
    t.save_pretrained(folder)
    rows = sft_rows(3)
    rows[1]["completion"] = turn("assistant", "<judge> garden")
    with pytest.raises(InputError, match=r"the token 265, and .* has 265 embeddings") as e:
        train(folder, write_sft(rows), tmp_path / "out")
    assert "resize_token_embeddings" in str(e.value.hint) and not (tmp_path / "out").exists()
    [fine, bad] = asked(folder, "tea", "<judge>")
    assert (fine.error, bad.error) == (None, "bad_request") and "embeds 265" in bad.detail


def test_without_padding_and_template(tmp_path: Path, write_sft: Write) -> None:
    folder = base(tmp_path / "base", None, pad=None)
    assert train(folder, write_sft(sft_rows(4)), tmp_path / "out")["rows_used"] == 4
    t = tokenizer_of(tmp_path / "out")
    assert t.pad_token_id == t.convert_tokens_to_ids("<|im_end|>") and "assistant:" in t.chat_template
    assert [x.error for x in asked(tmp_path / "out", "tea")] == [None]


def test_the_hint_names_the_models_own_limit(tmp_path: Path, write_sft: Write) -> None:
    rows = sft_rows(2)
    for row in rows:
        row["prompt"] = turn("user", "peas " * 80)
    few = base(tmp_path / "few", max_position_embeddings=128)
    with pytest.raises(InputError, match="no row can be trained on: 2 too_long") as e:
        train(few, write_sft(rows), tmp_path / "out", max_length=1024)
    assert "reads 128 tokens at once" in str(e.value.hint) and "raise" not in str(e.value.hint)
    with pytest.raises(InputError, match="2 too_long") as e:
        train(base(tmp_path / "many", max_position_embeddings=4096), write_sft(rows, "again"), tmp_path / "out", max_length=64)
    assert "raise trainer.max_length, which is 64 (the model reads 4,096)" in str(e.value.hint)


def test_without_an_end_token(tmp_path: Path, write_sft: Write) -> None:
    with pytest.raises(InputError, match="no end-of-sequence token"):
        train(base(tmp_path / "base", eos=None), write_sft(sft_rows(2)), tmp_path / "out")


def test_a_template_by_several_names(tmp_path: Path, write_sft: Write) -> None:
    folder = base(tmp_path / "base")
    t = tokenizer_of(folder)
    t.chat_template = {"default": CHATML, "tool_use": "{{ messages }}"}
    t.save_pretrained(folder)
    train(folder, write_sft(sft_rows(2)), tmp_path / "out")
    assert tokenizer_of(tmp_path / "out").chat_template == CHATML
