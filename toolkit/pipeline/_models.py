"""Which models a plan asks, looked at without opening one: for a budget's check and for `plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.common.errors import InputErrors
from toolkit.generation import only_looking, unpriced
from toolkit.operators import GenerationOperator
from toolkit.pipeline._in_memory import FrameInput

if TYPE_CHECKING:
    from toolkit.generation import Backend, BaseBackendConfig
    from toolkit.operators.base import StepInput
    from toolkit.pipeline._planned import Plan


class Unbuilt(FrameInput):
    """A step that is not built, as a `StepInput`: no rows, and artefacts at the place where they would be below `folder`."""

    def __init__(self, step: str, folder: Path) -> None:
        super().__init__(step)
        self._folder = folder

    def artefact(self, name: str) -> Path:
        """Where it would be."""
        return self._folder / self.step / name


def declared(plan: Plan, step: str, done: Mapping[str, StepInput], folder: Path) -> dict[str, list[Backend]]:
    """For each name that a step asks the backend that comes first and its fallbacks, none of them opened (`only_looking`); no name where the
    step asks none.

    Args:
        plan: the checked recipe.
        step: its id.
        done: finished steps, with their artefacts.
        folder: below which those of others would be.
    """
    planned = plan.steps[step]
    op, ctx = planned.operator, plan.context(step)
    if not isinstance(op, GenerationOperator):
        return {}
    inputs = {name: done.get(source) or Unbuilt(source, folder) for name, source in planned.inputs.items()}
    with only_looking():
        return {name: [o() for o in (opener, *op.fallbacks(name, ctx))] for name, opener in op.open(ctx, inputs)}


def config_of(backend: Backend) -> BaseBackendConfig | None:
    """The config that a backend was made from; None for one that is an operator's own."""
    found: BaseBackendConfig | None = getattr(backend, "config", None)
    return found


def check_prices(plan: Plan, steps: Iterable[str], done: Mapping[str, StepInput], folder: Path) -> None:
    """Refuse a budget where a price is not known, before anything is asked.

    Raises:
        InputErrors: a fault for each such model of these steps; a price file is faulty.
    """
    backends = [b for step in steps for several in declared(plan, step, done, folder).values() for b in several]
    if faults := unpriced(map(config_of, backends)):
        raise InputErrors(faults)
