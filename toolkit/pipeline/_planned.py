"""A checked recipe: its steps, each with its operator, inputs and columns, and what an operator is shown of the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from toolkit.common.errors import GuardkitError, InputError, InputErrors
from toolkit.common.gguf_models import gguf_lacks, is_gguf
from toolkit.common.hub import lacking
from toolkit.common.reach import hub_names
from toolkit.common.reading import Files
from toolkit.guards import Guard
from toolkit.operators import Columns, Context, DatasetOperator, Operator, RowOperator, SourceOperator
from toolkit.operators._uses import shown, withheld
from toolkit.pipeline._recipe import Recipe
from toolkit.pipeline._step import Step
from toolkit.taxonomy import Taxonomy

T = TypeVar("T")


class Faults:
    """The faults found so far, each with its place in the recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.found = list(recipe.faults)
        self._own = (f"{recipe.file.path}:", "--set ")

    def add(self, message: str, where: str, hint: str | None = None) -> None:
        """One more."""
        self.found.append(InputError(message, where=where, hint=hint))

    def collect(self, load: Callable[[], T], where: str) -> T | None:
        """What `load` gives, or None and its error among the faults; an error of another file is reported at `where` in the recipe."""
        try:
            return load()
        except GuardkitError as error:
            for e in error.errors if isinstance(error, InputErrors) else [error]:
                own = e.where is not None and e.where.startswith(self._own)
                message = e.message if own or e.where is None else f"{e.where}: {e.message}"
                self.found.append(type(e)(message, where=e.where if own else where, hint=e.hint))
        return None


@dataclass
class PlannedStep:
    """A step that has passed the check.

    Attributes:
        inputs: the operator's input names to step ids.
        columns: of the rows that it keeps; empty for a sink.
        referred: those that the rows have by reference (`Operator.refers`).
        identity: all that shapes its result but its inputs: operator and version, config, its id, what the operator uses of guard, taxonomy, seed and
            recipe, the files that it reads.
        media: whether its rows, or what it makes of them, may have media.
        files: the outside files that it reads, as they were when they were digested for `identity`.
        consumers: steps of the recipe that read it.
    """

    id: str
    spec: Step
    operator: Operator
    inputs: dict[str, str]
    columns: Columns
    identity: dict[str, Any]
    media: bool = False
    files: Files = field(default_factory=Files)
    consumers: list[str] = field(default_factory=list)
    referred: Columns = field(default_factory=dict)

    @property
    def handed(self) -> Columns:
        """The columns that a step which reads its rows may ask for."""
        return {**self.columns, **self.referred}


