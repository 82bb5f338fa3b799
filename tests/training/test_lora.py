"""LoRA: what is trained, what is written, how it is read back; and what is refused before any work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bases import base
from shardfolders import dpo_rows, sft_rows

from toolkit.common.errors import InputError, Missing
from toolkit.common.models import model_hash, trained_for
from toolkit.generation import TransformersConfig, build_request, complete, open_backend
from toolkit.training import DpoConfig, Lora, SftConfig, train_dpo, train_sft
from toolkit.training._checkpoint_option import Checkpoint
from toolkit.training._lora_training import start_of

pytest.importorskip("peft", reason="peft is not installed")

Write = Callable[..., Path]
SHORT = {"max_steps": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "learning_rate": 1e-2}


def sft(model: Path, shards: Path, out: Path, lora: Any, **trainer: Any) -> dict[str, Any]:
    return train_sft(shards, out, SftConfig.model_validate({"model": str(model), "trainer": SHORT | trainer, "threads": 1, "lora": lora}))


def dpo(model: Path, shards: Path, out: Path, lora: Any, **trainer: Any) -> dict[str, Any]:
    return train_dpo(shards, out, DpoConfig.model_validate({"model": str(model), "trainer": SHORT | trainer, "threads": 1, "lora": lora}))


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.arange(3, 60)[None]).logits


def with_adapter(folder: Path) -> Any:
    """The logits of an adapter on its base, as peft applies it."""
    from peft import AutoPeftModelForCausalLM

    return logits(AutoPeftModelForCausalLM.from_pretrained(folder))


def texts(model: Path) -> list[str | None]:
    c = TransformersConfig.model_validate({"backend": "transformers", "model": str(model), "device": "cpu", "max_tokens": 12})
    opened = open_backend(c)
    out = [a.text for a in complete([build_request(opened, c, [{"role": "user", "content": t}]) for t in ("tea", "sea")], opened, None)]
    opened.close()
    return out


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("start") / "base")


# What is written -------------------------------------------------------------------------------------------------------


def test_merged_and_kept_are_one_model_and_sampling_reads_both(start: Path, tmp_path: Path, write_sft: Write) -> None:
    import torch

    shards, before = write_sft(sft_rows(12)), model_hash(start)
    merged = sft(start, shards, tmp_path / "merged", {"rank": 4})
    kept = sft(start, shards, tmp_path / "kept", {"rank": 4, "merge": False})
    assert merged["loss_last"] == kept["loss_last"] < merged["loss_first"]
    assert kept["parameters_trained"] < kept["parameters"] / 5
    assert model_hash(start) == before, "the base stays as it is"
    assert not (tmp_path / "merged" / "adapter_config.json").exists() and not (tmp_path / "kept" / "config.json").exists()
    whole = logits(loaded(tmp_path / "merged"))
    torch.testing.assert_close(whole, with_adapter(tmp_path / "kept"), rtol=1e-4, atol=1e-5)
    assert (whole - logits(loaded(start))).abs().max() > 0.1
    assert texts(tmp_path / "merged") == texts(tmp_path / "kept")
    ids = loaded(tmp_path / "merged").generation_config.eos_token_id
    assert ids == loaded(start).generation_config.eos_token_id
    assert len({model_hash(tmp_path / name) for name in ("merged", "kept")} | {before}) == 3


def test_the_records_of_both(start: Path, tmp_path: Path, write_sft: Write) -> None:
    shards = write_sft(sft_rows(4))
    for name, merge in (("merged", True), ("kept", False)):
        sft(start, shards, tmp_path / name, {"merge": merge}, max_steps=1)
        record = trained_for(tmp_path / name) or {}
        assert set(record["files"]) == {p.name for p in (tmp_path / name).iterdir()} - {"guardkit.json"}
        assert record.get("base") == (None if merge else {"name": "base", "sha256": model_hash(start)})
    first = model_hash(tmp_path / "kept")
    sft(start, shards, tmp_path / "kept", {"merge": False}, max_steps=1)  # what guardkit trained may be replaced
    assert model_hash(tmp_path / "kept") == first, "the same training makes the same adapter"


@pytest.mark.parametrize("more", [{"dora": True}, {"targets": ["q_proj", "v_proj"], "dropout": 0, "rslora": True}])
def test_other_kinds_are_trained_and_merged(start: Path, tmp_path: Path, write_sft: Write, more: dict[str, Any]) -> None:
    found = sft(start, write_sft(sft_rows(8)), tmp_path / "out", more)
    assert found["loss_last"] < found["loss_first"] and texts(tmp_path / "out") != texts(start)
    before, after = (dict(loaded(f).named_parameters()) for f in (start, tmp_path / "out"))
    changed = {name.split(".")[-2] for name in before if not before[name].equal(after[name])}
    assert changed == ({"q_proj", "v_proj"} if "targets" in more else {n for n in (m.split(".")[-2] for m in before) if n.endswith("_proj")})


@pytest.mark.parametrize("tied", [True, False])
def test_layers_that_are_trained_whole_are_in_the_merged_model(tmp_path: Path, write_sft: Write, tied: bool) -> None:
    folder = base(tmp_path / "base", tie_word_embeddings=tied)
    sft(folder, write_sft(sft_rows(8)), tmp_path / "out", {"modules_to_save": ["embed_tokens", "lm_head"]})
    model = loaded(tmp_path / "out")
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    old = loaded(folder)
    assert not model.lm_head.weight.equal(old.lm_head.weight) and not model.model.embed_tokens.weight.equal(old.model.embed_tokens.weight)
    import torch
    from safetensors.torch import load_file

    names = load_file(tmp_path / "out" / "model.safetensors")
    assert ("lm_head.weight" in names) != tied and torch.isfinite(logits(model)).all()


def test_the_trained_loss_is_the_merged_models(start: Path, tmp_path: Path, write_sft: Write) -> None:
    """Also where embeddings and head are trained whole: what was trained is what is written."""
    shards, still = write_sft(sft_rows(4)), {"learning_rate": 1e-12, "max_steps": 1}
    lora = {"dropout": 0, "modules_to_save": ["embed_tokens", "lm_head"], "dora": True}
    trained = sft(start, shards, tmp_path / "out", lora, max_steps=20)
    after = sft(tmp_path / "out", shards, tmp_path / "seen", {"dropout": 0}, **still)
    assert after["loss_first"] == pytest.approx(trained["loss_last"], rel=0.15) and after["loss_first"] < trained["loss_first"] / 1.5


# DPO -------------------------------------------------------------------------------------------------------------------


def by_hand(policy: Any, reference: Any, folder: Path, rows: list[dict[str, Any]], beta: float) -> float:
    """Spec D's loss without weights, from logits, pair by pair."""
    import math

    import torch
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def logps(model: Any, prompt: Any, answer: Any) -> Any:
        head = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        ids = torch.tensor([tokenizer.apply_chat_template(prompt + answer, return_dict=True)["input_ids"]])
        with torch.no_grad():
            log = torch.log_softmax(model(ids).logits[0, :-1], dim=-1)
        return log.gather(1, ids[0, 1:, None])[len(head) - 1 :, 0]

    preference, chosen = 0.0, []
    for row in rows:
        up, down = (logps(policy, row["prompt"], row[k]) for k in ("chosen", "rejected"))
        delta = up.sum() - down.sum() - sum(s * logps(reference, row["prompt"], row[k]).sum() for s, k in ((1, "chosen"), (-1, "rejected")))
        preference += math.log1p(math.exp(-beta * delta.item())) / len(rows)
        chosen.append(up)
    return preference - 2.0 * torch.cat(chosen).mean().item()


