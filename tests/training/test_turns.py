"""How a turn ends and how an answer begins: what a guard must learn to write, where sampling stops, thoughts that a template opens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import CHATML, GEMMA, THINKS, base, tokenizer_of
from shardfolders import sft_rows

from toolkit.common.errors import InputError
from toolkit.common.models import trained_for
from toolkit.generation import TransformersConfig, build_request, complete, open_backend
from toolkit.guards import load_guard
from toolkit.training import DpoConfig, SftConfig, train_dpo, train_sft

Write = Callable[..., Path]
ONCE = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}


def train(folder: Path, shards: Path, out: Path, **more: Any) -> dict[str, Any]:
    return train_sft(shards, out, SftConfig.model_validate({"model": str(folder), "trainer": ONCE, "threads": 1, **more}))


def ends(folder: Path) -> list[str]:
    found = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    return list(tokenizer_of(folder).convert_ids_to_tokens(found if isinstance(found, list) else [found]))


def test_generation_stops_at_the_end_of_a_turn_that_is_not_the_end_token(tmp_path: Path, write_sft: Write) -> None:
    folder = base(tmp_path / "base", GEMMA, eos="<|im_end|>")
    train(folder, write_sft(sft_rows(4)), tmp_path / "out")
    assert ends(tmp_path / "out") == ["<|im_end|>", "<end_of_turn>"]
    train(base(tmp_path / "same", CHATML), write_sft(sft_rows(4)), tmp_path / "other")
    assert ends(tmp_path / "other") == ["<|im_end|>"]


def test_such_a_guard_learns_to_stop_and_is_stopped(tmp_path: Path, write_sft: Write) -> None:
    rows = [{**r, "completion": [{"role": "assistant", "content": "yes"}]} for r in sft_rows(4)]
    learn = ONCE | {"max_steps": 120, "learning_rate": 1e-2}
    train(base(tmp_path / "base", GEMMA, eos="<|im_end|>"), write_sft(rows), tmp_path / "out", trainer=learn)
    c = TransformersConfig.model_validate({"backend": "transformers", "model": str(tmp_path / "out"), "max_tokens": 40, "device": "cpu"})
    backend = open_backend(c)
    [found] = complete([build_request(backend, c, rows[0]["prompt"])], backend, None)
    backend.close()
    assert (found.text, found.finish) == ("yes", "stop")


def test_sampling_stops_there_whoever_trained_the_model(tmp_path: Path) -> None:
    """The generation config of a base model names its end token alone."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = base(tmp_path / "base", GEMMA, eos="<|im_end|>", initializer_range=0.3)
    tokenizer, model = tokenizer_of(folder), AutoModelForCausalLM.from_pretrained(folder)
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    with torch.no_grad():  # the likeliest token everywhere
        bias = model.model.norm.weight * 0
        bias[0] = 1
        model.model.norm.weight.copy_(bias)
        model.lm_head.weight[:, 0] = -model.lm_head.weight[:, 0].abs()
        model.lm_head.weight[end, 0] = 50.0
    model.save_pretrained(folder)
    c = TransformersConfig.model_validate({"backend": "transformers", "model": str(folder), "max_tokens": 12, "temperature": 1.0, "device": "cpu"})
    backend = open_backend(c)
    found = list(complete([build_request(backend, c, [{"role": "user", "content": "tea"}], draw=n) for n in range(30)], backend, None))
    backend.close()
    assert "stop" in {x.finish for x in found}
    assert not any("end_of_turn" in (x.text or "") for x in found)


def test_a_template_without_an_end_is_refused_before_training(tmp_path: Path, write_sft: Write) -> None:
    endless = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    with pytest.raises(InputError, match="could not learn to stop") as e:
        train(base(tmp_path / "base", endless), write_sft(sft_rows(2)), tmp_path / "out")
    assert "chat_template" in str(e.value.hint) and not (tmp_path / "out").exists()


def test_a_template_that_opens_a_thought_is_refused_with_what_to_set(tmp_path: Path, write_sft: Write) -> None:
    folder = base(tmp_path / "base", THINKS)
    with pytest.raises(InputError, match="in other words once its answer follows") as e:
        train(folder, write_sft(sft_rows(2)), tmp_path / "out")
    assert "chat_template_kwargs: {enable_thinking: false}" in str(e.value.hint)


