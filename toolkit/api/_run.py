"""Running a recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, TooManyFailures, short_path
from toolkit.common.files import beside, write_atomic
from toolkit.common.outputs import check_output, part_below
from toolkit.common.paths import at_door, here
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.common.yamlfile import YamlFile
from toolkit.pipeline import (
    EVERY,
    JOURNAL,
    LOCAL,
    TAKEN,
    Engine,
    Plan,
    Progress,
    Recipe,
    Selection,
    build_recipe,
    load_recipe,
    make_plan,
    stopping,
)
from toolkit.report import print_summary, summarise, summary_html

if TYPE_CHECKING:
    from toolkit.api._results import Reported

Paths = Mapping[str, str | Path | Sequence[str | Path]]
"""By a source's name its files, one or several."""
AnyRecipe = str | Path | Mapping[str, Any] | Recipe
"""Path, folder or shipped name; what is in a recipe's file, as a dict; or a recipe that is already read."""


@dataclass(frozen=True, repr=False)
class Result:
    """A run that is complete.

    Attributes:
        folder: where it is.
        summary: the figures of `toolkit.report.summarise`, with `built` and `reused`; also in ``summary.json``.
        built: steps that were built.
        reused: steps that were up to date.
        failed: set when more generations failed than the recipe allows and `raise_failures` was off.

    Example:
        >>> result = toolkit.run("small.yaml")
        >>> result.folder.name, result.summary["recipe"], result.failed
        ('small', 'small', None)
    """

    folder: Path
    summary: dict[str, Any]
    built: list[str]
    reused: list[str]
    failed: TooManyFailures | None = None

    def __repr__(self) -> str:
        out = StringIO()
        print_summary(self.summary, out, shutil.get_terminal_size((100, 24)).columns)
        return out.getvalue().strip("\n")

    def report(self, output: str | Path | None = None, *, texts: bool = True, samples: int = 3, seed: int = 0) -> Reported:
        """Its report, one HTML file: `toolkit.report_page`."""
        from toolkit.api._report_page import report_page

        return report_page(self.folder, output=output, texts=texts, samples=samples, seed=seed)

    def _repr_html_(self) -> str:
        return summary_html(self.summary)


def run(
    recipe: AnyRecipe,
    *,
    overrides: str | Sequence[str] = (),
    sources: Paths | None = None,
    output: str | Path | None = None,
    block_rows: int = 8192,
    force: bool = False,
    budget: float | None = None,
    processes: int = 1,
    progress: Progress | None = None,
    raise_failures: bool = True,
    allow: str | Collection[str] = (),
    until: str | Sequence[str] = (),
    from_: str | Sequence[str] = (),
    only: str | Sequence[str] = (),
) -> Result:
    """Run a recipe; every step that is up to date is reused.

    Some of its steps run alone: `until` some (with all that they depend on), `from_` some on (with all that depends on them), both, or these `only`.
    What is not among them is neither built nor changed, and what it would need is not asked for; what the chosen ones read of it must be finished and
    up to date.

    Args:
        recipe: path, folder or shipped name; what is in a recipe's file, as a dict; or a recipe already read (then `overrides` must be empty).
        overrides: ``STEP.option=value`` or ``seed=3``, one or several.
        sources: local files for sources, by name.
        output: folder of the run; default ``outputs/<recipe>``.
        block_rows: rows held at a time; never changes the result.
        force: rebuild every step.
        budget: dollars that the run may spend (`Stopped` at the cap, all progress kept); None for no cap.
        processes: how many share the row steps (`Operator.row_local`); never changes the result.
        progress: where progress is shown; default nowhere.
        raise_failures: raise `TooManyFailures`, or return it in the result.
        allow: what the recipe may do beyond the rows, by name (``trust_remote_code``, ``api_key_env=MY_KEY``): see `toolkit.common.reach`.
        until, from_, only: ids of steps, one or several.

    Raises:
        InputError, Missing, Stopped, TooManyFailures: see `toolkit.common.errors`.

    Example:
        >>> result = toolkit.run("small.yaml")
        >>> result.built, len(result.reused)
        ([], 7)
        >>> recipe = {"recipe": "tiny", "steps": [{"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}}]}
        >>> toolkit.run(recipe, output="outputs/tiny").built
        ['seeds']
        >>> toolkit.run("small.yaml", output="outputs/half", until="few").built
        ['seeds', 'clean', 'few']
    """
    from toolkit.pipeline import run_plan

    plan = planned(recipe, overrides, sources, allow, Selection(several(until), several(from_), several(only)))
    folder = run_folder(plan, output)
    with _engine(processes, progress or Progress.silent()) as engine:
        done = run_plan(plan, output=folder, block_rows=block_rows, progress=progress, force=force, budget=budget, engine=engine)
    summary = {**summarise(folder), "built": done.built, "reused": done.reused}
    with stopping():
        write_atomic(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    if done.failed is not None and raise_failures:
        raise done.failed
    return Result(folder, summary, done.built, done.reused, done.failed)


def _engine(processes: int, progress: Progress) -> AbstractContextManager[Engine]:
    if processes == 1:
        return nullcontext(LOCAL)
    from toolkit.pipeline import Processes

    return Processes(processes, progress.note)


def planned(
    recipe: AnyRecipe, overrides: str | Sequence[str], sources: Paths | None, allow: str | Collection[str] = (), select: Selection = EVERY
) -> Plan:
    """The checked recipe.

    Raises:
        InputErrors: all faults, files for a source that it does not load among them.
    """
    if isinstance(recipe, Recipe):
        if overrides:
            raise InputError("overrides go with a recipe's name or file, not with one that is already read")
        loaded = recipe
    elif isinstance(recipe, Mapping):
        loaded = build_recipe(YamlFile("recipe", dict(recipe)), here(), several(overrides))
    else:
        loaded = load_recipe(recipe, several(overrides))
    return make_plan(loaded, {name: several(files) for name, files in (sources or {}).items()}, several(allow), select)


def run_folder(plan: Plan, output: str | Path | None) -> Path:
    """The folder of a run: as given, else named after the recipe.

    Raises:
        InputError: something that the run reads or guardkit keeps is there (`toolkit.common.outputs`).
    """
    folder = at_door(output) if output is not None else workspace() / plan.recipe.spec.recipe
    read = plan.recipe.roots.read
    check_output(folder, reads=read, journal=folder.parent / JOURNAL, own="run")
    written = {".guardkit.lock", *TAKEN, *plan.steps, *(beside(folder / step).name for step in plan.steps)}
    for path in read:
        part = part_below(folder, path)
        if part in written and not (part == "recipe.yaml" and path == plan.recipe.path):
            hint = "name the step in `from`, or move the file" if part in plan.steps else "move the file"
            raise InputError(f"the run would take the place of what it reads: {short_path(path)}", where=str(folder), hint=hint)
    return folder
