"""Whether it is of any use to go on asking, found out from the rows that have come so far: the option ``stop_if`` of operators that ask a model.

Contract: rows count in their order, each once, whether they were answered now or before. One that the operator rejects is known as it comes, a
failure of the endpoint among them. What the steps after it that validate would reject is found by running these on some of the rows that it keeps:
the first ``after``, and as many, spread over the rows since, each time the number of rows has doubled; so it takes a fixed time at the beginning and
next to none later. The share is of all rows so far, and it is looked at when ``after`` are in, at each doubling, and with every further row that the
operator rejects.

Where it is above ``rejected``, the engine is halted: nothing more is asked, and once what is in flight has come in and is in the journal, `Missing`
is raised. Until the first look no more requests are ahead of the slowest one than it takes rows, and the backend wants in flight: one that hangs does
not hold it off for long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import Missing
from toolkit.common.text import one_line
from toolkit.operators.base import DETAIL, OUTCOME, REASON
from toolkit.pipeline._row_steps import RowWork, row_block

if TYPE_CHECKING:
    from toolkit.generation import Completions
    from toolkit.operators._stop_if import StopIf

_REASONS, _LETTERS = 3, 160
"""Reasons that are listed, and letters of an example of each."""


class Trial:
    """See the module's docstring.

    Args:
        step: id of the step that asks, and what it asks.
        stop_if: its option.
        types: of the rows that it makes, marks included.
        after: the row steps after it, as far as one that validates.
    """

    def __init__(self, step: str, stop_if: StopIf, types: Mapping[str, Any], after: Sequence[RowWork]) -> None:
        self._step, self._stop_if, self._types, self._after = step, stop_if, types, after
        self._next = stop_if.after  # rows at the next look
        self._held: list[Mapping[str, Any]] = []
        self._rows = self._own = self._tried = 0
        self._kept = 0  # rows since the last look that the operator kept
        self._fell, self._falls = 0.0, 0.0  # rows up to the last look that the steps after it reject, as far as tried; their share of those since
        self._reasons: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._results: Completions | None = None

    def watch(self, results: Completions) -> None:
        """What is halted in the end."""
        self._results = results

    def add(self, row: Mapping[str, Any]) -> None:
        """The next row as the operator made it."""
        self._rows += 1
        if (reason := row.get(REASON)) is not None:
            self._own += 1
            self._note(reason, row.get(DETAIL))
            if self._next != self._stop_if.after:
                self._decide()
        else:
            self._kept += 1
            if self._after and self._rows % max(1, self._next // (2 * self._stop_if.after)) == 0:
                self._held.append(row)
        if self._rows == self._next:
            self._look()

    def _look(self) -> None:
        fell = 0
        if self._held:
            came = pl.DataFrame(self._held, schema=self._types, orient="row").drop(OUTCOME, REASON, DETAIL, strict=False)
            if (left := row_block(self._after, came).left) is not None:
                gone = left.filter(pl.col("outcome") == "rejected")
                fell += gone.height
                for step, reason, detail in gone.select("step", "reason", "detail").iter_rows():
                    self._note(f"{step}: {reason}", detail)
            self._tried += came.height
            self._falls = fell / came.height
        self._fell += self._kept * self._falls
        self._held, self._kept = [], 0
        self._next *= 2
        if not self._decide() and self._results is not None:
            self._results.widen()

    def _note(self, reason: str, detail: str | None) -> None:
        self._reasons[reason] += 1
        self._examples.setdefault(reason, one_line(detail or "")[:_LETTERS])

    def _decide(self) -> bool:
        """Whether it is too many; the engine is halted then."""
        share = (self._own + self._fell + self._kept * self._falls) / self._rows
        if share <= self._stop_if.rejected or self._results is None:
            return False
        self._results.halt(self._error(share))
        return True

    def _error(self, share: float) -> Missing:
        listed = []
        for reason, n in self._reasons.most_common(_REASONS):
            example = self._examples[reason]
            listed.append(f"{reason} {n:,}" + (f" ({example})" if example and not reason.endswith(example) else ""))
        if len(self._reasons) > _REASONS:
            listed.append(f"and {len(self._reasons) - _REASONS} more reasons")
        tried = f" ({self._tried:,} of them held against the steps that validate)" if self._tried else ""
        return Missing(
            f"step {self._step!r} stops: {share:.0%} of its first {self._rows:,} rows{tried} come to nothing, and stop_if allows "
            f"{self._stop_if.rejected:.0%}: {'; '.join(listed)}",
            hint="change the model, its prompt or the rules and run again: every answer is kept, and none is paid for twice. To go on all the "
            f"same: --set {self._step}.stop_if=null",
        )
