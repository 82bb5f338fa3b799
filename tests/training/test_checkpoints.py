"""A training that was stopped or killed goes on from its last checkpoint and ends in the model that it would have made at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import base
from shardfolders import dpo_rows, sft_rows

from toolkit.common.errors import Stopped
from toolkit.common.folders import kept_of
from toolkit.common.models import model_hash
from toolkit.training import DpoConfig, SftConfig, train_dpo, train_sft

Write = Callable[..., Path]
STEPS = {"max_steps": 7, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}


def stop_at(update: int) -> Callable[[int, int, float | None], None]:
    def progress(done: int, total: int, loss: float | None) -> None:
        if done == update:
            raise Stopped("enough")

    return progress


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_it_ends_in_the_same_model(tmp_path: Path, write_sft: Write, write_dpo: Write, method: str) -> None:
    start = str(base(tmp_path / "base"))
    train: Any = train_sft if method == "sft" else train_dpo
    cls: Any = SftConfig if method == "sft" else DpoConfig
    shards = write_sft(sft_rows(12)) if method == "sft" else write_dpo(dpo_rows(12))
    config = cls(model=start, trainer=STEPS, threads=1)
    whole = train(shards, tmp_path / "whole", config)
    with pytest.raises(Stopped):
        train(shards, tmp_path / "parts" / "out", config, stop_at(5), checkpoint=2)
    assert not (tmp_path / "parts" / "out").exists() and kept_of(tmp_path / "parts" / "out").is_dir()
    seen: list[int] = []
    rest = train(shards, tmp_path / "parts" / "out", config, lambda done, total, loss: seen.append(done), checkpoint=2)
    assert seen == [5, 6, 7] and rest["settings"]["after"] == 4
    assert model_hash(tmp_path / "parts" / "out") == model_hash(tmp_path / "whole")
    assert {k: rest[k] for k in ("loss_first", "loss_last", "steps", "tokens")} == {
        k: whole[k] for k in ("loss_first", "loss_last", "steps", "tokens")
    }
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["out"], "checkpoints go once the model is there"


def test_another_training_begins_at_its_beginning(tmp_path: Path, write_sft: Write) -> None:
    shards, out = write_sft(sft_rows(12)), tmp_path / "out"
    config = SftConfig(model=str(base(tmp_path / "base")), trainer=STEPS, threads=1)
    for changed in (config.model_copy(update={"seed": 5}), config.model_copy(update={"trainer": STEPS | {"learning_rate": 0.5}})):
        with pytest.raises(Stopped):
            train_sft(shards, out, config, stop_at(5), checkpoint=2)
        begun: list[Any] = []
        with pytest.raises(Stopped):
            train_sft(shards, out, changed, stop_at(1), begun.append, checkpoint=2)
        assert "after" not in begun[0]


def test_a_checkpoint_that_is_not_whole_is_none(tmp_path: Path, write_sft: Write) -> None:
    shards, out = write_sft(sft_rows(12)), tmp_path / "out"
    config = SftConfig(model=str(base(tmp_path / "base")), trainer=STEPS, threads=1)
    with pytest.raises(Stopped):
        train_sft(shards, out, config, stop_at(5), checkpoint=2)
    (kept_of(out) / "checkpoint-6").mkdir()  # as a kill leaves it while it is written
    (kept_of(out) / "checkpoint-6" / "config.json").write_text("{")
    assert train_sft(shards, out, config, checkpoint=2)["settings"]["after"] == 4


def test_a_killed_command_goes_on_and_an_interrupted_one_says_so(tmp_path: Path, write_sft: Write) -> None:
    import polars as pl

    from toolkit.records import Column
    from toolkit.shards import ShardWriter

    base(tmp_path / "base")
    rows = pl.DataFrame([{k: r[k] for k in ("prompt", "completion", "id")} for r in sft_rows(8)])
    messages = {"list": {"struct": {"role": "string", "content": "string"}}}
    columns = tuple(Column(name=n, type="string" if n == "id" else messages, nullable=False) for n in rows.columns)
    writer = ShardWriter(tmp_path / "shards", columns, 1000)
    writer.write(rows, "train")
    writer.finish({"guard": "g 1", "guard_input": "abc"})
    lines = ["shards: shards", "output: out", "model: base", "threads: 1", "checkpoint: 20"]
    (tmp_path / "sft.yaml").write_text("\n".join([*lines, "trainer: {max_steps: 100000, per_device_train_batch_size: 2}"]))
    found = []
    for number in (signal.SIGKILL, signal.SIGINT):
        known = {p.name for p in kept_of(tmp_path / "out").glob("checkpoint-*")}
        command = [sys.executable, "-m", "toolkit", "train", "sft", "sft.yaml"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
            until = time.monotonic() + 200
            while len({p.name for p in kept_of(tmp_path / "out").glob("checkpoint-*")} - known) < 2 and time.monotonic() < until:
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(number)
            assert process.stderr is not None
            found.append(process.stderr.read())
    assert "goes on after update" not in found[0] and "; goes on after update " in found[1]
    assert process.returncode == 3 and "no model is written yet; the same command goes on after update " in found[1]
