"""The trainers that there are, by name; other packages bring theirs through the entry-point group ``guardkit.trainers`` (``module:TRAINER``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from toolkit.common.plugins import Registry
from toolkit.training._dpo import plan_dpo, train_dpo
from toolkit.training._grpo import plan_grpo, train_grpo
from toolkit.training._sft import plan_sft, train_sft
from toolkit.training._training_config import DpoConfig, GrpoConfig, SftConfig, check_trainer


def _nothing(config: Any) -> None:
    """No check before the training begins."""


@dataclass(frozen=True)
class Trainer:
    """A way to train on shards, as ``guardkit train NAME`` runs it.

    Attributes:
        name: of the trainer.
        config: its options; one called `model` that is a text names the model to start from.
        train: called with the folder of the shards, which are verified, the model folder to write and the options, and by name with `on_progress`
            and `on_begin` (as `train_sft` has them); gives the metrics. The folder appears whole or not at all, and takes the place of nothing but
            a model that guardkit trained.
        check: raises what of the options cannot be, before any data is read.
        plan: called with the folder of the shards, the model folder and the options; gives what the training would come to, without training
            (`toolkit.training._training_plan`). None for a trainer that does not plan.
        shows: what the figure of its progress is.
    """

    name: str
    config: type[BaseModel]
    train: Callable[..., dict[str, Any]]
    check: Callable[[Any], None] = _nothing
    plan: Callable[..., dict[str, Any]] | None = None
    shows: str = "loss"


SFT = Trainer("sft", SftConfig, train_sft, check_trainer, plan_sft)
DPO = Trainer("dpo", DpoConfig, train_dpo, check_trainer, plan_dpo)
GRPO = Trainer("grpo", GrpoConfig, train_grpo, check_trainer, plan_grpo, "reward")

TRAINERS: Registry[Trainer] = Registry(
    "trainer",
    "guardkit.trainers",
    {trainer.name: f"{__name__}:{trainer.name.upper()}" for trainer in (SFT, DPO, GRPO)},
    lambda name, found: isinstance(found, Trainer) and found.name == name,
    "Trainer of that name",
)
