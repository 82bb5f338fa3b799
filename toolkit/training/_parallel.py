"""How the processes of a training share its model: the option `parallel`.

``ddp``: each holds the whole model. ``fsdp2``, ``zero2``, ``zero3``: each holds a part, as the configuration of that name says that TRL ships for
accelerate. Or a file of the user's own, as ``accelerate config`` writes it. A file comes to what ``accelerate launch`` would set for it in the
environment of the processes; for mixed precision the trainer's own fields count with the presets, and the file with a file.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, did_you_mean, require, short_path

PRESETS = ("ddp", "fsdp2", "zero2", "zero3")
_KINDS = {"MULTI_GPU": "whole models", "NO": "whole models", "FSDP": "FSDP", "DEEPSPEED": "DeepSpeed"}
"""What a file may be for, by accelerate's name."""


def parallel_word(value: str | None) -> str | None:
    """The option's value, if it is one (ValueError)."""
    if value is not None and value not in PRESETS and Path(value).suffix not in (".yaml", ".yml", ".json"):
        raise ValueError(f"no preset {value!r}: {did_you_mean(value, PRESETS)}; or name a file of accelerate's (.yaml, .json)")
    return value


def own_file(parallel: str | None) -> Path | None:
    """The user's file; None where there is none."""
    return None if parallel is None or parallel in PRESETS else Path(parallel)


def processes_in(parallel: str | None) -> int | None:
    """How many processes a user's file asks for (InputError: it cannot be used)."""
    file = own_file(parallel)
    found = None if file is None else _read(file).num_processes
    return found if found and found > 0 else None


def parts_in(parallel: str | None, count: int) -> tuple[int, int, int] | None:
    """Into how many parts so many processes divide weights, gradients and the optimizer's state; None where some is put elsewhere (offloaded) or that
    is not known.

    Raises:
        InputError: a file that cannot be used.
    """
    kind, file = _kind(parallel), own_file(parallel)
    if kind not in ("FSDP", "DEEPSPEED"):
        return 1, 1, 1
    settings: dict[str, Any] = {} if file is None else (_read(file).fsdp_config if kind == "FSDP" else _read(file).deepspeed_config)
    if any("offload" in name and value not in (False, None, "none", "false") for name, value in settings.items()):
        return None
    if kind == "FSDP":
        whole = settings.get("fsdp_reshard_after_forward", True) in (True, "true", "FULL_SHARD")
        return (count, count, count) if whole and settings.get("fsdp_sharding_strategy", "FULL_SHARD") in ("FULL_SHARD", 1, "1") else None
    stage = {"zero2": 2, "zero3": 3}.get(str(parallel), settings.get("zero_stage"))
    return {1: (1, 1, count), 2: (1, count, count), 3: (count, count, count)}.get(stage or 0)


def is_deepspeed(parallel: str | None) -> bool:
    """Whether DeepSpeed shares the model (InputError: a file that cannot be used)."""
    return _kind(parallel) == "DEEPSPEED"


def port_in(parallel: str | None) -> int:
    """The port that a user's file asks for; 0 for one that is free."""
    file = own_file(parallel)
    return 0 if file is None else _read(file).main_process_port or 0


def check_parallel(parallel: str | None, count: int, *, cpu: bool) -> None:
    """Refuse what cannot be shared so.

    Args:
        parallel: the option.
        count: of processes.
        cpu: whether they train on the CPU.

    Raises:
        InputError: a model in parts with one process or on a CPU; a file that cannot be used. Missing: deepspeed is not installed.
    """
    kind = _kind(parallel)
    if kind == "DEEPSPEED":
        require("deepspeed", "deepspeed", f"parallel: {parallel}")
    if kind not in ("FSDP", "DEEPSPEED"):
        return
    if cpu:
        hint = "leave it out: on a CPU each process holds the whole model"
        raise InputError(f"{parallel} takes GPUs: accelerate shares no model out on a CPU", where="parallel", hint=hint)
    if count == 1:
        raise InputError(f"{parallel} shares a model between processes, and there is one", where="parallel", hint="set `processes: auto`")


