"""What the operators that train share: the check of trainer options, what a machine lacks, the report of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from toolkit.common import hub
from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.common.gguf_models import is_gguf
from toolkit.common.machine import GIB, gpu_memory, has_gpu, memory
from toolkit.common.models import CURVES, METRICS, calm_threads, model_folder, parameters
from toolkit.common.paths import Roots
from toolkit.operators._drawn import trained
from toolkit.operators.base import Context, Operator, Output
from toolkit.operators.figures import Figure, nothing, stat
from toolkit.training import lora_needs, own_file

if TYPE_CHECKING:
    from toolkit.training import DpoConfig, GrpoConfig, Lora, SftConfig, TrainOptions

T = TypeVar("T", bound=BaseModel)
C = TypeVar("C", "SftConfig", "DpoConfig", "GrpoConfig")
TRAINING = (Figure("parameters", "how the training went; numbers that the model has", stat("parameters"), nothing, drawn=trained),)


def training_needs(options: TrainOptions | None = None) -> list[str]:
    """What this machine lacks to train; with `options` also what these need."""
    lacking = [f"the package {p!r} is missing: pip install 'guardkit[train]'" for p in ("torch", "trl") if find_spec(p) is None]
    if options is not None and str(options.parallel).startswith("zero") and find_spec("deepspeed") is None:
        lacking.append("the package 'deepspeed' is missing: pip install 'guardkit[deepspeed]'")
    return lacking + lora_needs(None if options is None else options.lora)


def memory_needs(model: str, trainer: Mapping[str, Any], roots: Roots, lora: Lora | None = None) -> list[str]:
    """Whether training a model cannot fit here. What it takes at least: weights and, with Adam, gradients and two moments of each, in the type that
    they are loaded in; with LoRA the weights alone, in 4 or 8 bits where they are quantised. Texts come on top. Silent where one of these figures is
    not known, or more than one machine may share them.
    """
    if any(trainer.get(k) for k in ("deepspeed", "fsdp", "parallelism_config")):
        return []
    if is_gguf(model, roots):  # not unpacked to make a plan
        return []
    folder = model_folder(model, roots, short=True) or hub.cached(model)
    count = hub.parameters(model) if folder is None else parameters(folder)
    have = gpu_memory() if has_gpu() else memory()
    if count is None or have is None:
        return []
    options = trainer.get("model_init_kwargs")
    dtype = str((options.get("dtype") or options.get("torch_dtype") or "float32") if isinstance(options, Mapping) else "float32")
    each = (4.0 if "32" in dtype else 2.0) * (4 if lora is None and str(trainer.get("optim", "adamw_torch")).startswith("adamw_torch") else 1)
    if lora is not None and lora.quantize != "none":
        each = 0.5 if lora.quantize == "4bit" else 1.0
    if (least := count * each) <= have:
        return []
    where = f"the largest GPU here has {have / GIB:,.0f}" if has_gpu() else f"this machine has no GPU, and {have / GIB:,.0f} of memory"
    return [f"training {model!r} ({count / 1e9:,.1f} billion weights) takes {least / GIB:,.0f} GiB before any text is read, and {where}"]


def parallel_files(options: TrainOptions, ctx: Context) -> dict[str, str]:
    """For `Operator.files`: the user's file of accelerate's, if any."""
    file = own_file(options.parallel)
    return {} if file is None else {"parallel": ctx.files.digest(ctx.roots.file(file))}


def parallel_found(options: TrainOptions, ctx: Context) -> dict[str, str]:
    """The option `parallel` with the user's file where it is; nothing where it names none."""
    file = own_file(options.parallel)
    return {} if file is None else {"parallel": str(ctx.roots.file(file))}


def media_found(options: TrainOptions, ctx: Context) -> dict[str, str]:
    """The option `media` as it is meant: the recipe's folder of media unless it names another."""
    return {"media": str(ctx.media_folder if options.media is None else ctx.roots.settled(options.media))}


def training_config(cls: type[T], **values: Any) -> T:
    """A configuration of the training room (InputError for values that do not go together)."""
    from pydantic import ValidationError

    try:
        return cls.model_validate(values)
    except ValidationError as e:
        raise InputError("; ".join(f["msg"].removeprefix("Value error, ") for f in e.errors())) from None


