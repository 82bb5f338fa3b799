"""What later steps need is reported before the first paid call."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from world import World

import toolkit
from toolkit.common.errors import Missing
from toolkit.guards import load_guard
from toolkit.operators import Context
from toolkit.operators.train.train_sft import TrainSft, TrainSftConfig
from toolkit.taxonomy import load_taxonomy

sys.path[:0] = [str(Path(__file__).parents[1] / "common"), str(Path(__file__).parents[1] / "generation")]
from server import Server, running  # noqa: E402
from test_hub import Hub, served  # noqa: E402, F401  a fixture


@pytest.fixture
def teacher() -> Iterator[Server]:
    with running(Server()) as server:
        yield server


def steps(teacher: Server, *more: dict[str, Any]) -> list[dict[str, Any]]:
    backend = {"backend": "openai", "model": "m", "base_url": teacher.base_url}
    return [
        {"id": "asked", "use": "generate", "with": {"backend": backend, "user": "{{ prompt }}"}},
        {"id": "judged", "use": "synthesise", "with": {"backend": {"backend": "template"}}, "from": "seeds"},
        {"id": "rendered", "use": "render_sft"},
        {"id": "shards", "use": "shards"},
        *more,
    ]


TRAIN = {"id": "guard", "use": "train_sft", "with": {"model": "owner/gated"}}
OTHERS = [
    {"id": "measured", "use": "measure", "from": "seeds", "with": {"measures": ["tokens"], "texts": ["prompt"], "model": "owner/nowhere"}},
    {"id": "same", "use": "deduplicate", "from": "seeds", "with": {"semantic": {"model": "owner/nowhere"}, "methods": ["semantic"]}},
    {
        "id": "drawn", "use": "sample", "from": "seeds",
        "with": {"k": 1, "models": {"one": {"backend": "transformers", "model": "owner/nowhere", "temperature": 0}}},
    },
]  # fmt: skip


def test_a_gated_base_model_is_reported_before_the_teacher_is_paid(world: World, teacher: Server, served: Hub) -> None:  # noqa: F811
    world.recipe(*steps(teacher, TRAIN))
    assert any("step 'guard'" in n and "is gated" in n for n in toolkit.check(world.folder / "recipe.yaml").needs)
    assert any("is gated" in n for n in toolkit.plan(world.folder / "recipe.yaml", output=world.folder / "out").needs)
    with pytest.raises(Missing, match=r"(?s)step 'guard'.*is gated.*until=\['asked', 'shards'\]"):
        toolkit.run(world.folder / "recipe.yaml", output=world.folder / "out")
    assert teacher.requests == []
    done = toolkit.run(world.folder / "recipe.yaml", output=world.folder / "out", until=["asked", "shards"])
    assert len(teacher.requests) == 24 and "guard" not in done.built


def test_memory_is_reported_of_a_model_that_is_still_on_the_hub(world: World, teacher: Server, served: Hub) -> None:  # noqa: F811
    world.recipe(*steps(teacher, {**TRAIN, "with": {"model": "owner/free"}}))
    (need,) = toolkit.check(world.folder / "recipe.yaml").needs
    assert "step 'guard': training 'owner/free' (1,000.0 billion weights) takes 14,901 GiB before any text is read" in need


@pytest.mark.parametrize("step", OTHERS, ids=lambda s: s["use"])
def test_so_is_every_name_on_the_hub_of_any_operator(world: World, served: Hub, step: dict[str, Any]) -> None:  # noqa: F811
    world.recipe(step)
    assert any(f"step {step['id']!r}" in n and "'owner/nowhere'" in n and "has no" in n for n in toolkit.check(world.folder / "recipe.yaml").needs)


@pytest.mark.parametrize(
    ("trainer", "least"),
    [
        ({}, "8,192 GiB"),
        ({"model_init_kwargs": {"dtype": "bfloat16"}}, "4,096 GiB"),
        ({"optim": "adafactor"}, "2,048 GiB"),
        ({"deepspeed": "z.json"}, None),
    ],
)
def test_memory_that_a_training_takes_at_least(world: World, trainer: dict[str, Any], least: str | None) -> None:
    folder = world.folder / "large"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "dtype": "bfloat16"}))
    with (folder / "model.safetensors").open("wb") as f:
        f.truncate(1 << 40)  # a sparse file: nothing is written
    ctx = Context(load_guard("guardreasoner"), load_taxonomy(), 0, "guard", world.folder)
    needs = TrainSft(TrainSftConfig.model_validate({"model": "./large", "trainer": trainer})).needs(ctx)
    if least is None:
        assert needs == []
    else:
        (need,) = needs
        assert f"training './large' (549.8 billion weights) takes {least} before any text is read" in need
