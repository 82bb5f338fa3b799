"""What an operator is: a typed config, a name, a version, the columns that it reads, writes and drops, a shape, one function.

Three kinds:

- `RowOperator.apply` takes a polars lazy frame and gives one back. It never filters and never looks across rows: it marks a row with
  `mark`, and the pipeline parts the marked rows off, so that the next operator does not see them. Consecutive ones hand a block of rows from
  one to the next, without a file in between.
- `GenerationOperator` turns rows into requests and completions back into rows; backend and journal are the pipeline's.
- `DatasetOperator.run` sees all rows of its inputs and writes through an `Output`.

An operator reads no file, clock, environment or network but through the `Context` that it is handed. It raises `GuardkitError` for what
a user can mend; a faulty row is marked, never raised for.

Shapes, and what must hold of the counts (architecture, invariant 1):

=========== ===========================================================
source      in = kept + rejected + set aside by the source's own filter (rows read from outside, or what a model was asked to write)
one_to_one  in = kept + rejected
select      in = kept + rejected + set aside
merge       in = kept + rejected + set aside + merged
expand      in x factor = kept + rejected + set aside; each child names its parent
pick        out of any row 0 or more children, each naming its parent; in = rows with children + set aside + rejected
sink        in = used + rejected + set aside; no rows come out
=========== ===========================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict

from toolkit.common.documented import Documented
from toolkit.common.errors import InputError, did_you_mean
from toolkit.operators._asked import Asked as Asked
from toolkit.operators._context import Context as Context
from toolkit.operators._context import Output as Output
from toolkit.operators._context import Referred as Referred
from toolkit.operators._context import StepInput as StepInput
from toolkit.operators._mark import DETAIL as DETAIL
from toolkit.operators._mark import OUTCOME as OUTCOME
from toolkit.operators._mark import REASON as REASON
from toolkit.operators._mark import mark as mark
from toolkit.operators._unasked import Unasked as Unasked
from toolkit.records import Column

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from toolkit.generation import Backend, BaseBackendConfig, Completion, Request
    from toolkit.guards import Guard
    from toolkit.operators._context import Mark as Mark
    from toolkit.operators._stop_if import StopIf
    from toolkit.operators.figures import Figure

Kind = Literal["row", "generation", "dataset"]
Shape = Literal["source", "one_to_one", "select", "merge", "expand", "pick", "sink"]
Columns = dict[str, Column]


class Config(Documented):
    """Base of operator configs: unknown keys are refused, docstrings under fields are their help."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoConfig(Config):
    """An operator without options."""