def environment_of(parallel: str | None, count: int, *, reference: bool = False) -> dict[str, str]:
    """What `accelerate launch` would set for the processes.

    Args:
        parallel: the option.
        count: of processes.
        reference: whether a second model is held. Each process then reads both whole: TRL 1.16 shares it out as it is, and where the first process
            alone has read it (fsdp_cpu_ram_efficient_loading, which TRL's preset sets) the others would hold noise.

    Raises:
        InputError: a file that cannot be used.
    """
    kind = _kind(parallel)
    if parallel is None or kind == "ddp":
        return {}
    import accelerate.utils.launch as launch
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    file, ours = own_file(parallel), _shipped(parallel)
    try:
        given = launch_command_parser().parse_args(
            ["--config_file", str(file or ours), "--num_processes", str(count), "--main_process_port", "0", "-"]
        )
        arguments, read, _ = _validate_launch_command(given)
        arguments.deepspeed_fields_from_accelerate_config = ",".join(read.deepspeed_config)  # as `accelerate launch` does
        found = launch.prepare_deepspeed_cmd_env(arguments)[1] if kind == "DEEPSPEED" else launch.prepare_multi_gpu_env(arguments)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as e:
        raise InputError(f"accelerate refuses this configuration: {e}", where=str(file or "parallel")) from None
    mine = {"PYTHONPATH", *(() if file else ("ACCELERATE_MIXED_PRECISION",))}
    if kind == "FSDP" and reference:
        found["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    return {name: value for name, value in found.items() if os.environ.get(name) != value and name not in mine}


def in_words(parallel: str | None) -> str:
    """How a model is shared, in words; empty for whole models."""
    file = own_file(parallel)
    if file is None:
        return "" if parallel in (None, "ddp") else str(parallel)
    read = _read(file)
    settings = {"FSDP": read.fsdp_config, "DEEPSPEED": read.deepspeed_config}.get(read.distributed_type.value, {})
    words = ", ".join(f"{name.removeprefix('fsdp_')} {value}" for name, value in settings.items())
    return f"{_KINDS[read.distributed_type.value]} by {short_path(file)}" + (f" ({words})" if words else "")


def gather_whole(trainer: Any) -> None:
    """Let a model that is shared out be saved as a whole."""
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if plugin is not None:
        plugin.set_state_dict_type("FULL_STATE_DICT")


def _shipped(preset: str) -> Path:
    """The configuration that TRL ships."""
    spec = find_spec("trl")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    return Path(places[0] if places else "trl") / "accelerate_configs" / f"{preset}.yaml"


def _kind(parallel: str | None) -> str:
    """accelerate's name for it; ``ddp`` for whole models without a file."""
    if parallel is None or parallel == "ddp":
        return "ddp"
    file = own_file(parallel)
    return {"fsdp2": "FSDP"}.get(parallel, "DEEPSPEED") if file is None else str(_read(file).distributed_type.value)


def _read(file: Path) -> Any:
    """A user's file as accelerate reads it.

    Raises:
        InputError: it cannot be read, has keys that accelerate does not know, or is for what guardkit does not do.
    """
    from accelerate.commands.config.config_args import load_config_from_file
    from yaml import YAMLError

    try:
        found: Any = load_config_from_file(str(file))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, YAMLError) as e:
        raise InputError(f"accelerate cannot read it: {str(e).replace(str(file), file.name)}", where=str(file)) from None
    if getattr(found, "distributed_type", None) not in _KINDS or found.num_machines > 1:
        hint = f"distributed_type is to be one of {', '.join(_KINDS)}, and num_machines 1"
        raise InputError("a configuration for something else than several processes of one machine", where=str(file), hint=hint)
    zero = found.deepspeed_config
    if zero.get("zero_stage") == 3 and not zero.get("zero3_save_16bit_model"):
        hint = "without it the parts would be written, and no whole model"
        raise InputError("zero3_save_16bit_model is to be true", where=f"{file}:deepspeed_config", hint=hint)
    return found
