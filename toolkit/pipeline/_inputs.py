"""A finished step as a step that reads it sees it: its rows, or the artefact that it takes, and nothing else of it.

What is seen is what the input counts by (`Taken.digest`): a step cannot depend on anything of the steps before it that its manifest does not name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError
from toolkit.common.facets import Undeclared
from toolkit.common.files import digest
from toolkit.operators import Operator
from toolkit.pipeline._finished import ROWS, StepFolder

if TYPE_CHECKING:
    import polars as pl

    from toolkit.pipeline._planned import Plan, PlannedStep


@dataclass(frozen=True)
class Taken:
    """A `StepInput`.

    Attributes:
        done: the finished step.
        maker: its operator.
        takes: name of the artefact that is taken; None: its rows are read.
        reader: name of the operator that reads it.
    """

    done: StepFolder
    maker: Operator
    takes: str | None
    reader: str

    @property
    def step(self) -> str:
        """Id of the step."""
        return self.done.step

    @property
    def rows(self) -> int:
        """Number of kept rows; 0 where an artefact is taken."""
        return self.done.rows if self.takes is None else 0

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Kept rows, a block at a time (InputError: as `StepFolder.blocks`)."""
        if self.takes is not None:
            raise Undeclared(f"{self.reader!r} reads the rows of {self.step!r}, of which it takes {self.takes!r}")
        return self.done.blocks(columns)

    def artefact(self, name: str) -> Path:
        """Folder of the artefact (InputError: as `StepFolder.artefact`)."""
        if name != self.takes:
            raise Undeclared(f"{self.reader!r} takes {name!r} from {self.step!r} and does not name it in its `takes`")
        return self.done.artefact(name)

    def digest(self) -> str:
        """What it counts by."""
        files: dict[str, str] = self.done.manifest["files"]
        if self.takes is None:
            return digest(["rows", files.get(ROWS)])
        below = {n.removeprefix(f"{self.takes}/"): sha256 for n, sha256 in files.items() if n.startswith(f"{self.takes}/")}
        try:
            counts = self.maker.counts_by(self.takes, self.done.path / self.takes, below)
        except InputError:  # it cannot be read: all of it counts, and whoever reads it says what is wrong
            counts = below
        return digest([self.takes, counts])


def taken(plan: Plan, step: PlannedStep, name: str, done: StepFolder) -> Taken:
    """An input of a step, by its name, whose finished step is `done`."""
    operator = step.operator
    takes = operator.takes.get(name if name in operator.inputs else "*")
    return Taken(done, plan.steps[step.inputs[name]].operator, takes, operator.name)