def check_start(operator: str, inputs: Iterable[str], model: object) -> None:
    """Refuse a training that has no model to start from, or two (InputError): an option names it, or the input `model` is an earlier step's."""
    further = [name for name in inputs if name != "shards"]
    if odd := next((name for name in further if name != "model"), None):
        raise InputError(f"{operator} has no input called {odd!r}", hint=did_you_mean(odd, ["shards", "model"]))
    if bool(further) == (model is not None):
        why = "`model` is both an option and an earlier step" if further else "there is no `model` to train"
        raise InputError(why, hint="name one: `with: {model: …}`, or `from: {shards: STEP, model: STEP}` to train an earlier step's further")


def start_of(before: Iterable[Operator]) -> str | None:
    """What the model of an earlier step was trained from, by name or folder; None where that is not known."""
    starts = {getattr(operator, "starts_from", None) for operator in before if "model" in operator.makes}
    return starts.pop() if len(starts) == 1 else None


def check_options(config: SftConfig | DpoConfig | GrpoConfig, *, whole: bool = False) -> None:
    """Check `trainer` against TRL's own class before anything runs.

    Args:
        config: of the training.
        whole: also what TRL itself refuses, for which it is loaded.

    Raises:
        InputError: keys that TRL does not have or that guardkit sets, values that it refuses.
    """
    if not config.trainer or training_needs():
        return
    from toolkit.training import check_fields, check_trainer

    calm_threads()  # before torch is first loaded
    try:
        (check_trainer if whole else check_fields)(config)
    except InputErrors as e:
        raise InputError("; ".join(f"{f.where}: {f.message}" for f in e.errors), hint=" ".join(f.hint for f in e.errors if f.hint) or None) from None
    except InputError as e:
        raise InputError(e.message, hint=e.hint) from None


def named(config: C, step: str) -> C:
    """The options with the step's name for programs that are handed the figures."""
    if not config.trainer.get("report_to"):
        return config
    return config.model_copy(update={"trainer": {"run_name": step, **config.trainer}})


def counted(files: Mapping[str, str]) -> dict[str, str]:
    """For `Operator.counts_by`: the files of a model that shape what it writes, not those that say how its training went."""
    return {name: sha256 for name, sha256 in files.items() if Path(name).name not in (METRICS, CURVES)}


def goes_on(step: str, kept: Path | None) -> str:
    """For `Output.if_stopped`, of a step whose checkpoints are in a folder; None for none."""
    from toolkit.training import kept_update

    if kept is not None and (update := kept_update(kept)) is not None:
        return f"the training of {step!r} goes on after update {update:,}"
    why = "it has no `checkpoint`" if kept is None else "it had not come to its first checkpoint"
    return f"the training of {step!r} begins anew: {why}"


def loss_words(loss: float | None) -> str:
    """The loss for a progress bar."""
    return "" if loss is None else f"loss {loss:.3f}"


def report_training(metrics: Mapping[str, Any], out: Output, rows: str = "rows") -> None:
    """Counts of a training to the manifest, its figures to the log.

    Args:
        metrics: as the training room returns them.
        out: of the step.
        rows: what the metrics call their rows: rows or pairs.
    """
    import polars as pl

    out.count_in(metrics[rows])
    out.use(metrics[f"{rows}_used"])
    for reason, dropped in metrics["dropped"].items():
        out.set_aside(pl.DataFrame({"id": dropped["ids"]}, schema={"id": pl.String}), reason)
    out.stat("parameters", metrics["parameters"])
    if "parameters_trained" in metrics:
        out.stat("parameters_trained", metrics["parameters_trained"])
    for name in (
        "settings",
        "loss_first",
        "loss_last",
        "tokens",
        "steps",
        "epochs",
        "device",
        "weight_min",
        "weight_mean",
        "weight_max",
        "weight_zero",
        "held_out",
        "eval_loss",
        "eval_pairs_right",
        "eval_margin",
        "formula",
        "reward_first",
        *(f"{name}_last" for name in ("reward", "form", "accuracy", "no_spread", "length", "cut")),
        *(f"eval_{name}" for name in ("reward", "form", "accuracy", "length", "cut")),
    ):
        if name in metrics:
            out.note(name, metrics[name])
