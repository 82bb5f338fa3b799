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
from pydantic import ValidationError
from shardfolders import dpo_rows, sft_rows

from toolkit.common.errors import Stopped
from toolkit.common.folders import kept_of
from toolkit.common.models import model_hash
from toolkit.training import DpoConfig, SftConfig, kept_update, train_dpo, train_sft
from toolkit.training._checkpoints import identity_of

Write = Callable[..., Path]
STEPS = {"max_steps": 7, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}


def stop_at(update: int) -> Callable[[int, int, float | None], None]:
    def progress(done: int, total: int, loss: float | None) -> None:
        if done == update:
            raise Stopped("enough")

    return progress


@pytest.mark.parametrize(
    ("method", "checkpoint", "more"),
    [
        ("sft", 2, {}),
        ("dpo", 2, {}),
        ("sft", {"updates": 2, "keep": 1}, {"gradient_accumulation_steps": 2, "attention_dropout": 0.5}),
        ("dpo", {"minutes": 1e-9}, {"gradient_accumulation_steps": 2}),
    ],
)
def test_it_ends_in_the_same_model(tmp_path: Path, write_sft: Write, write_dpo: Write, method: str, checkpoint: Any, more: dict[str, Any]) -> None:
    start = str(base(tmp_path / "base", attention_dropout=more.pop("attention_dropout", 0.0)))
    train: Any = train_sft if method == "sft" else train_dpo
    cls: Any = SftConfig if method == "sft" else DpoConfig
    shards = write_sft(sft_rows(12)) if method == "sft" else write_dpo(dpo_rows(12))
    config = cls(model=start, trainer=STEPS | more, threads=1, checkpoint=checkpoint)
    losses: dict[int, float | None] = {}
    whole = train(shards, tmp_path / "whole", config, lambda done, total, loss: losses.update({done: loss}))
    out = tmp_path / "parts" / "out"
    with pytest.raises(Stopped):
        train(shards, out, config, stop_at(5))
    assert not out.exists() and kept_update(kept_of(out)) == 4
    again: dict[int, float | None] = {}
    rest = train(shards, out, config, lambda done, total, loss: again.update({done: loss}))
    assert again == {n: losses[n] for n in (5, 6, 7)} and rest["settings"]["after"] == 4
    assert model_hash(out) == model_hash(tmp_path / "whole")
    assert {k: rest[k] for k in ("loss_first", "loss_last", "steps", "tokens")} == {
        k: whole[k] for k in ("loss_first", "loss_last", "steps", "tokens")
    }
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["out"], "checkpoints go once the model is there"


def test_as_many_are_held_as_asked_for(tmp_path: Path, write_sft: Write) -> None:
    config = SftConfig(model=str(base(tmp_path / "base")), trainer=STEPS, threads=1, checkpoint={"updates": 1, "keep": 3})
    with pytest.raises(Stopped):
        train_sft(write_sft(sft_rows(12)), tmp_path / "out", config, stop_at(6))
    assert sorted(p.name for p in kept_of(tmp_path / "out").iterdir()) == ["checkpoint-3", "checkpoint-4", "checkpoint-5"]


def test_that_of_another_training_is_named_and_stays_until_this_one_has_its_own(tmp_path: Path, write_sft: Write) -> None:
    shards, out = write_sft(sft_rows(12)), tmp_path / "out"
    config = SftConfig(model=str(base(tmp_path / "base")), trainer=STEPS, threads=1, checkpoint=2)
    with pytest.raises(Stopped):
        train_sft(shards, out, config, stop_at(5))
    other = config.model_copy(update={"trainer": STEPS | {"learning_rate": 0.5}, "seed": 5})
    begun: list[Any] = []
    for _ in range(2):
        with pytest.raises(Stopped):
            train_sft(shards, out, other, stop_at(1), begun.append)
        words = begun[-1]["other_checkpoint"]
        assert "after" not in begun[-1] and "after update 4" in words
        assert "seed was 0, is 5" in words and "trainer.learning_rate was 0.001, is 0.5" in words
        assert kept_update(kept_of(out)) is None, "the message of a stop says what is so"
    with pytest.raises(Stopped):
        train_sft(shards, out, config, stop_at(5), begun.append)
    assert begun[-1]["after"] == 4, "the first training goes on where it was"
    with pytest.raises(Stopped):
        train_sft(shards, out, other, stop_at(3), begun.append)
    with pytest.raises(Stopped):
        train_sft(shards, out, config, stop_at(1), begun.append)
    assert "after" not in begun[-1], "its checkpoints went with the first one of the other training"


def test_a_file_of_accelerates_counts_by_what_it_says(tmp_path: Path, write_sft: Write) -> None:
    shards = write_sft(sft_rows(2))

    def identity(name: str, text: str) -> Any:
        (tmp_path / name).write_text(text)
        return identity_of("sft", SftConfig(model="an-org/a-base", processes=2, parallel=str(tmp_path / name)), shards)

    one = identity("one.yaml", "a: 1")
    assert one == identity("other.yaml", "a: 1") != identity("one.yaml", "a: 2")


