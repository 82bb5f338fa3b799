"""TRL's GRPO trainer with a guard's reward: what rows say is text alone, their files go to a model that takes them, parts of the reward are reported,
the clipping range may shrink.

Loads torch and trl; imported only when a training starts. Written against TRL 1.16, whose private hooks `_tokenize_prompts`, `_get_train_sampler`,
`_generate_and_score_completions`, `_get_per_token_logps_and_entropies`, `_compute_loss`, `_metrics` and `_send_telemetry` it uses.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from toolkit.common.errors import InputError
from toolkit.generation import Chat
from toolkit.rewards import RewardFunction
from toolkit.training._grpo_options import Curriculum, Schedule
from toolkit.training._head_on_cpu import QuickHead, quick_head
from toolkit.training._media_rows import FILES, MediaRows, backbone_of
from toolkit.training._ranks import first_alone, of_the_first
from toolkit.training._shared import Bounds, Dropped
from toolkit.training._training_config import GrpoConfig

FIRST = 20
"""Updates after which a training stops in which no group had a spread."""
_SHOWN = 8
_OF_SAMPLE = "of_sample"
"""Which rows of a sampling a batch has."""


def clip_factor(schedule: Schedule, update: int, updates: int) -> float:
    """What the clipping range is multiplied with in an update.

    Args:
        schedule: ``constant``: 1; ``linear``: (S - s) / S; ``product``: the product of (S - i) / S for i from 1 to s (GuardReasoner-VL, arXiv
            2505.11049, equation 7), about exp(-s² / 2S).
        update: s, updates that were made before it.
        updates: S, in all.

    Example:
        >>> [round(clip_factor("product", s, 4), 5) for s in range(5)], clip_factor("linear", 1, 4), clip_factor("constant", 3, 4)
        ([1.0, 0.75, 0.375, 0.09375, 0.0], 0.75, 1.0)
    """
    if schedule == "constant" or not update:
        return 1.0
    if schedule == "linear":
        return (updates - update) / updates
    return math.prod((updates - i) / updates for i in range(1, update + 1))


def keep_prompts(chat: Chat, data: Dataset, bounds: Bounds, dropped: Dropped, config: GrpoConfig) -> Dataset:
    """The rows that can be trained on, in the curriculum's order, with the column ``length`` (tokens of the prompt); the others are noted by id.

    Args:
        chat: tokenizer and chat template.
        data: rows with ``prompt``, ``id`` and labels.
        bounds: how long prompt and answer may be, and which tokens the model knows.
        dropped: where rows left out are noted: ``no_label``, ``too_long``, and by the curriculum ``no_error_rate`` and ``out_of_band``.
        config: of the training.

    Raises:
        InputError: no row is left, or one whose text cannot be distinguished from control tokens.
    """

    def tokens(row: Mapping[str, Any]) -> dict[str, int]:
        try:
            ids = chat.tokens(row["prompt"], ask=True)
        except ValueError as e:
            raise InputError(str(e), where=f"row {row.get('id')}") from None
        return {"length": len(ids), "_largest": max(ids, default=0)}

    fingerprint = of_the_first(lambda: secrets.token_hex(8))
    with first_alone():
        rows = data.map(tokens, new_fingerprint=fingerprint)
    bounds.check({"prompt": max(rows["_largest"], default=0)})
    labels = [list(rows[c]) for c in rows.column_names if c.startswith("label_") and not c.endswith("_source")]
    rates = _error_rates(rows, config.curriculum)
    keep: list[int] = []
    for i, (row_id, length) in enumerate(zip(rows["id"], rows["length"], strict=True)):
        if all(column[i] is None for column in labels):
            dropped.add("no_label", row_id)
        elif bounds.limit is not None and length + bounds.answer > bounds.limit:
            dropped.add("too_long", row_id)
            dropped.lengths.append(length + bounds.answer)
        elif config.curriculum is not None and rates[i] is None:
            dropped.add("no_error_rate", row_id)
        elif config.curriculum is not None and not config.curriculum.least <= (rates[i] or 0.0) <= config.curriculum.most:
            dropped.add("out_of_band", row_id)
        else:
            keep.append(i)
    if not keep:
        counts = ", ".join(f"{len(ids)} {reason}" for reason, ids in dropped.ids.items())
        where, hint = ("trainer", bounds.hint) if "too_long" in dropped.ids else (None, "look at the step that made these rows")
        raise InputError(f"no row can be trained on: {counts}", where=where, hint=hint)
    if config.curriculum is not None and config.curriculum.order != "random":
        random.Random(config.seed).shuffle(keep)  # rows of one rate in no order of the shards'
        keep.sort(key=lambda i: rates[i] or 0.0, reverse=config.curriculum.order == "hard_first")
    return rows.select(keep).remove_columns("_largest")


def _error_rates(rows: Dataset, curriculum: Curriculum | None) -> list[float | None]:
    if curriculum is None:
        return []
    names = [curriculum.by] if curriculum.by is not None else [c for c in rows.column_names if c.startswith("error_rate_")]
    columns = [list(rows[name]) for name in names]
    found: list[float | None] = []
    for i in range(len(rows)):
        known = [float(column[i]) for column in columns if column[i] is not None]
        found.append(sum(known) / len(known) if known else None)
    return found


class _Prompts(RepeatSampler):
    """TRL's sampler with an order that depends on the seed and the epoch alone, so that a training that goes on has that of one never stopped."""

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class _Tally:
    """Sums of what answers earned, over all processes."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self.names = ["reward", "form", "accuracy", "by_length", *(f"right_{task}" for task in tasks)]
        self._sums = torch.zeros(len(self.names), 2, dtype=torch.float64)

    def add(self, values: Mapping[str, float | None]) -> None:
        """An answer's figures."""
        for at, name in enumerate(self.names):
            if (value := values.get(name)) is not None:
                self._sums[at] += torch.tensor([value, 1.0], dtype=torch.float64)

    def means(self, accelerator: Any) -> dict[str, float]:
        """The means since they were last asked for; each process asks."""
        sums = accelerator.reduce(self._sums.float().to(accelerator.device), reduction="sum").cpu()
        self._sums.zero_()
        return {name: float(total / count) for name, (total, count) in zip(self.names, sums, strict=True) if count}


