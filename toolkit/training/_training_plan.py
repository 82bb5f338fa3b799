"""What a training will come to, found without training: the rows that are left, their tokens, the updates, and the time where that is known."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import require
from toolkit.common.machine import has_gpu
from toolkit.common.models import calm_threads
from toolkit.common.paths import Roots, at_door
from toolkit.generation import Chat
from toolkit.training._held_out import hold_out
from toolkit.training._left_out import check_batch, check_left_out
from toolkit.training._lora_training import start_of
from toolkit.training._media_rows import media_rows
from toolkit.training._memory_words import model_of, shape_in
from toolkit.training._metrics_lines import read_metrics
from toolkit.training._parallel import in_words
from toolkit.training._shared import Bounds, Dropped, quiet, read_shards, refusals
from toolkit.training._speed import peak_of, token_operations
from toolkit.training._train_processes import processes_of
from toolkit.training._training_config import accumulation_of, defaults
from toolkit.training._training_report import in_words as settings_in_words

if TYPE_CHECKING:
    from toolkit.training._training_config import AnyConfig
    from toolkit.training._training_run import Method


def plan_of(method: Method, shards: str | Path, out: str | Path, config: AnyConfig) -> dict[str, Any]:
    """What `toolkit.training.train_sft` would do, with the same arguments and errors, as far as that shows before the first update.

    Returns:
        rows, rows_used, dropped and held_out, of pairs also the weights' figures, as the training's metrics have them; tokens (that will be read in
        all, repeats counted), tokens_an_epoch; settings, as for `on_begin`, with `about: true` where packs are counted as if they were full;
        seconds (as long as the training in `out` took for as many tokens) or null; seconds_at_peak (of the device; no training is that fast) or null.
    """
    require("trl", "train", "training")
    calm_threads()
    shards, out = at_door(shards), at_door(out)
    count, cpu = processes_of(config), bool(config.trainer.get("use_cpu", not has_gpu()))
    given = {"trust_remote_code": False, "model_init_kwargs": None, "dataloader_drop_last": False} | defaults(config, cpu=cpu) | config.trainer
    args = SimpleNamespace(**given, train_batch_size=given["per_device_train_batch_size"])
    start = start_of(config.model, config.lora) if isinstance(config.model, str) else None
    if start is not None:
        start.at_revision(args)
    with tempfile.TemporaryDirectory() as work, quiet(show_bars=False):
        from toolkit.training._model import check_ending, prompts_cut

        columns = ["prompt", *method.answers]
        read = partial(read_shards, shards, columns, method.others, Path(work), verified=not config.unverified, media=method.takes_media)
        data, held, aside = hold_out(config.evaluate, read, shards, config.seed)
        figures = method.check(data, shards)
        model, tokenizer, room, embedded = method.start(config, start, args, data)
        name = config.model if isinstance(config.model, str) else "the model from scratch"
        media = media_rows(config, start, model, args, name)
        data, held = media.placed(data), media.placed(held)
        chat = Chat(tokenizer)
        if method.answers:
            prompts_cut(chat, data, method.answers[0])
        check_ending(chat, name)
        answer = int(given.get("max_completion_length", 0))
        bounds, dropped = Bounds(method.longest(args), room, embedded, name, answer), Dropped({"held_out": aside} if aside else {})
        with refusals():
            lengths = method.lengths(chat, data, bounds, dropped, given.get("dataset_num_proc"))
        check_left_out(dropped, len(data), config.too_long, bounds)
        check_batch(args, len(lengths))
    packs = math.ceil(sum(lengths) / (bounds.limit or 1)) if given.get("packing") else None
    settings, passes = _settings(config, given, count, len(lengths) if packs is None else packs)
    settings |= {"device": "cpu" if cpu else "cuda"} | ({"parallel": words} if (words := in_words(config.parallel)) else {})
    settings |= {"about": True} if packs is not None else {}
    tokens = round(sum(lengths) * passes)
    counts = {method.rows: len(data) + len(aside), f"{method.rows}_used": len(lengths), "dropped": dropped.report()}
    counts |= {"held_out": len(held)} if held is not None else {}
    times: dict[str, float | None] = {"seconds": None, "seconds_at_peak": None}
    if "num_generations" not in given:  # else what is written is not known
        times = {"seconds": _as_before(out, tokens), "seconds_at_peak": None if cpu else _at_peak(config, lengths, tokens, count)}
    return counts | figures | {"tokens": tokens, "tokens_an_epoch": sum(lengths), "settings": settings, **times}


def _settings(config: AnyConfig, given: Mapping[str, Any], count: int, places: int) -> tuple[dict[str, Any], float]:
    """The settings as transformers resolves them for so many rows or packs, and how often each is read."""
    batch, steps = int(given["per_device_train_batch_size"]), int(given["gradient_accumulation_steps"])
    size, every = int(given.get("num_generations", 1)), getattr(config, "generate_every", None) or 1
    if config.rows_an_update is not None:
        steps = accumulation_of(config.rows_an_update * size, batch, count)
    rounds = places // (batch * count) if given["dataloader_drop_last"] else math.ceil(places / (batch * count))
    an_epoch = max(1, math.ceil(rounds / steps))
    if size > 1:  # answers are drawn of whole samplings alone
        an_epoch = max(1, places * size // (batch * steps * count * every)) * every * int(given.get("num_iterations", 1))
    most = int(given.get("max_steps") or -1)
    updates = most if most > 0 else math.ceil(given["num_train_epochs"] * an_epoch)
    resolved = {
        "updates": updates,
        "epochs": math.ceil(updates / an_epoch) if most > 0 else math.ceil(given["num_train_epochs"]),
        "batch": batch,
        "accumulation": steps,
        "processes": count,
        "rows_an_update": batch * steps * count // size,
        **({"generations": size} if size > 1 else {}),
        "learning_rate": given["learning_rate"],
        "schedule": str(given["lr_scheduler_type"]),
    }
    return resolved | ({"rows_used": places} if places < resolved["rows_an_update"] else {}), updates / an_epoch


def _as_before(out: Path, tokens: int) -> float | None:
    """Seconds that so many tokens take at the speed of the training whose model is in the folder."""
    last: dict[str, Any] = next((line for line in reversed(read_metrics(out)) if line.get("tokens") and line.get("seconds")), {})
    return round(tokens * last["seconds"] / last["tokens"], 1) if last else None


def _at_peak(config: AnyConfig, lengths: list[int], tokens: int, count: int) -> float | None:
    """Seconds that so many tokens take at least; None where the size of the model or the peak of the device is not known."""
    import torch

    folder, parameters = model_of(config.model, Roots.of(None)) if isinstance(config.model, str) else (None, None)
    peak, shape = peak_of(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None, shape_in(folder)
    if peak is None or parameters is None or shape is None:
        return None
    trained = parameters if config.lora is None else shape.adapter(config.lora.rank)
    met = sum(n * n for n in lengths) / sum(lengths)
    a_token = token_operations(parameters, trained, shape.layers, shape.heads, shape.width // shape.heads, met)
    return round(a_token * tokens / (peak * count), 1)


def plan_words(found: Mapping[str, Any], out: str) -> list[str]:
    """What `plan_of` found, in sentences. `out`: the model folder, as it is shown.

    Example:
        >>> found = {"rows": 3, "rows_used": 2, "dropped": {"too_long": {"count": 1}}, "tokens": 60, "tokens_an_epoch": 20, "seconds": 8.0}
        >>> plan_words(found, "guard")[:2]
        ['2 of 3 rows are trained on (left out: too_long 1).', 'About 60 tokens are read in all, 20 an epoch, 10 a row.']
    """
    what = next(name for name in ("rows", "pairs") if name in found)
    used, aside = found[f"{what}_used"], ", ".join(f"{reason} {about['count']:,}" for reason, about in found["dropped"].items())
    lines = [f"{used:,} of {found[what]:,} {what} are trained on" + (f" (left out: {aside})." if aside else ".")]
    lines.append(
        f"About {found['tokens']:,} tokens are read in all, {found['tokens_an_epoch']:,} an epoch, {found['tokens_an_epoch'] // used:,} a row."
    )
    if "settings" in found:
        lines.append(("about " if found["settings"].get("about") else "") + settings_in_words(found["settings"]) + ".")
    if found["seconds"] is not None:
        lines.append(f"Time: about {_time(found['seconds'])}, at the speed of the training whose model is in {out}.")
    elif found.get("seconds_at_peak") is not None:
        lines.append(f"Time: at least {_time(found['seconds_at_peak'])}, at the device's peak, of which no training comes near.")
    else:
        lines.append("Time: not known before a training into the same folder.")
    return lines


def _time(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
