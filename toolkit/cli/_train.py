"""The verbs below ``guardkit train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from toolkit.cli import _say
from toolkit.cli._reach import AllowOpt

train = typer.Typer(no_args_is_help=True, help="Train on shards, outside a recipe.\n\nExample: guardkit train sft my-sft.yaml")

OverwriteOpt = Annotated[bool, typer.Option("--overwrite", help="Replace the model that lies in `output`.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]


@train.command("sft")
def train_sft(
    config: Annotated[Path, typer.Argument(help="YAML: shards, output, and the options of the operator train_sft.", show_default=False)],
    allow: AllowOpt = None,
    overwrite: OverwriteOpt = False,
    json: JsonOpt = False,
) -> None:
    """Supervised fine-tuning on shards.

    Example: guardkit train sft my-sft.yaml
    """
    _train("sft", config, allow, overwrite, json)


@train.command("dpo")
def train_dpo(
    config: Annotated[Path, typer.Argument(help="YAML: shards, model, output, and the options of the operator train_dpo.", show_default=False)],
    allow: AllowOpt = None,
    overwrite: OverwriteOpt = False,
    json: JsonOpt = False,
) -> None:
    """Weighted DPO on shards.

    Example: guardkit train dpo my-dpo.yaml
    """
    _train("dpo", config, allow, overwrite, json)


def _train(method: Literal["sft", "dpo"], config: Path, allow: list[str] | None, overwrite: bool, json: bool) -> None:
    from toolkit.api import train
    from toolkit.api.command import Progress

    metrics = train(method, config, Progress(), allow=allow or (), overwrite=overwrite)
    if json:
        _say.document(metrics)
    else:
        _say.lines(*(f"{name}: {_say.short(value)}" for name, value in metrics.items() if name != "settings"))