class GuardGrpo(QuickHead, GRPOTrainer):
    """`trl.GRPOTrainer` with the reward of a guard's outputs. What rows say is taken for text alone (`toolkit.generation.Chat`), and a prompt that
    leaves no room for an answer is left out by id.

    Args:
        reward: of an output.
        options: of the training.
        bounds: tokens of prompt and answer at most.
        dropped: where rows left out are noted.
        media: files of the rows, if they may have some.
    """

    ids: Sequence[str] = ()
    """Of the shards' rows, by their place."""

    def __init__(
        self,
        *args: Any,
        reward: RewardFunction,
        options: GrpoConfig,
        bounds: Bounds,
        dropped: Dropped,
        media: MediaRows | None = None,
        **kwargs: Any,
    ) -> None:
        self.dropped, self.dropped_held_out = dropped, Dropped()
        self._media = _no_vllm(media, kwargs["args"])
        self._sampled: dict[str, list[Any]] = {}
        self._of_batch: list[Any] = []
        self._reward, self._schedule = reward, options.clip_schedule or "constant"
        self._chat = Chat(kwargs["processing_class"])
        self._tallies = {mode: _Tally(reward.guard.task_names) for mode in ("train", "eval")}
        self._asked: list[str] = []
        settings = kwargs["args"]
        if options.curriculum is not None and options.curriculum.order != "random":
            settings.shuffle_dataset = False
        held = kwargs.get("eval_dataset")
        data = keep_prompts(self._chat, kwargs["train_dataset"], bounds, dropped, options)
        kwargs["train_dataset"] = _columns(data)
        if held is not None:
            plain = options.model_copy(update={"curriculum": None})
            kwargs["eval_dataset"] = _columns(keep_prompts(self._chat, held, bounds, self.dropped_held_out, plain))
        if len(data) * settings.num_generations < settings.generation_batch_size:
            least = settings.generation_batch_size // settings.num_generations
            hint = f"a smaller `rows_an_update`, `generate_every` or accumulation; the answers of {len(data):,} rows are drawn at a time at most"
            message = f"{len(data):,} rows, and the answers of {least:,} are drawn at a time"
            raise InputError(message, where="trainer.gradient_accumulation_steps", hint=hint)
        kwargs["reward_funcs"] = [self._earned]
        super().__init__(*args, **kwargs)
        ends = [i for i in self._chat.ends if i not in self.eos_token_ids]
        self.eos_token_ids += ends
        if not self.use_vllm:
            self.generation_config.eos_token_id = self.generation_kwargs["eos_token_id"] = list(self.eos_token_ids)
        if self._media is not None and self._media.processor is not None:
            self.generation_config.suppress_tokens = self.generation_kwargs["suppress_tokens"] = self._media.processor.marks
        self._clip = (self.epsilon_low, self.epsilon_high)
        self.add_callback(_Clip(self))
        self.add_callback(_Sense(options.most_cut, settings))

    def _send_telemetry(self) -> None:
        """Nothing is sent."""

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        made: Any = super()._get_train_sampler(dataset)
        return _Prompts(made.data_source, made.mini_repeat_count, made.batch_size, made.repeat_count, made.shuffle, made.seed)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        known: dict[str, list[int]] = {}
        for prompt in prompts:
            if (name := repr(prompt)) not in known:
                known[name] = self._chat.tokens(prompt, ask=True)
        ids = [known[repr(prompt)] for prompt in prompts]
        return ids, None, {} if self._media is None else self._media.to_ask(self._of_batch, ids)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._asked = [row["id"] for row in inputs]
        self._of_batch = self._sampled[self._mode] = inputs
        self.quick = self.quick and not self._entropy_bonus_enabled  # whose gradient goes through the entropy
        with quick_head(self.quick):
            found: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return found if self._media is None else {**found, _OF_SAMPLE: torch.arange(len(inputs))}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        if self._media is not None:
            self._of_batch = [self._sampled[self._mode][at] for at in inputs[_OF_SAMPLE].tolist()]
        above: Any = super()
        return above._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        with backbone_of(self.accelerator.unwrap_model(model)):
            shown = model if self._media is None else _Shown(model, self._media, self._of_batch)
            return super()._get_per_token_logps_and_entropies(shown, *args, **kwargs)

    def _earned(self, prompts: Sequence[Any], completions: Any, completion_ids: Sequence[Sequence[int]], **columns: Any) -> list[float]:
        """The rewards of a batch of answers, read as sampling reads them."""
        texts = [self._chat.tokenizer.decode(ids, skip_special_tokens=True) for ids in completion_ids]
        own = {name: values for name, values in columns.items() if name.startswith("label_")}
        if "has_response" in columns:
            own["response"] = ["" if has else None for has in columns["has_response"]]
        found = self._reward.found(prompts=prompts, completions=texts, completion_ids=completion_ids, groups=columns["id"], **own)
        tally = self._tallies[self._mode]
        earned: list[float] = []
        for row_id, one in zip(columns["id"], found, strict=True):
            if one.reward is None or not math.isfinite(one.reward):
                raise InputError(f"an answer has no reward: {one.lacks or one.reward}", where=f"row {row_id}")
            right = {f"right_{task}": value for task, value in one.right.items()}
            tally.add({"reward": one.reward, "form": float(one.well_formed), "accuracy": one.accuracy, "by_length": one.by_length, **right})
            earned.append(one.reward)
        return earned

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the parts of the reward."""
        mode = self._mode
        for name, mean in self._tallies[mode].means(self.accelerator).items():
            self._metrics[mode][name] = [mean]
        if mode == "train" and "loss" in logs:
            self._metrics[mode]["clip"] = [self.epsilon_low]
        super().log(logs, start_time)

    @property
    def between(self) -> int:
        """Updates between two samplings: what was drawn is in no checkpoint."""
        args: Any = self.args
        return max(1, int(args.steps_per_generation * self.num_iterations // args.gradient_accumulation_steps))

    @property
    def _mode(self) -> str:
        model: Any = self.model
        return "train" if model.training else "eval"

    def odd_rows(self) -> str:
        """The rows of the last sampling, in words; each process asks."""
        names = list(dict.fromkeys(gather_object(self._asked)))
        return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")

    def forget_rows(self) -> None:
        """The batches so far were sound."""

    def clip(self, update: int, updates: int) -> None:
        """Set the clipping range of an update."""
        factor = clip_factor(self._schedule, update, updates)
        self.epsilon_low, self.epsilon_high = (factor * epsilon for epsilon in self._clip)


class _Shown:
    """Passes calls on to a model, each with the files of its rows, which come in the order of the batch."""

    def __init__(self, model: Any, media: MediaRows, rows: Sequence[Mapping[str, Any]]) -> None:
        self._model, self._media, self._rows, self._at = model, media, rows, 0

    def __call__(self, **inputs: Any) -> Any:
        begun, self._at = self._at, self._at + inputs["input_ids"].size(0)
        return self._model(**inputs, **self._media.inputs(self._rows[begun : self._at], inputs["input_ids"]))


def _no_vllm(media: MediaRows | None, args: Any) -> MediaRows | None:
    if media is not None and args.use_vllm:
        raise InputError("answers to rows with media are not drawn by vLLM here", where="trainer.use_vllm", hint="use_vllm: false")
    return media


def _columns(rows: Dataset) -> Dataset:
    """The rows with what the trainer and the reward read of them."""
    return rows.select_columns([c for c in rows.column_names if c in ("id", "prompt", "has_response", FILES) or c.startswith("label_")])


class _Clip(TrainerCallback):
    """Sets the clipping range before each update."""

    def __init__(self, trainer: GuardGrpo) -> None:
        self._trainer = trainer

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before an update."""
        self._trainer.clip(state.global_step, state.max_steps)


