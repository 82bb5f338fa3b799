"""How many rows of files may be rejected before that is an error, and its message.

A torn row costs that row alone. But where labels are spelled otherwise than expected, whole classes are rejected row by row, and no step after it
would know. So what reads rows from files counts what it rejects (`Intake`) and ends with an error where nothing is left, where more is lost than
`max_rejected` allows, or where values were refused and a label that they may stand for has no row at all.

Memory: `DETAILS` texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.operators.base import Config

DETAILS = 1000
"""Different details that are counted."""
SHOWN = 3
"""Reasons that are named, and details of each."""
LOOK = 1000
"""Rows of a source that are looked at before a run."""
LOOK_REJECTED = 0.1
"""Share of the rows looked at that may be rejected where there are more rows than these: the first ones need not be like the rest."""


class IntakeConfig(Config):
    """Options of what reads rows from files."""

    max_rejected: float = Field(1.0, ge=0, le=1)
    """Share of the rows that may be rejected; if there are more, the step is an error, which says what did not fit. Rows that are set aside do not
    count."""
    empty: bool = False
    """Go on where no row is kept at all, or, of a source's map, none with one of its labels while values were rejected that it does not know."""


OPTIONS = frozenset(IntakeConfig.model_fields)
"""They shape no row, and so no fingerprint."""


@dataclass(frozen=True)
class Labels:
    """One task's labels. `columns`: of the files, with which the detail of an `unknown_label` begins; `column`: of the rows; `words`: the labels."""

    columns: Sequence[str]
    column: str
    words: Sequence[str]


@dataclass
class Intake:
    """What became of some rows so far. `name`: of the source, in messages."""

    name: str
    labels: Sequence[Labels] = ()
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    set_aside: int = 0
    _details: Counter[tuple[str, str]] = field(default_factory=Counter)
    _unseen: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._unseen = {label.column: set(label.words) for label in self.labels}

    def add(self, kept: pl.DataFrame, gone: pl.DataFrame) -> None:
        """Rows that go on, and those that do not, with `reason`, `detail` and `outcome`."""
        self.kept += kept.height
        for column, unseen in self._unseen.items():
            if unseen and kept.height:
                unseen.difference_update(kept[column].unique().to_list())
        if not gone.height:
            return
        bad = gone.filter(pl.col("outcome") == "rejected")
        self.set_aside += gone.height - bad.height
        for reason, detail, n in bad.group_by("reason", "detail", maintain_order=True).len().iter_rows():
            self.rejected[reason] += n
            if len(self._details) < DETAILS or (reason, detail) in self._details:
                self._details[reason, detail] += n

    def check(self, config: IntakeConfig, step: str) -> None:
        """Raise what is wrong with all of the rows (`fault`), as an error of the step."""
        if (found := self.fault(config)) is not None:
            raise InputError(found.message, where=f"step {step}", hint=found.hint)

    def fault(self, config: IntakeConfig, *, part: bool = False) -> InputError | None:
        """What is wrong with all of these rows together, None where nothing is. `part`: they are only the first ones."""
        bad, of = self.rejected.total(), self.kept + self.rejected.total()
        if not self.kept:
            if config.empty or (part and not bad):
                return None
            aside = f" and {self.set_aside:,} set aside" if self.set_aside else ""
            return self._error(f"no row is kept, {bad:,} are rejected{aside}", "`empty: true` goes on without any", part)
        most = max(config.max_rejected, LOOK_REJECTED) if part else config.max_rejected
        if bad > most * of:
            return self._error(f"{bad:,} of {of:,} rows are rejected", f"`max_rejected` allows {config.max_rejected:g} of them", part)
        for label in self.labels if not (config.empty or part) else ():
            lost, columns = self._unseen[label.column], tuple(f"{c}: " for c in label.columns)
            if lost and any(reason == "unknown_label" and detail.startswith(columns) for reason, detail in self._details):
                words = ", ".join(repr(w) for w in label.words if w in lost)
                return self._error(f"no row is {words} ({label.column}), and values were rejected", "`empty: true` goes on without", part)
        return None

    def _error(self, message: str, hint: str, part: bool) -> InputError:
        found = "; ".join(self._described(reason) for reason, _ in self.rejected.most_common(SHOWN))
        where = f"{self.name}, the first rows" if part else self.name
        return InputError(f"{where}: {message}{': ' if found else ''}{found}", hint=f"mend what did not fit; {hint}" if found else hint)

    def _described(self, reason: str) -> str:
        details = Counter({detail: n for (r, detail), n in self._details.items() if r == reason})
        top = [f"{detail} ({n:,} {'row' if n == 1 else 'rows'})" for detail, n in details.most_common(SHOWN)]
        return f"{reason} {self.rejected[reason]:,}: {', '.join([*top, *(['…'] if len(details) > SHOWN else [])])}"
