"""What a figure was measured on and how: its cohort. Figures are set beside each other, or subtracted, only where their cohorts agree.

The same cell differs between papers by up to 12 points: other rows, another subset, unread outputs counted otherwise, the strict or the loose
reading of a middle label. So a figure carries what is known of all that, and `apart` says in words what sets two of them apart. What is not known
of one of them sets nothing apart, with one exception: a figure without a `subset` is taken for one of the benchmark's own rows, so that one of
another subset, of which no size may be known, never is beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field


class Cohort(BaseModel):
    """What is known of a figure; null: not known."""

    model_config = ConfigDict(defer_build=True, extra="ignore", frozen=True)

    rows: str | None = None
    """Digest of the rows' ids and labels."""
    n: int | None = Field(None, ge=0)
    """Rows."""
    subset: str | None = None
    """Which part or selection of the benchmark, in words; null: the rows that the benchmark's definition names, as far as is known."""
    policy: str | None = None
    """How an output that could not be read counts: clean, drop, fail-closed or reference."""
    reading: str | None = None
    """How labels that stand for others are taken, say strict or loose; null also where the guard has none."""
    prompt: str | None = None
    """What the model was asked with: a digest of the guard's input, or words."""
    sampling: str | None = None
    """How it was sampled, in words."""
    draws: int | None = None
    """How many draws make a verdict."""
    published: str | None = None
    """The source of a figure that was published; null: measured here."""


T = TypeVar("T", bound=Hashable)
OWN = "the benchmark's own rows"
"""What a figure without a subset is of."""


def apart(a: Cohort, b: Cohort, *, same_model: bool = False) -> str | None:
    """What sets two figures apart, in words that begin with what `a` has; None where nothing is known to.

    Args:
        a, b: their cohorts.
        same_model: both are of one model. Then another prompt sets them apart as well; of two models the prompt is a part of what is compared.
    """
    return "; ".join(_reasons(a, b, same_model)) or None


def _reasons(a: Cohort, b: Cohort, same_model: bool) -> list[str]:
    why = []
    if a.subset != b.subset:
        why.append(f"{a.subset or OWN} against {b.subset or OWN}")
    elif a.n is not None and b.n is not None and a.n != b.n:
        why.append(f"{a.n:,} rows against {b.n:,}")
    elif _differ(a.rows, b.rows):
        why.append("other rows or labels")
    for name in ("policy", "reading", "sampling"):
        if _differ(x := getattr(a, name), y := getattr(b, name)):
            why.append(f"{name} {x} against {y}")
    if a.draws is not None and b.draws is not None and a.draws != b.draws and not _differ(a.sampling, b.sampling):
        why.append(f"{a.draws} draw{'s' if a.draws != 1 else ''} a row against {b.draws}")
    return why + (["another prompt"] if same_model and _differ(a.prompt, b.prompt) else [])


def _differ(a: str | None, b: str | None) -> bool:
    return a is not None and b is not None and a != b


class Together(Generic[T]):
    """Figures that agree with each other, all with all: for each whatever stands for it, its model and its cohort.

    Attributes:
        members: the figures.
        why: what sets them apart from the first ones: what holds for all of them, else for any; None for the first ones themselves.
    """

    def __init__(self, whys: list[str] | None) -> None:
        self.members: list[tuple[T, str, Cohort]] = []
        self._whys = [] if whys is None else [whys]

    @property
    def why(self) -> str | None:
        every = list(dict.fromkeys(w for whys in self._whys for w in whys))
        return "; ".join([w for w in every if all(w in whys for whys in self._whys)] or every) or None

    def add(self, member: tuple[T, str, Cohort], whys: list[str]) -> None:
        """Take a figure in, with what sets it apart from the first ones."""
        if self.members and whys:
            self._whys.append(whys)
        self.members.append(member)


def agreeing(figures: Iterable[tuple[T, str, Cohort]]) -> list[Together[T]]:
    """Part figures into sets in which all agree with all, in order: each goes to the first set that it agrees with.

    Args:
        figures: for each whatever stands for it, its model and its cohort.
    """
    out: list[Together[T]] = []
    for one in figures:
        whys = [_apart_from(one, group.members) for group in out]
        if [] not in whys:
            out.append(Together(whys[0] if whys else None))
            whys.append([])
        out[whys.index([])].add(one, whys[0])
    return out


def _apart_from(one: tuple[T, str, Cohort], members: Sequence[tuple[T, str, Cohort]]) -> list[str]:
    """What sets a figure apart from the first of some with which it does not agree; nothing: it agrees with all."""
    _, model, cohort = one
    return next((why for _, other, known in members if (why := _reasons(cohort, known, model == other))), [])
