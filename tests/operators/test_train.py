"""`train_sft` and `train_dpo`: faults found before a run, and what a training's figures become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import run_steps

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard
from toolkit.operators import Context
from toolkit.operators.train._training_step import report_training
from toolkit.operators.train.train_sft import TrainSft, TrainSftConfig
from toolkit.taxonomy import load_taxonomy

DATA: list[dict[str, Any]] = [
    {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 2}},
    {"id": "r", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "rendered", "use": "render_sft"},
    {"id": "shards", "use": "shards"},
]
SFT: dict[str, Any] = {"id": "sft", "use": "train_sft", "from": "shards"}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{**SFT, "with": {"model": {"scratch": {}}, "trainer": {"learning_rat": 1}}}], r"recipe\.yaml:\d+.*'learning_rat'[^\n]*\n.*did you mean 'learning_rate'"),
        ([{**SFT, "with": {"model": {"scratch": {}}, "trainer": {"output_dir": "x", "max_lenth": 5}}}], "guardkit writes the model folder.*max_lenth"),
        ([{**SFT, "with": {"model": {"scratch": {}}, "trainer": {"lr_scheduler_type": "zigzag"}}}], "trl refuses"),
        ([{**SFT, "with": {"model": {"scratch": {"width": 100, "heads": 3}}}}], "not a multiple"),
        ([{**SFT, "with": {}}], "there is no `model` to train"),
        ([SFT | {"with": {"model": {"scratch": {}}}}, {**SFT, "id": "on", "from": {"shards": "shards", "model": "sft"}, "with": {"model": "m"}}], "both an option and an earlier step"),
        ([SFT | {"with": {"model": {"scratch": {}}}}, {**SFT, "id": "on", "from": {"shards": "shards", "modl": "sft"}}], "no input called 'modl'.*did you mean 'model'"),
        ([{**SFT, "with": {"model": {"scratch": {}}, "chat_template": "plain"}}], r"recipe\.yaml:\d+.*chat_template goes with a model by name"),
        ([{**SFT, "with": {"model": "./nowhere"}}], r"\./nowhere: no such model folder"),
        ([{**SFT, "from": "rendered", "with": {"model": "m"}}], "makes no 'shards'"),
        ([{"id": "dpo", "use": "train_dpo", "from": {"shards": "shards", "model": "shards"}}], "makes no 'model'"),
        ([{"id": "rl", "use": "train_grpo", "from": "shards", "with": {"model": "m", "formula": {"scores": {"quality": 1}}}}], "weighs scores of what the guard writes that nothing gives here: quality"),
        ([{"id": "rl", "use": "train_grpo", "from": "shards", "with": {"model": "m", "formula": {"scores": {"q": 1}}, "scores": {"q": {"guard": "qwen3guard", "task": "x", "backend": {"backend": "openai", "model": "m"}}}}}], "has no task 'x'"),
        ([{"id": "rl", "use": "train_grpo", "from": "shards", "with": {"model": "m", "curriculum": "easy_first"}}], "the shards have no column of error rates: error_rate_prompt"),
        ([{"id": "dpo", "use": "train_dpo", "from": "shards"}], "also needs the input 'model'"),
        ([SFT | {"with": {"model": {"scratch": {}}}}, {"id": "dpo", "use": "train_dpo", "from": {"shards": "shards", "model": "sft"}, "with": {"trainer": {"bta": 1}}}], "did you mean 'beta'"),
    ],
)  # fmt: skip
def test_a_training_that_cannot_work_is_refused_before_anything_runs(steps: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        run_steps(tmp_path, [*DATA, *steps])
    assert not (tmp_path / "out").exists()


class Recorded:
    """What an output was given."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.aside: dict[str, list[str]] = {}
        self.stats: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}

    def count_in(self, n: int) -> None:
        self.counts["in"] = n

    def use(self, n: int) -> None:
        self.counts["used"] = n

    def set_aside(self, rows: pl.DataFrame, reason: str) -> None:
        self.aside[reason] = rows["id"].to_list()

    def stat(self, name: str, value: Any) -> None:
        self.stats[name] = value

    def note(self, name: str, value: Any) -> None:
        self.notes[name] = value


@pytest.mark.parametrize("what", ["rows", "pairs"])
def test_rows_that_were_too_long_are_set_aside_by_name(what: str) -> None:
    found: Any = Recorded()
    dropped = {"too_long": {"count": 2, "ids": ["a", "b"]}}
    metrics = {what: 5, f"{what}_used": 3, "dropped": dropped, "parameters": 7, "loss_first": 2.0, "loss_last": 1.0, "seconds": 1.5}
    report_training(metrics, found, what)
    assert found.counts == {"in": 5, "used": 3} and found.aside == {"too_long": ["a", "b"]}
    assert found.stats == {"parameters": 7}, "nothing that differs from run to run is in the manifest"
    assert found.notes == {"loss_first": 2.0, "loss_last": 1.0}


def test_a_local_model_counts_by_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "recipes" / "base"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    ctx = Context(load_guard("guardreasoner"), load_taxonomy("guardkit"), 0, "sft", tmp_path / "recipes")

    def counts_by(name: str) -> dict[str, str]:
        return TrainSft(TrainSftConfig(model=name)).files(ctx)

    before = counts_by("base")
    assert before == counts_by("recipes/base"), "as named or beside the recipe"
    assert str(tmp_path) not in str(before)
    (folder / "model.safetensors").write_bytes(b"retrained")
    assert counts_by("base") != before
    assert counts_by("owner/name") == {"model": "owner/name"}, "a hub model counts by its name"
    with pytest.raises(InputError, match="no such model folder"):
        counts_by("./other")


@pytest.mark.parametrize("use", ["train_sft", "train_grpo"])
def test_a_guard_that_is_trained_further_may_be_mined_again_in_rounds(use: str) -> None:
    render = {"train_sft": "render_sft", "train_grpo": "render_rl"}[use]
    loop: list[dict[str, Any]] = [
        {**SFT, "with": {"model": {"scratch": {}}}},
        {
            "id": "samples",
            "use": "sample",
            "from": {"rows": "r", "main": "sft"},
            "with": {"backend": {"backend": "transformers", "temperature": 1.0}},
        },
        {"id": "verdicts", "use": "verdicts"},
        {"id": "hard", "use": "mine", "from": {"rows": "r", "verdicts": "verdicts"}},
        {"id": "again", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rows", "use": render},
        {"id": "lessons", "use": "shards"},
        {"id": "further", "use": use, "from": {"shards": "lessons", "model": "sft"}},
    ]
    found = toolkit.check({"recipe": "small", "rounds": 2, "steps": [*DATA, *loop]})
    assert found["steps"] == len(DATA) + 1 + 2 * (len(loop) - 1)
