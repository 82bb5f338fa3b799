"""Which rows an update was of, so that a loss that is not finite names them.

The column `ROW` (a row's place in the shards) goes through the collator into each batch, and is taken out of it before the model sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object

ROW = "row"
_SHOWN = 8


class CollatesRows:
    """A collator that hands the rows' places on beside what another one makes of them.

    Args:
        inner: the other one; what is asked of this one beside is asked of that.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate."""
        out: dict[str, Any] = self.inner(examples)
        return {**out, ROW: torch.tensor([e[ROW] for e in examples])} if ROW in examples[0] else out


class NamesRows:
    """In front of TRL's trainers: `odd_rows` names the rows of batches whose loss was not finite."""

    ids: Sequence[str] = ()
    """Of the shards' rows, by their place."""

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """A step on a batch, which is noted."""
        rows = inputs.pop(ROW, None)
        loss = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        if rows is not None:
            self.__dict__.setdefault("_steps", []).append((rows, loss))
        return loss

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of a held-out batch."""
        inputs.pop(ROW, None)
        return super().prediction_step(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def odd_rows(self) -> str:
        """The rows of the batches since it was last asked whose loss was not finite, or else of all of them, in words; empty where that is not known,
        as with packed rows. Of the batches of all processes, each of which asks."""
        mine, self.__dict__["_steps"] = self.__dict__.get("_steps", []), []
        steps = gather_object([(rows.flatten().tolist(), bool(torch.isfinite(loss).all())) for rows, loss in mine])
        odd = [rows for rows, finite in steps if not finite] or [rows for rows, _ in steps]
        names = list(dict.fromkeys(self.ids[i] for rows in odd for i in rows if i < len(self.ids)))
        return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")

    def forget_rows(self) -> None:
        """The batches so far were sound."""
        self.__dict__["_steps"] = []
