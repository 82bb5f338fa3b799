"""A finished step on disk, read as its manifest says.

Each file's sha256 is checked before any of it is handed on (once a process, as long as the file is not touched), and the number of its rows. A step
that fails the check is an `InputError` that names it; a run builds it anew. What is where: see `toolkit.pipeline._store`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.common.errors import GuardkitError, InputError, InputErrors, Missing, did_you_mean, nearest, require, short_path
from toolkit.common.files import digest
from toolkit.common.folders import files_below, litter
from toolkit.common.manifests import Below, Sha256, checked, read_manifest
from toolkit.common.models import CURVES, METRICS
from toolkit.common.parquet import batches, open_parquet, taken_batches
from toolkit.common.paths import is_there
from toolkit.common.reading import Identity, identity, sha256_once, unreadable
from toolkit.common.resources import near_run
from toolkit.common.several import several
from toolkit.pipeline._recipe import kept_recipe, kept_yaml
from toolkit.shards import SUFFIX

FORMAT = 1
BLOCK = 8192
MANIFEST = "manifest.json"
ROWS, REJECTS = "rows/rows.parquet", "rejects.parquet"


class _Counted(BaseModel):
    """What became of one step's rows (`Counts.as_dict`)."""

    model_config = ConfigDict(defer_build=True, extra="allow", populate_by_name=True)

    step: str
    use: str
    came: int = Field(alias="in", ge=0)
    kept: int = Field(ge=0)
    merged: int = Field(ge=0)
    rejected: dict[str, int]
    set_aside: dict[str, int]


class _Manifest(BaseModel):
    """What every step's manifest says."""

    model_config = ConfigDict(defer_build=True, extra="allow")

    step: str
    fingerprint: str
    rows: int = Field(ge=0)
    columns: list[str]
    counts: list[_Counted] = Field(min_length=1)
    stats: dict[str, Any]
    asked: int = Field(ge=0)
    failed: int = Field(ge=0)
    retry: int = Field(0, ge=0)
    fingerprint_version: int = 1
    identity: dict[str, dict[str, Any]] = {}
    inputs: dict[str, dict[str, str]] | None = None
    files: dict[Below, Sha256]
    sizes: dict[Below, int]

    @model_validator(mode="after")
    def _each_has_a_size(self) -> _Manifest:
        if self.files.keys() != self.sizes.keys():
            raise ValueError("files and sizes are not of the same files")
        return self


def read_blocks(
    path: Path, columns: Sequence[str] | None = None, size: int = BLOCK, *, sha256: str | None = None, hint: str | None = None
) -> Iterator[pl.DataFrame]:
    """The rows of a parquet file, `size` at a time, read and not mapped: memory is bounded by the block.

    Args:
        path: of the file.
        columns: those that are wanted; None: all.
        size: rows of a block, at most.
        sha256: what a manifest says of its bytes.
        hint: what to do where it is not so.

    Raises:
        InputError: it cannot be read, or its bytes are others.
    """
    import pyarrow as pa

    with open_parquet(path, sha256=sha256, hint=hint) as f:
        for batch in batches(f, path, size, columns):
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))


