"""What a GRPO training takes beside the options of every training, and published settings of it as data: ``schemas/grpo/<name>.yaml``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from toolkit.common.documented import Documented
from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.paths import Beside
from toolkit.common.resources import find, names
from toolkit.common.yamlfile import load_yaml
from toolkit.guards import Guard
from toolkit.rewards import Formula, formula_of
from toolkit.training._lora_options import LORA_RATE
from toolkit.training._score_model import ScoreModel, check_scores
from toolkit.training._train_options import TrainOptions

Schedule = Literal["constant", "linear", "product"]


class Preset(BaseModel):
    """Settings that were published. Load one with `load_preset`."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    name: str
    version: int = 1
    description: str = ""
    source: str = ""
    """Where they were published, and what of them is guardkit's own."""
    formula: str | None = None
    """Of the reward: a name in ``schemas/rewards``."""
    clip_schedule: Schedule = "constant"
    rows_an_update: int | None = Field(None, ge=1)
    generate_every: int = Field(1, ge=1)
    max_prompt: int | None = Field(None, ge=1)
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Fields of TRL's GRPOConfig."""


def load_preset(name: str | Path, beside: Beside = None) -> Preset:
    """A preset by name or path.

    Raises:
        InputError: no such preset; InputErrors: faults in it, each with its line.

    Example:
        >>> load_preset("rsafe").trainer["num_generations"]
        4
    """
    return load_yaml(find("grpo", name, beside)).model(Preset)


def preset_names(beside: Beside = None) -> list[str]:
    """Names that `load_preset` knows, the user's own included.

    Example:
        >>> "guardreasoner_vl" in preset_names()
        True
    """
    return names("grpo", beside)


class Curriculum(Documented):
    """Rows by how often a guard was wrong about them: the columns ``error_rate_<task>`` that `mine` writes and `render_rl` keeps."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    order: Literal["easy_first", "hard_first", "random"] = "easy_first"
    """Rows with a low error rate first, with a high one first, or a new order in each epoch."""
    least: float = Field(0.0, ge=0, le=1)
    """A row with a lower error rate is left out."""
    most: float = Field(1.0, ge=0, le=1)
    """A row with a higher error rate is left out."""
    by: str | None = None
    """Column with the error rate, from 0 to 1; default: the mean over the tasks' ``error_rate_<task>``."""

    @model_validator(mode="after")
    def _a_band(self) -> Curriculum:
        if self.least > self.most:
            raise ValueError(f"curriculum.least, {self.least:g}, is above curriculum.most, {self.most:g}")
        return self


def _order(value: Any) -> Any:
    """An order's name for the whole option."""
    return {"order": value} if isinstance(value, str) else value


class GrpoOptions(TrainOptions):
    """The options of a GRPO training."""

    preset: str | None = None
    """Published settings to start from, over guardkit's defaults and below `trainer`: a name in `schemas/grpo` (docs/grpo.md) or a file."""
    formula: str | dict[str, Any] | None = None
    """The reward: a name in `schemas/rewards` (docs/rewards.md), a file, or a formula's keys. Default: the preset's, else that of the guard's name,
    else `accuracy`."""
    scores: dict[str, ScoreModel] = Field(default_factory=dict)
    """By name of a score in the formula the model that gives it: `{quality: {guard: GUARD, backend: {…}, of: …}}` (docs/rewards.md). Its answers go
    through the journal; one that fails stops the training."""
    clip_schedule: Schedule | None = None
    """How the clipping range shrinks over the S updates: `constant`; `linear`, (S - s) / S of it at update s; or `product`, the product of
    (S - i) / S for i up to s (GuardReasoner-VL). Default: the preset's, else constant."""
    generate_every: int | None = Field(None, ge=1)
    """Answers are drawn anew after so many updates; clipping acts on all but the first of these. Default: the preset's, else 1."""
    max_prompt: int | None = Field(None, ge=1)
    """Tokens of a prompt at most; a longer one is left out. What the model reads, less `trainer.max_completion_length`, is a limit in any case."""
    curriculum: Annotated[Curriculum | None, BeforeValidator(_order, json_schema_input_type=str | Curriculum | None)] = None
    """Order and choice of rows by their error rate: `easy_first`, `hard_first`, or `{order, least, most, by}`. Default: a new order in each epoch."""
    most_cut: float = Field(0.5, ge=0, le=1)
    """Share of the answers of the first updates that may be cut at `trainer.max_completion_length`; more stops the training."""


def check_curriculum(how: Curriculum | None, tasks: Collection[str], columns: Collection[str]) -> None:
    """Refuse a curriculum by error rates that rows with these columns do not have (InputError); `tasks`: of the guard."""
    wanted = [] if how is None else [how.by] if how.by is not None else [f"error_rate_{task}" for task in tasks]
    if wanted and how is not None and not any(name in columns for name in wanted):
        hint = did_you_mean(how.by, columns) if how.by is not None else "`mine` writes them, and `render_rl` keeps them"
        raise InputError(f"the shards have no column of error rates: {', '.join(wanted)}", where="curriculum", hint=hint)


def trained_formula(
    guard: Guard,
    formula: str | Path | Mapping[str, Any] | None,
    scorers: Collection[str] = (),
    scores: Mapping[str, ScoreModel] | None = None,
    beside: Beside = None,
) -> Formula:
    """The formula by which a guard is trained.

    Args:
        guard: whose outputs are rewarded.
        formula, beside: as `toolkit.rewards.formula_of` takes them.
        scorers: names of the scores that functions give.
        scores: those that models give.

    Raises:
        InputError: no such formula, one that weighs a task that the guard does not have, or that needs scores which nothing gives; a model for a
            score that it does not weigh, or that names what there is not.
    """
    try:
        found = formula_of(guard, formula, beside)
    except InputError as e:
        raise InputError(e.message, where="formula", hint=e.hint) from None
    if lacking := [name for name in found.scores if name not in scorers and name not in (scores or {})]:
        hint = "name the models that give them (scores: {NAME: {guard: …, backend: …}}), or leave `scores` out of the formula"
        message = f"the formula {found.name!r} weighs scores of what the guard writes that nothing gives here: {', '.join(lacking)}"
        raise InputError(message, where="formula", hint=hint)
    check_scores(guard, found, scores or {}, beside)
    return found


def with_preset(config: Any) -> Any:
    """A configuration in which a preset's settings stand where it says nothing itself."""
    if config.preset is None:
        return config
    preset = load_preset(config.preset)
    own: Mapping[str, Any] = {
        "formula": preset.formula,
        "clip_schedule": preset.clip_schedule,
        "rows_an_update": None if "gradient_accumulation_steps" in config.trainer else preset.rows_an_update,
        "generate_every": preset.generate_every,
        "max_prompt": preset.max_prompt,
    }
    trainer = dict(preset.trainer)
    if config.lora is not None and "learning_rate" in trainer:  # published for the training of all weights
        trainer["learning_rate"] *= LORA_RATE
    filled = {name: value for name, value in own.items() if getattr(config, name) is None}
    return config.model_copy(update={**filled, "preset": None, "trainer": {**trainer, **config.trainer}})
