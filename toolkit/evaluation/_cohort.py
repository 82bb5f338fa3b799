"""What a figure was measured on and how: its cohort. Figures are set beside each other, or subtracted, only where their cohorts agree.

The same cell differs between papers by up to 12 points: other rows, another subset, unread outputs counted otherwise, the strict or the loose
reading of a middle label. So a figure carries what is known of all that, and `apart` says in words what sets two of them apart. What is not known
of one of them sets nothing apart, with one exception: a figure without a `subset` is taken for one of the benchmark's own rows, so that one of
another subset, of which no size may be known, never stands beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field


class Cohort(BaseModel):
    """What is known of a figure; null: not known."""

    model_config = ConfigDict(extra="ignore", frozen=True)

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
    published: str | None = None
    """The source of a figure that was published; null: measured here."""


T = TypeVar("T", bound=Hashable)


def apart(a: Cohort, b: Cohort, *, same_model: bool = False) -> str | None:
    """What sets two figures apart, in words that begin with what `a` has; None where nothing is known to.

    Args:
        a, b: their cohorts.
        same_model: both are of one model. Then another prompt sets them apart as well; of two models the prompt is a part of what is compared.
    """
    why = []
    if a.subset != b.subset:
        why.append(f"{a.subset or 'the own rows of the benchmark'} against {b.subset or 'the own rows of the benchmark'}")
    elif a.n is not None and b.n is not None and a.n != b.n:
        why.append(f"{a.n:,} rows against {b.n:,}")
    elif _differ(a.rows, b.rows):
        why.append("other rows or labels")
    for name, word in (("policy", "policy"), ("reading", "reading"), ("sampling", "sampling")):
        x, y = getattr(a, name), getattr(b, name)
        if _differ(x, y):
            why.append(f"{word} {x} against {y}")
    if same_model and _differ(a.prompt, b.prompt):
        why.append("another prompt")
    return "; ".join(why) or None


def _differ(a: str | None, b: str | None) -> bool:
    return a is not None and b is not None and a != b


class Together(Generic[T]):
    """Figures that agree with each other, all with all, and why they stand apart from the first ones."""

    def __init__(self, why: str | None) -> None:
        self.why = why
        self.members: list[tuple[T, str, Cohort]] = []


def agreeing(figures: Iterable[tuple[T, str, Cohort]]) -> list[Together[T]]:
    """Part figures into sets in which all agree with all, in order: each goes to the first set that it agrees with.

    Args:
        figures: for each whatever stands for it, its model and its cohort.
    """
    out: list[Together[T]] = []
    for item, model, cohort in figures:
        whys = [_first(cohort, model, group.members) for group in out]
        at = next((i for i, why in enumerate(whys) if why is None), None)
        if at is None:
            out.append(Together(whys[0] if whys else None))
            at = len(out) - 1
        out[at].members.append((item, model, cohort))
    return out


def _first(cohort: Cohort, model: str, members: Sequence[tuple[T, str, Cohort]]) -> str | None:
    return next((why for _, other, known in members if (why := apart(cohort, known, same_model=model == other)) is not None), None)
