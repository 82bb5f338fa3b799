"""One training from shards to a model folder: what all methods share. A `Method` brings what differs.

Failure semantics: a model folder appears whole or not at all, and takes the place of nothing but a model that guardkit trained
(`toolkit.common.folders`); the trainer's working files are in a hidden folder beside it and are removed, whatever happens.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from toolkit.common.errors import require
from toolkit.common.files import tree_digests
from toolkit.common.folders import kept_beside, new_folder, work_beside
from toolkit.common.models import CURVES, METRICS, MODEL, TRAINED, calm_threads
from toolkit.common.paths import at_door
from toolkit.generation import Chat
from toolkit.training._checkpoints import Checkpoints, identity_of
from toolkit.training._curves_picture import draw
from toolkit.training._held_out import hold_out
from toolkit.training._left_out import check_batch, check_left_out
from toolkit.training._lora_training import base_record, sizes_of, start_of, with_lora, write_model
from toolkit.training._media_rows import media_rows
from toolkit.training._parallel import environment_of, gather_whole, in_words, port_in
from toolkit.training._ranks import first_alone, is_first
from toolkit.training._services import place_tensorboard
from toolkit.training._shared import Bounds, Dropped, errors_only, finish_generation_config, quiet, read_shards, record, refusals, torch_threads
from toolkit.training._train_processes import processes_of, refuse_launchers, together
from toolkit.training._training_config import trainer_args
from toolkit.training._training_report import Begin, Progress, Watch

if TYPE_CHECKING:
    from toolkit.training._lora_training import Start
    from toolkit.training._training_config import AnyConfig


class Method(ABC):
    """What differs between trainings.

    Attributes:
        answers: columns of messages beside ``prompt``; the first is what the guard learns to write.
        others: further columns.
        rows: what its metrics call the rows.
        shows: the figure of its progress, by TRL's name.
        takes_media: whether rows may have media.
    """

    answers: ClassVar[tuple[str, ...]]
    others: ClassVar[tuple[str, ...]] = ("id",)
    rows: ClassVar[str] = "rows"
    shows: ClassVar[str] = "loss"
    takes_media: ClassVar[bool] = False

    @abstractmethod
    def trainer(self) -> Callable[..., Any]:
        """TRL's trainer class or one made of it, called with `bounds` and `dropped` too; this loads torch and trl."""

    @abstractmethod
    def start(self, config: Any, start: Start | None, args: Any, data: Any) -> tuple[Any, Any, int | None, int | None]:
        """Model (an object, or a name for TRL to load with its own options), tokenizer, positions, tokens that it embeds.

        Args:
            config: of the training.
            start: what a model by name or folder stands for; None for one from scratch.
            args: TRL's configuration.
            data: the rows.
        """

    @abstractmethod
    def lengths(self, chat: Chat, data: Any, bounds: Bounds, dropped: Dropped, processes: int | None) -> list[int]:
        """Tokens of each row that is trained on, padding left out; what is left out is noted. `processes`: of `datasets`."""

    def check(self, data: Any, shards: Path) -> dict[str, Any]:
        """Figures of the rows for the metrics (InputError: rows that cannot be trained on)."""
        return {}

    def figures(self, watch: Watch) -> dict[str, Any]:
        """Figures of the training for the metrics."""
        return {}

    def longest(self, args: Any) -> int | None:
        """Tokens of a row at most, as TRL's configuration has it; None for any number."""
        found: int | None = args.max_length
        return found

    def identity(self) -> dict[str, str]:
        """What a training is beside its configuration, model and shards."""
        return {}


def train(
    method: Method,
    shards: str | Path,
    out: str | Path,
    config: AnyConfig,
    on_progress: Progress | None,
    on_begin: Begin | None,
    kept: Path | None,
) -> dict[str, Any]:
    """Train by a method; arguments, metrics and errors as `toolkit.training.train_sft` has them."""
    calm_threads()
    shards, out = at_door(shards), at_door(out)
    require("trl", "train", "training")
    refuse_launchers()
    count = processes_of(config)
    config = config.model_copy(update={"processes": count if count > 1 else None})
    shared = environment_of(config.parallel, count, reference=method.rows == "pairs")
    with new_folder(out, MODEL) as new:
        work = work_beside(new)
        keep = None
        if config.checkpoint is not None:
            identity = identity_of(type(method).__name__.lower(), config, shards) | method.identity()
            keep = Checkpoints(kept or kept_beside(new), config.checkpoint, identity)
        try:
            if count == 1:
                return fit(method, shards, new, work, config, keep, Watch(on_progress, on_begin))
            job = partial(fit, method, shards, new, work, config, keep)
            return together(job, count, work / "processes", on_progress, on_begin, shared, port_in(config.parallel))
        finally:
            if keep is not None:
                keep.abandon()


