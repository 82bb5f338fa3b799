"""The settings of a training: the model to start from, the seed, and the settings of TRL's trainer.

Settings that guardkit gives a default, because the published recipe or a small CPU needs it, are in `defaults`; every other field of
TRL's ``SFTConfig`` and ``DPOConfig`` may be set under ``trainer`` and keeps TRL's own default. `check_fields` holds keys and plain values against
the source of those classes (a tenth of a second); `check_trainer`, which loads TRL and takes seconds, finds what TRL itself refuses, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from toolkit.common.errors import GuardkitError, InputError, InputErrors, did_you_mean, require
from toolkit.common.machine import has_gpu
from toolkit.common.reach import HubName
from toolkit.training._fields import ConfigName, fields_of, misfit
from toolkit.training._groups import check_groups, spread_groups
from toolkit.training._grpo_options import GrpoOptions, with_preset
from toolkit.training._lora_options import LORA_RATE
from toolkit.training._services import check_installed, services
from toolkit.training._train_options import OWN, TrainOptions
from toolkit.training._train_processes import processes_of, refuse_launchers

if TYPE_CHECKING:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.sft_config import SFTConfig

# R-SFT of GuardReasoner (spec B, from the released LLaMA-Factory scripts): 384 rows an update on 4 GPUs = 6 x 16 x 4.
_SFT: dict[str, Any] = {
    "learning_rate": 5e-5,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 6,
    "gradient_accumulation_steps": 16,
    "max_length": 2048,
    "max_grad_norm": 1.0,
}
# HS-DPO of GuardReasoner (spec D): beta 0.01, 2.0 x the SFT term on chosen, 256 pairs an update on 4 GPUs = 1 x 64 x 4.
_DPO: dict[str, Any] = {
    "learning_rate": 5e-6,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 64,
    "max_length": 2048,
    "max_grad_norm": 1.0,
    "beta": 0.01,
    "loss_type": ["sigmoid", "sft"],
    "loss_weights": [1.0, 2.0],
    # The reference is the start model, so its log-probabilities are computed once and no second model is held.
    "precompute_ref_log_probs": True,
}
# Online reinforcement learning without a term that holds the guard to its start (beta 0), as the published guards are trained. Eight answers to each
# of eight rows an update; the presets (schemas/grpo) have the published sizes.
_GRPO: dict[str, Any] = {
    "learning_rate": 1e-6,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "num_train_epochs": 1,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 8,
    "num_generations": 8,
    "max_completion_length": 1024,
    "max_grad_norm": 1.0,
    "temperature": 1.0,
    "beta": 0.0,
}
# A model from scratch learns nothing at the rates of fine-tuning. Chosen on 481 seeds of 180 tokens (a stand-in teacher) and the
# held-out rows that these figures are of, so expect less elsewhere: 155-158 of 159 outputs in the exact layout, and all three tasks
# better than the majority class (prompt 0.62-0.72 against 0.57, refusal 0.72-0.76 against 0.58, response 0.69-0.74 against 0.67; two
# seeds).
_SCRATCH: dict[str, Any] = {
    "learning_rate": 3e-3,
    "warmup_steps": 10,
    "adam_beta2": 0.95,
    "weight_decay": 0.1,
    "num_train_epochs": 6,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
}
# Without a GPU: no mixed precision and no recomputation, which only cost time there, and no pinned memory.
_CPU: dict[str, Any] = {"bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False, "use_cpu": True}
_ALWAYS: dict[str, Any] = {"logging_steps": 1, "logging_first_step": True, "disable_tqdm": True, "logging_nan_inf_filter": False}


_LATER = frozenset({"architecture", "pixels"})
"""Options of `Scratch` that came later."""


class _Model(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


class Scratch(_Model):
    """A model with random weights, a Llama by default, and a byte-level BPE tokenizer learnt from the shards' own text.

    The defaults make a guard of 1.35M parameters that learns its layout and something of its tasks in about a minute on 2 cores. More
    layers or a larger vocabulary learnt less in the same time; width 128 is faster and needs more epochs.
    """

    architecture: Literal["llama", "qwen2_5_vl", "qwen3_vl", "qwen2_5_omni"] = "llama"
    """`llama` takes text alone, `qwen2_5_vl` and `qwen3_vl` take pictures, too, `qwen2_5_omni` (its thinker) pictures and sounds."""
    layers: int = Field(2, ge=1)
    width: int = Field(192, ge=8)
    """Size of the hidden state; a multiple of 2 x heads."""
    heads: int = Field(4, ge=1)
    feed_forward: int | None = Field(None, ge=8)
    """Inner size of the feed-forward part; default 3 x width."""
    vocab: int = Field(2048, ge=300)
    """Most tokens that the tokenizer may have; few texts give fewer."""
    max_length: int = Field(1024, ge=16)
    """Positions, in tokens: prompt and completion together."""
    pixels: int = Field(12_544, ge=784)
    """Pixels of a picture at most, to which larger ones are scaled, where the architecture takes pictures: 28 x 28 (of `qwen3_vl` 32 x 32) are a
    token."""

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What came later than the first runs only where it is set, so that these stay finished."""
        out: dict[str, Any] = write(self)
        return {name: value for name, value in out.items() if name not in _LATER or value != type(self).model_fields[name].default}

    @model_validator(mode="after")
    def _fits(self) -> Scratch:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 2 x heads ({2 * self.heads})")
        if self.architecture != "llama" and self.width < 8 * self.heads:
            raise ValueError(f"with architecture {self.architecture} width is at least 8 x heads ({8 * self.heads}), not {self.width}")
        return self


