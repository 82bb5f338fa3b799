"""Settings: defaults of the published recipe, faults reported before anything is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from toolkit.common.errors import InputError, InputErrors
from toolkit.training import DpoConfig, SftConfig, check_trainer
from toolkit.training._training_config import trainer_args


@pytest.mark.parametrize(
    ("rows", "batch", "processes", "steps"), [(384, 6, 1, 64), (384, 6, 4, 16), (384, 6, 8, 8), (256, 1, 8, 32), (384, 4, 6, 16)]
)
def test_rows_of_an_update_are_the_same_on_any_number_of_gpus(rows: int, batch: int, processes: int, steps: int) -> None:
    from toolkit.training._training_config import accumulation_of

    assert accumulation_of(rows, batch, processes) == steps


def test_rows_of_an_update_set_the_accumulation(tmp_path: Path) -> None:
    def made(**more: Any) -> Any:
        return trainer_args(SftConfig.model_validate({"model": "m", "trainer": {"per_device_train_batch_size": 6}} | more), str(tmp_path))

    assert made(rows_an_update=384).gradient_accumulation_steps == 64
    with pytest.raises(InputError, match="100 rows an update are not made of 6 on each of 1 processes") as e:
        made(rows_an_update=100)
    assert "per_device_train_batch_size: 5 fits" in str(e.value.hint)
    with pytest.raises(InputError, match="4 rows an update"):
        made(rows_an_update=4)
    with pytest.raises(InputError, match="384 rows an update are not made of 6 on each of 5 processes"):
        check_trainer(SftConfig(model="m", rows_an_update=384, processes=5, trainer={"use_cpu": True, "per_device_train_batch_size": 6}))
    with pytest.raises(ValueError, match="give one of the two"):
        made(rows_an_update=384, trainer={"gradient_accumulation_steps": 4})


def test_importing_the_room_loads_no_torch() -> None:
    code = "import sys, toolkit.training as t; t.SftConfig(model='x'); print(sorted({'torch', 'trl', 'transformers', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_defaults_are_the_published_recipe(tmp_path: Path) -> None:
    sft: Any = trainer_args(SftConfig(model="some/model"), str(tmp_path))
    assert (sft.learning_rate, sft.lr_scheduler_type, sft.num_train_epochs, sft.warmup_steps, sft.max_length) == (5e-5, "cosine", 3, 0, 2048)
    assert sft.per_device_train_batch_size * sft.gradient_accumulation_steps * 4 == 384
    dpo: Any = trainer_args(DpoConfig(model="some/model"), str(tmp_path))
    assert (dpo.beta, dpo.loss_type, dpo.loss_weights) == (0.01, ["sigmoid", "sft"], [1.0, 2.0])
    assert (dpo.learning_rate, dpo.lr_scheduler_type, dpo.num_train_epochs, dpo.disable_dropout) == (5e-6, "cosine", 2, True)
    assert dpo.per_device_train_batch_size * dpo.gradient_accumulation_steps * 4 == 256
    for args in (sft, dpo):
        assert (args.report_to, args.save_strategy, args.disable_tqdm) == ([], "no", True)


def test_what_a_user_sets_wins_and_the_rest_stays_trls_own(tmp_path: Path) -> None:
    args: Any = trainer_args(SftConfig(model="m", trainer={"learning_rate": 1e-4, "weight_decay": 0.1}, seed=7), str(tmp_path))
    assert (args.learning_rate, args.weight_decay, args.seed, args.adam_beta2) == (1e-4, 0.1, 7, 0.999)


def test_every_wrong_trainer_key_is_reported_at_once_with_the_nearest_name() -> None:
    with pytest.raises(InputErrors) as e:
        check_trainer(DpoConfig(model="m", trainer={"learning_rat": 1e-4, "betta": 0.1, "output_dir": "here", "eval_steps": 5}))
    text = str(e.value)
    assert len(e.value.errors) == 4
    assert "trainer.learning_rat" in text and "did you mean 'learning_rate'" in text and "did you mean 'beta'" in text
    with pytest.raises(InputErrors, match="`checkpoint`"):
        check_trainer(SftConfig(model="m", trainer={"save_steps": 50}))
    assert "guardkit writes the model folder" in text and "`evaluate`" in text


def test_a_value_that_trl_refuses_is_an_input_error() -> None:
    with pytest.raises(InputError, match="loss_weights"):
        check_trainer(DpoConfig(model="m", trainer={"loss_type": ["sigmoid"], "loss_weights": [1.0, 2.0]}))


@pytest.mark.parametrize(
    "data",
    [
        {"model": "m", "lr": 1},
        {"model": {"scratch": {"depth": 2}}},
        {"model": {"scratch": {"width": 30, "heads": 4}}},
        {"model": {"scratch": {}}, "chat_template": "plain"},
        {"model": "m", "seed": -1},
        {},
    ],
)
def test_bad_settings_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SftConfig.model_validate(data)


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"learning_rate": "fast"}, "must be a number, not 'fast'"),
        ({"max_steps": 2.5}, "must be a whole number, not 2.5"),
        ({"num_train_epochs": [3]}, "must be a number, not [3]"),
        ({"gradient_checkpointing": "no"}, "must be true or false, not 'no'"),
        ({"per_device_train_batch_size": True}, "must be a whole number, not True"),
        ({"lr_scheduler_kwargs": 3}, "must be keys with values or a text, not 3"),
        ({"optim": 3}, "must be a text, not 3"),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_input_error_with_its_place(trainer: dict[str, Any], message: str) -> None:
    [key] = trainer
    with pytest.raises(InputErrors) as e:
        check_trainer(SftConfig(model="m", trainer=trainer))
    [fault] = e.value.errors
    assert (fault.message, fault.where) == (message, f"trainer.{key}")
    assert fault.hint is None or "its default is" in fault.hint


@pytest.mark.parametrize(
    ("kind", "trainer"),
    [
        (SftConfig, {"learning_rate": 1, "max_steps": 3, "lr_scheduler_type": "linear", "max_length": None}),
        (DpoConfig, {"loss_type": ["sigmoid"], "loss_weights": [1.0], "pad_to_multiple_of": 8}),
    ],
)
def test_what_trl_takes_reaches_it(kind: type[SftConfig] | type[DpoConfig], trainer: dict[str, Any]) -> None:
    made = trainer_args(kind(model="m", trainer=trainer), "unused")
    assert {key: getattr(made, key) for key in trainer} == trainer
