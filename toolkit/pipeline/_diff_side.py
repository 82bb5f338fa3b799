"""One side of a comparison: the folder of a run or of shards, read as it is there. Nothing is loaded but what is asked for, a block at a time.

A step's rows are in its own folder, or, for a step whose rows went straight into shards, in those. What left a step is in the rejects of the folder
of its group. A folder that is neither a run nor shards is an `InputError`, and so is a step that has no rows with ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.parquet import open_parquet
from toolkit.common.resources import near_run
from toolkit.pipeline._current import AGAIN as RUN_AGAIN
from toolkit.pipeline._current import STALE, stale
from toolkit.pipeline._finished import REJECTS, StepFolder, read_blocks, step_folders
from toolkit.pipeline._recipe import Recipe, kept_recipe
from toolkit.pipeline._selection import closure, inputs_of
from toolkit.shards import read_manifest

SHARDS = "shards"
"""Name of the only step of a folder of shards."""
AGAIN = "make it anew: delete the step's folder and run the recipe again"


class Side:
    """A run, or a folder of shards.

    Attributes:
        recipe: its name; empty for shards.
        order: ids of the steps, as in the recipe.
        inputs: steps that each step reads.
        folders: finished steps that have a folder.
        counts: of each step, as in the manifests (also of those without a folder).
        identity: what shaped each step, inputs aside: operator, version, config, guard, seed, files (empty for a run made before manifests recorded
        it).
        stale: finished steps that are not current: they are left out.
        manifest: of shards; None for a run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folders: dict[str, StepFolder] = {}
        self.counts: dict[str, dict[str, Any]] = {}
        self.identity: dict[str, dict[str, Any]] = {}
        self.stale: list[str] = []
        self.manifest: dict[str, Any] | None = None
        self.recipe = ""
        self.order: list[str] = [SHARDS]
        self.inputs: dict[str, list[str]] = {SHARDS: []}
        self._columns: dict[str, list[str]] = {}
        if (self.folder / "run.json").is_file():
            self._open_run(kept_recipe(self.folder))
        elif (self.folder / "manifest.json").is_file():
            self.manifest = read_manifest(self.folder)
        else:
            raise InputError(
                "neither the folder of a run nor one of shards", where=str(folder), hint=near_run(self.folder) or "see `guardkit runs list`"
            )

    def _open_run(self, recipe: Recipe) -> None:
        self.recipe, self.order = recipe.spec.recipe, [s.id for s in recipe.steps]
        self.inputs = inputs_of(recipe.steps)
        there = [done for done in step_folders(self.folder) if done.step in self.order]  # others were left there by an earlier recipe
        old = stale(there)
        for done in (f for f in there if f.step not in old):
            self.folders[done.step] = done
            self.identity |= done.manifest.get("identity", {})
            self.counts |= {c["step"]: c for c in done.manifest["counts"]}
        left = {c["step"] for f in there if f.step in old for c in f.manifest["counts"]}
        self.stale = [step for step in self.order if step in left and step not in self.counts]

    def files(self, step: str) -> dict[Path, str]:
        """The parquet files that hold a step's kept rows, with their sha256 as the manifest says; none where it has no rows of its own."""
        if self.manifest is not None:
            return {self.folder / name: about["sha256"] for name, about in self.manifest["files"].items()}
        done = self.folders.get(step)
        if done is None:
            return {}
        return {done.path / n: sha256 for n, sha256 in done.row_files().items()}

    def columns(self, step: str) -> list[str]:
        """Columns of a step's rows; empty where it has none."""
        if step not in self._columns:
            self._columns[step] = []
            for file, sha256 in self.files(step).items():
                with open_parquet(file, sha256=sha256, hint=AGAIN) as f:
                    self._columns[step] = list(f.schema_arrow.names)
                break
        return self._columns[step]

    def blocks(self, step: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """A step's kept rows (InputError: they are not those of the manifest)."""
        for file, sha256 in self.files(step).items():
            yield from read_blocks(file, columns, sha256=sha256, hint=AGAIN)

    def rejects(self, step: str, *, whole: bool = False) -> Iterator[pl.DataFrame]:
        """Lines of what left the steps that have this folder; `whole`: with the rows themselves.

        Steps that ran as one may have a folder each by now, where another step has come to read the first: its own has its lines, once.
        """
        other = [s for s in self.folders if s != step]
        if REJECTS in self.folders[step].manifest["files"]:
            for lines in self.folders[step].read(REJECTS, ["step", "id", "outcome", "reason", "detail", "survivor", *(["row"] if whole else [])]):
                yield lines.filter(~pl.col("step").is_in(other))

    def upstream(self, step: str) -> list[str]:
        """The step and all that it depends on, in the order of the recipe."""
        found = closure(self.inputs, [step])
        return [s for s in self.order if s in found]

    def homes(self, step: str) -> list[str]:
        """The folders that hold what became of the rows of the step and of those that it depends on, in the order of the recipe."""
        wanted = set(self.upstream(step))
        return [s for s in self.order if s in self.folders and wanted & {c["step"] for c in self.folders[s].manifest["counts"]}]

    def refuse_stale(self, step: str | None) -> None:
        """Refuse a stale step (InputError)."""
        if step in self.stale:
            raise InputError(f"the step {step!r} is stale: {STALE}", where=short_path(self.folder), hint=RUN_AGAIN)

    def comparable(self) -> list[str]:
        """Steps whose rows have ids and are there, in the order of the recipe."""
        return [s for s in self.order if "id" in self.columns(s)]


def common_step(a: Side, b: Side, step: str | None) -> str:
    """The step to compare: as named, else the last in the order of `a` whose rows are on both sides and have ids.

    Raises:
        InputError: there is none, or the one named is none of them.
    """
    a.refuse_stale(step)
    b.refuse_stale(step)
    both = [s for s in a.comparable() if s in set(b.comparable())]
    if step is not None and step not in both:
        hint = did_you_mean(step, both) if both else None
        raise InputError(f"no rows with ids are in the step {step!r} of both (rows of steps that ran as one are in the last of them)", hint=hint)
    if not both:
        raise InputError("no step has rows with ids on both sides", where=f"{short_path(a.folder)}, {short_path(b.folder)}")
    return step or both[-1]
