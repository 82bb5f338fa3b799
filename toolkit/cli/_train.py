"""The verbs below ``guardkit train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from toolkit.cli import _say
from toolkit.cli._reach import AllowOpt


class Trainers(TyperGroup):
    """guardkit's own trainers, and those that other packages bring: these are looked for when one is named that is not ours, or all are listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        from toolkit.api.command import other_trainers

        return [*super().list_commands(ctx), *other_trainers()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from toolkit.api.command import other_trainers

        found = super().get_command(ctx, cmd_name)
        return found if found is not None or cmd_name not in other_trainers() else _of_another_package(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        from toolkit.common.errors import did_you_mean

        if not ctx.resilient_parsing and args[0].isidentifier() and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}: {did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


train = typer.Typer(cls=Trainers, no_args_is_help=True, help="Train on shards, outside a recipe.\n\nExample: guardkit train sft my-sft.yaml")

ConfigArg = Annotated[Path, typer.Argument(help="YAML: shards, output, and the options of the trainer.", show_default=False)]
OverwriteOpt = Annotated[bool, typer.Option("--overwrite", help="Replace the model that is in `output`.")]
UnverifiedOpt = Annotated[bool, typer.Option("--unverified", help="Train on shards that are not as their manifest says.")]
PlanOpt = Annotated[bool, typer.Option("--plan", help="Say what it would do (rows, tokens, updates, memory, time), and train nothing.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]


@train.command("sft")
def train_sft(
    config: Annotated[Path, typer.Argument(help="YAML: shards, output, and the options of the operator train_sft.", show_default=False)],
    allow: AllowOpt = None,
    overwrite: OverwriteOpt = False,
    unverified: UnverifiedOpt = False,
    plan: PlanOpt = False,
    json: JsonOpt = False,
) -> None:
    """Supervised fine-tuning on shards.

    Example: guardkit train sft my-sft.yaml
    """
    _train("sft", config, allow, overwrite, json, unverified, plan)


@train.command("dpo")
def train_dpo(
    config: Annotated[Path, typer.Argument(help="YAML: shards, model, output, and the options of the operator train_dpo.", show_default=False)],
    allow: AllowOpt = None,
    overwrite: OverwriteOpt = False,
    unverified: UnverifiedOpt = False,
    plan: PlanOpt = False,
    json: JsonOpt = False,
) -> None:
    """Weighted DPO on shards.

    Example: guardkit train dpo my-dpo.yaml
    """
    _train("dpo", config, allow, overwrite, json, unverified, plan)


@train.command("grpo")
def train_grpo(
    config: Annotated[Path, typer.Argument(help="YAML: shards, model, output, and the options of the operator train_grpo.", show_default=False)],
    allow: AllowOpt = None,
    overwrite: OverwriteOpt = False,
    unverified: UnverifiedOpt = False,
    plan: PlanOpt = False,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="DOLLARS", help="Most that the models of `scores` may cost.", show_default=False)
    ] = None,
    json: JsonOpt = False,
) -> None:
    """Online reinforcement learning on shards, with rewards of what the guard writes.

    Example: guardkit train grpo my-grpo.yaml
    """
    _train("grpo", config, allow, overwrite, json, unverified, plan, budget)


def _of_another_package(name: str) -> Any:
    """The command of a trainer that another package brings."""

    def other(
        config: ConfigArg,
        allow: AllowOpt = None,
        overwrite: OverwriteOpt = False,
        unverified: UnverifiedOpt = False,
        plan: PlanOpt = False,
        json: JsonOpt = False,
    ) -> None:
        _train(name, config, allow, overwrite, json, unverified, plan)

    app = typer.Typer()
    app.command(name, help="A trainer of another package.", no_args_is_help=True)(other)
    return typer.main.get_command(app)


def _train(
    method: str, config: Path, allow: list[str] | None, overwrite: bool, json: bool, unverified: bool, plan: bool, budget: float | None = None
) -> None:
    from toolkit.api import plan_training, train
    from toolkit.api.command import Progress, training_lines

    if plan:
        found = plan_training(method, config, allow=allow or (), unverified=unverified)
        _say.document(found) if json else _say.lines(*found["words"])
        return
    metrics = train(method, config, Progress(), allow=allow or (), overwrite=overwrite, unverified=unverified, budget=budget)
    if json:
        _say.document(metrics)
    else:
        _say.lines(*(f"{name}: {_say.short(value)}" for name, value in metrics.items() if name != "settings"))
        _say.lines(*training_lines(metrics["output"]))
