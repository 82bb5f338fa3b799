"""Whether a training may begin with the rows that are left: too many that are too long, fewer than a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError

if TYPE_CHECKING:
    from toolkit.training._shared import Bounds, Dropped


def check_left_out(dropped: Dropped, rows: int, most: float, bounds: Bounds) -> None:
    """Refuse a limit that leaves out more rows than a share of them.

    Args:
        dropped: what is left out.
        rows: how many there are.
        most: the share; one row always may be, unless it is 0.
        bounds: the limit.

    Raises:
        InputError: with the length that would do.
    """
    lengths = sorted(dropped.lengths, reverse=True)
    if len(lengths) <= (allowed := max(math.floor(most * rows), int(most > 0))):
        return
    share = math.ceil(1000 * len(lengths) / rows) / 1000
    message = f"{len(lengths):,} of {rows:,} rows ({len(lengths) / rows:.0%}) have more than {bounds.limit:,} tokens and would be left out, "
    message += f"more than the {most:.0%} that the option too_long allows"
    do = f"with {lengths[allowed]:,} at most {most:.0%} would be" + (f", with {lengths[0]:,} none" if allowed else "")
    where = "max_prompt" if bounds.answer else "trainer.max_length"
    raise InputError(message, where=where, hint=f"{bounds.hint}: {do}; or allow them with too_long: {share:g}")


def check_batch(args: Any, used: int) -> None:
    """Refuse fewer rows than one batch where such batches are dropped (InputError)."""
    if args.dataloader_drop_last and used < args.train_batch_size:
        message = f"{used:,} rows are fewer than one batch of {args.train_batch_size:,}, and dataloader_drop_last drops it"
        raise InputError(message, where="trainer.per_device_train_batch_size", hint=f"set it to {used} or less")
