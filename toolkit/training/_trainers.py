"""TRL's trainers with three changes: rows too long are left out and named, a pair's weight counts, and nothing is sent anywhere.

Loads torch and trl; imported only when a training starts. Written against TRL 1.16, whose private hooks `_prepare_dataset`,
`_set_signature_columns_if_needed`, `_compute_loss` and `_send_telemetry` it overrides; tests compare both trainers with TRL's own.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow.compute as pc
import torch
import torch.nn.functional as F  # noqa: N812
from datasets import Dataset
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from toolkit.common.errors import InputError
from toolkit.generation import Chat
from toolkit.training._batch_rows import ROW, CollatesRows, NamesRows
from toolkit.training._evened import BLANK, Evened, with_blanks
from toolkit.training._head_on_cpu import QuickHead
from toolkit.training._held_out_loss import MeanOverPairs, MeanOverTokens
from toolkit.training._media_rows import FILES, CollatesMedia, MediaRows, refuse_packs
from toolkit.training._model import tokenised
from toolkit.training._packing import PackCollator, flash, without_padding
from toolkit.training._ranks import first_alone
from toolkit.training._shared import Bounds, Dropped


def leave_out(
    data: Dataset,
    sequences: Sequence[Sequence[str]],
    completions: Sequence[str],
    bounds: Bounds,
    dropped: Dropped,
    *,
    answers: Sequence[str] = (),
    pair: tuple[str, str] | None = None,
) -> Dataset:
    """The rows of `data` that can be trained on, with the columns ``length`` (tokens) and `ROW`; the others are noted by id.

    Args:
        data: tokenised rows with a column ``id``.
        sequences: each a list of columns of token ids that stand one after the other; the longest of them is the row's length.
        completions: columns of which each must have a token to learn (a label other than -100).
        bounds: how long a row may be, and which tokens the model knows.
        dropped: where rows left out are noted.
        answers: columns of messages of which none may be blank.
        pair: two columns of token ids that must differ.

    Raises:
        InputError: no row can be trained on, or one has a token that the model does not embed.
    """
    keep: list[int] = []
    lengths: list[int] = []
    ids = list(data["id"]) if "id" in data.column_names else [str(i) for i in range(len(data))]
    names = sorted({*(c for s in sequences for c in s), *completions, *answers, *(pair or ())} & set(data.column_names))
    at = 0
    for batch in data.select_columns(names).with_format("arrow").iter(1000):
        sizes = {c: pc.list_value_length(batch[c]).to_pylist() for s in sequences for c in s}
        if bounds.embedded is not None:
            bounds.check({c: pc.max(pc.list_flatten(batch[c])).as_py() for c in sizes})
        learnt = {c: [any(t != -100 for t in row) for row in batch[c].to_pylist()] for c in completions}
        written = {c: [any(m["content"].strip() for m in row) for row in batch[c].to_pylist()] for c in answers if c in names}
        first, second = (batch[c].to_pylist() for c in pair) if pair is not None else ([], [])
        for i in range(batch.num_rows):
            length = max(sum(sizes[c][i] for c in s) for s in sequences)
            if bounds.limit is not None and length > bounds.limit:
                dropped.add("too_long", ids[at])
                dropped.lengths.append(length)
            elif not all(rows[i] for rows in learnt.values()):
                dropped.add("no_completion", ids[at])
            elif not all(rows[i] for rows in written.values()):
                dropped.add("empty_answer", ids[at])
            elif pair is not None and first[i] == second[i]:
                dropped.add("same_answers", ids[at])
            else:
                keep.append(at)
                lengths.append(length)
            at += 1
    if not keep:
        counts = ", ".join(f"{len(v)} {k}" for k, v in dropped.ids.items())
        where, hint = ("trainer.max_length", bounds.hint) if "too_long" in dropped.ids else (None, "look at the step that made these rows")
        raise InputError(f"no row can be trained on: {counts}", where=where, hint=hint)
    kept = data if len(keep) == len(ids) else data.select(keep)
    return kept.add_column("length", lengths).add_column(ROW, keep)


def _untyped(value: object) -> Any:
    """The same object, for calls into TRL's methods without annotations."""
    return value


