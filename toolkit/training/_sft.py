"""Supervised fine-tuning on completions only, from a shard folder to a model folder.

Loss: the mean over completion tokens of -log P(token | what is before), reasoning and answers together, the prompt masked
(paper, section 3.3; spec B). Nothing is cut: a row of more than max_length tokens is left out and named in the metrics.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training._shared import message_texts
from toolkit.training._training_config import Scratch, SftConfig
from toolkit.training._training_plan import plan_of
from toolkit.training._training_report import Begin, Progress
from toolkit.training._training_run import Method, train

if TYPE_CHECKING:
    from toolkit.generation import Chat
    from toolkit.training._lora_training import Start
    from toolkit.training._shared import Bounds, Dropped


def train_sft(
    shards: str | Path,
    out: str | Path,
    config: SftConfig,
    on_progress: Progress | None = None,
    on_begin: Begin | None = None,
    kept: Path | None = None,
) -> dict[str, Any]:
    """Train a model on the split ``train`` of a shard folder.

    Args:
        shards: folder with ``data/train-*.parquet``; columns prompt and completion (lists of {role, content}) and id.
        out: model folder to write (weights as safetensors, tokenizer, chat template, generation config); one that guardkit trained is replaced whole.
            Anything else there is refused before the training begins.
        config: the model to start from and the trainer's settings.
        on_progress: called after each logged update (every one by default); what it raises ends the training, with nothing written.
        on_begin: called once before the first update, with the settings as they are resolved.
        kept: folder of its checkpoints, which outlives a stop or a kill; default: a hidden one beside `out` that goes once the model is there.

    Returns:
        Metrics for JSON: rows, rows_used, dropped ({reason: {count, ids}}), prompts_cut (of at most 64 rows looked at, how many prompts'
        tokens are no prefix of the row's), settings (as for `on_begin`), steps, epochs, loss_first, loss_last (nats a token), tokens, seconds,
        parameters, device.

    Raises:
        InputError: shards, model folder or settings that cannot be used, a chat template that asks otherwise than it
            trains, no row short enough, a loss that is not finite.
        Missing: trl is not installed, or the hub's model cannot be had.
    """
    return train(Sft(), shards, out, config, on_progress, on_begin, kept)


class Sft(Method):
    """Supervised fine-tuning."""

    answers = ("completion",)
    takes_media = True

    def trainer(self) -> type[Any]:
        """TRL's trainer, which leaves rows that are too long out by name."""
        from toolkit.training._trainers import GuardSft

        return GuardSft

    def start(self, config: SftConfig, start: Start | None, args: Any, data: Any) -> tuple[Any, Any, int | None, int | None]:
        """The model by name or folder, or one from scratch whose tokenizer is learnt from the rows."""
        from toolkit.training._model import load_start, scratch_model, scratch_tokenizer

        if start is not None:
            return start.base, *load_start(start, config, args)
        scratch = config.scratch or Scratch()
        tokenizer = scratch_tokenizer(scratch, message_texts(data, ["prompt", "completion"]))
        return scratch_model(scratch, tokenizer, config.seed), tokenizer, scratch.max_length, len(tokenizer)

    def lengths(self, chat: Chat, data: Any, bounds: Bounds, dropped: Dropped, processes: int | None) -> list[int]:
        """Prompt and answer."""
        from toolkit.training._trainers import keep_sft, sft_tokens

        return list(keep_sft(sft_tokens(chat, data, processes), bounds, dropped)["length"])


def plan_sft(shards: str | Path, out: str | Path, config: SftConfig) -> dict[str, Any]:
    """What `train_sft` would do; see `toolkit.training._training_plan.plan_of`."""
    return plan_of(Sft(), shards, out, config)
