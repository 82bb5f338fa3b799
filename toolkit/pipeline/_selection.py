"""Which steps of a recipe a run builds: all of them, or those that its user names.

- ``until``: these steps and all that they depend on.
- ``from_``: these steps and all that depends on them; with ``until``, what of that ``until`` needs.
- ``only``: these steps and no other; it goes with neither of the two.

A step that is not chosen is neither built nor changed nor removed, and nothing that it needs is asked for. Where a chosen step depends on it, it must
be finished and up to date; else it is not looked at, and faults of its options are not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.operators import operator_class

if TYPE_CHECKING:
    from toolkit.pipeline._step import Step


@dataclass(frozen=True)
class Selection:
    """Ids of steps, as the user names them; none at all: every step."""

    until: Sequence[str] = ()
    from_: Sequence[str] = ()
    only: Sequence[str] = ()

    def chosen(self, reads: Mapping[str, Sequence[str]]) -> list[str]:
        """The steps to build, in the order of the recipe.

        Args:
            reads: for each step the steps that it reads, as `inputs_of` gives them.

        Raises:
            InputErrors: names of no steps, each with the nearest; InputError: options that do not go together, nothing between two steps.
        """
        given = {"{--until|until}": self.until, "{--from|from_}": self.from_, "{--only|only}": self.only}
        wrong = [(option, name) for option, names in given.items() for name in names if name not in reads]
        if wrong:
            raise InputErrors(InputError(f"no step called {name!r}", where=option, hint=did_you_mean(name, reads)) for option, name in wrong)
        if self.only and (self.until or self.from_):
            raise InputError("{--only|only} names all steps that run: it does not go with {--until|until} or {--from|from_}", where="{--only|only}")
        out = set(self.only or reads)
        if self.until:
            out &= closure(reads, self.until)
        if self.from_:
            out &= closure(readers(reads), self.from_)
        if not out:
            hint = f"{', '.join(self.until)} depends on none of these steps"
            raise InputError(f"nothing runs from {', '.join(self.from_)} until {', '.join(self.until)}", where="{--from|from_}", hint=hint)
        return [step for step in reads if step in out]


EVERY = Selection()


def inputs_of(steps: Iterable[Step]) -> dict[str, list[str]]:
    """For each step of a recipe the steps that it reads, as far as the recipe alone says; in its order."""
    out: dict[str, list[str]] = {}
    before: str | None = None
    for step in steps:
        if isinstance(step.inputs, dict):
            out[step.id] = list(dict.fromkeys(step.inputs.values()))
        elif step.inputs is not None:
            out[step.id] = [step.inputs]
        else:
            out[step.id] = [before] if before is not None and _reads(step.use) else []
        before = step.id
    return out


def _reads(use: str) -> bool:
    try:
        return bool(operator_class(use).inputs)
    except InputError:  # another package's, which is not installed here: nearly all read rows
        return True


def readers(reads: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """For each step the steps that read it, in the order of the recipe."""
    out: dict[str, list[str]] = {step: [] for step in reads}
    for step, sources in reads.items():
        for source in sources:
            if source in out:  # else it is a fault, which is reported elsewhere
                out[source].append(step)
    return out


def closure(edges: Mapping[str, Sequence[str]], steps: Iterable[str]) -> set[str]:
    """These steps, and all that the edges lead to."""
    found, waiting = set[str](), list(steps)
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += edges.get(step, ())
    return found
