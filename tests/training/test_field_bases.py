"""One SFT step on a tiny model of each of the field's families: what is saved reads back, one beginning, an end that stops, ties that stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import tokenizer_of
from fieldbases import FAMILIES, field_base
from shardfolders import sft_rows, turn

from toolkit.common.errors import InputError
from toolkit.generation import Chat, TransformersConfig, build_request, complete, open_backend
from toolkit.training import SftConfig, train_sft

Write = Callable[..., Path]
LEARN = {"max_steps": 40, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "learning_rate": 1e-2, "lr_scheduler_type": "constant"}


def train(folder: Path, shards: Path, out: Path, family: str, **trainer: Any) -> dict[str, Any]:
    more = {"chat_template_kwargs": FAMILIES[family].arguments} if FAMILIES[family].arguments else {}
    return train_sft(shards, out, SftConfig.model_validate({"model": str(folder), "trainer": LEARN | trainer, "threads": 1, **more}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_guard_of_the_family_is_trained_saved_and_stops(family: str, tmp_path: Path, write_sft: Write) -> None:
    from transformers import AutoModelForCausalLM

    about = FAMILIES[family]
    folder = field_base(tmp_path / "base", about)
    rows = [{**r, "completion": turn("assistant", "yes")} for r in sft_rows(4)]
    found = train(folder, write_sft(rows), tmp_path / "out", family)
    assert found["rows_used"] == 4 and found["loss_last"] < found["loss_first"] / 3
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path / "out"), tokenizer_of(tmp_path / "out")
    assert type(model).__name__ == f"{about.architecture}ForCausalLM"
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == about.tied
    assert model.get_input_embeddings().weight.shape == AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight.shape
    assert tokenizer.pad_token_id is not None and tokenizer.pad_token_id < model.config.vocab_size
    chat = Chat(tokenizer)
    for ask in (True, False):
        ids = chat.tokens(rows[0]["prompt"] + ([] if ask else rows[0]["completion"]), ask=ask)
        assert not about.doubles or (ids[0], ids.count(ids[0])) == (tokenizer.bos_token_id, 1), "template and tokenizer would both begin a text"
    c = TransformersConfig.model_validate({"backend": "transformers", "model": str(tmp_path / "out"), "max_tokens": 20, "device": "cpu"})
    backend = open_backend(c)
    [x] = complete([build_request(backend, c, rows[0]["prompt"])], backend, None)
    backend.close()
    assert ((x.text or "").strip(), x.finish) == ("yes", "stop")
    assert x.prompt_tokens == len(chat.tokens(rows[0]["prompt"], ask=True))
    listed = model.generation_config.eos_token_id
    assert chat.end in (listed if isinstance(listed, list) else [listed]), "any program stops there"


def test_a_family_without_a_system_role_says_so(tmp_path: Path, write_sft: Write) -> None:
    folder = field_base(tmp_path / "base", FAMILIES["gemma 3"])
    rows = [{**r, "prompt": [*turn("system", "Judge."), *r["prompt"]]} for r in sft_rows(2)]
    with pytest.raises(InputError, match="System role not supported"):
        train(folder, write_sft(rows), tmp_path / "out", "gemma 3")


def test_a_thinking_template_without_its_argument_is_reported(tmp_path: Path, write_sft: Write, caplog: pytest.LogCaptureFixture) -> None:
    folder = field_base(tmp_path / "base", FAMILIES["qwen 3"])
    with caplog.at_level("WARNING", logger="toolkit"):
        train_sft(write_sft(sft_rows(2)), tmp_path / "out", SftConfig(model=str(folder), trainer=LEARN | {"max_steps": 1}, threads=1))
    assert "'<think>\\n\\n</think>' before an answer" in caplog.text and "chat_template_kwargs" in caplog.text
