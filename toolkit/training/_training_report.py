"""What a training reports while it lasts: its settings once, then every update, and that it has diverged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from toolkit.common.errors import InputError, short_path
from toolkit.common.interrupts import raise_swallowed
from toolkit.training._metrics_lines import MetricsLines
from toolkit.training._speed import device_peak, operations_of

Progress = Callable[[int, int, float | None], None]
"""Called after every logged update with updates done, updates in all, and the loss, in GRPO the mean reward (None where none was logged)."""

Begin = Callable[[Mapping[str, Any]], None]
"""Called before the first update with the settings as they are resolved; see `resolved`."""


_FINITE = {"loss": "loss", "grad_norm": "norm of the gradient"}


class Watch:
    """Collects the losses that a trainer logs, reports progress, and refuses a training that has diverged."""

    def __init__(self, on_progress: Progress | None, on_begin: Begin | None = None) -> None:
        self.losses: list[float] = []
        self.tokens = 0
        self.last: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.other = ""
        """Why the training does not go on from a checkpoint that is there."""
        self.lines = MetricsLines()
        self.trainer: Any = None
        """Names the rows of a batch whose loss is not finite (`NamesRows`)."""
        self.name = ""
        """Of the training, for programs that are handed its figures."""
        self.tensorboard: str | None = None
        """Folder of TensorBoard's files."""
        self.used: int | None = None
        """Rows that are trained on."""
        self.shows = "loss"
        """The figure of the progress."""
        self.shared = ""
        """How its processes share the model, where none holds all of it."""
        self._read = 0
        self._on_progress, self._on_begin = on_progress, on_begin

    def of(self, trainer: Any, data: Any, used: int) -> None:
        """What is watched: a trainer, the rows by their places, how many of them are trained on."""
        self.trainer, self.used = trainer, used
        trainer.ids = list(data["id"])
        rows = trainer.train_dataset
        names = rows.column_names
        lengths = list(rows["length"]) if "length" in names else [n for pack in rows["seq_lengths"] for n in pack] if "seq_lengths" in names else []
        peak = device_peak(trainer.args)
        self.lines = MetricsLines(operations_of(trainer.model, lengths), None if peak is None else peak * trainer.args.world_size)

    def held_out(self, rows: int) -> dict[str, Any]:
        """Of the last look at that many held-out rows."""
        last: dict[str, Any] = next((line for line in reversed(self.lines.lines) if "eval_loss" in line), {})
        return {"held_out": rows, **{name: value for name, value in last.items() if name.startswith("eval_")}} if rows else {}

    def callback(self) -> Any:
        """The trainer's callback."""
        from transformers import TrainerCallback

        watch = self

        class _Callback(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                watch.lines.pause()
                watch.begin(resolved(args, state), state.log_history)

            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                raise_swallowed()

            def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
                if logs and "eval_loss" in logs:
                    watch.lines.add_held_out(state.global_step, logs)
                if not logs or "loss" not in logs:
                    return
                watch.last = dict(logs)
                tokens = watch.counted(logs.get("num_tokens"))
                watch.lines.add(state.global_step, logs, tokens)
                watch.finite(logs, state.global_step, scaled=args.fp16)
                watch.saw(float(logs["loss"]), tokens, state.global_step, state.max_steps, logs.get(watch.shows))

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                watch.lines.pause()

        return _Callback()

    def begin(self, settings: dict[str, Any], before: Sequence[Mapping[str, Any]]) -> None:
        """Note the settings, and what was logged before the checkpoint that the training goes on from."""
        more = {"parallel": self.shared, "other_checkpoint": self.other}
        few = {"rows_used": self.used} if self.used is not None and self.used < settings["rows_an_update"] else {}
        where = {"tensorboard": self.tensorboard} if self.tensorboard is not None else {}
        self.settings = {**settings, **few, **where, **{name: words for name, words in more.items() if words}}
        self.losses = [float(logs["loss"]) for logs in before if "loss" in logs]
        seen = [0, *(int(logs["num_tokens"]) for logs in before if "num_tokens" in logs), 0]
        self._read = sum(n for n, after in pairwise(seen) if after < n)  # TRL counts anew each time that it goes on, but for GRPO
        self._read = 0 if "generations" in settings else self._read
        if self._on_begin is not None:
            self._on_begin(self.settings)

    def counted(self, tokens: float | None) -> int:
        """Tokens that were read in all, as TRL has counted so many since it went on."""
        return self.tokens if tokens is None else self._read + int(tokens)

    def finite(self, logs: Mapping[str, Any], step: int, *, scaled: bool) -> None:
        """Refuse to go on where the loss or its gradient is not finite; `scaled`: a gradient of that kind only makes the scaler step back (fp16)."""
        odd = [f"the {word} is {logs[name]}" for name, word in _FINITE.items() if name in logs and not math.isfinite(logs[name])]
        if scaled and "loss" in logs and math.isfinite(logs["loss"]):
            odd = []
        if not odd:
            if self.trainer is not None:
                self.trainer.forget_rows()
            return
        rows = "" if self.trainer is None else self.trainer.odd_rows()
        message = f"{odd[0]} at update {step}: the training has diverged" + (f"; the batch was of these rows: {rows}" if rows else "")
        raise InputError(message, hint="lower trainer.learning_rate" + (", or look at these rows" if rows else ""))

    def saw(self, loss: float, tokens: int, step: int, steps: int, shown: float | None) -> None:
        """Note one logged update."""
        self.losses.append(loss)
        self.tokens = tokens
        if self._on_progress is not None:
            self._on_progress(step, steps, shown)


def resolved(args: Any, state: Any) -> dict[str, Any]:
    """What a training is about to do: updates, after (those done before the checkpoint that it goes on from), epochs, batch, accumulation,
    processes, rows_an_update, of GRPO generations (answers to a row), learning_rate, schedule, device. `Watch` adds rows_used, where they are
    fewer than an update takes, parallel, how the processes share the model, other_checkpoint, why it does not go on from one that is there, and
    tensorboard, the folder of its files."""
    batch, steps = args.train_batch_size, args.gradient_accumulation_steps
    groups = {"generations": args.num_generations} if hasattr(args, "num_generations") else {}
    return {
        "updates": state.max_steps,
        **({"after": state.global_step} if state.global_step else {}),
        "epochs": state.num_train_epochs,
        "batch": batch,
        "accumulation": steps,
        "processes": args.world_size,
        "rows_an_update": batch * steps * args.world_size // groups.get("generations", 1),
        **groups,
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
    board = f"; tensorboard --logdir {short_path(s['tensorboard'])}" if "tensorboard" in s else ""
    done_with = "which GRPO refuses: give a smaller rows_an_update" if "generations" in s else "and each update is of all of them"
    few = f"; there are only {s['rows_used']:,} rows, {done_with}" if "rows_used" in s else ""
    by = f" x {s['processes']} processes" if s["processes"] > 1 else ""
    shared = f", {s['parallel']}" if s.get("parallel") else ""
    answers = f" with {s['generations']} answers each" if "generations" in s else ""
    rows = f"{s['rows_an_update']:,} rows{answers} ({s['batch']} x {s['accumulation']} accumulated{by})"
    rows += f", {s['epochs']:,} epoch{'s' * (s['epochs'] != 1)}"
    done = f"; goes on after update {s['after']:,}" if "after" in s else f"; {other}" if (other := s.get("other_checkpoint")) else ""
    on = f"on {s['device']}{shared}"
    updates = f"{s['updates']:,} update{'s' * (s['updates'] != 1)}"
    return f"{updates} of {rows}, learning rate {s['learning_rate']:g} ({s['schedule']}), {on}{few}{done}{board}"
