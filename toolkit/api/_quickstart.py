"""The recipe `quickstart` on a pretrained model."""

from __future__ import annotations

from pathlib import Path

from toolkit.common.resources import workspace
from toolkit.pipeline import load_recipe

_IN_PARTS = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
"""The recipe's eight rows an update, two at a time: the scores of a large vocabulary for eight rows take gigabytes."""
_TRAINER = {"num_train_epochs": 1, "learning_rate": 2.0e-4, "weight_decay": 0.01, **_IN_PARTS}
"""Of a model that knows the language: one epoch, at a fifteenth of the rate of one from scratch."""
_OTHERS = ("guard-dpo.trainer.learning_rate=1.0e-5", *(f"guard-dpo.trainer.{name}={value}" for name, value in _IN_PARTS.items()), "pool.share=0.05")
"""A gentler DPO, and fewer rows to draw on: a model a hundred times as large as those of the quickstart writes as much more slowly."""


def quickstart_on(base: str) -> list[str]:
    """Overrides under which the guards of the recipe `quickstart` start from a pretrained model instead of from nothing.

    Args:
        base: folder, hub name, GGUF file or ``smollm2-135m``.

    Example:
        >>> quickstart_on("smollm2-135m")[0]
        'guard-main.model=smollm2-135m'
    """
    guards = [step.id for step in load_recipe("quickstart").steps if step.use == "train_sft"]
    own = [f"{guard}.trainer.{name}={value}" for guard in guards for name, value in _TRAINER.items()]
    return [*(f"{guard}.model={base}" for guard in guards), *own, *_OTHERS]


def quickstart_folder(base: str) -> Path:
    """Where such a run is, beside the plain one."""
    return workspace() / f"quickstart-{Path(base).stem}"