def fit(method: Method, shards: Path, new: Path, work: Path, config: AnyConfig, keep: Checkpoints | None, watch: Watch) -> dict[str, Any]:
    """Train in this process, which may be one of several.

    Args:
        method: what differs between trainings.
        shards: folder of the rows.
        new: the fresh folder that becomes the model's.
        work: folder for what is of no use afterwards.
        config: of the training.
        keep: the checkpoints, if any.
        watch: what reports, where this process does.

    Returns:
        As `toolkit.training.train_sft`.
    """
    dropped, watch.shared = Dropped(), in_words(config.parallel)
    args = trainer_args(config, str(work / "trainer" if keep is None else keep.part))
    start = start_of(config.model, config.lora) if isinstance(config.model, str) else None
    if start is not None:
        start.at_revision(args)
    watch.name = args.run_name = str(config.trainer.get("run_name") or new.parent.name.removeprefix(".").removesuffix(".guardkit"))
    with quiet(not args.disable_tqdm), torch_threads(config.threads):
        from toolkit.training._model import check_ending, prompts_cut

        columns = ["prompt", *method.answers]
        read = partial(read_shards, shards, columns, method.others, work / "cache", verified=not config.unverified, media=method.takes_media)
        with first_alone():
            data, held, aside = hold_out(config.evaluate, partial(read, there=not is_first()), shards, config.seed)
        dropped.ids |= {"held_out": aside} if aside else {}
        figures = method.check(data, shards)
        model, tokenizer, room, embedded = method.start(config, start, args, data)
        name = config.model if isinstance(config.model, str) else "the model from scratch"
        media = media_rows(config, start, model, args, name)
        data, held = media.placed(data), media.placed(held)
        more = {"media": media} if media.there else {}
        chat = Chat(tokenizer)
        cut = prompts_cut(chat, data, method.answers[0]) if method.answers else {}
        check_ending(chat, name)
        trained = record(shards, tokenizer, cut, config) | base_record(start, config.lora)
        with refusals():
            model, adapters = with_lora(model, start, config, args)
            trainer = method.trainer()(
                model=model,
                args=args,
                train_dataset=data,
                eval_dataset=held,
                processing_class=tokenizer,
                bounds=(bounds := Bounds(method.longest(args), room, embedded, name, getattr(args, "max_completion_length", 0))),
                dropped=dropped,
                **adapters,
                **more,
            )
        trainer.quick = args.device.type == "cpu" and config.parallel is None
        rows = len(data) + len(aside)
        check_left_out(dropped, len(data), config.too_long, bounds)
        check_batch(args, rows - dropped.count)
        watch.of(trainer, data, rows - dropped.count)
        watch.shows = method.shows
        watch.tensorboard = place_tensorboard(trainer, watch.name)
        if config.evaluate is not None:
            from toolkit.training._held_out_loss import Looks

            trainer.add_callback(Looks(config.evaluate.every))

        def write() -> None:
            write_model(trainer, start, config.lora, new, work)
            if media.processor is not None and is_first():
                media.processor.save(new)

        metrics = _run(trainer, watch, new, trained, write, keep)
    figures |= method.figures(watch) | watch.held_out(0 if held is None else len(held) - trainer.dropped_held_out.count)
    counts = {method.rows: rows, f"{method.rows}_used": rows - dropped.count, "dropped": dropped.report(), "prompts_cut": cut}
    return counts | figures | metrics


def _run(
    trainer: Any, watch: Watch, new: Path, trained_for: Mapping[str, Any], write: Callable[[], None], keep: Checkpoints | None = None
) -> dict[str, Any]:
    """Train, fill the model folder, and return the metrics that both trainings have.

    Args:
        trainer: TRL's.
        watch: collects the losses.
        new: the fresh folder that becomes the model's.
        trained_for: see `record`.
        write: fills the folder.
        keep: where checkpoints are written, and gone on from.

    Returns:
        settings (see `resolved`), steps, epochs, loss_first, loss_last (means over an update), tokens (all that were read, repeats counted,
        padding not), seconds (of the training alone), parameters (and parameters_trained, where they are fewer), device.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    last = None
    if keep is not None:
        last, watch.other = keep.last, keep.other
        keep.more, keep.every = watch.lines.write, getattr(trainer, "between", 1)
        trainer.add_callback(keep.callback())
    trainer.add_callback(watch.callback())
    watch.lines.go_on(last)
    started = time.monotonic()
    with errors_only() if last is not None else nullcontext():  # of weights that a checkpoint has once for two places transformers warns
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    seconds = time.monotonic() - started
    finish_generation_config(trainer.model, Chat(trainer.processing_class))
    gather_whole(trainer)
    write()
    if is_first():
        (new / "training_args.bin").unlink(missing_ok=True)  # a pickle of paths and times
        (new / "README.md").unlink(missing_ok=True)
        watch.lines.write(new)
        draw(watch.lines.lines, new)
        trained = {**trained_for, "files": tree_digests(new) | {name: None for name in (METRICS, CURVES) if (new / name).exists()}}
        (new / TRAINED).write_text(json.dumps(trained, indent=2) + "\n", encoding="utf-8")
    return {
        "settings": watch.settings,
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "loss_first": watch.losses[0] if watch.losses else None,
        "loss_last": watch.losses[-1] if watch.losses else None,
        "tokens": watch.tokens,
        "seconds": round(seconds, 3),
        **sizes_of(trainer.model),
        "device": watch.settings["device"],
    }