class ScratchModel(_Model):
    """``model: {scratch: {...}}``."""

    scratch: Scratch


class _Config(TrainOptions):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=2**32)


class SftConfig(_Config):
    """Supervised fine-tuning on completions only. Defaults: spec B for a model by name, measured ones for one from scratch."""

    model: Annotated[str | ScratchModel, HubName()]
    """Hub name, local folder, GGUF file, or ``{scratch: {...}}``."""

    @model_validator(mode="after")
    def _one_template(self) -> SftConfig:
        if self.scratch is not None and (self.chat_template is not None or self.chat_template_kwargs):
            raise ValueError("chat_template goes with a model by name or folder; one from scratch has its own")
        if self.scratch is not None and self.lora is not None:
            raise ValueError("lora goes with a model by name or folder: what a model from scratch has to learn is all of its weights")
        return self

    @property
    def scratch(self) -> Scratch | None:
        """The architecture when the model starts from random weights."""
        return self.model.scratch if isinstance(self.model, ScratchModel) else None


class DpoConfig(_Config):
    """DPO with a weight for each pair, against the start model as reference. Defaults: spec D."""

    model: Annotated[str, HubName()]
    """Hub name or local folder of the model to start from, which is also the reference."""


class GrpoConfig(_Config, GrpoOptions):
    """Online reinforcement learning with rewards of what the guard writes (GRPO)."""

    model: Annotated[str, HubName()]
    """Hub name or local folder of the model to start from."""
    guard: str | None = None
    """Guard definition, by name or file, that says what is right and what a sound form is. Default: the one that the shards were rendered for."""


AnyConfig = SftConfig | DpoConfig | GrpoConfig


def config_name(config: AnyConfig) -> ConfigName:
    """The name of TRL's configuration for a training."""
    return "GRPOConfig" if isinstance(config, GrpoConfig) else "DPOConfig" if isinstance(config, DpoConfig) else "SFTConfig"


def defaults(config: AnyConfig, *, cpu: bool) -> dict[str, Any]:
    """The trainer's fields that guardkit sets unless the configuration does."""
    base = _SFT | (_SCRATCH if config.scratch else {}) if isinstance(config, SftConfig) else _DPO if isinstance(config, DpoConfig) else _GRPO
    if base is _GRPO and not cpu and find_spec("vllm") is not None:
        base = base | {"use_vllm": True}
    if config.lora is not None:
        base = base | {"learning_rate": LORA_RATE * base["learning_rate"]}
    return _ALWAYS | base | (_CPU if cpu else {})


