"""Which outputs make a preference pair: chosen on numbers alone, for all hard units at once.

A *unit* is what a row is hard for: a task, and one guard or all of them together. Its *candidates* are the outputs that are right on the task (they
may be chosen) and those that are wrong (they may be rejected). What a candidate is, is known without its text: its line in the verdict table, its
length, its outcomes. Texts are looked at only of outputs that would be taken, through `Faults`: whether they are sound. Where one is not, the next
best is taken.

Policies: the output with the highest score of its side (`pick_best`), or the two sides together (`toolkit.mining._closest`), so that length does not
tell chosen from rejected. Equal candidates are ordered by their place in the table, so that no cut of it into blocks, and no number of
threads, changes a choice. Memory: about 60 bytes a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from toolkit.mining._judged import OUTCOMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

Faults = Callable[["Ints", "Mask"], "Ints"]
"""Faults of outputs: given their places in `Lines`, rising, and whether each is to be chosen or to be rejected, a number each, 0 for none. It is
asked twice at most."""

NONE = -1
"""No candidate, no guard."""
RIGHT, WRONG, UNREAD, NOT_APPLICABLE = range(len(OUTCOMES))


def hard_units(rows: pl.DataFrame, tasks: Sequence[str], order: Sequence[str] | None = None) -> pl.DataFrame:
    """What the rows are hard for, a line each: `row` (its number), `task`, `guard` (null: all together), `n_right`, `n_wrong`, `n_unread`.

    In the order of the rows; of one row, as `hard_of` names them, or by their tasks in `order`.

    Args:
        rows: of the record ``hard``. An older one, without `hard_of`, is hard for each task whose status is so, all guards together.
        tasks: of the guard, in its order.
        order: tasks that come first, in this order.
    """
    numbered = rows.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    if "hard_of" in rows.columns:
        units = numbered.select("row", "hard_of").explode("hard_of", empty_as_null=True).drop_nulls("hard_of").unnest("hard_of")
        units = units.rename({"right": "n_right", "wrong": "n_wrong", "unread": "n_unread"})
    else:
        of_task = [
            numbered.filter(pl.col(f"status_{t}") == "hard").select(
                "row",
                pl.lit(t).alias("task"),
                pl.lit(None, pl.String).alias("guard"),
                *(pl.col(f"{n}_{t}").alias(n) for n in ("n_right", "n_wrong", "n_unread")),
            )
            for t in tasks
        ]
        units = pl.concat(of_task).sort("row", maintain_order=True)
    if order:
        rank = {t: i for i, t in enumerate(order)}
        units = units.sort("row", pl.col("task").replace_strict(rank, default=len(rank), return_dtype=pl.Int64), maintain_order=True)
    return units.select("row", "task", "guard", "n_right", "n_wrong", "n_unread")


@dataclass(frozen=True)
class Lines:
    """Lines of verdict tables that are about hard rows.

    Attributes:
        row: number of the hard row.
        guard: number of the guard; `NONE` for one that does not count.
        guards: names of the guards.
        draw: as in the table.
        length: characters of the output.
        outcomes: what the output is on each task, in the guard's order, as places in `OUTCOMES`; (lines, tasks), uint8.
        counted: what it counts as by the rule that the rows are hard by, where that is otherwise; one more column where the rule judges outputs as a
            whole (units without a task).
        ids: of the generations, where they are needed.
    """

    row: Ints
    guard: Ints
    guards: Sequence[str]
    draw: Ints
    length: Ints
    outcomes: NDArray[np.uint8]
    counted: NDArray[np.uint8] | None = None
    ids: pl.Series | None = None


@dataclass(frozen=True)
class Candidates:
    """Outputs that may be in a pair, by unit and place.

    Attributes:
        unit: number of the unit.
        at: place in `Lines`.
        right: whether it may be chosen; else it may be rejected.
        length: characters of the output.
        units: how many units there are.
    """

    unit: Ints
    at: Ints
    right: Mask
    length: Ints
    units: int

    def only(self, which: Mask) -> Candidates:
        """Those that are marked."""
        return Candidates(self.unit[which], self.at[which], self.right[which], self.length[which], self.units)

    def two_sided(self) -> Mask:
        """Whether a candidate's unit has one of each side."""
        import numpy as np

        right = np.bincount(self.unit[self.right], minlength=self.units) > 0
        wrong = np.bincount(self.unit[~self.right], minlength=self.units) > 0
        return (right & wrong)[self.unit]