class _Sense(TrainerCallback):
    """Stops a training in whose first updates there is nothing to learn, or most answers are cut (InputError)."""

    def __init__(self, most_cut: float, settings: Any) -> None:
        self._most_cut, self._size = most_cut, settings.num_generations
        self._answers, self._limit = settings.generation_batch_size, settings.max_completion_length
        self._seen: list[Mapping[str, Any]] | None = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A training that goes on had its first updates before."""
        if state.global_step:
            self._seen = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """After an update."""
        if self._seen is None or not logs or "loss" not in logs:
            return
        if "frac_reward_zero_std" in logs:
            self._seen.append(logs)
        if state.global_step >= min(3, state.max_steps) and self._seen:
            self._cut(self._seen)
        if state.global_step >= min(FIRST, state.max_steps) and self._seen:
            self._spread(self._seen, state.global_step)
            self._seen = None

    def _cut(self, seen: Sequence[Mapping[str, Any]]) -> None:
        share = sum(logs["completions/clipped_ratio"] for logs in seen) / len(seen)
        if share > self._most_cut:
            count, allowed = self._answers * len(seen), min(1.0, math.ceil(20 * share) / 20)
            message = f"{share:.0%} of the first {count:,} answers are cut at {self._limit:,} tokens, more than `most_cut`, {self._most_cut:.0%}"
            hint = f"what is cut has no verdict: raise trainer.max_completion_length, or allow it with most_cut: {allowed:g}"
            raise InputError(message, where="trainer.max_completion_length", hint=hint)

    def _spread(self, seen: Sequence[Mapping[str, Any]], updates: int) -> None:
        if any(logs["frac_reward_zero_std"] < 1 for logs in seen):
            return
        groups, mean = self._answers // self._size * len(seen), sum(logs["reward"] for logs in seen) / len(seen)
        form = sum(logs.get("form", 0.0) for logs in seen) / len(seen)
        message = f"nothing to learn: in each of the {groups:,} groups of the first {updates:,} updates all {self._size} answers earned the same"
        message += f" (mean reward {mean:.3f}, {form:.0%} of a sound form)"
        hint = "a guard that never writes its form needs train_sft first; one that is always right harder rows (`curriculum`) or a higher temperature"
        raise InputError(message, hint=hint)
