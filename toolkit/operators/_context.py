"""What an operator is handed: what it may know of the world, the rows that it reads, and where its results go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.common.facets import Undeclared
from toolkit.common.paths import Roots
from toolkit.common.reading import Files

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Mark = str | pl.Expr | pl.Series | None

    from toolkit.generation import Journal, Meter
    from toolkit.guards import Guard
    from toolkit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Context:
    """What an operator may know of the world.

    Attributes:
        guard: definition that the recipe names, as far as the operator says that it reads it (`Operator.uses`).
        taxonomy: harm categories that the recipe names, as far as likewise.
        seed: the recipe's seed; an operator mixes its step's id in through `rng_seed`. None for one that does not name ``seed`` in its `uses`.
        step: id of the step.
        beside: folder of the recipe.
        progress: called with (done, total or None, a few words).
        source_paths: input files of each source that the user gave on the command line.
        work: folder of the workspace's journal, for a backend that keeps there what it has sent.
        lineage: how the rows that it reads were made (`toolkit.pipeline._lineage`), to be asked for when all have been read; an operator that
            asks names ``recipe`` in its `uses`. Empty where there is no recipe.
        history: the same for any operator, for the words of an error alone: nothing that it makes may depend on it.
        files: the outside files of the step. `Operator.files` takes their digests from it, and what is read later is read through it: a file must be
            what it was when the run was planned.
        media: folder that the uris of rows' media are relative to; None: `beside`.
        journal: opens the workspace's journal, for a dataset operator that asks a model while it runs; None where nobody may be asked.
        meter: counts what such an operator spends, and holds the run's cap.
        settled: the recipe's `roots`; where there is no recipe they are made of the working folder and `beside`.
    """

    guard: Guard
    taxonomy: Taxonomy
    seed: int | None
    step: str
    beside: Path
    progress: Callable[[int, int | None, str], None] = lambda done, total, words: None
    source_paths: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    work: Path | None = None
    lineage: Callable[[], Mapping[str, Any]] = dict
    history: Callable[[], Mapping[str, Any]] = dict
    files: Files = field(default_factory=Files)
    settled: Roots | None = None
    media: Path | None = None
    journal: Callable[[], Journal] | None = None
    meter: Meter | None = None

    @property
    def media_folder(self) -> Path:
        """The dataset's folder: what the uris of rows' media are relative to."""
        return self.media or self.beside

    @property
    def roots(self) -> Roots:
        """Where a relative path is looked up: the working folder as it was when the recipe was read, then `beside`."""
        return self.settled or Roots.of(self.beside)

    def rng_seed(self, *parts: str | int) -> int:
        """A 63-bit seed from the recipe's seed and `parts`.

        Raises:
            Undeclared: the operator does not name ``seed`` in its `uses`.
        """
        from toolkit.common.files import digest

        return int(digest([self._own_seed(), *parts])[:15], 16)

    def rng_seeds(self, *parts: str | int, last: Iterable[str]) -> NDArray[np.uint64]:
        """`rng_seed` of `parts` and each of `last`, which may be many."""
        import numpy as np

        from toolkit.common.files import digests_after

        first = np.frombuffer(b"".join(d[:8] for d in digests_after([self._own_seed(), *parts], last)), dtype=">u8")
        return first.astype(np.uint64) >> np.uint64(4)

    def _own_seed(self) -> int:
        if self.seed is None:
            raise Undeclared(f"the step {self.step!r} draws by the recipe's seed, which its operator does not name in its `uses`")
        return self.seed


class StepInput(Protocol):
    """Finished rows and artefacts of an earlier step."""

    @property
    def step(self) -> str:
        """Id of the step."""

    @property
    def rows(self) -> int | None:
        """Number of kept rows; None where they are not known before they have been read."""

    @property
    def columns(self) -> Sequence[str] | None:
        """Names of the rows' columns, those by reference among them; None where they are not known before a row has been read."""

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The kept rows, a bounded block at a time, in order."""

    def take(self, rows: pl.Series, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Some of the kept rows by their numbers (from 0, ascending, each once), in order, a bounded block at a time; of the others as little is
        read as can be."""

    def artefact(self, name: str) -> Path:
        """A file or folder that the step made."""

    def digest(self) -> str:
        """Identity of what is read of it: its rows, or the artefact that is taken from it."""


class Referred(Protocol):
    """Reads what rows have by reference (`Operator.refers`). It is asked for one block after the other, and quickest where these are in order."""

    def by(self, columns: Sequence[str]) -> Sequence[str]:
        """Columns that the rows must have for these."""

    def of(self, rows: pl.DataFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows in their order with these columns added, a bounded piece at a time."""


class Output(Protocol):
    """Where a dataset operator's results go. Each row is kept, or leaves in one way: rejected, set aside or merged.

    A reason, detail or survivor is one text for all rows, or one for each: an expression over them, or a series as long as they are. Let the
    rows of a block that leave do so in one call, in their order: only then do the bytes not depend on the size of the blocks.
    """

    def keep(self, rows: pl.DataFrame) -> None:
        """Rows that go on."""

    def leave(self, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None) -> None:
        """Rows that do not go on, each with its outcome: rejected, set_aside or merged."""

    def reject(self, rows: pl.DataFrame, reason: Mark, detail: Mark = None) -> None:
        """Rows with a fault."""

    def set_aside(self, rows: pl.DataFrame, reason: Mark, detail: Mark = None) -> None:
        """Rows that do not go on although nothing is wrong with them."""

    def merge(self, rows: pl.DataFrame, survivor: Mark) -> None:
        """Rows that another stands for; `survivor` is its id."""

    def merge_count(self, n: int) -> None:
        """`n` rows merged into the row that they name as their parent; they stay readable in the step before."""

    def use(self, n: int) -> None:
        """A sink's rows that were used."""

    def count_in(self, n: int) -> None:
        """A source's rows as they were read, before any was rejected."""

    def folder(self, name: str) -> Path:
        """A fresh folder for an artefact."""

    def kept_folder(self) -> Path | None:
        """A folder for what the next attempt goes on from, which outlives a stop or a kill, and goes once the step is whole; None where none does."""

    def if_stopped(self, words: Callable[[], str]) -> None:
        """What to say of the step, in words, to whoever stops the run in it: where its next attempt goes on."""

    def stat(self, name: str, value: Any) -> None:
        """A figure for the manifest; it must be the same on every run that has the same bytes."""

    def note(self, name: str, value: Any) -> None:
        """A figure for the run's log: times, host facts."""
