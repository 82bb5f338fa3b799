"""What a training reports while it lasts: its settings once, then every update, and that it has diverged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from toolkit.common.errors import InputError

Progress = Callable[[int, int, float | None], None]
"""Called after every logged update with updates done, updates in all, and the loss (None where none was logged)."""

Begin = Callable[[Mapping[str, Any]], None]
"""Called before the first update with the settings as they are resolved; see `resolved`."""


class Watch:
    """Collects the losses that a trainer logs, reports progress, and refuses a training that has diverged."""

    def __init__(self, on_progress: Progress | None, on_begin: Begin | None = None) -> None:
        self.losses: list[float] = []
        self.tokens = 0
        self.last: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.other = ""
        """Why the training does not go on from a checkpoint that is there."""
        self._read = 0
        self._on_progress, self._on_begin = on_progress, on_begin

    def callback(self) -> Any:
        """The trainer's callback."""
        from transformers import TrainerCallback

        watch = self

        class _Callback(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                watch.begin(resolved(args, state), state.log_history)

            def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
                if not logs or "loss" not in logs:
                    return
                watch.last = dict(logs)
                watch.saw(float(logs["loss"]), watch.counted(logs.get("num_tokens")), state.global_step, state.max_steps)

        return _Callback()

    def begin(self, settings: dict[str, Any], before: Sequence[Mapping[str, Any]]) -> None:
        """Note the settings, and what was logged before the checkpoint that the training goes on from."""
        self.settings = {**settings, **({"other_checkpoint": self.other} if self.other else {})}
        self.losses = [float(logs["loss"]) for logs in before if "loss" in logs]
        seen = [0, *(int(logs["num_tokens"]) for logs in before if "num_tokens" in logs), 0]
        self._read = sum(n for n, after in pairwise(seen) if after < n)  # TRL counts anew each time that it goes on
        if self._on_begin is not None:
            self._on_begin(self.settings)

    def counted(self, tokens: float | None) -> int:
        """Tokens that were read in all, as TRL has counted so many since it went on."""
        return self.tokens if tokens is None else self._read + int(tokens)

    def saw(self, loss: float, tokens: int, step: int, steps: int) -> None:
        """Note one logged update."""
        self.losses.append(loss)
        self.tokens = tokens
        if not math.isfinite(loss):
            raise InputError(f"the loss is {loss} at update {step}: the training has diverged", hint="lower trainer.learning_rate")
        if self._on_progress is not None:
            self._on_progress(step, steps, loss)


def resolved(args: Any, state: Any) -> dict[str, Any]:
    """What a training is about to do: updates, after (those done before the checkpoint that it goes on from), epochs, batch, accumulation,
    processes, rows_an_update, learning_rate, schedule, device. `Watch` adds other_checkpoint, why it does not go on from one that is there."""
    batch, steps = args.train_batch_size, args.gradient_accumulation_steps
    return {
        "updates": state.max_steps,
        **({"after": state.global_step} if state.global_step else {}),
        "epochs": state.num_train_epochs,
        "batch": batch,
        "accumulation": steps,
        "processes": args.world_size,
        "rows_an_update": batch * steps * args.world_size,
        "learning_rate": args.learning_rate,
        "schedule": str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        "device": str(args.device) if args.world_size == 1 else args.device.type,
    }


_IN_WORDS = frozenset(("updates", "rows_an_update", "batch", "accumulation", "processes", "epochs", "learning_rate", "schedule", "device"))


def in_words(settings: Mapping[str, Any]) -> str:
    """The settings of a training as they are resolved, in words."""
    s = settings
    if not s.keys() >= _IN_WORDS:  # of a trainer of another package
        return ", ".join(f"{name} {value}" for name, value in s.items())
    by = f" x {s['processes']} processes" if s["processes"] > 1 else ""
    rows = f"{s['rows_an_update']:,} rows ({s['batch']} x {s['accumulation']} accumulated{by}), {s['epochs']:,} epochs"
    done = f"; goes on after update {s['after']:,}" if "after" in s else f"; {other}" if (other := s.get("other_checkpoint")) else ""
    return f"{s['updates']:,} updates of {rows}, learning rate {s['learning_rate']:g} ({s['schedule']}), on {s['device']}{done}"
