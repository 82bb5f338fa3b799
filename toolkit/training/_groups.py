"""Groups of answers: how a GRPO training fills its batches with rows of which each has the same number of answers."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Any

from toolkit.common.errors import InputError


def check_groups(given: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's fields, with those that TRL needs to make a configuration of them; `spread_groups` sets them to what they are to be.

    Raises:
        InputError: a group that is no group.
    """
    size = int(given["num_generations"])
    if size < 2:
        message = f"groups of {size}: an answer is compared with the others to the same row, so that one alone teaches nothing"
        raise InputError(message, where="trainer.num_generations", hint="2 or more; the published settings have 4 to 16")
    most = int(given["max_completion_length"])
    if most < 1:
        raise InputError(f"answers of {most} tokens", where="trainer.max_completion_length", hint="a number above 0")
    looked_at = int(given.get("num_generations_eval") or size)
    whole = max(looked_at, int(given["per_device_eval_batch_size"]) // looked_at * looked_at)
    return {**given, "steps_per_generation": size, "per_device_eval_batch_size": whole}


def spread_groups(args: Any, every: int) -> None:
    """Set how many answers are drawn at a time: those of `every` updates.

    Raises:
        InputError: they are not made of whole groups, in each process.
    """
    size, batch, steps = args.num_generations, args.per_device_train_batch_size, args.gradient_accumulation_steps
    args.steps_per_generation = steps * every
    args.generation_batch_size = batch * args.world_size * args.steps_per_generation
    if (own := batch * args.steps_per_generation) % size:
        of = f"{batch} x {steps} accumulated" + (f" x {every} updates" if every > 1 else "") + (" in each process" if args.world_size > 1 else "")
        fits = size // gcd(size, batch * every)
        hint = f"trainer.gradient_accumulation_steps: {fits}, or a multiple of it; or trainer.per_device_train_batch_size: {size}"
        raise InputError(f"{own} answers ({of}) are not made of groups of {size}", where="trainer.num_generations", hint=hint)