def pair_candidates(units: pl.DataFrame, lines: Lines, tasks: Sequence[str], *, right_on_all: bool, wrong_read: bool) -> Candidates:
    """Which outputs may be in which unit's pair; units with right ones alone, or wrong ones alone, have none.

    Args:
        units: of `hard_units`.
        lines: of the verdict tables.
        tasks: of the guard, in the order of `Lines.outcomes`.
        right_on_all: a chosen output is right on every task that its row has a label for.
        wrong_read: a rejected output could be read on every task that its row has a label for.
    """
    import numpy as np

    number = {g: i for i, g in enumerate(lines.guards)}
    strange = len(number)
    known = pl.col("guard").replace_strict(number, default=strange, return_dtype=pl.Int64) if number else pl.lit(strange, pl.Int64)
    of_guard = units.select(pl.when(pl.col("guard").is_null()).then(NONE).otherwise(known).alias("guard"))["guard"].to_numpy()
    key = units["row"].to_numpy() * (strange + 2) + of_guard + 1
    counted = lines.outcomes if lines.counted is None else lines.counted
    may_right, may_wrong = lines.guard != NONE, (lines.guard != NONE) & (lines.length > 0)
    if right_on_all:
        may_right &= np.isin(lines.outcomes, (RIGHT, NOT_APPLICABLE)).all(axis=1)
    if wrong_read:
        may_wrong &= (counted != UNREAD).all(axis=1)
    found: list[tuple[Ints, Ints, Mask]] = []
    for j, task in enumerate([*tasks, None][: counted.shape[1]]):
        mine = (units["task"].is_null() if task is None else units["task"].eq(task).fill_null(False)).arg_true().to_numpy()
        right = (counted[:, j] == RIGHT) & may_right
        at = np.flatnonzero(right | (counted[:, j] == WRONG) & may_wrong)
        if not mine.size or not at.size:
            continue
        mine = mine[np.argsort(key[mine], kind="stable")]
        for guard in (np.full(at.size, NONE), lines.guard[at]):
            wanted = lines.row[at] * (strange + 2) + guard + 1
            place = np.minimum(np.searchsorted(key[mine], wanted), mine.size - 1)
            hit = key[mine][place] == wanted
            found.append((mine[place[hit]], at[hit], right[at[hit]]))
    unit, at, is_right = (np.concatenate([f[i] for f in found]) if found else np.zeros(0, np.int64) for i in range(3))
    by = np.lexsort((at, unit))
    unit, at = unit[by].astype(np.int64), at[by].astype(np.int64)
    out = Candidates(unit, at, is_right[by].astype(bool), lines.length[at], units.height)
    return out.only(out.two_sided())


@dataclass(frozen=True)
class Chosen:
    """What was taken.

    Attributes:
        chosen: of each unit, the place in `Lines` of its chosen output; `NONE` where no right output is sound.
        rejected: of each unit, that of its rejected output; `NONE` where no wrong output is.
        over_unit: units of outputs that would have been taken, were they sound.
        over_fault: their faults.
        over_right: whether they would have been chosen.
    """

    chosen: Ints
    rejected: Ints
    over_unit: Ints
    over_fault: Ints
    over_right: Mask

    @property
    def paired(self) -> Mask:
        """Units with a pair."""
        paired: Mask = (self.chosen != NONE) & (self.rejected != NONE)
        return paired


class Looked:
    """What is known of candidates that were looked at.

    Args:
        c: the candidates.
        faults: what is wrong with an output.
        must: whether outputs to be chosen, and outputs to be rejected, must be sound.
    """

    def __init__(self, c: Candidates, faults: Faults, must: tuple[bool, bool]) -> None:
        import numpy as np

        self.c, self._faults = c, faults
        right, wrong = (NONE if m else 0 for m in must)
        self.known: Ints = np.where(c.right, right, wrong).astype(np.int64)
        """Of each candidate 0 for sound, a fault's number, or `NONE` for not looked at."""

    def look(self, which: Ints) -> None:
        """Look at these candidates, an output once for each side, whatever units it is in."""
        import numpy as np

        new = which[self.known[which] == NONE]
        if new.size:
            one, back = np.unique(2 * self.c.at[new] + self.c.right[new], return_inverse=True)
            self.known[new] = self._faults(one // 2, one % 2 == 1)[back]

    def bad(self) -> Mask:
        """Units of which something is not sound."""
        import numpy as np

        out = np.zeros(self.c.units, bool)
        out[self.c.unit[self.known > 0]] = True
        return out


def pick_best(c: Candidates, score: Floats, faults: Faults, must: tuple[bool, bool]) -> Chosen:
    """Of each unit the right and the wrong output with the highest score that are sound; of equal ones the first of the table.

    Args:
        c: that may stand.
        score: of each.
        faults: what is wrong with an output.
        must: whether outputs to be chosen, and outputs to be rejected, must be sound.
    """
    import numpy as np

    looked = Looked(c, faults, must)
    slot = 2 * c.unit + ~c.right  # a unit's right ones, then its wrong ones
    order = np.lexsort((c.at, -score, slot))
    looked.look(_firsts(slot, order))
    bad = np.zeros(2 * c.units, bool)
    bad[slot[looked.known > 0]] = True
    looked.look(order[bad[slot[order]]])
    taken = _firsts(slot, order[looked.known[order] == 0])
    out, least = np.full(2 * c.units, NONE, np.int64), np.full(2 * c.units, -np.inf)
    out[slot[taken]], least[slot[taken]] = c.at[taken], score[taken]
    over = np.flatnonzero((looked.known > 0) & (score > least[slot]))
    return Chosen(out[0::2], out[1::2], c.unit[over], looked.known[over], c.right[over])


def _firsts(slot: Ints, order: Ints) -> Ints:
    """The first candidate of each slot, of candidates in an order by slot."""
    import numpy as np

    return order[np.flatnonzero(np.diff(slot[order], prepend=NONE))]
