"""What a training takes in memory, and whether that fits here, for a check and a plan of a recipe and before `guardkit train` starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.common import hub
from toolkit.common.errors import InputError
from toolkit.common.gguf_models import is_gguf
from toolkit.common.machine import GIB, gpu_count, gpu_memory, has_gpu, memory
from toolkit.common.manifests import read_json
from toolkit.common.models import model_folder, parameters
from toolkit.common.paths import Roots
from toolkit.training._grpo_options import with_preset
from toolkit.training._memory import Memory, Shape, activations_of, memory_of
from toolkit.training._parallel import is_deepspeed, own_file, parts_in, processes_in
from toolkit.training._training_config import AnyConfig, DpoConfig, GrpoConfig, defaults


def memory_words(config: AnyConfig, roots: Roots) -> list[str]:
    """What a training takes on each of its devices, in a sentence; none where the model's size, or how several devices share it, is not known.

    Args:
        config: of the training.
        roots: where a folder of the model's name, or a file of accelerate's, is looked up.
    """
    config = with_preset(config) if isinstance(config, GrpoConfig) else config
    name = config.model
    if not isinstance(name, str) or any(config.trainer.get(k) for k in ("deepspeed", "fsdp", "parallelism_config")) or is_gguf(name, roots):
        return []
    folder, count = model_of(name, roots)
    if count is None:
        return []
    try:
        sharing, processes = _sharing(config, roots)
        parts = parts_in(sharing, processes)
    except InputError:  # it is refused elsewhere
        return []
    if parts is None:
        return []
    given = defaults(config, cpu=not has_gpu()) | config.trainer
    lora, kind, shape = config.lora, str(_init(given, "dtype") or _init(given, "torch_dtype") or "float32"), shape_in(folder)
    held = {"4bit": 0.5, "8bit": 1.0}.get("none" if lora is None else lora.quantize, 4.0 if "32" in kind else 2.0)
    optimizer = str(given.get("optim", "adamw_torch"))
    moments = (0.5 if "8bit" in optimizer else 2.0) if "adam" in optimizer else 0.0
    if is_deepspeed(sharing) and lora is None and _half(given):  # ZeRO, section 3.1: two bytes a weight and gradient, a copy of the weights in four
        held, moments = 2.0, 2 * moments + 2
    takes = memory_of(
        count,
        trained=None if lora is None else shape.adapter(lora.rank) if shape is not None else 0,
        held=held,
        moments=moments,
        parts=parts,
        activations=None if shape is None else _activations(config, given, shape),
        reference=isinstance(config, DpoConfig) and lora is None and not given.get("precompute_ref_log_probs"),
    )
    return [_words(name, takes, processes)]


def _sharing(config: AnyConfig, roots: Roots) -> tuple[str | None, int]:
    """How the model is shared (a file where it is), and by how many processes."""
    file = own_file(config.parallel)
    sharing = config.parallel if file is None else str(roots.file(file))
    wanted = processes_in(sharing) if config.processes is None else config.processes
    return sharing, max(1, gpu_count()) if wanted == "auto" else wanted or 1


def _words(name: str, takes: Memory, processes: int) -> str:
    together = 1 if has_gpu() else processes  # processes on a CPU share its memory
    have = gpu_memory() if has_gpu() else memory()
    what = f"Training {name!r} takes {takes.words()}" + (f" in each of {processes} processes" if processes > 1 else "")
    if have is None:
        return f"{what}."
    where = f"the largest GPU here has {have / GIB:,.0f}" if has_gpu() else f"this machine has no GPU, and {have / GIB:,.0f} of memory"
    do = "" if takes.total * together <= have else "; take a smaller batch, gradient_checkpointing or lora"
    return f"{what}; {where}{do}."


def model_of(name: str, roots: Roots) -> tuple[Path | None, int | None]:
    """The folder of a model, where it is on this machine, and how many weights it has, where that is known."""
    folder = model_folder(name, roots, short=True) or hub.cached(name)
    return folder, hub.parameters(name) if folder is None else parameters(folder)


def shape_in(folder: Path | None) -> Shape | None:
    """The sizes that a model's folder states."""
    try:
        found = None if folder is None else read_json(folder / "config.json")
    except (OSError, InputError):
        found = None
    return Shape.of(found) if isinstance(found, dict) else None


def _init(trainer: dict[str, Any], name: str) -> Any:
    options = trainer.get("model_init_kwargs")
    return options.get(name) if isinstance(options, dict) else None


def _half(given: dict[str, Any]) -> bool:
    return bool(given.get("bf16", has_gpu()) or given.get("fp16", False))


def _activations(config: AnyConfig, given: dict[str, Any], shape: Shape) -> float:
    rows = int(given["per_device_train_batch_size"]) * (2 if isinstance(config, DpoConfig) else 1)
    scores = _init(given, "attn_implementation") == "eager"
    checkpointed = bool(given.get("gradient_checkpointing", True))
    length = int(given.get("max_length") or 1024 + int(given.get("max_completion_length", 1024)))
    return activations_of(shape, length, rows, each=2 if _half(given) else 4, scores=scores, checkpointed=checkpointed)
