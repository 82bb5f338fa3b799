"""Jobs for the processes of a training; they are sent by name, so that they are here and not in the test."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

TRAINER = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "num_train_epochs": 2,
    "learning_rate": 1e-2,
    "optim": "sgd",
    "max_grad_norm": 0,
}
HELD_OUT = {"split": "validation", "every": 4}
PLAIN = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "max_steps": 2, "precompute_ref_log_probs": False}


def sft_config(top: Path, accumulation: int, processes: int) -> Any:
    """A training on rows in their order whose last round has fewer rows than places."""
    from toolkit.training import SftConfig

    trainer = TRAINER | {"gradient_accumulation_steps": accumulation, "train_sampling_strategy": "sequential"}
    return SftConfig.model_validate({"model": str(top / "base"), "trainer": trainer, "processes": processes, "threads": 1, "evaluate": HELD_OUT})


def dpo_config(top: Path, accumulation: int, processes: int, **more: Any) -> Any:
    """A training whose batches of 2 pairs are no multiple of its 2 processes."""
    from toolkit.training import DpoConfig

    trainer = TRAINER | {"beta": 0.5, "gradient_accumulation_steps": accumulation}
    options = {"model": str(top / "base"), "trainer": trainer, "processes": processes, "threads": 1, "evaluate": HELD_OUT}
    return DpoConfig.model_validate(options | more)


def further(top: Path, watch: Any) -> dict[str, Any]:
    """The training of `dpo_config` stopped after its third update, and on from its checkpoint; supervised fine-tuning; TRL's own training on pairs and
    ours with weights of 1."""
    from toolkit.common.errors import Stopped
    from toolkit.training._checkpoint_option import Checkpoint
    from toolkit.training._checkpoints import Checkpoints
    from toolkit.training._dpo import Dpo
    from toolkit.training._ranks import first_alone
    from toolkit.training._sft import Sft
    from toolkit.training._training_report import Watch
    from toolkit.training._training_run import fit

    def stop(done: int, total: int, loss: float | None) -> None:
        if done == 3:
            raise Stopped("enough")

    job = Dpo(), top / "dpo", top / "new", top / "work", dpo_config(top, 1, 2)
    with suppress(Stopped):
        fit(*job, Checkpoints(top / "kept", Checkpoint(updates=2), {}), Watch(stop))
    with first_alone():
        keep = Checkpoints(top / "kept", Checkpoint(updates=2), {})
    resumed = fit(*job, keep, watch)
    sft = fit(Sft(), top / "sft", top / "sft-both", top / "sft-work", sft_config(top, 2, 2), None, Watch(None))
    return {"resumed": resumed, "sft": sft, "diverged": _diverged(top), "same_as_trl": _as_trl(top), **_in_parts(top)}


def _diverged(top: Path) -> list[str]:
    """What each of the processes says of a training in which the second's first batch has no finite loss."""
    from accelerate.utils import gather_object

    from toolkit.common.errors import InputError
    from toolkit.training._ranks import is_first
    from toolkit.training._sft import Sft
    from toolkit.training._training_report import Watch
    from toolkit.training._training_run import fit

    class Diverges(Sft):
        def trainer(self) -> type[Any]:
            class Trainer(super().trainer()):  # type: ignore[misc]
                def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
                    return super().compute_loss(*args, **kwargs) * (1.0 if is_first() else float("nan"))

            return Trainer

    try:
        fit(Diverges(), top / "sft", top / "diverged", top / "diverged-work", sft_config(top, 1, 2), None, Watch(None))
    except InputError as e:
        return list(gather_object([str(e)]))
    return []


def _in_parts(top: Path) -> dict[str, Any]:
    """The training of `dpo_config` with FSDP2, of all weights and of an adapter, checkpoints in parts; accelerate shares out on GPUs alone, so that it
    takes the processes for such."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    from toolkit.training._dpo import Dpo
    from toolkit.training._parallel import environment_of
    from toolkit.training._training_report import Watch
    from toolkit.training._training_run import fit

    state: Any = PartialState
    state._prepare_backend = lambda self, *_, **__: ("gloo", DistributedType.MULTI_GPU)
    os.environ |= environment_of("fsdp2", 2, reference=True) | {"ACCELERATE_TORCH_DEVICE": "cpu", "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT"}
    on_gpu = {"use_cpu": False, "bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False}
    found = {}
    for name, more in (("parts", {}), ("parts-lora", {"lora": True})):
        config = dpo_config(top, 1, 2, **more)
        config = config.model_copy(update={"trainer": config.trainer | on_gpu})
        found[name] = fit(Dpo(), top / "dpo", top / name, top / f"{name}-work", config, None, Watch(None))
    return found


def _as_trl(top: Path) -> bool:
    import torch
    from datasets import Dataset
    from shardfolders import dpo_rows
    from transformers import AutoTokenizer
    from trl.trainer.dpo_trainer import DPOTrainer

    from toolkit.training import DpoConfig
    from toolkit.training._trainers import WeightedDPOTrainer
    from toolkit.training._training_config import trainer_args

    ends = []
    for cls, weights in ((DPOTrainer, {}), (WeightedDPOTrainer, {"weight": 1.0})):
        args = trainer_args(DpoConfig(model=str(top / "base"), trainer=PLAIN), str(top / f"work-{cls.__name__}"))
        data = Dataset.from_list([{k: r[k] for k in ("id", "prompt", "chosen", "rejected")} | weights for r in dpo_rows(8)])
        make: Any = cls
        trainer = make(model=str(top / "base"), args=args, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(top / "base"))
        trainer.train()
        ends.append(torch.cat([p.detach().flatten() for p in trainer.accelerator.unwrap_model(trainer.model).parameters()]))
    return torch.equal(*ends)


def forever(top: Path, watch: Any) -> dict[str, Any]:
    """Meet again and again, without TRL, which takes its time to load; say who is here."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    (top / f"pid-{dist.get_rank()}").write_text(str(os.getpid()))
    for update in range(1, 100_000):
        dist.all_reduce(torch.ones(1))
        if dist.get_rank() == 0:
            watch.saw(1.0, 1, update, 100_000, None)
        time.sleep(0.02)
    return {}


def fails(top: Path, watch: Any) -> dict[str, Any]:
    """The second process finds a fault in the rows while the first waits for it."""
    import torch
    import torch.distributed as dist

    from toolkit.common.errors import InputError

    dist.init_process_group("gloo")
    if dist.get_rank() == 1:
        raise InputError("a fault", where="rows", hint="mend it")
    dist.all_reduce(torch.ones(1))
    return {}


def together_until_stopped(top: Path) -> None:
    """What a command does: `forever`, until it is interrupted."""
    from functools import partial

    from toolkit.common.errors import GuardkitError
    from toolkit.pipeline import stopping
    from toolkit.training._train_processes import together

    def show(done: int, total: int, loss: float | None) -> None:
        (top / "updates").write_text(str(done))

    try:
        with stopping("again"):
            together(partial(forever, top), 2, top / "place", show, None)
    except GuardkitError as e:
        print(e)
        raise SystemExit(e.exit_code) from None
