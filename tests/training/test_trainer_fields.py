"""The trainer's fields as they are read from source, held against the installed TRL itself; and a check that loads none of it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.common.errors import InputErrors
from toolkit.training import DpoConfig, SftConfig, check_fields
from toolkit.training import _fields as fields
from toolkit.training._training_config import defaults, trainer_args


@pytest.mark.parametrize("name", ["SFTConfig", "DPOConfig"])
def test_they_are_those_of_the_installed_trl(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.sft_config import SFTConfig

    cls: Any = {"SFTConfig": SFTConfig, "DPOConfig": DPOConfig}[name]
    there = {f.name for f in dataclasses.fields(cls) if f.init}
    fields.fields_of.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(fields, "_imported", lambda name: pytest.fail("the source could not be read"))
        found = fields.fields_of(name)
    assert set(found) == there
    assert found["learning_rate"].kinds == ("float",) and found["max_steps"].kinds == ("int",) and found["bf16"].kinds == ("bool",)
    assert {"cosine", "linear"} <= set(found["lr_scheduler_type"].words) and "adamw_torch" in found["optim"].words
    for f in dataclasses.fields(cls):  # each default fits what was made out of its annotation
        if f.init and f.default is not dataclasses.MISSING:
            value = getattr(f.default, "value", f.default)
            assert fields.misfit(found[f.name], value) is None, f.name


@pytest.mark.parametrize("config", [SftConfig(model="m"), SftConfig.model_validate({"model": {"scratch": {}}}), DpoConfig(model="m")])
def test_the_defaults_of_guardkit_fit(config: Any) -> None:
    known = fields.fields_of("DPOConfig" if isinstance(config, DpoConfig) else "SFTConfig")
    for cpu in (True, False):
        assert {k: why for k, v in defaults(config, cpu=cpu).items() if (why := fields.misfit(known[k], v))} == {}


def test_where_the_source_cannot_be_made_out_trl_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fields.fields_of.cache_clear()
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "sft_config.py").write_text("from .elsewhere import SFTConfig\n")
    with monkeypatch.context() as patch:
        patch.setattr(fields, "_package", lambda name: tmp_path)
        found = fields.fields_of("SFTConfig")
    fields.fields_of.cache_clear()
    assert "learning_rate" in found and found["learning_rate"].kinds == ()


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"learning_rate": "fast"}, "trainer.learning_rate: must be a number, not 'fast'"),
        ({"max_steps": 2.5}, "must be a whole number, not 2.5"),
        ({"bf16": "yes"}, "must be true or false, not 'yes'"),
        ({"num_train_epochs": True}, "must be a number, not True"),
        ({"lr_scheduler_type": "cosin"}, "did you mean 'cosine'?"),
        ({"optim": "adam_torch"}, "did you mean 'adamw_torch'?"),
        ({"gradient_checkpointing_kwargs": [1]}, "must be keys with values or a text, not [1]"),
    ],
)
def test_a_value_of_another_type_is_reported_without_loading_trl(trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(InputErrors) as e:
        check_fields(SftConfig(model="m", trainer=trainer))
    assert message in str(e.value)


@pytest.mark.parametrize("trainer", [{"max_steps": 3.0}, {"learning_rate": 1}, {"warmup_steps": 0.1}, {"optim": "adafactor"}, {"max_length": None}])
def test_what_trl_takes_is_taken(trainer: dict[str, Any]) -> None:
    config = SftConfig(model="m", trainer=trainer)
    check_fields(config)
    made, [(key, value)] = trainer_args(config, "unused"), trainer.items()
    assert getattr(made, key) == value


RECIPE: dict[str, Any] = {
    "recipe": "r",
    "steps": [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rows", "use": "render_sft"},
        {"id": "shards", "use": "shards"},
        {"id": "guard", "use": "train_sft", "with": {"model": {"scratch": {}}, "trainer": {"max_steps": 1, "fp16": True, "bf16": True}}},
    ],
}


def in_a_process(code: str, folder: Path) -> str:
    (folder / "r.yaml").write_text(json.dumps(RECIPE))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_checking_a_recipe_that_trains_loads_neither_torch_nor_trl(tmp_path: Path) -> None:
    code = "import sys, toolkit; toolkit.check('quickstart'); toolkit.check('r.yaml'); print(sorted({'torch', 'trl', 'transformers', 'datasets', 'pyarrow.lib'} & set(sys.modules)))"
    assert in_a_process(code, tmp_path).strip() == "[]"


def test_what_trl_alone_refuses_ends_a_run_before_its_first_step(tmp_path: Path) -> None:
    found = in_a_process("import toolkit; toolkit.run('r.yaml', output='out')", tmp_path)
    assert "trl refuses these trainer settings" in found and "r.yaml" in found and not (tmp_path / "out").exists(), (
        "nothing was built, and nobody was asked"
    )