def test_words_that_a_template_puts_before_an_answer_are_reported(tmp_path: Path, write_sft: Write, caplog: pytest.LogCaptureFixture) -> None:
    empty = THINKS.replace("{% else %}{{ '<think>\n' }}", "")
    with caplog.at_level("WARNING", logger="toolkit"):
        train(base(tmp_path / "base", empty), write_sft(sft_rows(2)), tmp_path / "out")
    [found] = [r.getMessage() for r in caplog.records if "before an answer" in r.getMessage()]
    assert "</think>" in found and "chat_template_kwargs" in found


def test_arguments_of_a_template_are_the_trained_models_own(tmp_path: Path, write_sft: Write, write_dpo: Write) -> None:
    folder, rows = base(tmp_path / "base", THINKS), sft_rows(4)
    found = train(folder, write_sft(rows), tmp_path / "out", chat_template_kwargs={"enable_thinking": False})
    assert found["prompts_cut"]["cut"] == 0
    asked = tokenizer_of(tmp_path / "out").apply_chat_template(rows[0]["prompt"], tokenize=False, add_generation_prompt=True)
    assert asked == tokenizer_of(folder).apply_chat_template(rows[0]["prompt"], tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert asked.endswith("</think>\n\n"), "by any program, without being configured"
    figures = trained_for(tmp_path / "out")
    assert figures is not None and figures["chat_template_kwargs"] == {"enable_thinking": False}
    from shardfolders import dpo_rows

    for name, more in (("kept", {}), ("again", {"chat_template_kwargs": {"enable_thinking": False}})):
        train_dpo(write_dpo(dpo_rows(4)), tmp_path / name, DpoConfig(model=str(tmp_path / "out"), trainer=ONCE, threads=1, **more))
        assert (trained_for(tmp_path / name) or {})["chat_template_kwargs"] == {"enable_thinking": False}
        assert (tmp_path / name / "chat_template.jinja").read_text() == (tmp_path / "out" / "chat_template.jinja").read_text()


def test_sampling_takes_arguments_and_refuses_others_than_those_of_the_training(tmp_path: Path, write_sft: Write) -> None:
    folder = base(tmp_path / "base", THINKS)
    train(folder, write_sft(sft_rows(4)), tmp_path / "out", chat_template_kwargs={"enable_thinking": False})

    def prompt_tokens(model: Path, judges: bool = False, **more: Any) -> int | None:
        c = TransformersConfig.model_validate({"backend": "transformers", "model": str(model), "max_tokens": 2, "device": "cpu", **more})
        backend = open_backend(c, guard=load_guard("guardreasoner"), judges=judges)
        [x] = complete([build_request(backend, c, [{"role": "user", "content": "tea"}])], backend, None)
        backend.close()
        return x.prompt_tokens

    off: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
    assert prompt_tokens(folder, **off) == prompt_tokens(tmp_path / "out", judges=True) == prompt_tokens(tmp_path / "out", judges=True, **off)
    assert prompt_tokens(folder) != prompt_tokens(folder, **off)
    with pytest.raises(InputError, match=r"trained with chat_template_kwargs .*False.*, asked with .*True"):
        prompt_tokens(tmp_path / "out", judges=True, chat_template_kwargs={"enable_thinking": True})


@pytest.mark.parametrize("value", [None, True, False, 3, -1.5, 'it\'s "so"\n', "Öl 天 😀", ["a", [1, None]], {"b": {"c": False}}, "{% raw %}{{ x }}"])
def test_a_value_is_what_the_template_gets(value: Any, tmp_path: Path) -> None:
    from toolkit.training._model import with_arguments

    show = "{{ [value] | tojson }} {% for m in messages %}{{ m.content }}{% endfor %}"
    t = tokenizer_of(base(tmp_path / "base", with_arguments(with_arguments(show, {"value": "before"}), {"value": value})))
    found = t.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert json.loads(found.removesuffix(" x")) == [value]


@pytest.mark.parametrize("bad", [{"chat_template": "x"}, {"tools": []}, {"messages": []}, {"eos_token": "x"}, {"not a name": 1}, {"x": {1, 2}}])
def test_arguments_that_are_none_are_refused(bad: dict[str, Any]) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="chat_template_kwargs"):
        SftConfig(model="m", chat_template_kwargs=bad)
    with pytest.raises(ValidationError, match="chat_template_kwargs"):
        TransformersConfig(backend="transformers", model="m", chat_template_kwargs=bad)
