"""Batches of several processes in which every row is once an epoch, as in those of one.

Where the batches of an epoch are not a multiple of the processes, accelerate fills the last round with rows from the epoch's beginning, which then
count twice. Here it is filled with a blank row instead, which teaches nothing, and what is left is weighed as one process weighs it that accumulates
as many batches: a mean over tokens needs nothing more (a blank row has none to learn), a mean over batches is over those that hold a row (`share`).
Held-out rows are filled up likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from datasets import Dataset, concatenate_datasets
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler


def evened(args: Any) -> bool:
    """Whether a training's rounds are filled with a blank row, the last of its rows."""
    return args.world_size > 1 and not args.dataloader_drop_last and args.train_sampling_strategy != "batch_rebalance"


BLANK = -1.0
"""Weight of a blank pair; no other is negative."""


def with_blanks(rows: Dataset, blank: Mapping[str, Any], args: Any, *, held_out: bool) -> Dataset:
    """The rows, and after them blank ones: the first with other values. Rows to train on get one, which is drawn as often as it takes; held-out
    rows get as many as make whole rounds. With one process there are none."""
    a_round = args.eval_batch_size * args.world_size
    count = (-len(rows) % a_round if args.world_size > 1 else 0) if held_out else int(evened(args))
    if not count:
        return rows
    values = rows[:1] | {name: [value] for name, value in blank.items() if name in rows.column_names}
    features = rows.features
    return concatenate_datasets([rows, Dataset.from_dict({name: column * count for name, column in values.items()}, features=features)])


class Filled(Sampler[int]):
    """The rows of a sampler, and after them the blank one, up to whole rounds.

    Args:
        sampler: draws all rows but the blank one.
        blank: its index.
        a_round: rows of all processes together.
        seed: for samplers that have no generator of their own, and would draw otherwise in each process.
    """

    def __init__(self, sampler: Any, blank: int, a_round: int, seed: int) -> None:
        self.sampler, self.blank, self.a_round, self._seed = sampler, blank, a_round, seed
        if isinstance(sampler, LengthGroupedSampler):
            sampler.generator = torch.Generator().manual_seed(seed)

    @property
    def last(self) -> int:
        """Rows of the last round."""
        return len(self.sampler) % self.a_round or self.a_round

    def __len__(self) -> int:
        return len(self.sampler) + self.a_round - self.last

    def __iter__(self) -> Iterator[int]:
        yield from self.sampler
        yield from [self.blank] * (self.a_round - self.last)

    def set_epoch(self, epoch: int) -> None:
        """The order of an epoch, which is the same in every process and after a checkpoint."""
        if isinstance(self.sampler, LengthGroupedSampler):
            self.sampler.generator.manual_seed(self._seed + epoch)
        elif hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)


def _sampler_of(loader: Any) -> Any:
    """What draws a loader's rows, below the sharding of its batches: accelerate's `get_sampler` finds it for random orders alone."""
    batches = loader.batch_sampler
    return getattr(batches, "batch_sampler", batches).sampler


class Evened:
    """What a trainer of TRL's needs for such batches; its rows are `with_blank` where `evened` says so."""

    blank_tokens: ClassVar[int]
    """Tokens that TRL counts for a blank row."""
    share = 1.0
    """What a batch's mean is multiplied with, so that the mean over the update's is over those that hold a row."""
    whole = 1.0
    """What a figure that is a mean over a round's rows, blank ones as 0, is multiplied with in the update's last round."""
    _filled: Filled | None = None

    def get_train_dataloader(self: Any) -> Any:
        """As the trainer's, with whole rounds."""
        loader = super().get_train_dataloader()  # type: ignore[misc]
        if evened(self.args):
            a_round = self.args.train_batch_size * self.args.world_size
            self._filled = Filled(_sampler_of(loader), len(loader.dataset) - 1, a_round, self.args.seed)
            loader.set_sampler(self._filled)
            loader.dataset.total_dataset_length = len(self._filled)  # so that accelerate takes none of what is gathered for repeated rows
        return loader

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        return super()._get_train_sampler(rows.select(range(len(rows) - 1)) if evened(self.args) else rows)  # type: ignore[misc]

    def get_batch_samples(self: Any, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """As the trainer's, noting what the batches of an epoch's last update count for."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)  # type: ignore[misc]
        self.share = self.whole = 1.0
        if (filled := self._filled) is not None and self.accelerator.gradient_state.end_of_dataloader:
            processes, size = self.args.world_size, self.args.train_batch_size
            self.share = processes * len(batches) / (processes * (len(batches) - 1) + -(-filled.last // size))
            self.whole = filled.a_round / filled.last
            self._total_train_tokens -= (filled.a_round - filled.last) * self.blank_tokens
        return batches, items
