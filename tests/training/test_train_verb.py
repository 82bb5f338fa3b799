"""`train` outside a recipe: what it tells before it starts and when it is interrupted, what it replaces, and which folders it takes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bases import base
from shardfolders import sft_rows

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.models import model_hash
from toolkit.pipeline import Progress
from toolkit.records import Column
from toolkit.shards import ShardWriter

ONCE = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 3e-4}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """In a fresh working folder with shards in a step's folder, and a model to start from."""
    monkeypatch.chdir(tmp_path)
    rows = pl.DataFrame([{k: r[k] for k in ("prompt", "completion", "id")} for r in sft_rows(8)])
    rows = rows.with_columns(source=pl.lit("s"), licence=pl.lit("CC0-1.0"))
    messages = {"list": {"struct": {"role": "string", "content": "string"}}}
    columns = tuple(Column(name=n, type=messages if n in ("prompt", "completion") else "string", nullable=False) for n in rows.columns)
    Path("run/made").mkdir(parents=True)
    writer = ShardWriter(Path("run/made/shards"), columns, 1000)
    writer.write(rows, "train")
    writer.finish({"guard": "g 1", "guard_input": "abc"})
    base(Path("base"))
    return {"shards": "run/made/shards", "output": "out", "model": "base", "trainer": ONCE, "threads": 1}


def test_a_model_is_replaced_only_where_that_is_asked_for(config: dict[str, Any]) -> None:
    toolkit.train("sft", config)
    before = model_hash("out")
    again = config | {"seed": 7, "trainer": ONCE | {"learning_rate": 0.01}}
    with pytest.raises(InputError, match="out: a trained model is there") as e:
        toolkit.train("sft", again)
    assert "overwrite=True" in str(e.value.hint) and model_hash("out") == before
    toolkit.train("sft", again, overwrite=True)
    assert model_hash("out") != before
    Path("out/mine.txt").write_text("keep")
    with pytest.raises(InputError, match=r"something else is in this model folder: mine\.txt"):
        toolkit.train("sft", again, overwrite=True)


def test_the_settings_are_reported_before_it_starts(config: dict[str, Any]) -> None:
    stated = io.StringIO()
    found = toolkit.train("sft", config, Progress(stated))
    first = stated.getvalue().splitlines()[0]
    assert first == "train sft: 1 update of 4 rows (2 x 2 accumulated), 1 epoch, learning rate 0.0003 (cosine), on cpu"
    settings = found["settings"]
    assert (settings["updates"], settings["batch"], settings["accumulation"], settings["rows_an_update"]) == (1, 2, 2, 4)


def test_a_steps_folder_will_do_for_shards_and_model(config: dict[str, Any]) -> None:
    toolkit.train("sft", config | {"shards": "run/made", "output": "run/guard/model"})
    found = toolkit.train("sft", config | {"shards": "run/made", "model": "run/guard", "output": "second"})
    assert found["rows_used"] == 8
    with pytest.raises(InputError, match="no shards, but steps that made some are in it"):
        toolkit.train("sft", config | {"shards": "run", "output": "third"})


def test_a_wrong_setting_is_reported_with_its_line(config: dict[str, Any]) -> None:
    lines = ["shards: run/made", "output: out", "model: base", "trainer:", "  max_steps: 1", "  learning_rate: fast", "  betta: 1"]
    Path("sft.yaml").write_text("\n".join(lines))
    with pytest.raises(InputErrors) as e:
        toolkit.train("sft", "sft.yaml")
    assert [(f.where or "").split(":")[:2] for f in e.value.errors] == [["sft.yaml", "6"], ["sft.yaml", "7"]]
    assert "must be a number, not 'fast'" in str(e.value) and not Path("out").exists()


def test_an_interrupted_training_says_that_nothing_is_kept(config: dict[str, Any], tmp_path: Path) -> None:
    lines = ["shards: run/made", "output: out", "model: base", "threads: 1", "trainer: {max_steps: 100000, per_device_train_batch_size: 2}"]
    Path("sft.yaml").write_text("\n".join(lines))
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "toolkit", "train", "sft", "sft.yaml"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path) as process:
        assert process.stderr is not None
        assert "100,000 updates of" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        printed = process.stderr.read()
    assert process.returncode == 3
    assert "start it again: no model is written yet, and it begins anew" in printed and "answers are kept" not in printed
    assert not Path("out").exists()