@dataclass(frozen=True, repr=False)
class StepFolder:
    """A finished step on disk."""

    path: Path
    manifest: dict[str, Any]
    block: int = BLOCK
    _lent: dict[Path, Identity] = field(default_factory=dict, repr=False, compare=False)
    """Files of artefacts that were handed out by their names, as they were then."""

    @classmethod
    def open(cls, path: Path, block: int = BLOCK) -> StepFolder:
        """Open a finished step's folder.

        Raises:
            InputError: it has no manifest, or none that this guardkit reads.
        """
        file, again = path / MANIFEST, _again(path)
        try:
            manifest = read_manifest(file, again=again)
        except FileNotFoundError:
            raise InputError("not a finished step: no manifest.json", where=str(path)) from None
        if manifest.get("format") != FORMAT:
            raise InputError(f"format {manifest.get('format')!r}, this guardkit reads {FORMAT}", where=str(file), hint=again)
        checked(manifest, _Manifest, file, again)
        return cls(path, manifest, block)

    def _repr_html_(self) -> str:
        from toolkit.pipeline._first_rows import first_rows

        return first_rows(repr(self), self.path, self.row_files())

    def __repr__(self) -> str:
        stored = self.stored
        return f"StepFolder({short_path(self.path)!r}, {'no' if stored is None else f'{stored:,}'} rows)"

    @property
    def step(self) -> str:
        """Id of the step."""
        return str(self.manifest["step"])

    @property
    def rows(self) -> int:
        """Number of kept rows."""
        return int(self.manifest["rows"])

    @property
    def stored(self) -> int | None:
        """Number of rows that `polars` gives: of a step that writes shards those in them; None where there are none to read."""
        if ROWS in (names := self.row_files()):
            return self.rows
        return int(self.manifest["counts"][-1]["kept"]) if names else None

    @property
    def columns(self) -> list[str]:
        """Names of its rows' columns."""
        return list(self.manifest["columns"])

    @property
    def failed(self) -> int:
        """Generations that failed."""
        return int(self.manifest["failed"])

    @property
    def retry(self) -> int:
        """Those of them that the next run asks for again."""
        return int(self.manifest.get("retry", self.failed))

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Kept rows, a block at a time.

        Raises:
            InputError: they cannot be read, or are not those of the manifest.
        """
        found = 0
        for block in self.read(ROWS, columns):
            found += block.height
            yield block
        if found != self.rows:
            raise self._damaged(ROWS, f"it has {found:,} rows, the manifest says {self.rows:,}")

    def take(self, rows: pl.Series, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Kept rows by their numbers: from 0, ascending, each once (InputError: as `blocks`)."""
        import pyarrow as pa

        path = self.path / ROWS
        try:
            with open_parquet(path, sha256=self.manifest["files"].get(ROWS)) as f:
                for batch, here in taken_batches(f, path, self.block, rows, columns):
                    yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))[here]
        except InputError as e:
            raise self._damaged(ROWS, e.message) from None

    def read(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Rows of any parquet file that the step made, a block at a time (InputError: as `blocks`)."""
        if name not in self.manifest["files"]:
            raise InputError(f"the step {self.step!r} made no {name!r}", where=str(self.path))
        try:
            yield from read_blocks(self.path / name, columns, self.block, sha256=self.manifest["files"][name])
        except InputError as e:
            raise self._damaged(name, e.message) from None

    def row_files(self) -> dict[str, str]:
        """The parquet files that hold its kept rows, with their sha256: its own, or those of the shards into which they went, if any."""
        made = self.manifest["files"]
        names = [ROWS] if ROWS in made else sorted(n for n in made if n.startswith("shards/data/") and n.endswith(".parquet"))
        return {n: made[n] for n in names}

    def polars(self, columns: str | Sequence[str] | None = None) -> pl.DataFrame:
        """All its kept rows in memory; of a step that writes shards, theirs.

        Raises:
            InputError: it has no rows, or as `blocks`; no such column.
        """
        if not (names := self.row_files()):
            made = ", ".join(sorted({n.partition("/")[0] for n in self.manifest["files"]})) or "nothing"
            raise InputError(f"the step {self.step!r} has no rows: it made {made}", where=str(self.path), hint="`.artefact(NAME)` gives its folder")
        first, sha256 = next(iter(names.items()))
        with open_parquet(self.path / first, sha256=sha256, hint=_again(self.path)) as f:
            there = f.schema_arrow.names
            empty = pl.DataFrame(pl.from_arrow(f.schema_arrow.empty_table()))
        wanted = there if columns is None else several(columns)
        for name in wanted:
            if name not in there:
                raise InputError(f"the step {self.step!r} has no column {name!r}", where=str(self.path), hint=did_you_mean(name, there))
        return pl.concat([empty.select(wanted), *(block for n in names for block in (self.blocks(wanted) if n == ROWS else self.read(n, wanted)))])

    def pandas(self, columns: str | Sequence[str] | None = None) -> Any:
        """The same as a table of pandas (Missing: it is not installed)."""
        frame = self.polars(columns)
        try:
            return frame.to_pandas()
        except ModuleNotFoundError:
            raise Missing("a table of pandas needs pandas, which is not installed", hint="pip install pandas, or `.polars()`") from None

    def datasets(self, columns: str | Sequence[str] | None = None) -> Any:
        """The same as a `datasets.Dataset` (Missing: it is not installed)."""
        require("datasets", "hub", "a dataset")
        from datasets import Dataset

        return Dataset.from_polars(self.polars(columns))

    def artefact(self, name: str) -> Path:
        """Folder of an artefact, every file of it as the manifest says.

        Raises:
            InputError: the step made none of that name; InputErrors: it is not what the manifest says.
        """
        path = self.path / name
        if not any(n.startswith(f"{name}/") for n in self.manifest["files"]):
            hint = None if self.manifest["counts"][-1]["in"] else "no row came to it"
            raise InputError(f"the step {self.step!r} made no {name!r}", where=str(self.path), hint=hint)
        if faults := self.faults(below=name):
            raise faults[0] if len(faults) == 1 else InputErrors(faults)
        self._lent.update({self.path / n: identity(self.path / n) for n in self.manifest["files"] if n.startswith(f"{name}/")})
        return path

    def still(self) -> None:
        """Check that nobody has written to the files of artefacts since they were handed out, which libraries open by name.

        Raises:
            InputError: somebody has.
        """
        for path, before in self._lent.items():
            name = path.relative_to(self.path).as_posix()
            try:
                now = identity(path)  # another ctime alone comes of new permissions, or of another link
                same = now == before or (now[:4] == before[:4] and sha256_once(path, path) == self.manifest["files"][name])
            except (OSError, InputError):
                same = False
            if not same:
                raise self._damaged(name, "has changed while it was read")

    def digest(self) -> str:
        """Digest over the files that the step made, but those that say how a training went."""
        return digest({name: sha256 for name, sha256 in self.manifest["files"].items() if Path(name).name not in (METRICS, CURVES)})

    def intact(self) -> bool:
        """Whether every file of the manifest is there with its size, and was not touched after the manifest was written, or has its sha256.

        That is a look at each file's times: quick, and enough for a step whose rows nobody reads. Who reads them checks them (`blocks`, `faults`).
        """
        try:
            last = identity(self.path / MANIFEST).changed
            found = {n: identity(self.path / n) for n in self.manifest["files"]}
            return all(
                found[n].size == size and (found[n].changed <= last or sha256_once(self.path / n, self.path / n) == self.manifest["files"][n])
                for n, size in self.manifest["sizes"].items()
            )
        except (OSError, InputError):
            return False

    def faults(self, below: str = "") -> list[GuardkitError]:
        """What of the step is not as its manifest says: each file by its sha256, and files that it does not name.

        Args:
            below: only what is below this folder of the step; empty: all.
        """
        named = {n: sha for n, sha in self.manifest["files"].items() if not below or n.startswith(f"{below}/")}
        out: list[GuardkitError] = []
        for name, sha256 in named.items():
            path = self.path / name
            try:
                if sha256_once(path, path) != sha256:
                    out.append(self._damaged(name, "its bytes are not those of the manifest (sha256)"))
            except InputError as e:
                out.append(self._damaged(name, e.message))
        there = {f"{below}/{n}" if below else n for n in files_below(self.path / below)} - {MANIFEST}
        there -= litter(self.path, there)
        there -= {n for n in there if n.endswith(f"/{MANIFEST}{SUFFIX}")}  # whoever signed shards did so later; `verify` of the shards looks at it
        return out + [self._damaged(name, "is not in the manifest") for name in sorted(there - named.keys())]

    def _damaged(self, name: str, what: str) -> InputError:
        return InputError(f"{what} (step {self.step!r})", where=str(self.path / name), hint=_again(self.path))


def _again(step: Path) -> str:
    return f"delete the folder {short_path(step)} and run its recipe again: what the step made is made anew"


def step_folders(run: Path) -> list[StepFolder]:
    """The finished steps in a run's folder, by name. A link, or what someone put there (shards, a copy of a step), is none.

    Raises:
        InputError: a manifest that cannot be read, or is of a format that this guardkit does not read.
    """
    try:
        folders = sorted(p for p in run.iterdir() if p.is_dir() and not p.is_symlink())
    except OSError as e:
        raise unreadable(e, run) from None
    found = [StepFolder.open(p) for p in folders if os.path.lexists(p / MANIFEST) and _of_step(p / MANIFEST)]
    return [f for f in found if f.step == f.path.name]


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / "run.json").exists()


def run_of(folder: Path) -> tuple[Path, str | None]:
    """The run that a folder is, or is in as a step's (then with the step), or as a step's shards or model.

    Raises:
        InputError: it is neither.
    """
    for place, below in ((folder, 0), (folder.parent, 1), (folder.parent.parent, 2)):
        if is_there(place / "run.json", Path.is_file):
            return place, folder.relative_to(place).parts[0] if below else None
    near = [p.parent.name for p in folder.parent.glob("*/run.json")] if is_there(folder.parent, Path.is_dir) else []
    hint = nearest(folder.name, near) or near_run(folder) or "see `guardkit runs list`"
    raise InputError("not the folder of a run", where=str(folder), hint=hint)


def verify_run(run: Path) -> dict[str, Any]:
    """Check every finished step of a run against its manifest: each file's sha256, no other files, and its number of rows.

    Returns:
        ``kind``: ``run``; ``rows``: kept rows of all steps; ``files``: by path below the run ``{bytes, sha256, step}``; ``missing``: steps of its
        recipe that are not finished, or gone.

    Raises:
        InputErrors: all that is wrong, each with its file; InputError: its recipe or a manifest cannot be read.
    """
    errors: list[GuardkitError] = []
    rows, files = 0, {}
    found = step_folders(run)
    for done in found:
        faults = done.faults()
        if not faults and ROWS in done.manifest["files"]:
            with open_parquet(done.path / ROWS, sha256=done.manifest["files"][ROWS]) as f:
                if f.metadata.num_rows != done.rows:
                    faults = [done._damaged(ROWS, f"it has {f.metadata.num_rows:,} rows, the manifest says {done.rows:,}")]
        errors += faults
        rows += done.rows
        for name, sha256 in done.manifest["files"].items():
            files[f"{done.step}/{name}"] = {"bytes": done.manifest["sizes"][name], "sha256": sha256, "step": done.step}
    if errors:
        raise InputErrors(errors)
    counted = {c["step"] for done in found for c in done.manifest["counts"]}
    return {"kind": "run", "rows": rows, "files": files, "missing": [step for step in recipe_steps(run) if step not in counted]}


def recipe_steps(run: Path) -> list[str]:
    """The ids in the recipe that a run keeps; what they use need not be there."""
    recipe = kept_yaml(run).data
    if isinstance(recipe, dict) and recipe.get("rounds") is not None:
        return [s.id for s in kept_recipe(run).steps]
    steps = recipe.get("steps") if isinstance(recipe, dict) else None
    return [str(step["id"]) for step in steps if isinstance(step, dict) and "id" in step] if isinstance(steps, list) else []


def _of_step(manifest: Path) -> bool:
    """Whether a manifest is a step's, or cannot be read and may be one."""
    try:
        return {"step", "fingerprint", "counts"} <= read_manifest(manifest).keys()
    except FileNotFoundError:  # a link to nothing
        return False
    except InputError:
        return True