@pytest.mark.parametrize("precompute", [True, False])
def test_dpo_of_an_adapter_has_that_adapter_as_its_reference(
    start: Path, tmp_path: Path, write_sft: Write, write_dpo: Write, precompute: bool
) -> None:
    """The last update's loss is the formula of the model before it, with base + start adapter as reference; and the start adapter is not touched."""
    from peft import AutoPeftModelForCausalLM

    rows = dpo_rows(4)
    sft(start, write_sft(sft_rows(8)), tmp_path / "first", {"merge": False}, max_steps=6)
    before = model_hash(tmp_path / "first")
    reference: Any = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "first")
    settings = {"precompute_ref_log_probs": precompute, "beta": 0.1, "lr_scheduler_type": "constant", "gradient_accumulation_steps": 1}
    losses = {}
    for steps in (1, 2):
        found = dpo(tmp_path / "first", write_dpo(rows), tmp_path / f"after{steps}", {"merge": False}, max_steps=steps, **settings)
        losses[steps] = found["loss_last"]
    assert losses[1] == pytest.approx(by_hand(reference, reference, tmp_path / "first", rows, 0.1), rel=1e-4)
    moved: Any = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "after1")
    assert losses[2] == pytest.approx(by_hand(moved, reference, tmp_path / "first", rows, 0.1), rel=1e-4)
    assert abs(losses[2] - by_hand(moved, loaded(start), tmp_path / "first", rows, 0.1)) > 1e-3, "the bare base would be another reference"
    assert model_hash(tmp_path / "first") == before
    assert not (tmp_path / "after2" / "ref").exists()
    assert json.loads((tmp_path / "after2" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(start)
    assert texts(tmp_path / "after2")


def test_what_is_gone_on_with_may_be_merged_at_its_end(start: Path, tmp_path: Path, write_sft: Write, write_dpo: Write) -> None:
    import torch

    sft(start, write_sft(sft_rows(8)), tmp_path / "first", {"rank": 4, "merge": False})
    for merge in (True, False):
        found = dpo(tmp_path / "first", write_dpo(dpo_rows(8)), tmp_path / f"merged{merge}", {"merge": merge})
    assert found["parameters_trained"] == 1984, "the rank of the adapter that is gone on with"
    torch.testing.assert_close(logits(loaded(tmp_path / "mergedTrue")), with_adapter(tmp_path / "mergedFalse"), rtol=1e-4, atol=1e-5)
    shutil.rmtree(tmp_path / "first")
    assert texts(tmp_path / "mergedTrue") == texts(tmp_path / "mergedFalse"), "neither stands on the adapter before it"


def test_a_killed_training_goes_on_to_the_same_adapter(start: Path, tmp_path: Path, write_dpo: Write, write_sft: Write) -> None:
    sft(start, write_sft(sft_rows(8)), tmp_path / "first", {"merge": False})
    shards = write_dpo(dpo_rows(8))
    config = DpoConfig.model_validate({"model": str(tmp_path / "first"), "trainer": SHORT | {"max_steps": 6}, "threads": 1, "lora": {"merge": False}})
    config = config.model_copy(update={"checkpoint": Checkpoint(updates=2)})
    through = train_dpo(shards, tmp_path / "through", config)

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int, loss: float | None) -> None:
        if done == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_dpo(shards, tmp_path / "stopped", config, stop)
    found = train_dpo(shards, tmp_path / "stopped", config)
    assert found["settings"]["after"] == 4
    assert found["loss_last"] == through["loss_last"]
    assert model_hash(tmp_path / "stopped") == model_hash(tmp_path / "through")


# Quantised bases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_a_quantised_base_is_trained_on_and_merged_into_the_base_as_it_was(start: Path, tmp_path: Path, write_sft: Write, bits: str) -> None:
    import torch

    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    shards = write_sft(sft_rows(8))
    found = sft(start, shards, tmp_path / "merged", {"quantize": bits})
    plain = sft(start, shards, tmp_path / "plain", True)
    assert found["loss_last"] < found["loss_first"] != plain["loss_first"]
    assert (found["parameters"], found["parameters_trained"]) == (plain["parameters"], plain["parameters_trained"])
    sft(start, shards, tmp_path / "kept", {"quantize": bits, "merge": False})
    torch.testing.assert_close(logits(loaded(tmp_path / "merged")), with_adapter(tmp_path / "kept"), rtol=1e-4, atol=1e-5)
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())


