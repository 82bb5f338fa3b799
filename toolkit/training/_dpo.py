"""Direct preference optimisation with a weight for each pair, from a shard folder and a start model to a model folder.

Loss (spec D): mean over pairs of  weight * -log sigmoid(beta * delta)  +  2.0 x SFT on chosen, with delta the difference of the
log-ratios to the reference, which is the start model. See `toolkit.training._trainers.WeightedDPOTrainer`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.folders import kept_beside, new_folder, work_beside
from toolkit.common.models import MODEL, calm_threads
from toolkit.common.paths import at_door
from toolkit.generation import Chat
from toolkit.training._checkpoints import Checkpoints, identity_of
from toolkit.training._shared import Bounds, Dropped, quiet, read_shards, record, refusals, run, torch_threads
from toolkit.training._training_config import DpoConfig, trainer_args
from toolkit.training._training_report import Begin, Progress, Watch


def train_dpo(
    shards: str | Path,
    out: str | Path,
    config: DpoConfig,
    on_progress: Progress | None = None,
    on_begin: Begin | None = None,
    checkpoint: int | None = None,
) -> dict[str, Any]:
    """Train a model on the preference pairs of the split ``train`` of a shard folder.

    Args:
        shards: folder with ``data/train-*.parquet``; columns prompt, chosen, rejected (lists of {role, content}), weight (float, 1.0 for
            plain DPO) and id.
        out: model folder to write; see `train_sft`.
        config: the start model, which is also the reference, and the trainer's settings.
        on_progress, on_begin, checkpoint: as in `train_sft`.

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
    calm_threads()
    shards, out = at_door(shards), at_door(out)
    watch, dropped = Watch(on_progress, on_begin), Dropped()
    with new_folder(out, MODEL) as new:
        work = work_beside(new)
        keep = None if checkpoint is None else Checkpoints(kept_beside(new), checkpoint, identity_of(config, shards))
        args = trainer_args(config, str(work / "trainer" if keep is None else keep.folder), checkpoint)
        with quiet(not args.disable_tqdm), torch_threads(config.threads):
            from toolkit.training._model import check_ending, load_start, prompts_cut
            from toolkit.training._trainers import WeightedDPOTrainer

            data = read_shards(shards, ["prompt", "chosen", "rejected"], ["weight", "id"], work / "cache")
            weights = _check_weights(data, shards)
            tokenizer, room, embedded = load_start(config, args)
            cut = prompts_cut(chat := Chat(tokenizer), data, "chosen")
            check_ending(chat, config.model)
            trained = record(shards, tokenizer, cut, config)
            with refusals():
                trainer = WeightedDPOTrainer(
                    model=config.model,
                    args=args,
                    train_dataset=data,
                    processing_class=tokenizer,
                    bounds=Bounds(args.max_length, room, embedded, config.model),
                    dropped=dropped,
                )
            metrics = run(trainer, watch, new, trained, keep)
    counts = {"pairs": len(data), "pairs_used": len(data) - dropped.count, "dropped": dropped.report(), "prompts_cut": cut}
    return counts | weights | {"pairs_right_last": watch.last.get("rewards/accuracies")} | metrics


def _check_weights(data: Any, shards: Path) -> dict[str, float]:
    weights = list(data["weight"])
    for row_id, weight in zip(data["id"], weights, strict=True):
        if weight is None or not math.isfinite(weight) or weight < 0:
            raise InputError(f"pair {row_id}: the weight is {weight}; it must be a number that is not negative", where=str(shards))
    if max(weights) == 0:
        hint = "a weight multiplies what a pair teaches: see the step that made them (pair), or train without the column's zeros"
        raise InputError("the weight of every pair is 0, so that none teaches which answer is the better one", where=str(shards), hint=hint)
    return {"weight_min": min(weights), "weight_mean": math.fsum(weights) / len(weights), "weight_max": max(weights), "weight_zero": weights.count(0)}
