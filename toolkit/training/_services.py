"""Programs that TRL hands a training's figures to (`trainer.report_to`): TensorBoard, which writes files here, and services that are sent them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from toolkit.common.errors import InputError, Missing, did_you_mean
from toolkit.common.paths import here

SERVICES = ("tensorboard", "wandb", "mlflow", "trackio")


def services(trainer: Mapping[str, Any]) -> list[str]:
    """Those that are asked for.

    Raises:
        InputError: a name that is none of them.
    """
    given = trainer.get("report_to") or []
    names = [name for name in ([given] if isinstance(given, str) else given) if name != "none"]
    for name in names:
        if name not in SERVICES:
            raise InputError(f"report_to knows no {name!r}", where="trainer.report_to", hint=did_you_mean(str(name), [*SERVICES, "none"]))
    return names


def check_installed(names: list[str]) -> None:
    """Whether their packages are installed (Missing)."""
    if lacking := [name for name in names if find_spec(name) is None]:
        raise Missing(f"report_to: the package {lacking[0]!r} is not installed", hint=f"pip install {' '.join(lacking)}")


def place_tensorboard(trainer: Any, name: str) -> str | None:
    """Let TensorBoard's files go to ``tensorboard/NAME`` in the working folder, unless TENSORBOARD_LOGGING_DIR says otherwise; that folder, or None
    where none are written."""
    for callback in trainer.callback_handler.callbacks:
        if type(callback).__name__ == "TensorBoardCallback":
            callback.logging_dir = callback.logging_dir or str(here() / "tensorboard" / (name.replace("/", "-").strip(".") or "run"))
            return str(callback.logging_dir)
    return None
