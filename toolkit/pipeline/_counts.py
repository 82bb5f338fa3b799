"""What became of a step's rows, and the laws that none may vanish (architecture, invariant 1; shapes in `toolkit.operators.base`) and that no two of
them have one id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import BrokenContract
from toolkit.operators.base import Shape

if TYPE_CHECKING:
    import polars as pl


class ConservationError(BrokenContract):
    """Rows in and rows out of a step do not add up, or a row is not what its operator declared: a bug in an operator, never a user's fault."""


@dataclass
class Counts:
    """What became of a step's rows; `came`, `factor` (for `expand`) and `parents` (for `pick`) are what the others are held against."""

    step: str
    use: str
    shape: Shape
    came: int = 0
    kept: int = 0
    merged: int = 0
    parents: int = 0
    factor: float = 1.0
    rejected: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)

    @property
    def expected(self) -> int:
        """Rows that must be accounted for."""
        return round(self.came * self.factor) if self.shape == "expand" else self.came

    @property
    def accounted(self) -> int:
        """Rows that are, in the ways that the shape allows."""
        out = (self.parents if self.shape == "pick" else self.kept) + self.rejected.total()
        if self.shape in ("source", "select", "merge", "expand", "pick", "sink"):
            out += self.set_aside.total()
        if self.shape == "merge":
            out += self.merged
        return out

    def fresh(self) -> Counts:
        """Those of the same step, before any row."""
        return Counts(self.step, self.use, self.shape)

    def add(self, part: Counts) -> None:
        """Count what became of some more rows."""
        self.came += part.came
        self.kept += part.kept
        self.merged += part.merged
        self.rejected.update(part.rejected)
        self.set_aside.update(part.set_aside)

    def check(self) -> None:
        """Raise `ConservationError` unless every row that came in is accounted for."""
        if self.accounted != self.expected:
            sums = f"{self.expected} rows to account for, {self.accounted} accounted for"
            raise ConservationError(f"step {self.step!r} ({self.use}, {self.shape}): {sums}: {self.as_dict()}")

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "step": self.step,
            "use": self.use,
            "shape": self.shape,
            "in": self.came,
            "kept": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
            "merged": self.merged,
            "set_aside": dict(sorted(self.set_aside.items())),
            **({"factor": self.factor} if self.shape == "expand" else {}),
            **({"parents": self.parents} if self.shape == "pick" else {}),
        }


class Ids:
    """The ids of a step's kept rows. Memory: 8 bytes a row, twice that while they are checked.

    Only a hash of each is held; where two are equal the ids themselves are looked at.
    """

    def __init__(self) -> None:
        self._hashes: list[pl.Series] = []

    def add(self, ids: pl.Series) -> None:
        """The ids of a block."""
        self._hashes.append(ids.hash())

    def check(self, counts: Counts, again: Callable[[], Iterable[pl.Series]]) -> None:
        """Raise `ConservationError` where two rows have one id.

        Args:
            counts: of the step.
            again: reads the ids once more.
        """
        import polars as pl

        if not self._hashes:
            return
        hashes = pl.concat(self._hashes).sort()
        twice = hashes[1:].filter(hashes[1:] == hashes[:-1]).unique()
        if not twice.len():
            return
        ids = pl.concat([block.filter(block.hash().is_in(twice.implode())) for block in again()])
        same = ids.filter(ids.is_duplicated()).drop_nulls()
        if same.len():
            doubled = f"{same.len()} of its rows share an id with another, {same[0]!r} say"
            raise ConservationError(f"step {counts.step!r} ({counts.use}): {doubled}: an id names one row")
