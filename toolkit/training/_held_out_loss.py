"""The loss on held-out rows, whatever the batches in which they are looked at, and when it is looked at."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback

from toolkit.training._evened import BLANK


class _Means:
    """What means over all held-out rows have in common: of each batch the sum, and how many it counts for."""

    def note(self, mean: Any, count: Any) -> None:
        """A batch."""
        self.__dict__.setdefault("_sums", []).append(torch.stack([mean.double() * count, torch.as_tensor(count).to(mean).double()]))

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of all batches, of all processes."""
        self.__dict__["_sums"] = []
        found = super().evaluation_loop(*args, **kwargs)  # type: ignore[misc]
        total = self.accelerator.gather(torch.stack(self.__dict__["_sums"]).sum(dim=0)).view(-1, 2).sum(dim=0)  # type: ignore[attr-defined]
        found.metrics[f"{kwargs.get('metric_key_prefix', 'eval')}_loss"] = (total[0] / total[1].clamp(min=1)).item()
        self.counted(total[1].item())
        return found

    def counted(self, count: float) -> None:
        """So many were counted in all."""


class MeanOverTokens(_Means):
    """In front of TRL's SFT trainer: the held-out loss is the mean over all tokens that are learnt, as the training's is. TRL takes the mean over
    batches of their means, which another batch size would change."""

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of a batch, which is noted with its tokens."""
        tokens = (inputs["labels"][..., 1:] != -100).sum()
        found = super().prediction_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self.note(found[0], tokens)
        return found


class MeanOverPairs(_Means):
    """In front of TRL's DPO trainer: a batch counts by its pairs in the mean of each figure, blank ones left out; with TRL a smaller one counts like
    the others."""

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of a batch, which is noted with its pairs."""
        pairs = inputs["input_ids"].size(0) // 2
        real = (inputs["weight"] != BLANK).sum() if "weight" in inputs else pairs
        found = super().prediction_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self.note(found[0], real)
        for values in self._metrics["eval"].values():  # type: ignore[attr-defined]
            values.extend(values[-1:] * (pairs - 1))
        return found

    def counted(self, count: float) -> None:
        """TRL's means have blank pairs in them, as 0."""
        for name in ("accuracies", "margins"):
            values = self._metrics["eval"][f"rewards/{name}"]  # type: ignore[attr-defined]
            whole = len(values) * self.args.world_size / max(1.0, count)  # type: ignore[attr-defined]
            values[:] = [value * whole for value in values]


class Looks(TrainerCallback):
    """Has the held-out rows looked at after every so many updates, and after the last."""

    def __init__(self, every: int | None) -> None:
        self._every = every

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After an update."""
        every = self._every or max(1, state.max_steps // 10)
        control.should_evaluate = state.global_step % every == 0 or state.global_step >= state.max_steps
