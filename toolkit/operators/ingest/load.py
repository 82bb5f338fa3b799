"""Operator `load`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field, field_validator, model_validator

from toolkit.common.errors import InputError, InputErrors, Missing, did_you_mean
from toolkit.common.mediafiles import measure_needs
from toolkit.common.paths import below_fault
from toolkit.guards import Guard
from toolkit.operators.base import Columns, Context, DatasetOperator, Output, StepInput
from toolkit.operators.ingest._intake import LOOK, OPTIONS, Intake, IntakeConfig, Labels
from toolkit.records import MEDIA, load_record
from toolkit.sources import (
    Block,
    Source,
    VoteMethod,
    archives_of,
    check_media,
    count_members,
    count_rows,
    format_of,
    guards_of,
    hub_needs,
    load_source,
    read_labels,
    read_source,
    source_digest,
    source_files,
)

_PLACE = pl.format("{}, row {}: {}", "source", pl.col("source_row") + 1, "detail").alias("detail")
"""Where a row that cannot be a seed stood in its source, from 1, and what was found there."""


class LoadConfig(IntakeConfig):
    """Options of `load`."""

    source: str | Annotated[list[str], Field(min_length=1)]
    """One source or several: see `guardkit sources`."""
    files: list[str] | dict[str, list[str]] | None = None
    """Local files, folders or patterns of the same columns instead of the hub; for several sources, by name (or path, as
    in `source`)."""
    parts: list[str] | None = None
    """Parts of the source to read (default: all)."""
    vote: VoteMethod | None = None
    """How several annotators make one label: see `guardkit sources`; `reference` does as the released code did."""
    limit: int | None = Field(None, ge=1)
    """Rows to read from each source, or from each of its parts where it has any, at most."""

    media: str | None = None
    """For sources with media: the place below the dataset's folder (the recipe's `media`) that their uris are relative to, `.` for the folder itself.
    Files that come as bytes or in an archive are put there. Rows then have the column `media` (docs/media.md)."""

    max_rejected: float = Field(0.01, ge=0, le=1)
    """Share of the rows of each source, or of each of its parts, that may be rejected; if there are more, the step is an error, which says what did
    not fit. Rows that are set aside do not count."""

    @model_validator(mode="after")
    def _files_have_an_owner(self) -> LoadConfig:
        if isinstance(self.files, list) and isinstance(self.source, list) and len(self.source) > 1:
            raise ValueError("with several sources give `files` by name: files: {NAME: [FILE]}")
        return self

    @field_validator("media")
    @classmethod
    def _lies_below(cls, value: str | None) -> str | None:
        if value is not None and value != "." and (fault := below_fault(value)) is not None:
            raise ValueError(f"it {fault}")
        return value

    @model_validator(mode="after")
    def _once_each(self) -> LoadConfig:
        for name in self.names:
            if self.names.count(name) > 1:
                raise ValueError(f"the source {name!r} is named twice")
        return self

    @property
    def names(self) -> list[str]:
        """The sources in order."""
        return [self.source] if isinstance(self.source, str) else list(self.source)


def _rows_of(path: Path, source: Source) -> int:
    kind = format_of(path, source.format)
    return count_members(path, source.files) if kind == "files" else count_rows(path, kind, source.delimiter)


class Load(DatasetOperator):
    """Read labelled interactions from sources: the hub, local files of the same columns, or the seeds that ship with guardkit.

    A row that cannot be read costs that row alone, with its reason; a missing column or file stops the run before it starts. The first rows of local
    files are held against the source when the recipe is checked, all rows when they are loaded: see `max_rejected`.
    """

    name = "load"
    version = 2
    shape = "source"
    inputs = ()
    config_class = LoadConfig
    example = {"source": "quickstart"}
    uses = frozenset({"guard.tasks", "guard.input", "guard.output", "taxonomy.names", "taxonomy.maps"})
    config: LoadConfig
    _spelled: Mapping[str, str] = {}
    """By a source's name how the recipe names it, which may be a path; known once they are read (`sources`)."""

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        return {c.name: c for c in load_record("seed", guard.task_names).with_optional([] if self.config.media is None else [MEDIA])}

    @property
    def _below(self) -> str | None:
        """What is put before the uris of media (`read_source`)."""
        place = self.config.media
        return "" if place == "." else place and f"{place}/"

    def needs(self, ctx: Context) -> list[str]:
        out = measure_needs({spec.kind for source in self.sources(ctx) for spec in source.media_files if spec.decode})
        for source in self.sources(ctx):
            try:
                if self.paths(source, ctx):
                    continue
            except Missing as e:
                out.append(f"{e.message}, --source {source.name}=FILE or FOLDER: {e.hint}")
                continue
            out += hub_needs(source)
        return out

    def sources(self, ctx: Context) -> list[Source]:
        """The sources, read from their schemas (InputErrors: all that are not known)."""
        found, errors = [], []
        for name in self.config.names:
            try:
                found.append(load_source(name, ctx.roots))
            except InputError as e:
                errors.append(e)
        if errors:
            raise errors[0] if len(errors) == 1 else InputErrors(errors)
        names = [s.name for s in found]
        for given, name in zip(self.config.names, names, strict=True):
            if names.count(name) > 1:  # rows of equal text would have one id
                raise InputError(f"two of the sources are called {name!r}, {given!r} being one", hint="give one of their files another `name`")
        self._spelled = dict(zip(names, self.config.names, strict=True))
        files = self.config.files if isinstance(self.config.files, dict) else {}
        for name in files:
            if name not in (known := (*self.config.names, *names)):
                raise InputError(f"files for {name!r}, which is not loaded", hint=did_you_mean(name, known))
            if name in names and name != self._spelled[name] and self._spelled[name] in files:
                raise InputError(f"files for the source {name!r} are given twice: by its name and by its path")
        return found

    def fetches(self, ctx: Context) -> list[tuple[str, str]]:
        return [("dataset", s.hub.id) for s in self.sources(ctx) if s.hub is not None and self._given(s.name, ctx) is None and s.bundled is None]

    def source_names(self, ctx: Context) -> list[str]:
        return [*(s.name for s in self.sources(ctx)), *self.config.names]

    def paths(self, source: Source, ctx: Context) -> list[Path]:
        """Files that the source is read from; empty for the hub."""
        return [f.path for f in source_files(source, self._given(source.name, ctx), parts=self.config.parts, beside=ctx.roots)]

    def _given(self, name: str, ctx: Context) -> Sequence[str | Path] | None:
        """Files that are named for a source, be it by its name or as the recipe spells it."""
        files, spelled = self.config.files, self._spelled[name]
        for given in (ctx.source_paths, files if isinstance(files, dict) else {}):
            if name in given or spelled in given:
                return list(given[name if name in given else spelled])
        return None if isinstance(files, dict) else files

    def files(self, ctx: Context) -> dict[str, str]:
        out = {}
        if self.config.media is not None and not any(source.has_media for source in self.sources(ctx)):
            raise InputError("load.media: none of the sources has media", hint="a source names their column: columns: {media: COLUMN}")
        for source in self.sources(ctx):
            check_media(source, self._below)
            out[f"{source.name}.yaml"] = source.fingerprint
            out |= guards_of(source, ctx.guard)
            try:
                paths = self.paths(source, ctx)
            except Missing:  # `needs` says so, and a run stops there
                continue
            if paths:
                self._open(source, ctx)  # raises what is wrong with them as a whole, before any row is read
            for i, path in enumerate(paths):  # numbered: files of several folders may have one name
                out[f"{source.name}/{i:05d}/{path.name}"] = source_digest(path, source.files, ctx.files)
                for archive in archives_of(path, source.media_files):
                    out[f"{source.name}/{i:05d}/{archive.name}"] = ctx.files.digest(archive)
        return out

    def identity(self) -> dict[str, Any]:
        out = self.config.model_dump(mode="json", exclude={"files", *OPTIONS})  # what is in them counts, not where they are
        return {n: v for n, v in out.items() if n != "media" or v is not None}

    def look(self, ctx: Context) -> None:
        errors = []
        for source in self.sources(ctx):
            try:
                files = self.paths(source, ctx)
            except Missing:
                continue
            whole, intakes = self.config.limit is None, dict[str, Intake]()
            for block in self._open(source, ctx, first=max(1, LOOK // len(files))) if files else ():
                whole = whole and not block.more
                self._count(block, source, ctx, intakes)
            errors += [f for i in intakes.values() if (f := i.fault(self.config, part=not whole)) is not None]
        if errors:
            raise errors[0] if len(errors) == 1 else InputErrors(errors)

    def expected_rows(self, ctx: Context, *, count: bool = True) -> int | None:
        """Rows that the sources' own schemas state, and those in local files that are given instead; None where that is not known, or, of files, not
        to be counted."""
        counts: list[int | None] = []
        for source in self.sources(ctx):
            parts = source.part_names(self.config.parts) if source.parts else []
            if (given := self._given(source.name, ctx)) is None:
                counts += [source.rows([p]) for p in parts] or [source.rows()]
            elif count:
                found: Counter[str | None] = Counter()
                for file in source_files(source, given, parts=self.config.parts, beside=ctx.roots):
                    found[file.part] += len(source.views) * _rows_of(file.path, source)
                counts += found.values()
            else:
                counts.append(None)
        most = self.config.limit
        known = [c if most is None else min(c, most) for c in counts if c is not None]
        return sum(known) if len(known) == len(counts) else None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        total = self.expected_rows(ctx, count=False)
        done = 0
        for source in self.sources(ctx):
            intakes: dict[str, Intake] = {}
            for block in self._blocks(source, ctx):
                self._count(block, source, ctx, intakes)
                out.count_in(block.rows.height + block.rejects.height)
                out.keep(block.rows)
                gone = block.rejects
                out.leave(gone.select(pl.col("row").alias("raw")), gone["outcome"], gone["reason"], gone.select(_PLACE).to_series())
                done += block.rows.height + block.rejects.height
                ctx.progress(done, total, source.name)
            for intake in intakes.values():
                intake.check(self.config, ctx.step)

    def _count(self, block: Block, source: Source, ctx: Context, intakes: dict[str, Intake]) -> None:
        """Add a block to what was counted of its source or part."""
        if block.name not in intakes:
            labels = [Labels(columns, f"label_{task}", words) for task, columns, words in read_labels(source, ctx.guard, block.part)]
            intakes[block.name] = Intake(f"source {block.name!r}", labels)
        intakes[block.name].add(block.rows, block.rejects)

    def _open(self, source: Source, ctx: Context, first: int | None = None) -> Iterator[Block]:
        """The source's blocks; `first`: for a look at so many rows of each file."""
        c, files, held = self.config, self._given(source.name, ctx), ctx.files if first is None else None
        read = partial(read_source, source, guard=ctx.guard, taxonomy=ctx.taxonomy, files=files, parts=c.parts, vote=c.vote)
        return read(beside=ctx.roots, held=held, first=first, media=self._below, media_folder=ctx.media_folder)

    def _blocks(self, source: Source, ctx: Context) -> Iterator[Block]:
        """The source's blocks, of each part no more than `limit` rows."""
        c = self.config
        blocks = self._open(source, ctx)
        if c.limit is None:
            yield from blocks
            return
        taken: dict[str, int] = {}
        parts = max(1, len(source.part_names(c.parts)) if source.parts else 1)
        for block in blocks:
            left = c.limit - taken.get(block.name, 0)
            taken[block.name] = taken.get(block.name, 0) + min(left, block.rows.height)
            if left > block.rows.height:
                yield block
            elif left:  # the last row that is taken ends the part, and what was rejected before it counts
                rows = block.rows[:left]
                yield replace(block, rows=rows, rejects=block.rejects.filter(pl.col("source_row") < rows["source_row"][-1]))
            if len(taken) == parts and all(n >= c.limit for n in taken.values()):
                return
