"""Training guards on shards with TRL: supervised fine-tuning on completions only, and DPO with a weight for each pair.

Importing this room loads neither torch nor trl; they load when a training starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.training._config import DpoConfig, Scratch, ScratchModel, SftConfig, check_trainer, trainer_leave
    from toolkit.training._dpo import train_dpo
    from toolkit.training._model import load_tokenizer
    from toolkit.training._sft import train_sft
    from toolkit.training._shared import Progress

__all__ = [
    "DpoConfig",
    "Progress",
    "Scratch",
    "ScratchModel",
    "SftConfig",
    "check_trainer",
    "load_tokenizer",
    "train_dpo",
    "train_sft",
    "trainer_leave",
]

_HOME = {
    "DpoConfig": "_config",
    "Progress": "_shared",
    "Scratch": "_config",
    "ScratchModel": "_config",
    "SftConfig": "_config",
    "check_trainer": "_config",
    "load_tokenizer": "_model",
    "train_dpo": "_dpo",
    "train_sft": "_sft",
    "trainer_leave": "_config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
