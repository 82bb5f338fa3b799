"""What an operator that asks a model asks about: the rows of its first input, unless it makes rows of its own and asks in rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from toolkit.operators._context import Context, StepInput
    from toolkit.records import Column


class Asked:
    """Part of `toolkit.operators.GenerationOperator`. One that makes its rows itself has the shape ``source`` and says otherwise here."""

    inputs: ClassVar[tuple[str, ...]]

    def asked_columns(self, inputs: Mapping[str, dict[str, Column]]) -> dict[str, Column]:
        """Columns of the rows that it asks about: of its first input, unless it makes them itself (`asked_rows`)."""
        return inputs[self.inputs[0]]

    def asked_rows(self, name: str, inputs: Mapping[str, StepInput], ctx: Context) -> StepInput:
        """The rows that a pass asks about, once its backend is opened; they are read twice. Those of the first input, unless it makes them itself."""
        return inputs[self.inputs[0]]

    def makes_up(self, name: str) -> bool:
        """Whether a later pass asks anew for what failed in this one: such failures do not count against the step."""
        return False

    def so_far(self) -> str:
        """How far it is, in words, for whoever stops the run in it."""
        return ""

    def known_before(self, name: str) -> bool:
        """Whether what it asks a backend is known before the run, so that a plan may ask some of it for real."""
        return True
