"""What a comparison is asked for, and what its parts are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.evaluation.comparing._cohort import Cohort
from toolkit.evaluation.comparing._common_rows import Common, Key
from toolkit.evaluation.comparing._published import PublishedFigure
from toolkit.evaluation.comparing._row_outcomes import How
from toolkit.evaluation.comparing._sides import Side

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Asked:
    """What is asked of a comparison.

    Attributes:
        policy, k, draws, seed: as for `paired`; `k` None: as the evaluations have it.
        errors: rows of each kind of error with their texts.
        every_pair: each two models; else each against the first.
        across: differences also where cohorts are apart, with the reason.
        published: figures to set beside.
        withhold: whether a model of which too few outputs could be read is left out; else they count as the policy has it.
    """

    policy: str = "clean"
    k: str | None = None
    draws: int = 10_000
    seed: int = 0
    errors: int = 3
    every_pair: bool = False
    across: bool = False
    published: Sequence[PublishedFigure] = ()
    withhold: bool = True


@dataclass
class Work:
    """What the parts of a comparison are made from: `results` by model, benchmark and task."""

    sides: Sequence[Side]
    asked: Asked
    how: How
    rows: pl.LazyFrame
    shared: dict[Key, Common]
    results: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    titles: dict[Key, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return [s.name for s in self.sides]

    def cohort(self, i: int, key: Key) -> Cohort:
        """Of a model's figures; its rows are known by the first model that has the same."""
        one = self.shared[key]
        known = self.results.get((self.names[i], *key), {}).get("cohort") or {}
        same = next(j for j in range(i + 1) if one.whole((j, i)))
        return Cohort(**{**known, "policy": self.asked.policy, "n": one.n(i), "rows": f"those of {self.names[same]}"})

    def judged(self, i: int, key: Key) -> bool:
        """Whether a model has figures of a benchmark and task."""
        found = self.results.get((self.names[i], *key))
        return found is not None and found["judged"] and not found["withheld"]
