"""Rows that a training does not begin with, or stops at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import base
from shardfolders import dpo_rows, sft_rows, turn

import toolkit
from toolkit.common.errors import GuardkitError, InputError
from toolkit.training import DpoConfig, SftConfig, train_dpo, train_sft

Write = Callable[..., Path]
ONCE = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}


def sft(model: Path, **more: Any) -> SftConfig:
    return SftConfig.model_validate({"model": str(model), "threads": 1, **more, "trainer": ONCE | more.get("trainer", {})})


@pytest.mark.parametrize("long", [3, 4])
def test_a_limit_that_leaves_out_too_many_rows_is_refused_with_the_one_that_does(tmp_path: Path, write_sft: Write, long: int) -> None:
    rows = sft_rows(20)
    for n, row in enumerate(rows):
        row["completion"] = turn("assistant", "x" * (50 if n >= long else 60 + 10 * n))
    start, shards = base(tmp_path / "base"), write_sft(rows)
    config = sft(start, trainer={"max_length": 140}, too_long=0.15)
    every = [row["id"] for row in rows]
    wide = train_sft(shards, tmp_path / "wide", config.model_copy(update={"trainer": ONCE | {"max_length": 250}}))
    assert wide["rows_used"] == 20
    config = config.model_copy(update={"trainer": ONCE | {"max_length": 1 + max(_lengths(start, rows[long:]))}})
    if long == 3:
        found = train_sft(shards, tmp_path / "out", config)
        assert found["dropped"].get("too_long", {}).get("ids", []) == [i for i in every[:long] if i in found["dropped"]["too_long"]["ids"]]
        return
    with pytest.raises(InputError, match=r"4 of 20 rows \(20%\) have more than \d+ tokens.*more than the 15% that the option too_long allows") as e:
        train_sft(shards, tmp_path / "out", config)
    lengths = sorted(_lengths(start, rows), reverse=True)
    assert f"with {lengths[3]} at most 15% would be, with {lengths[0]} none; or allow them with too_long: 0.2" in str(e.value.hint)
    assert train_sft(shards, tmp_path / "out", config.model_copy(update={"too_long": 0.2}))["rows_used"] == 16


def test_one_row_may_always_be_too_long_unless_none_may(tmp_path: Path) -> None:
    from toolkit.training._left_out import check_left_out
    from toolkit.training._shared import Bounds, Dropped

    one = Dropped({"too_long": ["a"]}, [300])
    check_left_out(one, 6, 0.05, Bounds(256))
    with pytest.raises(InputError, match="1 of 6 rows"):
        check_left_out(one, 6, 0.0, Bounds(256))


def _lengths(model: Path, rows: list[dict[str, Any]]) -> list[int]:
    from bases import tokenizer_of

    from toolkit.generation import Chat

    return Chat(tokenizer_of(model)).lengths([r["prompt"] + r["completion"] for r in rows])


def test_fewer_rows_than_an_update_takes_are_reported(tmp_path: Path, write_sft: Write) -> None:
    begun: list[Any] = []
    config = sft(base(tmp_path / "base"), trainer={"gradient_accumulation_steps": 8})
    train_sft(write_sft(sft_rows(5)), tmp_path / "out", config, on_begin=begun.append)
    assert "there are only 5 rows, and each update is of all of them" in toolkit.training.in_words(begun[0])
    dropped = sft(base(tmp_path / "base2"), trainer={"per_device_train_batch_size": 8, "dataloader_drop_last": True})
    with pytest.raises(InputError, match="5 rows are fewer than one batch of 8, and dataloader_drop_last drops it"):
        train_sft(write_sft(sft_rows(5)), tmp_path / "other", dropped)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_loss_that_is_not_finite_names_the_rows_of_its_batch(
    tmp_path: Path, write_sft: Write, write_dpo: Write, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from toolkit.training._trainers import GuardSft, WeightedDPOTrainer

    cls: Any = GuardSft if method == "sft" else WeightedDPOTrainer
    real, batches = cls.compute_loss, list[Any]()

    def third_is_nan(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        assert "row" not in inputs, "the model is not given it"
        batches.append(inputs["input_ids"])
        return real(self, model, inputs, *args, **kwargs) * (float("nan") if len(batches) == 3 else 1.0)

    monkeypatch.setattr(cls, "compute_loss", third_is_nan)
    rows = sft_rows(12) if method == "sft" else dpo_rows(12)
    shards = write_sft(rows) if method == "sft" else write_dpo(rows)
    config: Any = (SftConfig if method == "sft" else DpoConfig).model_validate(
        {"model": str(base(tmp_path / "base")), "trainer": ONCE | {"max_steps": 3, "gradient_accumulation_steps": 2}, "threads": 1}
    )
    train: Any = train_sft if method == "sft" else train_dpo
    with pytest.raises(InputError, match=r"the loss is nan at update 2: .*; the batch was of these rows: (\S+), (\S+)\n") as e:
        train(shards, tmp_path / "out", config)
    named = str(e.value).splitlines()[0].rpartition("rows: ")[2].split(", ")
    from bases import tokenizer_of

    tokenizer = tokenizer_of(tmp_path / "base")
    seen = [tokenizer.decode(ids) for ids in batches[2]]
    for row_id in named:
        text = next(r for r in rows if r["id"] == row_id)["prompt"][0]["content"]
        assert any(text.strip() in words for words in seen), "the rows that are named were in the batch"
    assert len(named) == 2 and not (tmp_path / "out").exists() and torch.isfinite(torch.tensor(1.0))


def test_shards_that_are_not_as_their_manifest_says_are_trained_on_only_if_one_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_checkpoints import shards_of

    monkeypatch.chdir(tmp_path)
    base(tmp_path / "base")
    shards_of(tmp_path / "shards")
    [file] = (tmp_path / "shards" / "data").glob("*.parquet")
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(file).slice(0, 6), file)
    config = {"shards": "shards", "output": "out", "model": "base", "trainer": ONCE, "threads": 1}
    with pytest.raises(GuardkitError):
        toolkit.train("sft", config)
    assert toolkit.train("sft", config, unverified=True)["rows"] == 6