# Refusals --------------------------------------------------------------------------------------------------------------


def test_an_adapter_of_another_base_is_refused_before_any_work(start: Path, tmp_path: Path, write_sft: Write, write_dpo: Write) -> None:
    own = Path(shutil.copytree(start, tmp_path / "own"))
    sft(own, write_sft(sft_rows(4)), tmp_path / "kept", {"merge": False}, max_steps=1)
    base(own, initializer_range=0.2)
    began: list[Any] = []
    config = DpoConfig.model_validate({"model": str(tmp_path / "kept"), "trainer": SHORT, "lora": True})
    with pytest.raises(InputError, match="an adapter of another base: it was not trained on own as it is now"):
        train_dpo(write_dpo(dpo_rows(4)), tmp_path / "out", config, on_begin=began.append)
    with pytest.raises(InputError, match="an adapter of another base"):
        texts(tmp_path / "kept")
    assert not began and not (tmp_path / "out").exists()
    shutil.rmtree(own)
    with pytest.raises(InputError, match="no such model folder"):
        train_dpo(write_dpo(dpo_rows(4)), tmp_path / "out", config)


def test_an_adapter_keeps_its_shape_and_needs_lora(start: Path, tmp_path: Path, write_sft: Write, write_dpo: Write) -> None:
    sft(start, write_sft(sft_rows(4)), tmp_path / "kept", {"rank": 4, "merge": False}, max_steps=1)
    shards = write_dpo(dpo_rows(4))
    with pytest.raises(InputError, match=r"lora.rank is 8, and the adapter to start from has 4"):
        dpo(tmp_path / "kept", shards, tmp_path / "out", {"rank": 8})
    with pytest.raises(InputError, match=r"lora.targets is \['q_proj'\]"):
        dpo(tmp_path / "kept", shards, tmp_path / "out", {"targets": ["q_proj"]})
    with pytest.raises(InputError, match="is an adapter, and all weights are to be trained"):
        dpo(tmp_path / "kept", shards, tmp_path / "out", False)
    assert dpo(tmp_path / "kept", shards, tmp_path / "out", {"rank": 4, "dropout": 0.2}, max_steps=1)["steps"] == 1