class Operator(ABC):
    """Base of all three kinds. A subclass's docstring is its documentation."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    kind: ClassVar[Kind]
    shape: ClassVar[Shape]
    inputs: ClassVar[tuple[str, ...]] = ("rows",)
    """Names of its inputs; the first is the default. ``*`` at the end: any number of further named ones."""
    all_inputs: ClassVar[bool] = False
    """Whether the rows of all its inputs come in, one after another, and not those of the first alone."""
    uses: ClassVar[frozenset[str]] = frozenset({"guard"})
    """What it reads of the recipe, and so what shapes the result: facets of the guard and of the taxonomy (``guard.tasks``, ``taxonomy.maps``: see
    `toolkit.guards.Guard.facets`; ``guard`` for all), ``seed``, ``recipe`` (what `Context.lineage` says). It is shown nothing else, and its step is
    built anew when one of them changes."""
    makes: ClassVar[tuple[str, ...]] = ()
    """Artefacts: model, shards, …"""
    takes: ClassVar[Mapping[str, str]] = {}
    """For an input, the artefact that its step must make; the key ``*`` stands for every input that is not named in `inputs`."""
    deterministic: ClassVar[bool] = True
    """Whether equal inputs give equal bytes; false for what samples or trains a model."""
    row_local: ClassVar[bool] = False
    """Of a row operator, whether what becomes of a row depends on that row, its options and its context alone, and it can be pickled: then several
    processes may share the blocks (``--processes``). A class with an `apply` of its own says so itself."""
    validates: ClassVar[bool] = False
    """Whether a row that it rejects is one that a model answered badly: such rows count for `stop_if`, and may for a recipe's `failures`."""
    carries_media: ClassVar[bool] = False
    """Whether rows with media go through it whatever its options, and nothing that it does depends on their text alone; see `media_fault`."""
    own_guards: ClassVar[bool] = False
    """Whether it teaches, checks or trains what a guard writes, for which the guard must be one that guardkit trains: see `toolkit.guards.Guard`."""
    config_class: ClassVar[type[Config]] = NoConfig
    example: ClassVar[Mapping[str, Any]] = {}
    """Options of a plain use, as `with` holds them; they must be sound."""
    figures: ClassVar[tuple[Figure, ...]] = ()
    """What is shown of a finished step (`toolkit.operators.figures`)."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def used(self) -> frozenset[str]:
        """What of `uses` it reads with these options."""
        return self.uses

    @property
    def stored(self) -> bool:
        """Whether its rows always get a folder of their own: so for what measures, that thresholds after it move without measuring again."""
        return False

    def reads(self, guard: Guard) -> list[str]:
        """Columns that the first input must have."""
        return []

    def writes(self, guard: Guard) -> list[Column]:
        """Columns that it adds or replaces."""
        return []

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        """Columns of the rows that it keeps.

        Raises:
            InputError: a column that it reads is not there.
        """
        rows = inputs.get(self.inputs[0], {}) if self.inputs else {}
        for name in self.reads(guard):
            if name not in rows:
                raise InputError(f"{self.name} reads the column {name!r}, which no earlier step writes", hint=did_you_mean(name, rows))
        return {**rows, **{c.name: c for c in self.writes(guard)}}

    def refers(self, guard: Guard) -> list[Column]:
        """Columns that its rows have by reference: its step does not store them, they are read out of its outside files whenever a step asks for
        them. To a step that reads its rows they are columns like the others."""
        return []

    def referred(self, ctx: Context) -> Referred:
        """What reads them. `ctx`: as when the rows were made."""
        raise NotImplementedError(f"the operator {self.name!r} refers to nothing")

    def follow(self, before: Sequence[Operator]) -> None:  # noqa: B027  most ask nothing of them
        """Called when a recipe is checked, with the operators of the steps that its inputs come from. What it takes belongs into `identity`."""

    def media_fault(self, guard: Guard) -> str | None:
        """Why rows with media cannot go through it, for the check of a recipe; None where they can. `guard`: all of it."""
        return None if self.carries_media else "it works on the text of rows alone, and would leave out what is beside it"

    def needs(self, ctx: Context) -> list[str]:
        """What this machine lacks for it, in words; empty when ready."""
        return []

    def words(self, ctx: Context) -> list[str]:
        """What its options come to, in sentences, where they do not speak for themselves: shown by a check and a plan."""
        return []

    @classmethod
    def choices(cls) -> dict[str, dict[str, str]]:
        """For an option that takes names of definitions, these with what each of them means."""
        return {}

    def files(self, ctx: Context) -> dict[str, str]:
        """Outside files that shape its result: ``{name: digest}`` (see `Context.files`); part of the fingerprint. Asked again before and after the
        step is built: the answer must be the same.

        Raises:
            InputError: a file is not there.
        """
        return {}

    def look(self, ctx: Context) -> None:  # noqa: B027  most have none
        """Hold the beginning of its outside files against its options, once, when the recipe is checked (InputError: they do not fit)."""

    def before_run(self, ctx: Context) -> None:  # noqa: B027  most have none
        """What takes too long for a check, and must be known before anything is paid for: asked of each step that a run builds, before the first.
        Raises InputError where the step would not run."""

    def fetches(self, ctx: Context) -> list[tuple[str, str]]:
        """What it would fetch from the hub that no option of its config names: what it is, and its name."""
        return []

    def counts_by(self, artefact: str, folder: Path, files: Mapping[str, str]) -> Any:
        """What an artefact of its counts by for a step that takes it: as long as that is the same, the step need not be built anew. JSON.

        Args:
            artefact: its name.
            folder: where it is.
            files: its files below that, with their sha256; all of them are what it counts by unless an operator knows better.
        """
        return dict(files)

    def source_names(self, ctx: Context) -> list[str]:
        """Sources that it reads, for which a user may name files."""
        return []

    def factor(self, inputs: Sequence[str]) -> float | None:
        """Rows out for a row in, for `expand`; for the others an estimate that `plan` uses; None where nothing is known before the run."""
        return 1.0

    def identity(self) -> dict[str, Any]:
        """The part of its config that shapes the result; part of the fingerprint."""
        return self.config.model_dump(mode="json")

    def unmet(self, stats: Mapping[str, Any]) -> str | None:
        """Why a run with the step's figures (`Output.stat`) is to end with exit code 1 once all is written, in words; None: it is not."""
        return None

    @classmethod
    def in_round(cls, options: Mapping[str, Any], number: int) -> dict[str, Any]:
        """A step's options in a later round of a recipe (from 2 on): what draws by a seed among them draws anew."""
        return dict(options)

    @classmethod
    def remarks(cls, options: Mapping[str, Any]) -> list[str]:
        """What a reader of the run's figures must know, of a step with these options as the recipe has them."""
        return []


