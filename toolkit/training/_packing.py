"""Rows packed into one, so that a batch holds no padding, where no attention kernel knows of packs.

TRL lays all packs of a batch end to end as one row. With flash attention that costs nothing; with any other attention the work grows with the square
of the whole batch (8 packs of 2,048 tokens: 64 times that of one), which is what made an update take minutes on a CPU. Here each pack stays a row of
its own. Its texts do not see each other: positions begin anew with each, from which transformers makes a mask of blocks (`masking_utils`).
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from transformers.data.data_collator import DataCollatorMixin
from trl.trainer.utils import pad

from toolkit.common.errors import InputError, Missing

_log = logging.getLogger(__name__)


@dataclass
class PackCollator(DataCollatorMixin):
    """Makes a batch of packs: ``input_ids``, ``labels`` and ``position_ids``, a row for each pack, and ``tokens``, those that are no padding."""

    pad_token_id: int
    return_tensors: str = "pt"

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate packs with ``input_ids``, ``labels`` and ``seq_lengths``."""
        ids = pad([torch.tensor(e["input_ids"]) for e in examples], padding_value=self.pad_token_id, padding_side="right")
        labels = pad([torch.tensor(e["labels"]) for e in examples], padding_value=-100, padding_side="right")
        positions = []
        for e in examples:
            padding = ids.size(1) - sum(e["seq_lengths"])  # a text of its own, which nothing sees
            positions.append(torch.cat([torch.arange(n) for n in (*e["seq_lengths"], padding)]))
        position_ids = torch.stack(positions)
        labels[position_ids == 0] = -100  # what follows a text is not foretold by it
        return {"input_ids": ids, "labels": labels, "position_ids": position_ids, "tokens": torch.tensor(sum(len(e["input_ids"]) for e in examples))}


def flash(model: Any, args: Any) -> bool:
    """Whether a model's attention knows of packs: flash attention does, sdpa and eager do not.

    Args:
        model: by name, or as an object.
        args: TRL's configuration, for the ``attn_implementation`` of its ``model_init_kwargs``.
    """
    wanted = (args.model_init_kwargs or {}).get("attn_implementation")
    return "flash" in str(wanted if wanted is not None or isinstance(model, str) else model.config._attn_implementation)


def without_padding(args: Any, model: Any) -> Any:
    """TRL's configuration as it may be used for ``padding_free``, which saves work with flash attention alone: else the batch is padded, and that is
    reported. Rows too long are left out before, so that TRL's own `max_length` is not needed."""
    if not args.padding_free or args.packing:
        return args
    args = copy.copy(args)
    if flash(model, args):
        args.max_length = None
    else:
        _log.warning(
            "padding_free saves work with flash attention alone (model_init_kwargs: {attn_implementation: flash_attention_2}): padded instead"
        )
        args.padding_free = False
    return args


def check_batches(args: Any) -> None:
    """Refuse ways of filling batches under which a row would not be learnt as it is (InputError), and kernels that are not installed (Missing)."""
    if args.use_liger_kernel and find_spec("liger_kernel") is None:
        raise Missing("trainer.use_liger_kernel needs the package 'liger_kernel'", hint="install it: pip install liger-kernel (for GPUs)")
    if getattr(args, "packing", False) and args.packing_strategy != "bfd":
        message = f"packing_strategy {args.packing_strategy!r} cuts rows in pieces: a piece would be trained without its prompt"
        raise InputError(message, where="trainer.packing_strategy", hint="leave it out: bfd packs whole rows")
    if getattr(args, "padding_free", False) and not hasattr(args, "packing"):
        message = "TRL 1.16 has no padding-free preference training: it would pad all the same"
        raise InputError(message, where="trainer.padding_free", hint="leave it out; train_sampling_strategy: group_by_length leaves less padding")
