"""Programs that are handed a training's figures: only where one says so, and with leave where these are sent away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import base
from shardfolders import sft_rows

import toolkit
from toolkit.common.errors import InputErrors, Missing
from toolkit.training import SftConfig, check_fields, check_trainer, in_words, train_sft

Write = Callable[..., Path]


def test_tensorboard_writes_where_it_is_stated(tmp_path: Path, write_sft: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    begun: list[Any] = []
    steps = {"max_steps": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "report_to": "tensorboard"}
    config = SftConfig.model_validate({"model": str(base(tmp_path / "base")), "trainer": steps, "threads": 1, "evaluate": {"rows": 1}})
    found = train_sft(write_sft(sft_rows(12)), tmp_path / "guard", config, on_begin=begun.append)
    assert in_words(begun[0]).endswith("; tensorboard --logdir tensorboard/guard")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "guard"))
    events.Reload()
    [*losses] = events.Scalars("train/loss")
    assert [e.step for e in losses] == [1, 2] and losses[-1].value == pytest.approx(found["loss_last"])
    assert events.Scalars("eval/loss")[-1].value == pytest.approx(found["eval_loss"])
    other = config.model_copy(update={"trainer": config.trainer | {"run_name": "../../away"}})
    train_sft(write_sft(sft_rows(12)), tmp_path / "guard", other)
    assert {p.name for p in (tmp_path / "tensorboard").iterdir()} == {"guard", "-..-away"}, "no name leads elsewhere"


def test_nothing_is_written_or_sent_unless_asked(tmp_path: Path, write_sft: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}
    train_sft(write_sft(sft_rows(4)), tmp_path / "guard", SftConfig.model_validate({"model": str(base(tmp_path / "base")), "trainer": steps}))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "guard", "sft"]


def test_a_service_needs_leave_and_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_checkpoints import shards_of

    monkeypatch.chdir(tmp_path)
    shards_of(tmp_path / "shards")
    base(tmp_path / "base")
    config = {"shards": "shards", "output": "out", "model": "base", "trainer": {"report_to": ["tensorboard", "trackio"], "max_steps": 1}}
    with pytest.raises(InputErrors, match="trackio is sent the settings and figures of the training") as e:
        toolkit.train("sft", config)
    assert "report_to=trackio" in str(e.value)
    with pytest.raises(Missing, match="'trackio' is not installed"):
        toolkit.train("sft", config, allow=["report_to=trackio"])


def test_a_name_that_is_none_is_refused_without_loading_trl() -> None:
    with pytest.raises(InputErrors, match="report_to knows no 'tensorbord'") as e:
        check_fields(SftConfig(model="m", trainer={"report_to": "tensorbord"}))
    assert "did you mean 'tensorboard'" in str(e.value)
    check_trainer(SftConfig(model="m", trainer={"report_to": "none"}))