def trainer_args(config: AnyConfig, output_dir: str) -> SFTConfig | DPOConfig | GRPOConfig:
    """TRL's configuration: the user's fields over guardkit's defaults over TRL's.

    Args:
        config: of the training.
        output_dir: the trainer's folder.

    Raises:
        InputErrors: unknown fields or fields that guardkit sets itself, all at once; InputError: values that TRL refuses;
        Missing: trl is not installed.
    """
    require("trl", "train", "training")
    import torch
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.sft_config import SFTConfig

    from toolkit.training._packing import check_batches

    if isinstance(config, GrpoConfig):
        config = with_preset(config)
    cls: type[SFTConfig] | type[DPOConfig] | type[GRPOConfig] = {"SFTConfig": SFTConfig, "DPOConfig": DPOConfig, "GRPOConfig": GRPOConfig}[
        config_name(config)
    ]
    check_fields(config)
    refuse_launchers()
    cpu = bool(config.trainer.get("use_cpu", not torch.cuda.is_available()))
    check_installed(asked := services(config.trainer))
    fixed = {"output_dir": output_dir, "seed": config.seed, "report_to": asked or "none", "save_strategy": "no", "eval_strategy": "no"}
    given = defaults(config, cpu=cpu) | config.trainer
    given = {"per_device_eval_batch_size": given["per_device_train_batch_size"]} | given
    if isinstance(config, GrpoConfig):
        given = check_groups(given)
    try:
        args = cls(**(given | fixed))
    except (TypeError, ValueError, ImportError) as e:  # what transformers and trl raise for a value or a combination that they refuse
        raise InputError(f"trl refuses these trainer settings: {e}", where="trainer") from None
    args.report_to = asked  # transformers adds one by itself where it runs under Kubeflow
    check_batches(args)
    args._n_gpu = min(args.n_gpu, 1)  # one GPU a process, of however many there are
    if config.rows_an_update is not None:
        rows = config.rows_an_update * getattr(args, "num_generations", 1)
        args.gradient_accumulation_steps = accumulation_of(rows, args.per_device_train_batch_size, args.world_size)
    if isinstance(config, GrpoConfig):
        spread_groups(args, config.generate_every or 1)
    return args


def accumulation_of(rows: int, batch: int, processes: int) -> int:
    """Batches that each process accumulates for an update of so many rows on all of them (InputError: they do not come out even)."""
    steps, left = divmod(rows, batch * processes)
    if left or not steps:
        fits = next((b for b in range(batch, 0, -1) if rows % (b * processes) == 0), None)
        hint = f"trainer.per_device_train_batch_size: {fits} fits" if fits else f"{processes} processes cannot share {rows} rows: take another number"
        raise InputError(f"{rows} rows an update are not made of {batch} on each of {processes} processes", where="rows_an_update", hint=hint)
    return steps


def check_trainer(config: AnyConfig) -> None:
    """Raise what `trainer_args` would, before any data is read. With several processes on GPUs TRL is asked by them, for it takes room on a GPU."""
    if isinstance(config, GrpoConfig):
        config = with_preset(config)
    check_fields(config)
    processes = processes_of(config)
    if config.rows_an_update is not None:
        given = defaults(config, cpu=False) | config.trainer
        accumulation_of(config.rows_an_update * int(given.get("num_generations", 1)), int(given["per_device_train_batch_size"]), processes)
    if processes == 1 or config.trainer.get("use_cpu") or not has_gpu():
        trainer_args(config, "unused")


def check_fields(config: AnyConfig) -> None:
    """Hold the keys of `trainer`, and what each value may be, against the installed TRL, which is not loaded.

    Raises:
        InputErrors: unknown fields, fields that guardkit sets itself, values of another type, all at once; Missing: trl is not installed.
    """
    require("trl", "train", "training")
    known = fields_of(config_name(config))
    faults: list[GuardkitError] = []
    for key, value in config.trainer.items():
        where = f"trainer.{key}"
        if key in OWN:
            faults.append(InputError(f"{key!r} cannot be set: {OWN[key]}", where=where))
        elif key not in known:
            faults.append(InputError(f"unknown key {key!r}", where=where, hint=did_you_mean(key, known.keys() - OWN.keys())))
        elif key == "report_to":
            faults += _of_services(config.trainer)
        elif (why := misfit(known[key], value)) is not None:
            usual = defaults(config, cpu=False).get(key, known[key].default)
            faults.append(InputError(why, where=where, hint=None if usual is None else f"its default is {usual!r}"))
    if faults:
        raise InputErrors(faults)


def _of_services(trainer: Mapping[str, Any]) -> list[GuardkitError]:
    try:
        services(trainer)
    except InputError as e:
        return [e]
    return []
