"""The order in which guards draw, and who draws what: first one draw of each guard for every row (all draws for the share that is drawn in full),
then guard by guard one draw more, for the rows that are open.

A guard draws all that it draws in a pass at once, since a local model is loaded for it. What a pass asks depends on the answers of earlier passes
alone, so that a run that is resumed goes the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.guards import Guard
from toolkit.mining._draws import Screen, choose_screen, first_doubt, settled
from toolkit.mining._rule import Rule
from toolkit.mining._rule_apply import WRONG, outcome_codes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCREENED, SETTLED = "screened", "settled"
"""Why a draw is not made: every guard was sure of the row, or the rule says the same whatever the draw would say."""
_TRIED = 4
"""Guards whose orders are all tried; of more, the ones that are wrong more often come first."""


@dataclass(frozen=True)
class Aim:
    """What adaptive drawing is to find.

    Attributes:
        rule: what counts as hard.
        guard: whose tasks.
        k: by name of each guard its draws of a row.
        recall: of hard rows, that a screen must keep; None: no screen.
        confidence: with which.
        finish: whether hard rows are drawn in full.
        tasks: those alone.
    """

    rule: Rule
    guard: Guard
    k: Mapping[str, int]
    recall: float | None = 0.98
    confidence: float = 0.95
    finish: bool = False
    tasks: Sequence[str] | None = None


@dataclass
class Decided:
    """What is decided after the first draws.

    Attributes:
        order: of the guards, for their further draws.
        screen: None where there is none.
        screened: rows that it leaves out.
    """

    order: list[str]
    screen: Screen | None
    screened: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))


def decide(table: pl.DataFrame, share: pl.Series, aim: Aim, order: list[str] | None = None) -> Decided:
    """Order and screen, from the first draws of all rows and all draws of the share.

    Args:
        table: lines of `judged` columns, the draws so far.
        share: ids of the rows that are drawn in full.
        aim: what is to be found.
        order: where it is known; default: the best one on the share.
    """
    whole = table.filter(pl.col("parent").is_in(share.implode()))
    order = order or best_order(whole, aim)
    if aim.recall is None:
        return Decided(order, None, table["parent"].clear())
    doubt = first_doubt(table.filter((pl.col("draw") == 0) | pl.col("guard_model").is_null()), aim.rule, aim.guard, tasks=aim.tasks)
    hard = settled(whole, aim.rule, aim.guard, aim.k, tasks=aim.tasks).join(doubt, on="parent", how="left", maintain_order="left")
    screen = choose_screen(
        hard["doubt"].fill_null(1.0).to_numpy(), (hard["outcome"] == "hard").to_numpy(), recall=aim.recall, confidence=aim.confidence
    )
    left = doubt.filter((pl.col("doubt") < screen.threshold) & ~pl.col("parent").is_in(share.implode()))
    return Decided(order, screen, left["parent"])


def wanted(table: pl.DataFrame, aim: Aim, decided: Decided, share: pl.Series) -> pl.Series:
    """Ids of the rows that the next pass asks about, by the draws so far."""
    found = settled(table, aim.rule, aim.guard, aim.k, tasks=aim.tasks)
    go_on = ["open", "hard"] if aim.finish else ["open"]
    out = ~pl.col("parent").is_in(share.implode()) & ~pl.col("parent").is_in(decided.screened.implode())
    return found.filter(pl.col("outcome").is_in(go_on) & out)["parent"]


def replay(table: pl.DataFrame, share: pl.Series, aim: Aim, decided: Decided | None = None) -> pl.DataFrame:
    """Of a table with all draws the lines that adaptive drawing makes: what a run would ask, answered from what is there.

    Args:
        table: every draw of every guard of every row, as for `decide`.
        share: ids of the rows that are drawn in full.
        aim: what is to be found.
        decided: order and screen, where they are known; default: as `decide` finds them.
    """
    mine = pl.col("parent").is_in(share.implode())
    made = table.filter(mine | (pl.col("draw") == 0))
    decided = decided or decide(made, share, aim)
    for name in decided.order:
        for draw in range(1, aim.k[name]):
            ask = wanted(made, aim, decided, share)
            now = (pl.col("guard_model") == name) & (pl.col("draw") == draw) & pl.col("parent").is_in(ask.implode())
            made = pl.concat([made, table.filter(now & ~mine)])
    return made


def best_order(table: pl.DataFrame, aim: Aim) -> list[str]:
    """The order of guards in which further draws settle the rows of a fully drawn table with the fewest tokens (draws, where these are not known).

    All orders are tried of up to four guards; of more, the guards that are wrong more often come first.
    """
    names = list(aim.k)
    if not table.height or len(names) == 1:
        return names
    first = aim.rule.task_order(aim.guard, list(aim.tasks) if aim.tasks else None)
    wrong = pl.DataFrame([pl.Series(t, outcome_codes(table, t) == WRONG) for t in first]).select(pl.any_horizontal(pl.all()).alias("wrong"))
    rates = dict(table.select("guard_model").hstack(wrong).drop_nulls("guard_model").group_by("guard_model").agg(pl.col("wrong").mean()).iter_rows())
    guess = sorted(names, key=lambda g: (-(rates.get(g) or 0.0), names.index(g)))
    if len(names) > _TRIED:
        return guess
    costs = _Costs(table, aim)
    return list(min(permutations(guess), key=costs.of))


class _Costs:
    """What an order of guards costs over a table with all draws."""

    def __init__(self, table: pl.DataFrame, aim: Aim) -> None:

        self._table, self._aim = table, aim
        self._open: dict[tuple[frozenset[str], str, int], NDArray[np.bool_]] = {}
        tokens = dict(table.group_by("guard_model").agg(pl.col("tokens").mean()).iter_rows()) if "tokens" in table.columns else {}
        self._tokens = {g: float(tokens.get(g) or 1.0) for g in aim.k} if all(tokens.get(g) for g in aim.k) else dict.fromkeys(aim.k, 1.0)

    def of(self, order: Iterable[str]) -> float:
        """Tokens that further draws take in this order."""
        total = 0.0
        before: frozenset[str] = frozenset()
        for name in order:
            for draw in range(1, self._aim.k[name]):
                total += self._tokens[name] * int(self._still_open(before, name, draw).sum())
            before |= {name}
        return total

    def _still_open(self, before: frozenset[str], name: str, draw: int) -> NDArray[Any]:
        """Rows that are open when a guard is to make a draw, the guards before it having made all of theirs, and the others their first."""
        key = before, name, draw
        if key not in self._open:
            made = (pl.col("draw") == 0) | pl.col("guard_model").is_in(list(before)) | ((pl.col("guard_model") == name) & (pl.col("draw") < draw))
            found = settled(self._table.filter(made), self._aim.rule, self._aim.guard, self._aim.k, tasks=self._aim.tasks)
            self._open[key] = (found["outcome"] == "open").to_numpy()
        return self._open[key]
