"""Whether outputs that would make pairs are sound."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from toolkit.guards import POLICY
from toolkit.mining import Lines
from toolkit.operators.base import DETAIL, OUTCOME, REASON, Context, StepInput
from toolkit.operators.mining._pair_lines import Outputs
from toolkit.operators.reason.validate import Validate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_MESSAGES = ("context", "prompt", "response")


class Look:
    """What is wrong with outputs: `toolkit.mining.Faults`. What it looks at first is held, since most of it will be taken."""

    def __init__(self, outputs: Outputs, lines: Lines, validators: tuple[Validate | None, Validate | None], rows: StepInput, ctx: Context) -> None:
        self._outputs, self._lines, self._validators, self._rows, self._ctx = outputs, lines, validators, rows, ctx
        self.names: dict[str, int] = {}
        """Numbers of the faults."""
        self._first = True

    @cached_property
    def _messages(self) -> pl.DataFrame | None:
        """Of the hard rows the texts that a rule reads."""
        read = {n for v in self._validators if v for n in v.reads(self._ctx.guard)}
        names = [n for n in _MESSAGES if n in read]
        names += [POLICY] if "context" in names and POLICY in (self._rows.columns or ()) else []
        return pl.concat(list(self._rows.blocks(names))) if names else None

    def __call__(self, at: Ints, right: NDArray[np.bool_]) -> Ints:
        import numpy as np

        unique, back = np.unique(at, return_inverse=True)
        side = np.where(right, 0, 1)
        wanted = np.zeros((unique.size, 2), bool)
        wanted[back, side] = True
        known = np.zeros((unique.size, 2), np.int64)
        seen = 0
        for places, texts in self._outputs.read(unique):
            here = np.searchsorted(unique, places)
            for validator in dict.fromkeys(v for v in self._validators if v is not None):
                sides = [i for i, v in enumerate(self._validators) if v is validator]
                asked = np.flatnonzero(wanted[here][:, sides].any(axis=1))
                known[here[asked][:, None], sides] = self._faults(validator, places[asked], texts[asked])[:, None]
            if self._first:
                self._outputs.hold(places, texts["output"])
            seen += places.size
            self._ctx.progress(seen, unique.size, "outputs held against the rules")
        self._first = False
        out: Ints = known[back, side]
        return out

    def _faults(self, validator: Validate, at: Ints, texts: pl.DataFrame) -> Ints:
        import numpy as np

        rows = texts.select(pl.col("output").alias("reasoning"), pl.col("finish").alias("reasoning_finish"))
        if self._messages is not None:
            rows = rows.hstack(self._messages[self._lines.row[at]])
        marked = rows.lazy().with_columns(pl.lit(None, pl.String).alias(m) for m in (OUTCOME, REASON, DETAIL))
        found = validator.apply(marked, self._ctx).select(REASON).collect()[REASON]
        return np.array([0 if f is None else self.names.setdefault(f, len(self.names) + 1) for f in found], np.int64)