def test_how_often_shapes_no_weight(tmp_path: Path, write_sft: Write) -> None:
    shards, out, begun = write_sft(sft_rows(12)), tmp_path / "out", list[Any]()
    config = SftConfig(model=str(base(tmp_path / "base")), trainer=STEPS, threads=1, checkpoint=2)
    with pytest.raises(Stopped):
        train_sft(shards, out, config, stop_at(5))
    other = SftConfig(model=config.model, trainer=STEPS, checkpoint="30 min")
    with pytest.raises(Stopped):
        train_sft(shards, out, other, stop_at(5), begun.append)
    assert begun[0]["after"] == 4


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        (200, {"updates": 200, "minutes": None, "keep": 2}),
        ("30 min", {"updates": None, "minutes": 30.0, "keep": 2}),
        ("1.5 h", {"updates": None, "minutes": 90.0, "keep": 2}),
        ({"updates": 5, "minutes": 2, "keep": 1}, {"updates": 5, "minutes": 2.0, "keep": 1}),
    ],
)
def test_a_number_or_a_time(short: Any, whole: dict[str, Any]) -> None:
    assert SftConfig(model="m", checkpoint=short).model_dump()["checkpoint"] == whole


@pytest.mark.parametrize("wrong", [0, True, "soon", "30", {"keep": 3}, {"updates": 3, "keep": 0}, {"minutes": 0}])
def test_what_is_neither_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        SftConfig(model="m", checkpoint=wrong)


@pytest.mark.parametrize("left", ["named", "cut"])
def test_a_checkpoint_that_is_not_whole_is_none(tmp_path: Path, write_sft: Write, left: str) -> None:
    shards, out = write_sft(sft_rows(12)), tmp_path / "out"
    config = SftConfig(model=str(base(tmp_path / "base")), trainer=STEPS, threads=1, checkpoint=2)
    with pytest.raises(Stopped):
        train_sft(shards, out, config, stop_at(5))
    kept = kept_of(out)
    if left == "named":
        (kept / "part" / "checkpoint-6").mkdir(parents=True)  # as a kill leaves it while it is written
        (kept / "part" / "checkpoint-6" / "config.json").write_text("{")
        (kept / "checkpoint-6").mkdir()
    else:
        with (kept / "checkpoint-4" / "optimizer.pt").open("r+b") as f:
            f.truncate(100)
    assert train_sft(shards, out, config)["settings"]["after"] == (4 if left == "named" else 2)


def shards_of(folder: Path) -> None:
    import polars as pl

    from toolkit.records import Column
    from toolkit.shards import ShardWriter

    rows = pl.DataFrame([{k: r[k] for k in ("prompt", "completion", "id")} for r in sft_rows(8)])
    messages = {"list": {"struct": {"role": "string", "content": "string"}}}
    columns = tuple(Column(name=n, type="string" if n == "id" else messages, nullable=False) for n in rows.columns)
    writer = ShardWriter(folder, columns, 1000)
    writer.write(rows, "train")
    writer.finish({"guard": "g 1", "guard_input": "abc"})


def interrupted(command: list[str], cwd: Path, place: Path, number: int) -> tuple[int, str]:
    """Start a command, end it once there are two checkpoints more, and return its exit code and what it printed."""
    known = set(kept_of(place).glob("checkpoint-*"))
    with subprocess.Popen([sys.executable, "-m", "toolkit", *command], stderr=subprocess.PIPE, text=True, cwd=cwd) as process:
        until = time.monotonic() + 200
        while len(set(kept_of(place).glob("checkpoint-*")) - known) < 2 and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.stderr is not None
        printed = process.stderr.read()
    return process.returncode, printed


def test_a_killed_command_goes_on_and_an_interrupted_one_says_so(tmp_path: Path) -> None:
    base(tmp_path / "base")
    shards_of(tmp_path / "shards")
    lines = ["shards: shards", "output: out", "model: base", "threads: 1", "checkpoint: 20"]
    (tmp_path / "sft.yaml").write_text("\n".join([*lines, "trainer: {max_steps: 100000, per_device_train_batch_size: 2}"]))
    _, first = interrupted(["train", "sft", "sft.yaml"], tmp_path, tmp_path / "out", signal.SIGKILL)
    code, second = interrupted(["train", "sft", "sft.yaml"], tmp_path, tmp_path / "out", signal.SIGINT)
    assert "goes on after update" not in first and "; goes on after update " in second
    assert code == 3 and "start it again: no model is written yet, and it goes on after update " in second


FULL = """
import resource, sys
from toolkit.cli import main
from toolkit.training import _checkpoints
settle = _checkpoints.Checkpoints.settle
def then_full(self, update):
    settle(self, update)
    if update == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, resource.RLIM_INFINITY))
_checkpoints.Checkpoints.settle = then_full
sys.argv = ["guardkit", "train", "sft", "sft.yaml"]
main()
"""


def test_a_disk_that_is_full_keeps_the_last_whole_one(tmp_path: Path) -> None:
    base(tmp_path / "base")
    shards_of(tmp_path / "shards")
    lines = ["shards: shards", "output: out", "model: base", "threads: 1", "checkpoint: 2", "trainer: {max_steps: 8, per_device_train_batch_size: 2}"]
    (tmp_path / "sft.yaml").write_text("\n".join(lines))
    done = subprocess.run([sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert "the disk is full" in done.stderr and "make room" in done.stderr and "it goes on after update 4" in done.stderr
    assert sorted(p.name for p in kept_of(tmp_path / "out").iterdir()) == ["checkpoint-2", "checkpoint-4"]
    again = subprocess.run([sys.executable, "-m", "toolkit", "train", "sft", "sft.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and "goes on after update 4" in again.stderr, again.stderr
