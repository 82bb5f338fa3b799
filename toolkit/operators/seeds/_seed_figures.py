"""What `generate_seeds` counts as it goes, and what is shown of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.operators.figures import Figure, Finished, Table, stat
from toolkit.operators.seeds._grid import Cell, Place

NO_SEED = "no_seed"
"""Why a variant is missing: there is no accepted seed to make it of."""


class SeedCounts:
    """Candidates by cell and what became of them, and accepted seeds by rule."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        self._accepted: Counter[int] = Counter()
        self._asked: Counter[int] = Counter()
        self._reasons: dict[int, Counter[str]] = {cell.number: Counter() for cell in cells}
        self._rules: Counter[tuple[str, str, str]] = Counter()

    def take(self, place: Place, rule: str | None, reason: str | None) -> None:
        """Count what became of a candidate; `reason`: why it was not taken."""
        cell = place.cell
        self._asked[cell.number] += 1
        if reason is not None:
            self._reasons[cell.number][reason] += 1
            return
        self._accepted[cell.number] += 1
        if rule is not None:
            self._rules[cell.category, _side(cell), rule] += 1

    def without(self, cell: Cell, n: int) -> None:
        """Count seeds of a cell that nothing can be asked about."""
        if n:
            self._reasons[cell.number][NO_SEED] = n

    def words(self) -> str:
        """How far it is."""
        short = [f"{c.title} {self._accepted[c.number]:,} of {c.wanted:,}" for c in self._cells if self._accepted[c.number] < c.wanted]
        listed = "; ".join(short[:5]) + (f"; and {len(short) - 5:,} more cells" if len(short) > 5 else "")
        whole = f"{self._accepted.total():,} of {sum(c.wanted for c in self._cells):,} seeds so far"
        return whole + (f" ({listed})" if short and self._asked else "")

    def cells(self) -> list[dict[str, Any]]:
        """A line for each cell."""
        return [
            {
                "cell": cell.title,
                "wanted": cell.wanted,
                "accepted": self._accepted[cell.number],
                "short": cell.wanted - self._accepted[cell.number],
                "candidates": self._asked[cell.number],
                "why": dict(sorted(self._reasons[cell.number].items())),
            }
            for cell in self._cells
        ]

    def rules(self, every: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
        """A line for each rule of the lists that seeds were wanted by, as (category, side, rule)."""
        return [{"category": c, "side": side, "rule": rule, "accepted": self._rules[c, side, rule]} for c, side, rule in every]


def _side(cell: Cell) -> str:
    return "out" if cell.label == "benign" else "in"


def _cells(step: Finished, figure: Figure, value: Sequence[Mapping[str, Any]]) -> Iterator[Table | str]:
    rows = [[c["cell"], _why(c["why"]), c["wanted"], c["accepted"], c["short"], c["candidates"]] for c in value]
    yield Table(f"Seeds by cell ({step.step})", ("cell", "not taken"), ("wanted", "accepted", "short", "candidates"), rows)
    if short := [c for c in value if c["short"]]:
        yield f"Short ({step.step}): {sum(c['short'] for c in short):,} seeds in {len(short):,} cells; more rounds, another model or fewer seeds"


def _why(why: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in why.items())


def _shares(step: Finished, figure: Figure, value: Mapping[str, float | None]) -> Iterator[str]:
    known = [f"{name.replace('distinct_', '')}: {share:.1%}" for name, share in value.items() if share is not None]
    if known:
        yield f"Distinct n-grams of the prompts ({step.step}): {', '.join(known)}"


FIGURES = (
    Figure("cells", "for each cell seeds wanted, accepted and short, candidates, and why some were not taken", stat("cells"), _cells),
    Figure("rules", "accepted seeds by the rules of what is in and out", stat("rules")),
    Figure("distinct_ngrams", "share of the prompts' n-grams that are distinct", stat("distinct_ngrams"), _shares),
)
