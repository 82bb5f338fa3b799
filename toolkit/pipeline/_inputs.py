"""A finished step as a step that reads it sees it: its rows, or the artefact that it takes, and nothing else of it.

What is seen is what the input counts by (`Taken.digest`): a step cannot depend on anything of the steps before it that its manifest does not name.
Rows are read, and what they refer to is looked up, in a thread of their own, while the step works on the block before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from toolkit.common.ahead import ahead
from toolkit.common.errors import InputError
from toolkit.common.facets import Undeclared
from toolkit.common.files import digest
from toolkit.operators import Context, Operator
from toolkit.pipeline._finished import ROWS, StepFolder

if TYPE_CHECKING:
    from toolkit.pipeline._planned import Plan, PlannedStep

AHEAD = 1
"""Blocks that wait for the step, beside the one that it works on and the one that is read."""
LOOKED_UP = 65_536
"""Rows, without what they refer to, that are looked up at once: the more, the less of a file is read twice."""


@dataclass(frozen=True)
class Taken:
    """A `StepInput`.

    Attributes:
        done: the finished step.
        maker: its operator.
        takes: name of the artefact that is taken; None: its rows are read.
        reader: name of the operator that reads it.
        referred: names of the columns that its rows have by reference.
        context: makes the context of the step that was finished.
    """

    done: StepFolder
    maker: Operator
    takes: str | None
    reader: str
    referred: Sequence[str] = ()
    context: Callable[[], Context] | None = None

    @property
    def step(self) -> str:
        """Id of the step."""
        return self.done.step

    @property
    def rows(self) -> int:
        """Number of kept rows; 0 where an artefact is taken."""
        return self.done.rows if self.takes is None else 0

    @property
    def columns(self) -> Sequence[str]:
        """Names of the rows' columns."""
        return [*self.done.manifest["columns"], *self.referred]

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Kept rows, a block at a time (InputError: as `StepFolder.blocks`)."""
        return ahead(self._whole(self.done.blocks, columns), AHEAD)

    def take(self, rows: pl.Series, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Kept rows by their numbers (InputError: as `StepFolder.take`)."""
        return ahead(self._whole(partial(self.done.take, rows), columns), AHEAD)

    def _whole(self, read: Callable[[Sequence[str] | None], Iterator[pl.DataFrame]], columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
        """What is stored of the rows, as `read` gives it, with what they refer to where that is asked for."""
        if self.takes is not None:
            raise Undeclared(f"{self.reader!r} reads the rows of {self.step!r}, of which it takes {self.takes!r}")
        names = self.columns if columns is None else list(columns)
        asked = [n for n in names if n in self.referred]
        if not asked or self.context is None:
            yield from read(columns)
            return
        found = self.maker.referred(self.context())
        stored = read(list(dict.fromkeys([*(n for n in names if n not in asked), *found.by(asked)])))
        for block in _together(stored, LOOKED_UP):
            for piece in found.of(block, asked):
                yield piece.select(names)

    def artefact(self, name: str) -> Path:
        """Folder of the artefact (InputError: as `StepFolder.artefact`)."""
        if name != self.takes:
            raise Undeclared(f"{self.reader!r} takes {name!r} from {self.step!r} and does not name it in its `takes`")
        return self.done.artefact(name)

    def digest(self) -> str:
        """What it counts by."""
        files: dict[str, str] = self.done.manifest["files"]
        if self.takes is None:
            made_as = [self.done.manifest["identity"].get(self.step)] if self.referred else []  # with the digests of the files that rows refer to
            return digest(["rows", files.get(ROWS), *made_as])
        below = {n.removeprefix(f"{self.takes}/"): sha256 for n, sha256 in files.items() if n.startswith(f"{self.takes}/")}
        try:
            counts = self.maker.counts_by(self.takes, self.done.path / self.takes, below)
        except InputError:  # it cannot be read: all of it counts, and whoever reads it says what is wrong
            counts = below
        return digest([self.takes, counts])


def _together(blocks: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Blocks put together to at least so many rows, but for the last."""
    waiting: list[pl.DataFrame] = []
    for block in blocks:
        waiting.append(block)
        if sum(b.height for b in waiting) >= rows:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def taken(plan: Plan, step: PlannedStep, name: str, done: StepFolder) -> Taken:
    """An input of a step, by its name, whose finished step is `done`."""
    operator = step.operator
    takes = operator.takes.get(name if name in operator.inputs else "*")
    maker = plan.steps[step.inputs[name]]
    return Taken(done, maker.operator, takes, operator.name, list(maker.referred), partial(plan.context, maker.id))


def whole_rows(plan: Plan, step: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a step as its folder has them, with what they refer to."""
    maker = plan.steps[step]
    if not maker.referred or not rows.height:
        return rows
    return pl.concat(maker.operator.referred(plan.context(step)).of(rows, list(maker.referred)))
