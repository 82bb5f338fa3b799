"""Operator `train_sft`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from toolkit.common.models import model_folder
from toolkit.common.reach import HubName
from toolkit.guards import Guard
from toolkit.operators._backends import model_digest
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Operator, Output, StepInput
from toolkit.operators.train._training_step import (
    TRAINING,
    check_options,
    check_start,
    counted,
    goes_on,
    loss_words,
    media_found,
    memory_needs,
    named,
    parallel_files,
    parallel_found,
    report_training,
    start_of,
    training_config,
    training_needs,
)
from toolkit.shards import verify
from toolkit.training import ScratchModel, SftConfig, TrainOptions, in_words, memory_words, train_sft

TINY = "The guards are tiny and trained from scratch for a minute or two; the figures show that the loop works, not what it can reach."


class TrainSftConfig(Config, TrainOptions):
    """Options of `train_sft`."""

    model: Annotated[str | ScratchModel | None, HubName()] = None
    """A model's name on the hub, a local folder, a GGUF file, `smollm2-135m`, or `{scratch: {…}}` for a small one from nothing. Without it the
    model of an earlier step is trained further: `from: {shards: STEP, model: STEP}`."""


def _is_llama(model: object) -> bool:
    return isinstance(model, ScratchModel) and model.scratch.architecture == "llama"


class TrainSft(DatasetOperator):
    """Reasoning SFT: fine-tune a guard on the shards of an earlier step, on completions only (paper, section 3.2; spec B).

    Makes the artefact `model`, from the one that is named or from that of an earlier step. Shards are verified first. A row longer than the model's
    limit is set aside by name, never cut. Rows with media go to a model that takes them (docs/training.md). A training that is stopped begins anew,
    or goes on from its last `checkpoint`.
    """

    name = "train_sft"
    shape = "sink"
    inputs = ("shards", "*")
    takes = {"shards": "shards", "model": "model", "*": "model"}
    deterministic = False
    config_class = TrainSftConfig
    example = {"model": {"scratch": {}}, "trainer": {}}
    uses = frozenset({"seed"})
    makes = ("model",)
    figures = TRAINING
    config: TrainSftConfig

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.starts_from = self.config.model if isinstance(self.config.model, str) else None
        """The model by name or folder that it trains, or that the earlier step's was trained from; None where that is not known."""

    @classmethod
    def remarks(cls, options: Mapping[str, Any]) -> list[str]:
        return [TINY] if isinstance(model := options.get("model"), dict) and "scratch" in model else []

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_start(self.name, inputs, self.config.model)
        check_options(self._training(0))
        return {}

    def media_fault(self, guard: Guard) -> str | None:
        model = self.config.model
        return "a Llama from scratch takes text alone: name an `architecture`" if _is_llama(model) else None

    def follow(self, before: Sequence[Operator]) -> None:
        if self.config.model is None:
            self.starts_from = start_of(before)

    def needs(self, ctx: Context) -> list[str]:
        c = self.config
        whole = c.parallel in (None, "ddp")  # else a process has a part of it
        return training_needs(c) + (memory_needs(c.model, c.trainer, ctx.roots, c.lora) if whole and isinstance(c.model, str) else [])

    def words(self, ctx: Context) -> list[str]:
        return [] if self.config.model is None and self.starts_from is None else memory_words(self._training(0), ctx.roots)

    def before_run(self, ctx: Context) -> None:
        check_options(self._training(0, **parallel_found(self.config, ctx)), whole=True)

    def identity(self) -> dict[str, Any]:
        return self.config.shaping()

    def files(self, ctx: Context) -> dict[str, str]:
        model = {"model": model_digest(self.config.model, ctx)} if isinstance(self.config.model, str) else {}
        return model | parallel_files(self.config, ctx)

    def counts_by(self, artefact: str, folder: Path, files: Mapping[str, str]) -> Any:
        return counted(files)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        shards = inputs["shards"].artefact("shards")
        if not self.config.unverified:
            verify(shards)
        out.if_stopped(partial(goes_on, ctx.step, kept := out.kept_folder() if self.config.checkpoint is not None else None))
        if "model" in inputs:
            start: str | ScratchModel | None = str(inputs["model"].artefact("model"))
        else:
            folder = model_folder(self.config.model, ctx.roots) if isinstance(self.config.model, str) else None
            start = self.config.model if folder is None else str(folder)
        found = parallel_found(self.config, ctx) | media_found(self.config, ctx)
        config = self._training(ctx.rng_seed("train") % 2**31, start, **found)
        metrics = train_sft(
            shards,
            out.folder("model"),
            named(config, ctx.step),
            lambda done, total, loss: ctx.progress(done, total, loss_words(loss)),
            lambda settings: ctx.progress(0, settings["updates"], in_words(settings)),
            kept,
        )
        report_training(metrics, out)

    def _training(self, seed: int, start: str | ScratchModel | None = None, **found: str) -> SftConfig:
        model = start or self.config.model or self.starts_from or "-"
        return training_config(SftConfig, **{**dict(self.config), "seed": seed, "model": model, **found})
