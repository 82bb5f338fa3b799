"""Operator `train_grpo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.common.resources import find
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Operator, Output, StepInput
from toolkit.operators.train._training_step import (
    TRAINING,
    check_options,
    counted,
    goes_on,
    named,
    parallel_files,
    parallel_found,
    report_training,
    training_config,
    training_needs,
)
from toolkit.rewards import load_formula
from toolkit.shards import verify
from toolkit.training import GrpoConfig, GrpoOptions, in_words, load_preset, memory_words, train_grpo


class TrainGrpoConfig(Config, GrpoOptions):
    """Options of `train_grpo`."""


class TrainGrpo(DatasetOperator):
    """Online reinforcement learning (GRPO): train a guard on rewards of what it writes, by a formula (docs/rewards.md), on the prompts and labels of
    an earlier step's shards.

    Makes the artefact `model`. Starts from the model of the step named in `from: {shards: …, model: …}`. Shards of `render_rl` have what it
    needs, and those of `render_sft` do; completions are not read. `preset` has published settings (docs/grpo.md). A training that is stopped
    begins anew, or goes on from its last `checkpoint`.
    """

    name = "train_grpo"
    shape = "sink"
    inputs = ("shards", "model")
    takes = {"shards": "shards", "model": "model"}
    deterministic = False
    config_class = TrainGrpoConfig
    example = {"preset": "rsafe", "trainer": {}}
    uses = frozenset({"seed", "guard.tasks", "guard.output"})
    makes = ("model",)
    figures = TRAINING
    config: TrainGrpoConfig
    starts_from: str | None = None
    """As `TrainDpo` has it."""

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_options(self._training("-", 0))
        return {}

    def follow(self, before: Sequence[Operator]) -> None:
        starts = {getattr(operator, "starts_from", None) for operator in before if "model" in operator.makes}
        self.starts_from = starts.pop() if len(starts) == 1 else None

    def needs(self, ctx: Context) -> list[str]:
        return training_needs(self.config)

    def words(self, ctx: Context) -> list[str]:
        return [] if self.starts_from is None else memory_words(self._training(self.starts_from, 0, **self._found(ctx)), ctx.roots)

    def before_run(self, ctx: Context) -> None:
        check_options(self._training("-", 0, **self._found(ctx)), whole=True)

    def identity(self) -> dict[str, Any]:
        return self.config.shaping()

    def files(self, ctx: Context) -> dict[str, str]:
        found = self._found(ctx)
        formula = found.get("formula") or (load_preset(found["preset"], ctx.roots).formula if "preset" in found else None)
        load_formula(formula if formula is not None else self.config.formula or "accuracy", ctx.roots).check(ctx.guard)
        named_files = {name: ctx.files.digest(Path(found[name])) for name in ("preset", "formula") if name in found}
        return named_files | parallel_files(self.config, ctx)

    def counts_by(self, artefact: str, folder: Path, files: Mapping[str, str]) -> Any:
        return counted(files)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        shards = inputs["shards"].artefact("shards")
        if not self.config.unverified:
            verify(shards)
        out.if_stopped(partial(goes_on, ctx.step, kept := out.kept_folder() if self.config.checkpoint is not None else None))
        model, seed = str(inputs["model"].artefact("model")), ctx.rng_seed("train") % 2**31
        metrics = train_grpo(
            shards,
            out.folder("model"),
            named(self._training(model, seed, **self._found(ctx)), ctx.step),
            lambda done, total, reward: ctx.progress(done, total, "" if reward is None else f"reward {reward:.3f}"),
            lambda settings: ctx.progress(0, settings["updates"], in_words(settings)),
            kept,
            guard=ctx.guard,
        )
        report_training(metrics, out)

    def _found(self, ctx: Context) -> dict[str, str]:
        """Files that the options name, where they are."""
        given = {"preset": ("grpo", self.config.preset), "formula": ("rewards", self.config.formula)}
        schemas = {name: str(find(folder, value, ctx.roots)) for name, (folder, value) in given.items() if isinstance(value, str)}
        return {**schemas, **parallel_found(self.config, ctx)}

    def _training(self, model: str, seed: int, **found: str) -> GrpoConfig:
        return training_config(GrpoConfig, **{**dict(self.config), "model": model, "seed": seed, **found})
