"""Direct preference optimisation with a weight for each pair, from a shard folder and a start model to a model folder.

Loss (spec D): mean over pairs of  weight * -log sigmoid(beta * delta)  +  2.0 x SFT on chosen, with delta the difference of the
log-ratios to the reference, which is the start model. See `toolkit.training._trainers.WeightedDPOTrainer`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.training._training_config import DpoConfig
from toolkit.training._training_plan import plan_of
from toolkit.training._training_report import Begin, Progress, Watch
from toolkit.training._training_run import Method, train

if TYPE_CHECKING:
    from toolkit.generation import Chat
    from toolkit.training._shared import Bounds, Dropped


def train_dpo(
    shards: str | Path,
    out: str | Path,
    config: DpoConfig,
    on_progress: Progress | None = None,
    on_begin: Begin | None = None,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Train a model on the preference pairs of the split ``train`` of a shard folder.

    Args:
        shards: folder with ``data/train-*.parquet``; columns prompt, chosen, rejected (lists of {role, content}), weight (float, 1.0 for
            plain DPO) and id.
        out: model folder to write; see `train_sft`.
        config: the start model, which is also the reference, and the trainer's settings.
        on_progress, on_begin, kept: as in `train_sft`.

    Returns:
        Metrics for JSON: pairs, pairs_used, dropped, prompts_cut, weight_min, weight_mean, weight_max, weight_zero (pairs whose weight is 0),
        settings (as for `on_begin`), pairs_right_last (share of the last update's pairs whose chosen answer gained more on the reference than
        the rejected one), steps, epochs, loss_first, loss_last (preference and SFT term together), tokens (chosen and rejected), seconds,
        parameters, device.

    Raises:
        InputError: shards, weights, model folder or settings that cannot be used, a chat template that asks otherwise than it
            trains, no pair short enough, a loss that is not finite.
        Missing: trl is not installed, or the hub's model cannot be had.
    """
    return train(Dpo(), shards, out, config, on_progress, on_begin, kept)


class Dpo(Method):
    """Weighted direct preference optimisation."""

    answers = ("chosen", "rejected")
    others = ("weight", "id")
    rows = "pairs"
    takes_media = True

    def trainer(self) -> type[Any]:
        """TRL's trainer with weights."""
        from toolkit.training._trainers import WeightedDPOTrainer

        return WeightedDPOTrainer

    def start(self, config: DpoConfig, start: Any, args: Any, data: Any) -> tuple[Any, Any, int | None, int | None]:
        """The model by name or folder."""
        from toolkit.training._model import load_start

        return start.base, *load_start(start, config, args)

    def lengths(self, chat: Chat, data: Any, bounds: Bounds, dropped: Dropped, processes: int | None) -> list[int]:
        """The prompt twice, and both answers."""
        from toolkit.training._trainers import keep_pairs, pair_tokens

        rows = keep_pairs(pair_tokens(chat, data, processes), bounds, dropped)
        columns = [rows[f"{name}_ids"] for name in ("prompt", *self.answers)]
        return [2 * len(prompt) + len(chosen) + len(rejected) for prompt, chosen, rejected in zip(*columns, strict=True)]

    def check(self, data: Any, shards: Path) -> dict[str, Any]:
        """The weights."""
        return _check_weights(data, shards)

    def figures(self, watch: Watch) -> dict[str, Any]:
        """How often the chosen answer gained."""
        return {"pairs_right_last": watch.last.get("rewards/accuracies")}


def plan_dpo(shards: str | Path, out: str | Path, config: DpoConfig) -> dict[str, Any]:
    """What `train_dpo` would do; see `toolkit.training._training_plan.plan_of`."""
    return plan_of(Dpo(), shards, out, config)


def _check_weights(data: Any, shards: Path) -> dict[str, float]:
    weights = list(data["weight"])
    for row_id, weight in zip(data["id"], weights, strict=True):
        if weight is None or not math.isfinite(weight) or weight < 0:
            raise InputError(f"pair {row_id}: the weight is {weight}; it must be a number that is not negative", where=str(shards))
    if max(weights) == 0:
        hint = "a weight multiplies what a pair teaches: see the step that made them (pair), or train without the column's zeros"
        raise InputError("the weight of every pair is 0, so that none teaches which answer is the better one", where=str(shards), hint=hint)
    return {"weight_min": min(weights), "weight_mean": math.fsum(weights) / len(weights), "weight_max": max(weights), "weight_zero": weights.count(0)}
