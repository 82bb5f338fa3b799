"""Operator `train_dpo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.guards import Guard
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Operator, Output, StepInput
from toolkit.operators.train._training_step import (
    TRAINING,
    check_options,
    counted,
    goes_on,
    loss_words,
    media_found,
    named,
    parallel_files,
    parallel_found,
    report_training,
    start_of,
    training_config,
    training_needs,
)
from toolkit.shards import verify
from toolkit.training import DpoConfig, TrainOptions, in_words, memory_words, train_dpo


class TrainDpoConfig(Config, TrainOptions):
    """Options of `train_dpo`."""


class TrainDpo(DatasetOperator):
    """Hard-sample DPO: train a guard on weighted preference pairs (paper, section 3.3; spec D).

    Makes the artefact `model`. Starts from the model of the step named in `from: {shards: …, model: …}`, which is also the reference. The weight
    multiplies each pair's preference term alone. A training that is stopped begins anew, or goes on from its last
    `checkpoint`.
    """

    name = "train_dpo"
    shape = "sink"
    inputs = ("shards", "model")
    takes = {"shards": "shards", "model": "model"}
    deterministic = False
    config_class = TrainDpoConfig
    example = {"trainer": {}}
    uses = frozenset({"seed"})
    makes = ("model",)
    figures = TRAINING
    config: TrainDpoConfig
    starts_from: str | None = None
    """The model by name or folder that the model to start from was itself trained from: of one size. None where that is not known."""

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_options(self._training("-", 0))
        return {}

    def media_fault(self, guard: Guard) -> str | None:
        return None

    def follow(self, before: Sequence[Operator]) -> None:
        self.starts_from = start_of(before)

    def needs(self, ctx: Context) -> list[str]:
        return training_needs(self.config)

    def words(self, ctx: Context) -> list[str]:
        return [] if self.starts_from is None else memory_words(self._training(self.starts_from, 0), ctx.roots)

    def before_run(self, ctx: Context) -> None:
        check_options(self._training("-", 0, **parallel_found(self.config, ctx)), whole=True)

    def identity(self) -> dict[str, Any]:
        return self.config.shaping()

    def files(self, ctx: Context) -> dict[str, str]:
        return parallel_files(self.config, ctx)

    def counts_by(self, artefact: str, folder: Path, files: Mapping[str, str]) -> Any:
        return counted(files)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        shards = inputs["shards"].artefact("shards")
        if not self.config.unverified:
            verify(shards)
        out.if_stopped(partial(goes_on, ctx.step, kept := out.kept_folder() if self.config.checkpoint is not None else None))
        model, seed = str(inputs["model"].artefact("model")), ctx.rng_seed("train") % 2**31
        config = self._training(model, seed, **parallel_found(self.config, ctx), **media_found(self.config, ctx))
        metrics = train_dpo(
            shards,
            out.folder("model"),
            named(config, ctx.step),
            lambda done, total, loss: ctx.progress(done, total, loss_words(loss)),
            lambda settings: ctx.progress(0, settings["updates"], in_words(settings)),
            kept,
        )
        report_training(metrics, out, "pairs")

    def _training(self, model: str, seed: int, **found: str) -> DpoConfig:
        return training_config(DpoConfig, **{**dict(self.config), "model": model, "seed": seed, **found})
