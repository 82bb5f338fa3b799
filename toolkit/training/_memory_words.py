"""What a training takes in memory, and whether that fits here, for a check and a plan of a recipe and before `guardkit train` starts."""

from __future__ import annotations

from typing import Any

from toolkit.common import hub
from toolkit.common.errors import InputError
from toolkit.common.gguf_models import is_gguf
from toolkit.common.machine import GIB, gpu_memory, has_gpu, memory
from toolkit.common.manifests import read_json
from toolkit.common.models import model_folder, parameters
from toolkit.common.paths import Roots
from toolkit.training._memory import Shape, activations_of, memory_of
from toolkit.training._training_config import DpoConfig, SftConfig, defaults


def memory_words(config: SftConfig | DpoConfig, roots: Roots) -> list[str]:
    """What a training takes on the largest device here, in a sentence; none where the model's size is not known, or several devices may share it.

    Args:
        config: of the training.
        roots: where a folder of the model's name is looked up.
    """
    name = config.model
    if not isinstance(name, str) or any(config.trainer.get(k) for k in ("deepspeed", "fsdp", "parallelism_config")) or is_gguf(name, roots):
        return []
    folder = model_folder(name, roots, short=True) or hub.cached(name)
    count = hub.parameters(name) if folder is None else parameters(folder)
    have = gpu_memory() if has_gpu() else memory()
    if count is None:
        return []
    try:
        found = None if folder is None else read_json(folder / "config.json")
    except (OSError, InputError):
        found = None
    shape = Shape.of(found) if isinstance(found, dict) else None
    given = defaults(config, cpu=not has_gpu()) | config.trainer
    lora, kind = config.lora, str(_init(given, "dtype") or _init(given, "torch_dtype") or "float32")
    held = {"4bit": 0.5, "8bit": 1.0}.get("none" if lora is None else lora.quantize, 4.0 if "32" in kind else 2.0)
    trained = None if lora is None else shape.adapter(lora.rank) if shape is not None else 0
    optimizer = str(given.get("optim", "adamw_torch"))
    moments = (0.5 if "8bit" in optimizer else 2.0) if "adam" in optimizer else 0.0
    takes = memory_of(count, trained=trained, held=held, moments=moments, activations=None if shape is None else _activations(config, given, shape))
    if have is None:
        return [f"Training {name!r} takes {takes.words()}."]
    where = f"the largest GPU here has {have / GIB:,.0f}" if has_gpu() else f"this machine has no GPU, and {have / GIB:,.0f} of memory"
    do = "" if takes.total <= have else "; take a smaller batch, gradient_checkpointing or lora"
    return [f"Training {name!r} takes {takes.words()}; {where}{do}."]


def _init(trainer: dict[str, Any], name: str) -> Any:
    options = trainer.get("model_init_kwargs")
    return options.get(name) if isinstance(options, dict) else None


def _activations(config: SftConfig | DpoConfig, given: dict[str, Any], shape: Shape) -> float:
    rows = int(given["per_device_train_batch_size"]) * (2 if isinstance(config, DpoConfig) else 1)
    half = given.get("bf16", has_gpu()) or given.get("fp16", False)
    scores = _init(given, "attn_implementation") == "eager"
    checkpointed = bool(given.get("gradient_checkpointing", True))
    return activations_of(shape, int(given.get("max_length") or 2048), rows, each=2 if half else 4, scores=scores, checkpointed=checkpointed)
