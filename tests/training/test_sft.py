"""Supervised fine-tuning: what is learnt, what is left out, what is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shardfolders import TINY, sft_rows, turn

from toolkit.common.errors import InputError, Missing, Stopped
from toolkit.common.models import model_hash
from toolkit.training import SftConfig, train_sft

Write = Callable[..., Path]
FAST = {"max_steps": 2, "learning_rate": 1e-3}


def scratch(**trainer: Any) -> SftConfig:
    return SftConfig.model_validate({"model": {"scratch": TINY}, "trainer": FAST | trainer, "threads": 1})


def test_a_guard_from_scratch_learns_and_answers(tiny: tuple[Path, dict[str, Any]]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, metrics = tiny
    assert metrics["loss_last"] < 0.2 * metrics["loss_first"]
    assert metrics["rows"] == metrics["rows_used"] == 96 and metrics["dropped"] == {}
    assert metrics["steps"] == 96 and metrics["epochs"] == 8 and metrics["tokens"] > 96 * 8 * 10
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())
    right = 0
    for row in sft_rows(20, seed=1):
        ids = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**ids, max_new_tokens=40, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert out[-1] == tokenizer.eos_token_id, "a trained guard stops by itself"
        right += tokenizer.decode(out, skip_special_tokens=True) == row["completion"][0]["content"]
    assert right >= 16


def test_the_model_folder_is_complete_and_says_nothing_of_this_machine(tiny: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = tiny
    names = {p.name for p in folder.iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert not names & {"training_args.bin", "optimizer.pt", "README.md"}
    for file in folder.iterdir():
        assert str(folder.parent).encode() not in file.read_bytes(), file.name
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".")] == []


def test_a_model_by_folder_goes_on_from_where_it_was(tiny: tuple[Path, dict[str, Any]], write_sft: Write, tmp_path: Path) -> None:
    folder, metrics = tiny
    again = train_sft(write_sft(sft_rows(16)), tmp_path / "out", SftConfig(model=str(folder), trainer={"max_steps": 1}, threads=1))
    assert again["loss_first"] < 0.5 * metrics["loss_first"]
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_same_seed_same_model_other_seed_other_model(write_sft: Write, tmp_path: Path) -> None:
    shards = write_sft(sft_rows(12))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_sft(shards, tmp_path / name, scratch().model_copy(update={"seed": seed}))
    assert model_hash(tmp_path / "a") == model_hash(tmp_path / "b") != model_hash(tmp_path / "c")


def test_only_completion_tokens_carry_loss(tiny: tuple[Path, dict[str, Any]], write_sft: Write, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from toolkit.training._shared import Bounds, Dropped, read_shards
    from toolkit.training._trainers import GuardSft
    from toolkit.training._training_config import trainer_args

    folder, _ = tiny
    rows = sft_rows(5)
    rows[0]["prompt"] = [*turn("system", "Be brief."), *turn("user", "peas"), *turn("assistant", "Place: garden"), *turn("user", "soup")]
    data = read_shards(write_sft(rows), ["prompt", "completion"], ["id"], tmp_path / "cache")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    args = trainer_args(SftConfig(model=str(folder)), str(tmp_path / "work"))
    trainer: Any = GuardSft(model=str(folder), args=args, train_dataset=data, processing_class=tokenizer, bounds=Bounds(128), dropped=Dropped())
    for row, done in zip(rows, trainer.train_dataset, strict=True):
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        assert done["input_ids"][: len(prompt)] == prompt
        assert set(done["labels"][: len(prompt)]) == {-100}
        assert done["labels"][len(prompt) :] == done["input_ids"][len(prompt) :]
        assert tokenizer.decode(done["labels"][len(prompt) :]) == row["completion"][0]["content"] + tokenizer.eos_token
    batch = next(iter(trainer.get_train_dataloader()))
    assert ((batch["labels"] == -100) | (batch["labels"] == batch["input_ids"])).all()
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all(), "padding carries no loss"


def test_rows_too_long_are_left_out_and_named(write_sft: Write, tmp_path: Path) -> None:
    rows = sft_rows(12)
    rows[3]["prompt"] = turn("user", "xyzzy " * 200)
    rows[7]["completion"] = turn("assistant", "plugh " * 200)
    metrics = train_sft(write_sft(rows), tmp_path / "out", scratch().model_copy(update={"too_long": 0.2}))
    assert metrics["dropped"] == {"too_long": {"count": 2, "ids": ["row-3", "row-7"]}}
    assert (metrics["rows"], metrics["rows_used"]) == (12, 10)


def test_nothing_short_enough_is_an_error_and_writes_nothing(write_sft: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row can be trained on: 4 too_long"):
        train_sft(write_sft(sft_rows(4)), tmp_path / "out" / "model", scratch(max_length=4))
    assert list((tmp_path / "out").iterdir()) == []


def test_progress_is_reported_and_can_stop_the_training(write_sft: Write, tmp_path: Path) -> None:
    shards, seen = write_sft(sft_rows(12)), []
    train_sft(shards, tmp_path / "out" / "model", scratch(max_steps=3), lambda done, total, loss: seen.append((done, total, loss)))
    assert [s[:2] for s in seen] == [(1, 3), (2, 3), (3, 3)] and all(s[2] is not None and s[2] > 0 for s in seen)
    before = model_hash(tmp_path / "out" / "model")

    def stop(done: int, total: int, loss: float | None) -> None:
        raise Stopped("enough")

    with pytest.raises(Stopped):
        train_sft(shards, tmp_path / "out" / "model", scratch(), stop)
    assert model_hash(tmp_path / "out" / "model") == before
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["model"]


def test_it_is_quiet(write_sft: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_sft(write_sft(sft_rows(8)), tmp_path / "out", scratch())
    out, err = capfd.readouterr()
    assert out == "" and "it/s" not in err and "%|" not in err


def test_a_training_that_diverges_says_so(write_sft: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="diverged"):
        train_sft(write_sft(sft_rows(16)), tmp_path / "out", scratch(learning_rate=1e30, max_grad_norm=0, max_steps=8, warmup_steps=0))
    assert not (tmp_path / "out").exists()


def test_grouping_by_length_works(write_sft: Write, tmp_path: Path) -> None:
    metrics = train_sft(write_sft(sft_rows(24)), tmp_path / "out", scratch(train_sampling_strategy="group_by_length"))
    assert metrics["rows_used"] == 24


def test_bad_shards_are_named(write_sft: Write, write_dpo: Write, tmp_path: Path) -> None:
    from shardfolders import dpo_rows

    def fails(shards: Path, match: str) -> None:
        with pytest.raises(InputError, match=match):
            train_sft(shards, tmp_path / "out", scratch())

    fails(tmp_path / "nowhere", "no data/train-")
    fails(write_sft(sft_rows(2), "test-only", "test"), "no data/train-")
    fails(write_sft([], "empty"), "no rows")
    fails(write_dpo(dpo_rows(2)), "column missing: completion")
    torn = write_sft(sft_rows(2), "torn")
    file = next((torn / "data").iterdir())
    file.write_bytes(file.read_bytes()[:-40])
    fails(torn, "not a parquet file")


def test_a_model_that_is_not_there(write_sft: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write_sft(sft_rows(2))
    with pytest.raises(InputError, match="no such model folder"):
        train_sft(shards, tmp_path / "out", SftConfig(model=str(tmp_path / "gone")))
    with pytest.raises(InputError, match="not a model folder"):
        train_sft(shards, tmp_path / "out", SftConfig(model=str(shards)))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Missing, match="guardkit-tests/none"):
        train_sft(shards, tmp_path / "out", SftConfig(model="guardkit-tests/none"))
