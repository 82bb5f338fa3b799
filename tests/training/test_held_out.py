"""Rows that are held out: which they are, that none of them is trained on, and what is found on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import base
from datasets import Dataset
from pydantic import ValidationError
from shardfolders import dpo_rows, sft_rows

from toolkit.common.errors import InputError, Stopped
from toolkit.common.models import model_hash
from toolkit.training import DpoConfig, SftConfig, read_metrics, train_dpo, train_sft
from toolkit.training._held_out import HeldOut, apart, parted

Write = Callable[..., Path]
STEPS = {"max_steps": 4, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}


def rows_of(n: int, groups: int) -> Dataset:
    return Dataset.from_list([{"id": f"r{i}", "prompt": [{"role": "user", "content": f"question {i % groups}"}]} for i in range(n)])


@pytest.mark.parametrize("named", [True, False])
def test_no_group_is_on_both_sides_and_the_order_of_rows_does_not_matter(named: bool) -> None:
    data = rows_of(60, 20)
    if named:
        data = data.add_column("group", [f"g{i % 15}" for i in range(60)])
    train, held = parted(data, HeldOut(share=0.2), seed=3)
    assert sorted([*train["id"], *held["id"]]) == sorted(data["id"]) and 12 <= len(held) <= 12 + 4
    key: Any = (lambda r: r["group"]) if named else (lambda r: r["prompt"][0]["content"])
    assert not {key(r) for r in train} & {key(r) for r in held}
    turned = data.select(range(59, -1, -1))
    assert set(parted(turned, HeldOut(share=0.2), seed=3)[1]["id"]) == set(held["id"])
    assert set(parted(data, HeldOut(share=0.2), seed=4)[1]["id"]) != set(held["id"])
    assert len(parted(data, HeldOut(rows=1), seed=3)[1]) in (3, 4)
    with pytest.raises(InputError, match=r"nothing would be left to train on: there are 60 rows"):
        parted(data, HeldOut(rows=60), seed=3)


def test_rows_of_a_split_whose_group_is_trained_on_are_left_out_of_it() -> None:
    held = apart(rows_of(30, 30), rows_of(20, 20))
    assert list(held["id"]) == [f"r{i}" for i in range(20, 30)]
    with pytest.raises(InputError, match="is trained on, too"):
        apart(rows_of(5, 5), rows_of(20, 20))


@pytest.mark.parametrize("wrong", [{"share": 0}, {"share": 1}, {"rows": 0}, {"share": 0.1, "rows": 3}, {"every": 0}, 5])
def test_what_cannot_be_held_out_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        SftConfig.model_validate({"model": "m", "evaluate": wrong})


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_loss_is_looked_at_on_the_way_and_at_the_end_and_survives_a_stop(tmp_path: Path, write_sft: Write, write_dpo: Write, method: str) -> None:
    cls, train = (SftConfig, train_sft) if method == "sft" else (DpoConfig, train_dpo)
    rows = sft_rows(20) if method == "sft" else dpo_rows(20)
    shards = write_sft(rows) if method == "sft" else write_dpo(rows)
    options = {"model": str(base(tmp_path / "base")), "trainer": STEPS, "threads": 1, "checkpoint": 2, "evaluate": {"rows": 5, "every": 3}}
    config: Any = cls.model_validate(options)

    def stop(done: int, total: int, loss: float | None) -> None:
        if done == 4:
            raise Stopped("enough")

    found: Any = train(shards, tmp_path / "whole", config)
    with pytest.raises(Stopped):
        train(shards, tmp_path / "out", config, stop)
    train(shards, tmp_path / "out", config)
    lines, whole = read_metrics(tmp_path / "out"), read_metrics(tmp_path / "whole")
    assert [line["update"] for line in lines if "eval_loss" in line] == [3, 4]
    keys = [k for k in whole[-1] if k not in ("seconds", "tokens_per_second")]
    assert [{k: line.get(k) for k in keys} for line in lines] == [{k: line.get(k) for k in keys} for line in whole]
    assert model_hash(tmp_path / "out") == model_hash(tmp_path / "whole")
    what = "rows" if method == "sft" else "pairs"
    aside = found["dropped"]["held_out"]["ids"]
    assert found[what] == 20 and found[f"{what}_used"] == 20 - len(aside) and found["held_out"] == len(aside) >= 5
    assert found["eval_loss"] == whole[-1]["eval_loss"] > 0 and ("eval_pairs_right" in found) == ("eval_margin" in found) == (method == "dpo")


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_batches_do_not_change_what_is_found(tmp_path: Path, write_sft: Write, write_dpo: Write, method: str) -> None:
    cls, train = (SftConfig, train_sft) if method == "sft" else (DpoConfig, train_dpo)
    rows = sft_rows(14) if method == "sft" else dpo_rows(14)
    shards = (write_sft if method == "sft" else write_dpo)(rows[:8])
    (write_sft if method == "sft" else write_dpo)([r for r in rows[8:] if r["prompt"] not in [k["prompt"] for k in rows[:8]]], split="validation")
    start, found = str(base(tmp_path / "base")), []
    for batch in (1, 4):
        more = {} if method == "sft" else {"loss_type": ["sigmoid"], "loss_weights": [1.0]}
        trainer = STEPS | {"max_steps": 2, "per_device_eval_batch_size": batch} | more
        config: Any = cls.model_validate({"model": start, "trainer": trainer, "threads": 1, "evaluate": True})
        found.append(train(shards, tmp_path / f"out{batch}", config))
    assert found[0]["held_out"] == 6 and "held_out" not in found[0]["dropped"], "the shards' own split"
    for name in ["eval_loss"] + ([] if method == "sft" else ["eval_margin", "eval_pairs_right"]):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-4), name


def test_a_split_that_is_not_there_is_named(tmp_path: Path, write_sft: Write) -> None:
    config = SftConfig.model_validate({"model": str(base(tmp_path / "base")), "trainer": STEPS, "evaluate": {"split": "tset"}})
    write_sft(sft_rows(4), split="test")
    with pytest.raises(InputError, match="no split 'tset' to evaluate on") as e:
        train_sft(write_sft(sft_rows(8)), tmp_path / "out", config)
    assert "did you mean 'test'" in str(e.value.hint)