def test_an_adapter_is_gone_on_with_at_its_bases_revision(tmp_path: Path) -> None:
    def adapter(**named: Any) -> str:
        (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "an-org/a-base", **named}))
        return str(tmp_path)

    args = SimpleNamespace(model_init_kwargs={"dtype": "bfloat16"})
    start_of(adapter(revision="v1.2"), Lora()).at_revision(args)
    assert args.model_init_kwargs == {"dtype": "bfloat16", "revision": "v1.2"}
    with pytest.raises(InputError, match=r"revision v2, and the adapter's base is at v1.2"):
        start_of(adapter(revision="v1.2"), Lora()).at_revision(SimpleNamespace(model_init_kwargs={"revision": "v2"}))
    start_of(adapter(revision=None), Lora()).at_revision(other := SimpleNamespace(model_init_kwargs=None))
    assert other.model_init_kwargs is None


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ({"merge": False, "dora": True}, "does not go with lora.dora"),
        ({"merge": False, "modules_to_save": ["lm_head"]}, "does not go with lora.modules_to_save"),
        ({"quantize": "3bit"}, "4bit"),
        ({"rang": 8}, "rang"),
        ("yes", "lora"),
    ],
)
def test_options_that_cannot_be(lora: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SftConfig.model_validate({"model": "m", "lora": lora})


def test_a_model_from_scratch_and_layers_that_are_not_there(start: Path, tmp_path: Path, write_sft: Write) -> None:
    with pytest.raises(ValueError, match="lora goes with a model by name"):
        SftConfig.model_validate({"model": {"scratch": {}}, "lora": True})
    with pytest.raises(InputError, match="trl refuses: Target modules"):
        sft(start, write_sft(sft_rows(4)), tmp_path / "out", {"targets": ["qq_proj"]})
    with pytest.raises(InputError, match="lm_head"):
        sft(start, write_sft(sft_rows(4)), tmp_path / "out", {"targets": ["lm_head"]})


def test_a_missing_package_is_named_with_its_extra(start: Path, tmp_path: Path, write_sft: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    for package, extra, lora in (("peft", "lora", True), ("bitsandbytes", "qlora", {"quantize": "4bit"})):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a, without=package: None if name == without else real(name, *a))
        with pytest.raises(Missing, match=rf"guardkit\[{extra}\]"):
            sft(start, write_sft(sft_rows(4)), tmp_path / "out", lora)


def test_the_rate_is_ten_times_that_of_full_training() -> None:
    from toolkit.training._training_config import defaults

    for config in (SftConfig(model="m"), DpoConfig(model="m")):
        with_lora = type(config).model_validate({"model": "m", "lora": True})
        assert defaults(with_lora, cpu=True)["learning_rate"] == pytest.approx(10 * defaults(config, cpu=True)["learning_rate"])