class RowOperator(Operator):
    """One lazy query over rows; see the module's docstring."""

    kind: ClassVar[Kind] = "row"
    shape: ClassVar[Shape] = "one_to_one"

    @abstractmethod
    def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
        """The rows with columns added and some rows marked."""


class GenerationOperator(Asked, Operator):
    """Rows to requests, completions to rows.

    Whatever of its options is a backend (`toolkit.generation.BackendConfig`, alone, in a list or by name) counts in `needs`, `files` and `identity`.
    """

    kind: ClassVar[Kind] = "generation"
    shape: ClassVar[Shape] = "one_to_one"
    deterministic = False
    uses = frozenset({"guard", "taxonomy", "seed"})

    @property
    def stop_if(self) -> StopIf | None:
        """When to stop asking, as too many rows come to nothing; None: never."""
        return getattr(self.config, "stop_if", None)

    def factor(self, inputs: Sequence[str]) -> float:
        return 1.0

    @classmethod
    def remarks(cls, options: Mapping[str, Any]) -> list[str]:
        from toolkit.operators._backends import remarks

        return remarks(options)

    def backends(self) -> dict[str, BaseBackendConfig]:
        """The backends of its options by name: that of its place (``models.main``), for the one called `backend` the empty one."""
        from toolkit.operators._backends import backends_in

        return {"" if place == ("backend",) else ".".join(map(str, place)): b for place, b in backends_in(self.config)}

    def used(self) -> frozenset[str]:
        return super().used().union(*(backend.uses for backend in self.backends().values()))

    def needs(self, ctx: Context) -> list[str]:
        return [need for backend in self.backends().values() for need in backend.needs()]

    def files(self, ctx: Context) -> dict[str, str]:
        found = {name: backend.files(ctx.roots, ctx.files) for name, backend in self.backends().items()}
        return {f"{name}.{part}" if name else part: digest for name, parts in found.items() for part, digest in parts.items()}

    def identity(self) -> dict[str, Any]:
        from toolkit.operators._backends import backends_in

        out = {name: value for name, value in super().identity().items() if name != "stop_if"}  # when to stop shapes no answer
        for place, backend in backends_in(self.config):
            at: Any = out
            for part in place[:-1]:
                at = at[part]
            at[place[-1]] = backend.identity()
        return out

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Callable[[], Backend]]]:
        """The backends to ask one after the other, each with a name and a function that opens it. Called once, before everything else of a run.

        Here: all of `backends`, each asked as a teacher.
        """
        from toolkit.operators._backends import opened

        return [(name or "model", partial(opened, backend, ctx)) for name, backend in self.backends().items()]

    def passes(self, opened: Sequence[tuple[str, Callable[[], Backend]]]) -> Sequence[tuple[str, Callable[[], Backend]]]:
        """What `open` gave, as often and in the order in which a run asks: each is opened when those before it have answered. Names must differ."""
        return opened

    def asks_less(self, ctx: Context, rows: int | None) -> Mapping[str, Any] | None:
        """Why a run over so many rows may ask less than `factor` says: `words`, and what is expected of it; None: it does not."""
        return None

    def fallbacks(self, name: str, ctx: Context) -> list[Callable[[], Backend]]:
        """Functions that open the further backends which `again` may address beside `name`: all together with that, before the first request
        (opening loads no model). A request goes to the one that has its ``(endpoint, model_id)``."""
        return []

    def sends(self, guard: Guard) -> list[str]:
        """Columns whose texts may go into a request."""
        return [c for c in self.reads(guard) if c != "id"]

    @abstractmethod
    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        """What to ask the backend `name` about a row.

        Raises:
            Unasked: there is nothing to ask about it.
        """

    def every_request(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        """All that a row will make, for an estimate before the run, those of `again` too where they are known. Raises as `requests` does."""
        return self.requests(row, name, backend, ctx)

    def asks_again(self, guard: Guard) -> bool:
        """Whether `again` may ask anything."""
        return type(self).again is not GenerationOperator.again

    def again(
        self, row: Mapping[str, Any], name: str, request: Request, completion: Completion, trail: Sequence[Completion], ctx: Context
    ) -> Request | None:
        """What to ask in place of `request`, now that `completion` has come of it; None takes the completion as it is.

        It must be quick and depend on its arguments alone: it is called for answers from the journal, too, so that a run that is resumed goes the
        same way without a call.

        Args:
            row: that asks.
            name: of the backend that `requests` was given, also where `request` went to a fallback.
            request: what was asked last.
            completion: what came of it, an answer or a failure.
            trail: what came of the requests before that one, oldest first, each with its request in `asked`.
            ctx: as everywhere.
        """
        return None

    @abstractmethod
    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        """The row of one completion; with ``_reason`` set it is rejected, or what ``_outcome`` says.

        `request` is the one that `completion` answers; ``completion.trail`` has what came of the requests that it stands in for.
        """

    def stats(self) -> dict[str, Any]:
        """Figures for the manifest, asked for after the last `answer`; the same on every run that has the same answers."""
        return {}


class DatasetOperator(Operator):
    """An operator that needs all rows; see the module's docstring."""

    kind: ClassVar[Kind] = "dataset"
    uses = frozenset({"guard", "seed"})
    passes: ClassVar[int] = 0
    """How often it reads its first input through `StepInput.blocks`, where it asks nothing else of it but `rows`, which may be None: then a
    stream (`SourceOperator`) before it needs no folder of its own. 0: it needs a finished step."""

    @abstractmethod
    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        """Read the inputs, write each row's outcome to `out`."""


class SourceOperator(DatasetOperator):
    """A source whose rows are cheap to read again: where one step alone reads it, the rows stream into that step without a file in between."""

    shape: ClassVar[Shape] = "source"
    inputs = ()

    @abstractmethod
    def stream(self, ctx: Context) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """The rows, a block at a time; beside them those that cannot be rows, with `raw` (text), `outcome`, `reason` and `detail`.

        Every call gives the same blocks.
        """

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        done = 0
        for rows, gone in self.stream(ctx):
            out.count_in(rows.height + gone.height)
            out.keep(rows)
            out.leave(gone.select("raw"), *(gone[n] for n in ("outcome", "reason", "detail")))
            done += rows.height + gone.height
            ctx.progress(done, None, "rows")
