"""`metrics.jsonl` of a model's folder: a line for each update, whether or not the training was stopped on the way; its picture and its small curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bases import base
from shardfolders import dpo_rows, sft_rows

import toolkit.training._curves_picture as drawn
from toolkit.common.errors import Stopped
from toolkit.common.models import model_hash
from toolkit.report import sparkline, training_lines
from toolkit.training import DpoConfig, SftConfig, curves, read_metrics, train_dpo, train_sft
from toolkit.training._speed import operations_of, peak_of, token_operations

Write = Callable[..., Path]
STEPS = {"max_steps": 6, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}
OF_TIME = {"seconds", "tokens_per_second", "mfu"}


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name not in OF_TIME} for line in lines]


def test_each_update_has_a_line_and_none_is_lost_or_doubled(tmp_path: Path, write_dpo: Write) -> None:
    config = DpoConfig.model_validate({"model": str(base(tmp_path / "base")), "trainer": STEPS, "threads": 1, "checkpoint": 2})
    shards = write_dpo(dpo_rows(12))

    def stop(done: int, total: int, loss: float | None) -> None:
        if done == 5:
            raise Stopped("enough")

    train_dpo(shards, tmp_path / "whole", config)
    with pytest.raises(Stopped):
        train_dpo(shards, tmp_path / "out", config, stop)
    found = train_dpo(shards, tmp_path / "out", config)
    lines, whole = read_metrics(tmp_path / "out"), read_metrics(tmp_path / "whole")
    assert timeless(lines) == timeless(whole) and [line["update"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert (
        lines[-1]["loss"] == found["loss_last"] and lines[-1]["tokens"] == found["tokens"] and lines[-1]["pairs_right"] == found["pairs_right_last"]
    )
    assert all(line["gradient_norm"] > 0 and line["tokens_per_second"] > 0 and line["mfu"] is None for line in lines)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds) and "margin" in lines[0] and lines[0]["learning_rate"] == 1e-3
    assert model_hash(tmp_path / "out") == model_hash(tmp_path / "whole"), "a model's hash does not count its time"


def test_a_model_whose_lines_were_changed_is_still_the_trainings_own(tmp_path: Path, write_sft: Write) -> None:
    config = SftConfig.model_validate({"model": str(base(tmp_path / "base")), "trainer": STEPS | {"max_steps": 1}, "threads": 1})
    train_sft(write_sft(sft_rows(4)), tmp_path / "out", config)
    (tmp_path / "out" / "metrics.jsonl").write_text("")
    train_sft(write_sft(sft_rows(4)), tmp_path / "out", config)
    assert len(read_metrics(tmp_path / "out")) == 1


def test_the_picture_is_drawn_where_it_can_be(tiny: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, metrics = tiny
    picture = (folder / "curves.svg").read_text()
    assert picture.startswith("<svg") and "gradient norm" in picture and "http" not in picture.replace("http://www.w3.org", "")
    lines = read_metrics(folder)
    assert len(lines) == metrics["steps"] >= drawn.FEWEST
    assert not drawn.draw(lines[: drawn.FEWEST - 1], tmp_path), "a few points are no curve"
    monkeypatch.setattr(drawn, "find_spec", lambda name: None)
    assert not drawn.draw(lines, tmp_path) and not list(tmp_path.iterdir()), "everything else stands without vl-convert"


def test_a_long_series_is_thinned_and_keeps_its_last_point() -> None:
    lines = [{"update": n, "loss": 1 / n, **({"eval_loss": 2 / n} if n % 100 == 0 else {})} for n in range(1, 5001)]
    [panel] = curves(lines)["vconcat"]
    values = panel["data"]["values"]
    trained, held = ([v["update"] for v in values if v["rows"] == rows] for rows in ("trained", "held out"))
    assert len(trained) <= 1001 and trained[-1] == 5000 and held == list(range(100, 5001, 100))
    json.dumps(panel)


def test_a_terminal_shows_where_it_began_and_ended(tmp_path: Path) -> None:
    lines = [{"update": n, "loss": abs(5 - n) + 1.0, "tokens": 10 * n, "seconds": n / 2, "tokens_per_second": 20.0, "mfu": None} for n in range(1, 9)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = training_lines(tmp_path)
    assert shown[0].split() == ["loss", "█▆▅▃▁▃▅▆", "5", "→", "4", "lowest", "1", "after", "update", "5"]
    assert shown[1].endswith("20 on the whole") and training_lines(tmp_path / "nowhere") == []
    assert sparkline([1.0] * 3) == "▁▁▁" and len(sparkline(list(range(1000)))) == 40 and sparkline([]) == ""


def test_the_operations_of_a_token_are_counted_by_hand(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base(tmp_path / "tied"))
    weights = sum(p.numel() for p in model.parameters())
    assert operations_of(model, [10, 30]) == 6 * weights + 12 * 1 * 2 * 16 * 25
    untied: Any = AutoModelForCausalLM.from_pretrained(base(tmp_path / "untied", tie_word_embeddings=False))
    table = untied.get_input_embeddings().weight.numel()
    every = sum(p.numel() for p in untied.parameters())
    assert operations_of(untied, [10]) == 6 * (every - table) + 12 * 32 * 10, "a table that is only looked up multiplies nothing"
    for weight in untied.parameters():
        weight.requires_grad = False
    assert operations_of(untied, [10]) == token_operations(every - table, 0, 1, 2, 16, 10)


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 3090", 71e12),
        ("NVIDIA Tesla M60", None),
    ],
)
def test_a_devices_peak_goes_by_its_name(device: str, peak: float | None) -> None:
    assert peak_of(device) == peak