def _keep_columns(trainer: Any, *columns: str) -> None:
    """Let columns stay in the dataset: TRL drops those it does not know. ``length`` is for grouping rows by it."""
    trainer._signature_columns += [c for c in columns if c not in trainer._signature_columns]


class GuardSft(QuickHead, NamesRows, Evened, MeanOverTokens, SFTTrainer):
    """`trl.SFTTrainer` that takes what rows say for text alone (`toolkit.generation.Chat`), and leaves out rows that are too long, by id, instead of
    cutting them."""

    blank_tokens = 1

    def __init__(self, *args: Any, bounds: Bounds, dropped: Dropped, media: MediaRows | None = None, **kwargs: Any) -> None:
        self._bounds, self.dropped, self.dropped_held_out = bounds, dropped, Dropped()
        if media is not None:
            refuse_packs(kwargs["args"])
        settings: SFTConfig = without_padding(kwargs["args"], kwargs["model"])
        kwargs["args"] = settings
        packs = settings.packing and not flash(kwargs["model"], settings)
        super().__init__(*args, **kwargs)
        if packs:
            self.data_collator = PackCollator(cast("int", kwargs["processing_class"].pad_token_id))
        if media is not None:
            self.data_collator = CollatesMedia(self.data_collator, media)
        self.data_collator = CollatesRows(self.data_collator)

    def _send_telemetry(self) -> None:
        """Nothing is sent."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss; of packs that are rows of their own TRL counts one row's tokens, so the others are added here."""
        tokens = inputs.pop("tokens", None)
        found = _untyped(super()).compute_loss(model, inputs, *args, **kwargs)
        if tokens is not None and cast("Any", self.model).training:
            self._total_train_tokens += int(self.accelerator.gather_for_metrics(tokens - inputs["position_ids"].size(1)).sum())
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return found

    def _set_signature_columns_if_needed(self) -> None:
        _untyped(super())._set_signature_columns_if_needed()
        _keep_columns(self, "length", ROW, FILES)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, packing: bool, formatting_func: Any, dataset_name: str) -> Any:
        whole = copy.copy(args)
        whole.max_length = None
        rows = sft_tokens(Chat(processing_class), dataset, args.dataset_num_proc)
        rows = super()._prepare_dataset(rows, processing_class, whole, False, formatting_func, dataset_name)
        dropped = self.dropped if dataset_name == "train" else self.dropped_held_out
        rows = keep_sft(rows, self._bounds, dropped)
        if packing:
            rows = super()._prepare_dataset(rows.remove_columns(ROW), processing_class, args, True, None, dataset_name)
        blank = {"input_ids": [processing_class.eos_token_id], "labels": [-100], "seq_lengths": [1], "length": 1, FILES: []}
        return with_blanks(rows, blank, args, held_out=dataset_name != "train")


def sft_tokens(chat: Chat, data: Dataset, processes: int | None) -> Dataset:
    """The rows with ``input_ids`` and ``labels``."""
    rows = tokenised(chat, data, {"completion": "completion_ids"}, processes=processes)
    with first_alone():
        return rows.map(_labelled, remove_columns=["prompt_ids", "completion_ids"], num_proc=processes)


def keep_sft(rows: Dataset, bounds: Bounds, dropped: Dropped) -> Dataset:
    """Those that can be trained on; see `leave_out`."""
    return leave_out(rows, [["input_ids"]], ["labels"], bounds, dropped, answers=["completion"])


