"""The part of an evaluation that says how verdicts hold: sets of rows under changes that keep their labels, and the figures of the verdicts on them.

Lines about changed rows are in a table of their own (`CHANGED`): no figure of the benchmarks is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.evaluation.changed._flips import flips
from toolkit.evaluation.changed._perturb import Change, perturbed
from toolkit.evaluation.scoring._policies import NOT_JUDGED

if TYPE_CHECKING:
    from toolkit.evaluation.benchmarks._sets import RowSet
    from toolkit.evaluation.scoring._results import Readings


@dataclass(frozen=True)
class ChangedSets:
    """Sets of rows under changes.

    Attributes:
        names: of the changes.
        seed: of what was drawn.
        sets: the changed rows, a set for each that there was.
        left: rows of which there is none, by benchmark, change and reason: ``unchanged``, or why a model's words were not taken.
        written_by: name of the model that wrote changes, if one did.
    """

    names: Sequence[str]
    seed: int
    sets: Sequence[RowSet]
    left: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    written_by: str | None = None

    def lines(self, blocks: Iterable[pl.DataFrame]) -> Iterable[pl.DataFrame]:
        """The lines of `CHANGED`, of those of `ROWS` about these sets; tasks that are not judged are left out."""
        whose = pl.concat([one.rows.select(pl.lit(one.name).alias("benchmark"), "id", "parent", "change") for one in self.sets])
        for block in blocks:
            judged = block.filter(pl.col("unread").ne_missing(NOT_JUDGED))
            if judged.height:
                yield judged.join(whose, on=["benchmark", "id"], how="left", maintain_order="left")

    def figures(self, lines: pl.LazyFrame | None, rows: pl.LazyFrame, positives: Mapping[str, str], readings: Readings) -> dict[str, Any]:
        """What the document says of them.

        Args:
            lines: of `CHANGED`; None: there is none.
            rows: of `ROWS`, about the rows as they are.
            positives, readings: as for `flips`.
        """
        found = [] if lines is None else flips(lines, rows, positives, readings=readings)
        about = {"changes": list(self.names), "seed": self.seed, "written_by": self.written_by, "left": [dict(one) for one in self.left]}
        return {**about, "flips": found}


def changed_sets(sets: Sequence[RowSet], changes: Sequence[Change], seed: int) -> ChangedSets:
    """The rows of sets that have a label, under changes; what a change leaves as it is is in `left`."""
    made, left = [], []
    for one in sets:
        found = perturbed(one.rows.filter(one.labelled), changes, seed)
        made.append(replace(one, rows=found.rows))
        left += [{"benchmark": one.name, "change": name, "reason": "unchanged", "rows": n} for name, n in found.counts.items()]
    return ChangedSets([c.name for c in changes], seed, made, left)
