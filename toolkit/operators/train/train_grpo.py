"""Operator `train_grpo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from toolkit.common.errors import InputError
from toolkit.common.models import model_folder
from toolkit.common.reach import HubName
from toolkit.common.resources import find
from toolkit.guards import Guard, load_guard
from toolkit.judging import OpenScores
from toolkit.operators._backends import model_digest
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Operator, Output, StepInput
from toolkit.operators.export.shards import Shards
from toolkit.operators.train._training_step import (
    TRAINING,
    check_options,
    check_start,
    counted,
    goes_on,
    media_found,
    named,
    parallel_files,
    parallel_found,
    report_training,
    start_of,
    training_config,
    training_needs,
)
from toolkit.rewards import Scorer, default_formula
from toolkit.shards import verify
from toolkit.training import GrpoConfig, GrpoOptions, check_curriculum, in_words, load_preset, memory_words, train_grpo, trained_formula


class TrainGrpoConfig(Config, GrpoOptions):
    """Options of `train_grpo`."""

    model: Annotated[str | None, HubName()] = None
    """A model's name on the hub, a local folder, a GGUF file or `smollm2-135m`, where training begins without an earlier step's."""


class TrainGrpo(DatasetOperator):
    """Online reinforcement learning (GRPO): train a guard on rewards of what it writes, by a formula (docs/rewards.md), on the prompts and labels of
    an earlier step's shards.

    Makes the artefact `model`. Starts from the model of the step named in `from: {shards: …, model: …}`, or from `model`. Shards of `render_rl`
    have what it needs, and those of `render_sft` do; completions are not read. `preset` has published settings (docs/grpo.md). A training that is
    stopped begins anew, or goes on from its last `checkpoint`.
    """

    name = "train_grpo"
    shape = "sink"
    inputs = ("shards", "*")
    takes = {"shards": "shards", "model": "model", "*": "model"}
    deterministic = False
    config_class = TrainGrpoConfig
    example = {"preset": "rsafe", "trainer": {}}
    uses = frozenset({"seed", "guard.tasks", "guard.output", "guard.input"})
    makes = ("model",)
    figures = TRAINING
    config: TrainGrpoConfig

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._written: list[str] | None = None
        self.starts_from = self.config.model
        """As `TrainSft` has it."""

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        check_start(self.name, inputs, self.config.model)
        check_options(self._training("-", 0))
        if self._written is not None:
            check_curriculum(self.config.curriculum, guard.task_names, self._written)
        return {}

    def media_fault(self, guard: Guard) -> str | None:
        return None

    def follow(self, before: Sequence[Operator]) -> None:
        made = [operator for operator in before if isinstance(operator, Shards)]
        self._written = [c.name for operator in made for c in operator.written] if made else None
        if self.config.model is None:
            self.starts_from = start_of(before)

    def needs(self, ctx: Context) -> list[str]:
        return [*training_needs(self.config), *(need for how in self.config.scores.values() for need in how.backend.needs())]

    def words(self, ctx: Context) -> list[str]:
        return [] if self.starts_from is None else memory_words(self._training(self.starts_from, 0, **self._found(ctx)), ctx.roots)

    def before_run(self, ctx: Context) -> None:
        check_options(self._training("-", 0, **self._found(ctx)), whole=True)

    def identity(self) -> dict[str, Any]:
        own = self.config.shaping()
        for name, how in self.config.scores.items():
            own["scores"][name]["backend"] = how.backend.identity()
        return own

    def files(self, ctx: Context) -> dict[str, str]:
        found = self._found(ctx)
        trained_formula(ctx.guard, found.get("formula", self.config.formula), scores=self.config.scores, beside=ctx.roots)
        named_files = {name: ctx.files.digest(Path(found[name])) for name in ("preset", "formula") if name in found}
        model = {} if self.config.model is None else {"model": model_digest(self.config.model, ctx)}
        return model | named_files | self._score_files(ctx) | parallel_files(self.config, ctx)

    def _score_files(self, ctx: Context) -> dict[str, str]:
        """What the models of scores are asked by, and are."""
        out = {}
        for name, how in self.config.scores.items():
            out[f"scores.{name}.guard"] = load_guard(how.guard, ctx.roots).fingerprint
            out |= {f"scores.{name}.{part}": digest for part, digest in how.backend.files(ctx.roots, ctx.files).items()}
        return out

    def counts_by(self, artefact: str, folder: Path, files: Mapping[str, str]) -> Any:
        return counted(files)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        shards = inputs["shards"].artefact("shards")
        if not self.config.unverified:
            verify(shards)
        out.if_stopped(partial(goes_on, ctx.step, kept := out.kept_folder() if self.config.checkpoint is not None else None))
        named_model = self.config.model
        found = inputs["model"].artefact("model") if named_model is None else model_folder(named_model, ctx.roots) or named_model
        model, seed = str(found), ctx.rng_seed("train") % 2**31
        places = self._found(ctx) | media_found(self.config, ctx)
        with ExitStack() as stack:
            metrics = train_grpo(
                shards,
                out.folder("model"),
                named(self._training(model, seed, **places), ctx.step),
                lambda done, total, reward: ctx.progress(done, total, "" if reward is None else f"reward {reward:.3f}"),
                lambda settings: ctx.progress(0, settings["updates"], in_words(settings)),
                kept,
                guard=ctx.guard,
                scorers=self._scorers(stack, ctx),
            )
        report_training(metrics, out)

    def _scorers(self, stack: ExitStack, ctx: Context) -> dict[str, Scorer] | None:
        """Functions that ask the models of scores, open until `stack` closes."""
        if not self.config.scores:
            return None
        if ctx.journal is None or ctx.meter is None:
            raise InputError("the models of `scores` are asked in a run alone", hint="guardkit run RECIPE")
        scores, journal = self.config.scores, ctx.journal()
        one = OpenScores(ctx.guard, scores, journal=journal, meter=ctx.meter, beside=ctx.roots, work=ctx.work, strict=True)
        return stack.enter_context(one).scorers

    def _found(self, ctx: Context) -> dict[str, str]:
        """Files that the options name, where they are; a formula that they leave open is the preset's, or else that of the guard's name."""
        found, formula = parallel_found(self.config, ctx), self.config.formula
        if self.config.preset is not None:
            found["preset"] = str(find("grpo", self.config.preset, ctx.roots))
            formula = load_preset(found["preset"]).formula if formula is None else formula
        if formula is None:
            formula = default_formula(ctx.guard, ctx.roots)
        return {**found, "formula": str(find("rewards", formula, ctx.roots))} if isinstance(formula, str) else found

    def _training(self, model: str, seed: int, **found: str) -> GrpoConfig:
        return training_config(GrpoConfig, **{**dict(self.config), "model": model, "seed": seed, **found})