def _labelled(row: dict[str, Any]) -> dict[str, list[int]]:
    """A row as TRL's trainer reads it: the loss is on the completion alone."""
    prompt, completion = row["prompt_ids"], row["completion_ids"]
    return {"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion}


_PAIR = {"chosen": "chosen_ids", "rejected": "rejected_ids"}


def pair_tokens(chat: Chat, data: Dataset, processes: int | None) -> Dataset:
    """The pairs with ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``."""
    return tokenised(chat, data, _PAIR, processes=processes)


def keep_pairs(rows: Dataset, bounds: Bounds, dropped: Dropped) -> Dataset:
    """Those that can be trained on; see `leave_out`."""
    both = ("chosen_ids", "rejected_ids")
    return leave_out(rows, [["prompt_ids", name] for name in both], both, bounds, dropped, answers=list(_PAIR), pair=both)


@dataclass
class WeightedCollator(DataCollatorForPreference):
    """TRL's collator, with the column ``weight`` as a float tensor of one value a pair."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate."""
        out = super().torch_call(examples)
        if "weight" in examples[0]:
            out["weight"] = torch.tensor([e["weight"] for e in examples], dtype=torch.float32)
        return out


class _Seen:
    """Passes calls on to a model and keeps the log-probabilities of the first."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.log_probs: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        out = self._model(*args, **kwargs)
        if self.log_probs is None:
            self.log_probs = out.log_probs
        return out


class WeightedDPOTrainer(QuickHead, NamesRows, Evened, MeanOverPairs, DPOTrainer):
    """`trl.DPOTrainer` in which a pair's ``weight`` multiplies its preference term.

    loss = c_sigmoid * mean(weight * -log sigmoid(beta * delta)) + c_sft * SFT(chosen)   (spec D; c from ``loss_weights``)

    The mean is over the pairs of the (micro-)batch, never over the sum of weights, and the SFT term is TRL's own. With every weight 1 the
    loss and its gradient are TRL's, bit for bit: what is added to TRL's loss is ``mean((weight - 1) * term)``. Without the column
    it is TRL's trainer. What rows say is taken for text alone, as in `GuardSft`.

    Args:
        bounds: most tokens of prompt and answer together, …; a longer pair is left out and noted in `dropped`, and so is one with a blank answer, or
            with two that are the same. None: nothing is left out, and what is too long is cut.
        dropped: where such pairs are noted.
        media: files of the rows, if they may have some.

    Raises:
        InputError: a column ``weight`` with a loss other than sigmoid (+ sft), or with an option that changes the preference term.
    """

    blank_tokens = 4

    def __init__(
        self, *args: Any, bounds: Bounds | None = None, dropped: Dropped | None = None, media: MediaRows | None = None, **kwargs: Any
    ) -> None:
        self._bounds, self.dropped, self.dropped_held_out = bounds, dropped if dropped is not None else Dropped(), Dropped()
        settings: DPOConfig = kwargs["args"]
        self._weighted = "weight" in kwargs["train_dataset"].column_names
        if self._weighted:
            _refuse(settings)
        if kwargs.get("data_collator") is None:
            kwargs["data_collator"] = WeightedCollator(
                pad_token_id=kwargs["processing_class"].pad_token_id,
                max_length=settings.max_length,
                truncation_mode=settings.truncation_mode,
                pad_to_multiple_of=cast("int | None", settings.pad_to_multiple_of),  # "auto" is resolved by now
            )
        if media is not None:
            kwargs["data_collator"] = CollatesMedia(kwargs["data_collator"], media, halves=2)
        super().__init__(*args, **kwargs)
        self.data_collator = CollatesRows(self.data_collator)

    def _send_telemetry(self) -> None:
        """Nothing is sent."""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        rows = pair_tokens(Chat(processing_class), dataset, args.dataset_num_proc)
        if self._bounds is not None:
            rows = keep_pairs(rows, self._bounds, self.dropped if dataset_name == "train" else self.dropped_held_out)
        end = [processing_class.eos_token_id]
        blank = {"prompt_ids": end, "chosen_ids": end, "rejected_ids": end, "weight": BLANK, "length": 2, FILES: []}
        return with_blanks(rows, blank, args, held_out=dataset_name != "train")

    def _set_signature_columns_if_needed(self) -> None:
        _untyped(super())._set_signature_columns_if_needed()
        _keep_columns(self, "weight", "length", ROW, FILES)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """The reference's log-probabilities; a weight is no input of a model."""
        return _untyped(super()).compute_ref_log_probs(model, {k: v for k, v in inputs.items() if k != "weight"})

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        inputs = dict(inputs)
        weight = inputs.pop("weight", None)
        if weight is None:
            return _untyped(super())._compute_loss(model, inputs, return_outputs)
        trains = cast("Any", self.model).training
        ends = self.whole > 1 and trains
        share = self.share if ends else 1.0
        if (ends or not trains) and bool((weight == BLANK).any()):
            share = 0.0 if bool((weight == BLANK).all()) else share
            inputs, weight = _without_blanks(inputs, weight)
        if not self.precompute_ref_logps:
            reference = self.ref_model if self.ref_model is not None else self.model
            inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = self.compute_ref_log_probs(reference, inputs)
        seen = _Seen(model)
        asked, self.precompute_ref_logps = self.precompute_ref_logps, True  # the batch now has them
        try:
            result = _untyped(super())._compute_loss(seen, inputs, return_outputs)
        finally:
            self.precompute_ref_logps = asked
        width = inputs["completion_mask"].size(1) - 1
        chosen, rejected = seen.log_probs[:, -width:].sum(dim=1).chunk(2, dim=0)
        delta = (chosen - inputs["ref_chosen_logps"]) - (rejected - inputs["ref_rejected_logps"])
        term = -F.logsigmoid(self.beta * delta)
        scale = sum(c for kind, c in zip(self.loss_types, self.loss_weights, strict=True) if kind == "sigmoid")
        extra = scale * ((weight.to(term) - 1.0) * term).mean()
        if ends and self.accelerator.sync_gradients:
            for name in ("accuracies", "margins"):
                self._metrics["train"][f"rewards/{name}"][-1] *= self.whole
        loss, *outputs = result if return_outputs else (result,)
        loss = loss + extra if share == 1.0 else share * (loss + extra)
        return (loss, *outputs) if return_outputs else loss


def _without_blanks(inputs: dict[str, Any], weight: Any) -> tuple[dict[str, Any], Any]:
    """A batch in which blank pairs count in no mean. Where it has no other pair it keeps their tokens, so that its loss, which counts nothing, is a
    number."""
    real = weight != BLANK
    if not bool(real.any()):
        return inputs, torch.zeros_like(weight)
    out = inputs | {"completion_mask": inputs["completion_mask"] * torch.cat([real, real])[:, None].to(inputs["completion_mask"])}
    out |= {name: inputs[name].where(real, 0.0) for name in ("ref_chosen_logps", "ref_rejected_logps") if name in inputs}
    return out, torch.where(real, weight * (len(real) / real.sum()), 0.0)


def _refuse(args: DPOConfig) -> None:
    """Refuse settings under which a weight would not mean what it says."""
    kinds = [args.loss_type] if isinstance(args.loss_type, str) else list(args.loss_type)
    if "sigmoid" not in kinds or set(kinds) - {"sigmoid", "sft"}:
        raise InputError(
            f"weighted pairs need loss_type sigmoid, with or without sft; it is {kinds}",
            where="trainer.loss_type",
            hint="use ['sigmoid', 'sft'], or drop the column weight to train without weights",
        )
    for name, plain in (("ld_alpha", None), ("f_divergence_type", "reverse_kl"), ("use_weighting", False)):
        if getattr(args, name) != plain:
            raise InputError(f"weighted pairs do not go with {name} = {getattr(args, name)!r}", where=f"trainer.{name}")
