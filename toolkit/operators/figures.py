"""What an operator shows of a finished step: values for programs, tables and lines for people.

Contract: an operator names its figures on its class (`Operator.figures`), and whatever shows a run (its summary, ``--json``, a report) draws from
them alone: those of another package's operator are shown like guardkit's own. A figure is a pure function of what is in the step's folder; it is
made anew whenever a run is shown, and nothing of it counts in a fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from toolkit.common.pictures import Picture

Cell = str | float | None
"""A cell of a table: a number is written with its separators, None is blank."""


class Finished(Protocol):
    """A finished step, for its figures."""

    @property
    def step(self) -> str:
        """Its id."""

    @property
    def stats(self) -> Mapping[str, Any]:
        """What the operator counted (`Output.stat`, `GenerationOperator.stats`)."""

    @property
    def counts(self) -> Mapping[str, Any]:
        """What became of its rows: ``in, kept, rejected, merged, set_aside``, …"""

    @property
    def columns(self) -> Sequence[str]:
        """Columns of the rows that it kept."""

    @property
    def rows(self) -> int:
        """How many these are."""

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """These rows, a block at a time."""

    def file(self, name: str) -> Path | None:
        """A file of an artefact (``model/metrics.jsonl``), its bytes as the manifest says; None where the step made none of that name."""


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes:
        title: its heading.
        words: names of the columns of words, which come first.
        numbers: names of the columns of numbers, set to the right.
        rows: a cell for each column.
        parts: whether rows of one part have the same first cell: it is shown once, and a rule parts them.
    """

    title: str
    words: Sequence[str]
    numbers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    parts: bool = False


def as_it_is(step: Finished, figure: Figure, value: Any) -> Iterator[Table | str]:
    """A value as a table where it is a dict, a dict of dicts or a list of dicts, else in a line."""
    title = f"{figure.doc} ({step.step})"
    lines = [value] if isinstance(value, Mapping) else value
    if isinstance(value, Mapping) and value and all(isinstance(inner, Mapping) for inner in value.values()):
        lines = [{"": name, **inner} for name, inner in value.items()]
    if isinstance(lines, list) and lines and all(isinstance(line, Mapping) for line in lines):
        names = list(dict.fromkeys(name for line in lines for name in line))
        words = [n for n in names if any(isinstance(line.get(n), str) for line in lines)]
        numbers = [n for n in names if n not in words]
        yield Table(title, words, numbers, [[_cell(line.get(n)) for n in (*words, *numbers)] for line in lines])
    else:
        cell = _cell(value)
        yield f"{title}: {cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else f"{title}: {cell}"


def _cell(value: Any) -> Cell:
    return value if value is None or isinstance(value, str | int | float) else str(value)


@dataclass(frozen=True)
class Figure:
    """A figure of an operator.

    Attributes:
        name: of the figure, in ``--json``.
        doc: what it says, in a few words.
        value: makes it of a finished step; None: there is nothing to say.
        shown: what people see of it, of the last such step where it is one of the whole run.
        whole: ``step``: each step has its own; ``sum``: the run has the sum of its steps; ``first``: the run has that of its first.
        drawn: pictures of it, for a report alone (`toolkit.common.pictures`). A table of names with one number that is `shown` is drawn as bars
            without.
        texts: it shows texts of rows: a report without texts leaves it out.
    """

    name: str
    doc: str
    value: Callable[[Finished], Any]
    shown: Callable[[Finished, Figure, Any], Iterable[Table | str]] = as_it_is
    whole: Literal["step", "sum", "first"] = "step"
    drawn: Callable[[Finished, Figure, Any], Iterable[Picture]] | None = None
    texts: bool = False


def stat(name: str, default: Any = None) -> Callable[[Finished], Any]:
    """For `Figure.value`: what the operator counted under this name."""
    return lambda step: step.stats.get(name, default)


def some(name: str) -> Callable[[Finished], Any]:
    """The same where it is anything: no figure of 0, or of nothing."""
    return lambda step: step.stats.get(name) or None


def nothing(step: Finished, figure: Figure, value: Any) -> tuple[()]:
    """For `Figure.shown`: a figure for programs alone."""
    return ()
