"""Supervised fine-tuning on completions only, from a shard folder to a model folder.

Loss: the mean over completion tokens of -log P(token | what is before), reasoning and answers together, the prompt masked
(paper, section 3.3; spec B). Nothing is cut: a row of more than max_length tokens is left out and named in the metrics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.common.folders import kept_beside, new_folder, work_beside
from toolkit.common.models import MODEL, calm_threads
from toolkit.common.paths import at_door
from toolkit.generation import Chat
from toolkit.training._checkpoints import Checkpoints, identity_of
from toolkit.training._shared import Bounds, Dropped, message_texts, quiet, read_shards, record, refusals, run, torch_threads
from toolkit.training._training_config import SftConfig, trainer_args
from toolkit.training._training_report import Begin, Progress, Watch


def train_sft(
    shards: str | Path,
    out: str | Path,
    config: SftConfig,
    on_progress: Progress | None = None,
    on_begin: Begin | None = None,
    checkpoint: int | None = None,
) -> dict[str, Any]:
    """Train a model on the split ``train`` of a shard folder.

    Args:
        shards: folder with ``data/train-*.parquet``; columns prompt and completion (lists of {role, content}) and id.
        out: model folder to write (weights as safetensors, tokenizer, chat template, generation config); one that guardkit trained is replaced whole.
            Anything else there is refused before the training begins.
        config: the model to start from and the trainer's settings.
        on_progress: called after each logged update (every one by default); what it raises ends the training, with nothing written.
        on_begin: called once before the first update, with the settings as they are resolved.
        checkpoint: updates between two checkpoints, from the last of which the same training goes on after a stop or a kill; None for none.

    Returns:
        Metrics for JSON: rows, rows_used, dropped ({reason: {count, ids}}), prompts_cut (of at most 64 rows looked at, how many prompts'
        tokens are no prefix of the row's), settings (as for `on_begin`), steps, epochs, loss_first, loss_last (nats a token), tokens, seconds,
        parameters, device.

    Raises:
        InputError: shards, model folder or settings that cannot be used, a chat template that asks otherwise than it
            trains, no row short enough, a loss that is not finite.
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
            from toolkit.training._model import check_ending, prompts_cut
            from toolkit.training._trainers import GuardSft

            data = read_shards(shards, ["prompt", "completion"], ["id"], work / "cache")
            model, tokenizer, room, embedded = _start(config, args, data)
            name = config.model if isinstance(config.model, str) else "the model from scratch"
            cut = prompts_cut(chat := Chat(tokenizer), data, "completion")
            check_ending(chat, name)
            trained = record(shards, tokenizer, cut, config)
            with refusals():
                trainer = GuardSft(
                    model=model,
                    args=args,
                    train_dataset=data,
                    processing_class=tokenizer,
                    bounds=Bounds(args.max_length, room, embedded, name),
                    dropped=dropped,
                )
            metrics = run(trainer, watch, new, trained, keep)
    counts = {"rows": len(data), "rows_used": len(data) - dropped.count, "dropped": dropped.report(), "prompts_cut": cut}
    return counts | metrics


def _start(config: SftConfig, args: Any, data: Any) -> tuple[Any, Any, int | None, int | None]:
    """Model (an object, or a name for TRL to load with its own options), tokenizer, positions, tokens that it embeds."""
    from toolkit.training._model import load_start, scratch_model, scratch_tokenizer

    if (scratch := config.scratch) is not None:
        tokenizer = scratch_tokenizer(scratch, message_texts(data, ["prompt", "completion"]))
        return scratch_model(scratch, tokenizer, config.seed), tokenizer, scratch.max_length, len(tokenizer)
    return str(config.model), *load_start(config, args)