@dataclass
class Plan:
    """A checked recipe.

    Attributes:
        steps: in the order of the recipe, in which every step comes after its inputs: those that run, and those that they depend on.
        chosen: ids of those that run; of the others finished ones are read.
        media: the dataset's folder, where the recipe names one.
        again: makes the plan of another recipe with the same files and leave; `whole` is the plan that this one was before the rounds of its recipe
            were found to end before their time.
    """

    recipe: Recipe
    guard: Guard
    taxonomy: Taxonomy
    steps: dict[str, PlannedStep]
    source_paths: Mapping[str, Sequence[Path]]
    chosen: Set[str]
    media: Path | None = None
    again: Callable[..., Plan] | None = None
    whole: Plan | None = None

    def context(
        self,
        step: str,
        progress: Callable[[int, int | None, str], None] = lambda done, total, words: None,
        work: Path | None = None,
        lineage: Callable[[], Mapping[str, Any]] = dict,
        files: Files | None = None,
        operator: Operator | None = None,
    ) -> Context:
        """The context of a step, with what its operator uses; `work` is the journal's folder, `lineage` as in `Context`, `files` and `operator` those
        of a step that is not planned yet."""
        operator = operator or self.steps[step].operator
        guard, taxonomy = shown(operator, self.guard, self.taxonomy)
        return Context(
            guard=guard,
            taxonomy=taxonomy,
            seed=self.recipe.spec.seed if "seed" in operator.used() else None,
            step=step,
            beside=self.recipe.folder,
            progress=progress,
            source_paths=self.source_paths,
            work=work,
            lineage=lineage if "recipe" in operator.used() else withheld(operator, "lineage"),
            history=lineage,
            files=files or (self.steps[step].files if step in self.steps else Files()),
            settled=self.recipe.roots,
            media=self.media,
        )

    @cached_property
    def groups(self) -> list[list[PlannedStep]]:
        """Steps in the order of the run. Those that hand rows on without a file are together: consecutive row steps that only the next one
        reads; and a source that streams, with row steps after it and, at the end, an operator that reads its rows as often as it says. A step that
        is not chosen stands alone, and nothing follows one that finds the hard rows of a round: they are counted first.
        """
        out: list[list[PlannedStep]] = []
        mined = self.recipe.loop.mined if self.recipe.loop is not None else {}
        for step in self.steps.values():
            if out and out[-1][-1].id not in mined and {out[-1][-1].id, step.id} <= self.chosen and _joins(out[-1], step):
                out[-1].append(step)
            else:
                out.append([step])
        return out

    def needs(self, steps: Iterable[str] | None = None) -> list[str]:
        """What this machine lacks to run these steps (default: all that are chosen), in words."""
        chosen = self.chosen if steps is None else steps
        return self._once((s, n) for s in chosen for n in self._needs(self.steps[s].operator, self.context(s)))

    def words(self) -> list[str]:
        """What the options of the chosen steps come to, in sentences."""
        loop = self.recipe.loop.words() if self.recipe.loop is not None else []
        return [*loop, *self._once((s, w) for s in self.chosen for w in self.steps[s].operator.words(self.context(s)))]

    def _once(self, found: Iterable[tuple[str, str]]) -> list[str]:
        """Words about steps, each after its step's name; what is the same in several rounds stands there for the first of them."""
        as_written = self.recipe.loop.as_written if self.recipe.loop is not None else {}
        first: dict[tuple[str, str], str] = {}
        for step, words in found:
            first.setdefault((as_written.get(step, step), words), f"step {step!r}: {words}")
        return list(first.values())

    def _needs(self, operator: Operator, ctx: Context) -> list[str]:
        """What an operator says that it lacks, and each model among its options that cannot be had."""
        roots = self.recipe.roots
        names = ((what, name) for _, what, name in hub_names(operator.config) if roots.first(name, Path.is_dir) is None)
        missing = (gguf_lacks(name) if is_gguf(name, roots) else lacking(name, what) for what, name in names)
        return [*operator.needs(ctx), *filter(None, missing)]

    def before_run(self, steps: Sequence[str]) -> None:
        """Ask each of these steps what takes too long for a check.

        Raises:
            InputErrors: all faults, each at its step.
        """
        faults = Faults(self.recipe)
        for step in steps:
            planned = self.steps[step]
            faults.collect(partial(planned.operator.before_run, self.context(step)), planned.spec.where("with"))
        if faults.found:
            raise InputErrors(faults.found)


@contextmanager
def as_planned(plan: Plan, group: Sequence[PlannedStep]) -> Iterator[None]:
    """Within the block some steps are built: their outside files are those that their fingerprints cover, before it, while it lasts and at its end.

    Raises:
        InputError: one has changed, is new or is gone since the plan was made.
    """
    for step in group:
        _check_files(plan, step)
        step.files.begin()
    yield
    for step in group:
        step.files.end()
        _check_files(plan, step)


def _check_files(plan: Plan, step: PlannedStep) -> None:
    planned: dict[str, str] = step.identity["files"]
    now = step.operator.files(plan.context(step.id))
    if now != planned:
        name = next(n for n in {**planned, **now} if planned.get(n) != now.get(n))
        what = "has changed" if name in planned and name in now else "is gone" if name in planned else "is new"
        name = re.sub(r"\b\d{5}/", "", name)  # the place in the list of files
        raise InputError(f"step {step.id!r}: the file {name!r} {what} since the run was planned", hint="run it again")


def _joins(group: Sequence[PlannedStep], step: PlannedStep) -> bool:
    """Whether a step takes the rows of a group as they come."""
    first, last, op = group[0].operator, group[-1], step.operator
    if last.operator.stored or last.consumers != [step.id] or not op.inputs or step.inputs.get(op.inputs[0]) != last.id:
        return False
    streams = isinstance(first, SourceOperator)
    if isinstance(op, RowOperator):
        return isinstance(last.operator, RowOperator) or (streams and len(group) == 1)
    once = isinstance(op, DatasetOperator) and (op.passes == 1 or (op.passes == 2 and len(group) == 1))
    return streams and once and (len(group) == 1 or isinstance(last.operator, RowOperator))
