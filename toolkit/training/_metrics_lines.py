"""`metrics.jsonl` of a model folder: one line for each logged update.

    update, epoch       updates done, passes over the rows
    loss                mean over the updates since the last line: nats a token (SFT), preference and SFT term together (DPO)
    pairs_right, margin  of pairs: share whose chosen answer gained more on the reference than the rejected one, and by how much (rewards)
    reward              of GRPO: mean over the answers; by_length is what the length added to it
    form, accuracy      share of answers of a sound form; mean accuracy, and right_<task> for each task
    no_spread           share of the groups whose answers all earned the same, which teach nothing
    length, cut         tokens of an answer; share of the answers that the limit cut
    clip, entropy       clipping range below 1; mean entropy of a token, in nats
    gradient_norm       before it was clipped
    learning_rate
    tokens              read so far, padding not counted
    seconds             of training so far, without evaluations and checkpoints
    tokens_per_second   since the last line
    mfu                 see `toolkit.training._speed`; null where the device's peak is not known, as on CPUs
    eval_loss, eval_pairs_right, eval_margin, eval_reward, …  of the held-out rows, in lines after whose update these were looked at

A key that a training does not have is not there. The lines of a training that went on from a checkpoint are those of one that was never stopped, but
for the last four of time. They shape no output: a model's hash does not count them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.common.files import write_atomic
from toolkit.common.models import METRICS

_NAMES = {
    "loss": "loss",
    "rewards/accuracies": "pairs_right",
    "rewards/margins": "margin",
    "reward": "reward",
    "form": "form",
    "accuracy": "accuracy",
    "by_length": "by_length",
    "frac_reward_zero_std": "no_spread",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "cut",
    "clip": "clip",
    "entropy": "entropy",
    "grad_norm": "gradient_norm",
    "learning_rate": "learning_rate",
}
_HELD_OUT = {f"eval_{key}": f"eval_{name}" for key, name in _NAMES.items() if name not in ("clip", "entropy", "gradient_norm", "learning_rate")}
_RIGHT = ("right_", "eval_right_")


def _named(logs: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The figures of a log by their names here, a task's own among them."""
    return {name: logs[key] for key, name in names.items() if key in logs} | {key: value for key, value in logs.items() if key.startswith(_RIGHT)}


class MetricsLines:
    """The lines of one training.

    Args:
        operations: that a token needs; None where not known.
        peak: of the device, operations a second; likewise.
    """

    def __init__(self, operations: float | None = None, peak: float | None = None) -> None:
        self.lines: list[dict[str, Any]] = []
        self._operations, self._peak = operations, peak
        self._mark = time.monotonic()

    def go_on(self, checkpoint: Path | None) -> None:
        """Begin, with the lines up to a checkpoint where the training goes on from one."""
        self.lines = [] if checkpoint is None else read_metrics(checkpoint)
        self.pause()

    def pause(self) -> None:
        """What was done since the last line was no training."""
        self._mark = time.monotonic()

    def add(self, update: int, logs: Mapping[str, Any], tokens: int) -> None:
        """A line for a logged update."""
        now, before = time.monotonic(), self.lines[-1] if self.lines else {"seconds": 0.0, "tokens": 0}
        took, self._mark = now - self._mark, now
        speed = (tokens - before["tokens"]) / took if took > 0 else None
        mfu = speed * self._operations / self._peak if speed is not None and self._operations and self._peak else None
        line = {"update": update, "epoch": logs.get("epoch")} | _named(logs, _NAMES)
        line |= {"tokens": tokens, "seconds": round(before["seconds"] + took, 3)}
        self.lines.append(line | {"tokens_per_second": None if speed is None else round(speed, 1), "mfu": None if mfu is None else round(mfu, 4)})

    def add_held_out(self, update: int, logs: Mapping[str, Any]) -> None:
        """What was found on the held-out rows after an update."""
        found = _named(logs, _HELD_OUT)
        if self.lines and self.lines[-1]["update"] == update:
            self.lines[-1] |= found
        else:
            before = self.lines[-1] if self.lines else {"seconds": 0.0, "tokens": 0}
            kept = {name: before[name] for name in ("tokens", "seconds")}
            self.lines.append({"update": update, "epoch": logs.get("epoch"), **found, **kept})
        self.pause()

    def write(self, folder: Path) -> None:
        """Write them into a folder."""
        write_atomic(folder / METRICS, "".join(json.dumps(line) + "\n" for line in self.lines))


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` in a model folder, or a checkpoint's; none where it has no such file.

    Returns:
        One dict a logged update, with the keys of this module's docstring.

    Example:
        >>> read_metrics("outputs/small")
        []
    """
    try:
        text = (Path(folder) / METRICS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]
