"""GRPO with scores of a model that is asked through a backend."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from shardfolders import write
from test_grpo import GUARD, SCHEMA, TRAINER, rows

import toolkit
from toolkit.common.errors import InputError, InputErrors

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))
from server import Server, chat, running


@pytest.fixture(autouse=True)
def no_network() -> None:
    """The model that scores is a server of this machine."""


def test_a_models_score_is_asked_for_and_its_answers_are_in_the_journal(tiny: tuple[Path, Any], tmp_path: Path) -> None:
    shards = write(tmp_path / "rl", rows(), SCHEMA)
    (tmp_path / "place.yaml").write_text(yaml.safe_dump(GUARD.model_dump(mode="json", exclude_unset=True)))
    trainer = TRAINER | {"max_steps": 2}
    common = {"shards": str(shards), "model": str(tiny[0]), "guard": str(tmp_path / "place.yaml"), "trainer": trainer, "threads": 1, "most_cut": 1}
    formula = {"scores": {"quality": 1.0}, "accuracy": 0.0}
    with running(Server()) as server:
        server.script = lambda text, _: (200, {}, chat("Safety: Safe" if "garden" in text else "Safety: Unsafe"))
        model: dict[str, Any] = {"guard": "qwen3guard", "backend": {"backend": "openai", "model": "m", "base_url": server.base_url}, "absent": 0}

        def train(out: str, **more: Any) -> Any:
            config = common | {"output": str(tmp_path / out), "formula": formula, "scores": {"quality": model | more}}
            return toolkit.train("grpo", config, work=tmp_path, unverified=True)

        found = train("first")
        assert 0 < found["reward_first"] < 1, "an output that names the garden earns 1, another nothing"
        asked = len(server.requests)
        assert 0 < asked <= 2 * 8 and train("second")["reward_last"] == found["reward_last"]
        assert len(server.requests) == asked, "the same answers were scored before"
        server.script = lambda text, _: (200, {}, chat("Well."))
        with pytest.raises(InputError, match="no reward: score quality"):
            train("third", backend=model["backend"] | {"model": "n"})
        assert train("fourth", unread=0.5, backend=model["backend"] | {"model": "n"})["reward_first"] > 0
        with pytest.raises((InputError, InputErrors), match="price"):
            toolkit.train(
                "grpo", common | {"output": "x", "formula": formula, "scores": {"quality": model}}, work=tmp_path, unverified=True, budget=1
            )


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"quality": {"guard": "qwen3guard", "task": "x"}}, "has no task 'x'"),
        ({"qualty": {"guard": "qwen3guard"}}, "weighs no score 'qualty'"),
        ({"quality": {"guard": "qwen3guard", "of": "rewrite"}}, "writes no 'rewrite'"),
    ],
)
def test_what_a_score_model_names_must_be_there(scores: dict[str, Any], words: str) -> None:
    from toolkit.training import ScoreModel, trained_formula

    backend = {"backend": "openai", "model": "m"}
    models = {name: ScoreModel.model_validate(how | {"backend": backend}) for name, how in scores.items()}
    formula = {"scores": {"quality": 1.0}}
    with pytest.raises(InputError, match=words):
        trained_formula(GUARD, formula, ["quality"], models)
