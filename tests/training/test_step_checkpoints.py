"""The training of a recipe's step goes on from its checkpoint when the recipe is run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.common.errors import Stopped
from toolkit.common.folders import kept_of
from toolkit.common.models import model_hash
from toolkit.pipeline import Progress

TINY = {"scratch": {"layers": 1, "width": 32, "heads": 2, "vocab": 400, "max_length": 2048}}
STEPS = {"max_steps": 6, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}


def recipe(folder: Path, **options: Any) -> Path:
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 6}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rows", "use": "render_sft"},
        {"id": "shards", "use": "shards"},
        {"id": "sft", "use": "train_sft", "with": {"model": TINY, "trainer": STEPS, "threads": 1, **options}},
    ]
    path = folder / "r.yaml"
    path.write_text(json.dumps({"recipe": "r", "steps": steps}))
    return path


class Interrupted(Progress):
    """A user who presses Ctrl-C at an update."""

    def __init__(self, at: int) -> None:
        super().__init__(quiet=True)
        self.at, self.updates = at, list[int]()

    def update(self, done: int, total: int | None, words: str) -> None:
        if words.startswith("loss"):
            self.updates.append(done)
            if done == self.at:
                raise KeyboardInterrupt


def test_a_stopped_step_goes_on_and_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = toolkit.run(recipe(tmp_path), output="whole")
    with pytest.raises(Stopped) as e:
        toolkit.run(recipe(tmp_path), output="anew", progress=Interrupted(5))
    assert e.value.hint is not None and "the training of 'sft' begins anew: it has no `checkpoint`" in e.value.hint
    path = recipe(tmp_path, checkpoint={"updates": 2, "keep": 1})
    with pytest.raises(Stopped) as e:
        toolkit.run(path, output="out", progress=Interrupted(5))
    assert "finished steps and answers are kept; the training of 'sft' goes on after update 4" in str(e.value.hint)
    assert not Path("out/sft").exists() and [p.name for p in kept_of(Path("out/sft")).iterdir()] == ["checkpoint-4"]
    rest = Interrupted(-1)
    again = toolkit.run(path, output="out", progress=rest)
    assert rest.updates == [5, 6] and again.built == ["sft"]
    assert model_hash("out/sft/model") == model_hash("whole/sft/model")
    assert not list(Path("out").glob(".*guardkit")), "nothing hidden is left"
    assert toolkit.run(recipe(tmp_path), output="out").built == [], "how often it is written down shapes no model"
    assert whole.built[-1] == "sft"


def test_clean_removes_the_checkpoints_of_a_step_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Stopped):
        toolkit.run(recipe(tmp_path, checkpoint=1), output="out", progress=Interrupted(3))
    kept = kept_of(Path("out/sft"))
    toolkit.clean_run("out")
    assert kept.is_dir()
    shorter = json.loads((tmp_path / "r.yaml").read_text())
    shorter["steps"].pop()
    (tmp_path / "r.yaml").write_text(json.dumps(shorter))
    toolkit.run("r.yaml", output="out")
    toolkit.clean_run("out")
    assert not kept.exists()
