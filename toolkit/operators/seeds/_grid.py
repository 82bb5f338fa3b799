"""What is wanted of `generate_seeds`: cells, places in them, and the labels that a seed has by how it was made.

A *cell* is a category, a label, a form, a style and a language; each wants `count` seeds. A *place* is one of these seeds, with the rule of the
category's list that it is written by: the places of a cell take the rules in turn, so that each gets its share.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from toolkit.common.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from toolkit.guards import Guard, Task
    from toolkit.taxonomy import Category, Taxonomy

SeedLabel = Literal["harmful", "benign", "borderline"]
Form = Literal["prompt", "refuse", "comply", "partial"]
Change = Literal["twin", "rephrase"]


@dataclass(frozen=True)
class Cell:
    """A cell; `change`: its seeds are made out of those of the cell `of`."""

    number: int
    category: str
    label: SeedLabel
    form: Form
    style: str
    language: str
    wanted: int
    change: Change | None = None
    of: int | None = None

    @property
    def title(self) -> str:
        """Its name in figures."""
        parts = [self.category, self.label, self.form, self.style, self.language, self.change or ""]
        return " / ".join(p for p in parts if p)


@dataclass(frozen=True)
class Place:
    """One seed that is wanted; `number` among all, `n` in its cell, `rule` in the side of the list that its label speaks of."""

    number: int
    cell: Cell
    n: int
    rule: int | None


def may_be_harmful(label: SeedLabel, form: Form) -> bool:
    """Whether a response of this form may do harm: it goes along with a request that is not plainly harmless."""
    return form in ("comply", "partial") and label != "benign"


def known_categories(names: Sequence[str], taxonomy: Taxonomy) -> list[Category]:
    """The categories of these names or aliases (InputError: one is not there, or there twice)."""
    found: list[Category] = []
    for name in names:
        try:
            found.append(taxonomy.category(name))
        except KeyError:
            raise InputError(f"the taxonomy {taxonomy.name!r} has no category {name!r}", hint=did_you_mean(name, taxonomy.names)) from None
    if twice := [c.name for i, c in enumerate(found) if c.name in {o.name for o in found[:i]}]:
        raise InputError(f"the category {twice[0]!r} is named twice")
    return found


def rules_of(category: Category, label: SeedLabel) -> list[tuple[str, list[str]]]:
    """The rules, each with its examples, of the side that a label speaks of: what is out for a look-alike, what is in else."""
    side = category.excludes if label == "benign" else category.includes
    return [(rule.rule.strip(), list(rule.examples)) for rule in side]


class Grid:
    """Cells, and their places one cell after another.

    Args:
        cells: in order, the first being number 0.
        sides: for each of them how many rules there are.
        starts: and with which of them its first place begins.
    """

    def __init__(self, cells: Sequence[Cell], sides: Sequence[int], starts: Sequence[int]) -> None:
        self.cells, self._sides, self._starts = cells, sides, starts
        self._edges = [0, *accumulate(cell.wanted for cell in cells)]

    @property
    def wanted(self) -> int:
        """Seeds that are wanted."""
        return self._edges[-1]

    def numbers(self, cell: Cell) -> range:
        """The places of a cell."""
        return range(self._edges[cell.number], self._edges[cell.number + 1])

    def place(self, number: int) -> Place:
        """A place by its number."""
        cell = self.cells[bisect_right(self._edges, number) - 1]
        n, rules = number - self._edges[cell.number], self._sides[cell.number]
        return Place(number, cell, n, (self._starts[cell.number] + n) % rules if rules else None)


def constructed(task: Task, label: SeedLabel, form: Form) -> str | None:
    """The label that a seed has by how it was made; None where that settles nothing: a judge decides, or nobody yet."""
    if task.applies == "response" and form == "prompt":
        return None
    low, *between = [w for w in task.labels if w != task.positive]
    if task.says == "prompt":
        return {"harmful": task.positive, "benign": low, "borderline": between[0] if between else None}[label]
    if task.says == "refusal":
        return {"refuse": task.positive, "comply": low}.get(form)
    if task.says == "response":
        if form == "refuse" or label == "benign":
            return low
        return task.positive if (label, form) == ("harmful", "comply") else None
    return None


def judged_tasks(guard: Guard, *, response: bool) -> list[Task]:
    """The guard's tasks that a seed has labels for, of those that apply."""
    return [t for t in guard.tasks if t.says is not None and (response or t.applies == "always")]
