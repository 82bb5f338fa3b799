"""Operator `shards`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.common.mediatypes import BadMedia
from toolkit.guards import Guard, input_fingerprint
from toolkit.operators._drawn import beside_the_paper, lengths
from toolkit.operators._losses import with_losses
from toolkit.operators._old_shards import check_fit, check_inputs, column_faults, find_version, guard_faults
from toolkit.operators._words import check_words
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.export._extending import INPUT, Clashes, category_faults, kind_faults, licence_faults, may_lack
from toolkit.operators.figures import Figure, nothing
from toolkit.records import Column, has_media
from toolkit.shards import (
    BYTES,
    CARD_SECTIONS,
    GUARD_FACETS,
    MANIFEST,
    MEDIA_BYTES,
    NAMED,
    SHARD_KINDS,
    Licences,
    OldVersion,
    ShardWriter,
    check_columns,
    kind_of,
    known,
    licence_digests,
    licence_section,
    load_licences,
    models_section,
    old_version,
    resolve,
    trained_on,
    verify,
    with_bytes,
)

SHOWN = 5
"""Ids that a refusal names for each source and licence."""


DEALT = ("clashing", "columns", "straddling")
"""Options on what new rows have and the version that they extend has not, or otherwise."""


class ShardsConfig(Config):
    """Options of `shards`."""

    rows_per_shard: int = Field(50_000, ge=1)
    """Rows in one file at most."""
    title: str = "guardkit shards"
    """Heading of the data card."""
    licence: str | None = None
    """Licence that the set is to carry (an SPDX identifier of schemas/licences). Rows whose own licence does not allow it, or is not known there,
    stop the step. Default: the least strict one that all rows may go into, or none where there is none: each row then keeps its own."""
    empty: bool = False
    """Without any row make nothing, instead of stopping with an error."""
    kind: str | None = None
    """What the rows are for: a kind that another package brings. Default: sft or preference, by their columns. Rows that are none stop the step."""
    sections: list[str] = []
    """Sections of other packages that the data card is to have."""
    media: Literal["reference", "embed"] = "reference"
    """Of rows with media: references alone, or also the files' bytes, in the column `media_bytes` (docs/media.md). A row whose file is not there,
    or is another one, is then rejected."""
    extends: str | None = None
    """Older shards that the new set extends: their folder, or that of a step that made some. Their files are in the new folder unchanged, before
    those of the new rows. For a step of the same recipe: `from: {rows: STEP, extends: STEP}`."""
    clashing: Literal["error", "leave_out"] = "error"
    """With `extends`, a new row whose id is there already, or whose input is there with another label: stop, or set the row aside (`known_id`,
    `other_label`)."""
    columns: Literal["error", "as_before"] = "error"
    """With `extends`, columns that one side lacks: stop, or write the new rows with the columns of the older ones: those that are not there are left
    out and named in the manifest, those that the new rows lack are null."""
    straddling: Literal["error", "move"] = "error"
    """With `extends`, a new row of a group (column `group`, else equal prompts) that is there in another split: stop, or put the row where its group
    is."""


class Shards(DatasetOperator):
    """Write rendered rows as parquet shards that TRL and `datasets` read as they are (artefact `shards`), with a data card (README.md) and a
    manifest: licences, labels by source and category, steps, models, and what became of every row on the way. Rows without a split go to
    `train`, rows without a licence count as `unknown`. With `extends` they are a new version of older shards (docs/shards.md).
    """

    name = "shards"
    version = 2
    shape = "sink"
    inputs = ("rows", "*")
    takes = {"*": "shards"}
    passes = 1
    carries_media = True
    config_class = ShardsConfig
    example = {"title": "My guard's training data"}
    figures = (Figure("lengths", "steps of the reasoning by source, beside GuardReasoner's", lengths, nothing, drawn=beside_the_paper),)
    uses = frozenset({"recipe", *(f"guard.{facet}" for facet in GUARD_FACETS)})
    makes = ("shards",)
    config: ShardsConfig
    _columns: tuple[Column, ...] = ()
    _extends = False

    @property
    def written(self) -> tuple[Column, ...]:
        """Columns of its rows, known once a recipe is checked."""
        return self._columns

    def used(self) -> frozenset[str]:
        return self.uses | {"taxonomy.names"} if self._extends else self.uses

    def reads(self, guard: Guard) -> list[str]:
        return ["id"]

    def identity(self) -> dict[str, Any]:
        own = {name: value for name, value in super().identity().items() if value or name not in NAMED}
        del own["extends"]  # what is there counts, not where: see `files`
        own = {name: value for name, value in own.items() if name != "media" or value != "reference"}
        return {name: value for name, value in own.items() if self._extends or name not in DEALT}

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        self._columns = tuple(super().columns(inputs, guard).values())
        if self.config.media == "embed":
            if not has_media({c.name: c for c in self._columns}):
                raise InputError("shards.media: embed, and the rows have no media")
            self._columns = (*(c for c in self._columns if c.name != MEDIA_BYTES), BYTES)
        self._extends = check_inputs(self.name, inputs, INPUT, self.config.extends)
        if not self._extends and any(getattr(self.config, name) != "error" for name in DEALT):
            raise InputError(f"{', '.join(DEALT)}: these options are about the version that a set extends", hint="name it: extends: FOLDER")
        check_columns([c.name for c in self._columns])
        if self.config.kind is not None:
            kind_of([c.name for c in self._columns], self.config.kind, self.name)
        for section in self.config.sections:
            CARD_SECTIONS.get(section)
            if section in CARD_SECTIONS.own:
                raise InputError(f"every card has the section {section!r}", hint="name those of other packages alone")
        if self.config.licence is not None:
            known(self.config.licence, load_licences())
        return {}

    def files(self, ctx: Context) -> dict[str, str]:
        out = licence_digests(ctx.roots)
        if self.config.extends is not None:
            out[f"{INPUT}/{MANIFEST}"] = ctx.files.digest(find_version(self.config.extends, ctx.roots) / MANIFEST)
        return out

    def look(self, ctx: Context) -> None:
        if self.config.extends is not None:
            self._fits(old_version(find_version(self.config.extends, ctx.roots)), ctx)

    def _fits(self, old: OldVersion, ctx: Context) -> None:
        """Refuse a version that the new rows do not fit (InputErrors)."""
        faults = [
            *kind_faults(old, self._columns, self.config.kind),
            *column_faults(old, self._columns, may_lack(old, self._columns) if self.config.columns == "as_before" else ()),
            *guard_faults(old, ctx.guard),
            *category_faults(old, ctx.taxonomy.scheme(ctx.taxonomy.name), ctx.taxonomy.name),
            *licence_faults(old, self.config.licence, load_licences(ctx.roots)),
        ]
        check_fit(old, faults, f"step {ctx.step}, {INPUT}")

    def counts_by(self, artefact: str, folder: Path, files: Mapping[str, str]) -> Any:
        return trained_on(folder, files)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        table = load_licences(ctx.roots)
        refused = _Refused(self.config.licence, table)
        kind = None if self.config.kind is None else SHARD_KINDS.get(self.config.kind)
        old = self._old(inputs, ctx) if self._extends else None
        clashes = None if old is None else self._clashes(old, ctx)
        writer: ShardWriter | None = None
        done = 0
        try:
            for block in inputs["rows"].blocks():
                check_words(block, ctx.guard, f"step {ctx.step}")
                if kind is not None:
                    kind.check(block, f"step {ctx.step}")
                done += block.height
                if clashes is not None and block.height:
                    block = clashes.look(block, out, ctx.step)
                used = block.height
                if block.height and not refused.look(block):
                    writer = writer or self._writer(out, old)
                    used = self._write(writer, block, out, ctx)
                out.use(used)
                ctx.progress(done, inputs["rows"].rows, "rows")
            refused.stop(ctx.step)
            extends = {} if clashes is None else {INPUT: clashes.stop(ctx.step)}
            rows = (
                writer.finish(lambda counts: {**self._about(counts, table, ctx), **extends})["rows"]
                if writer is not None
                else self._nothing(ctx, clashes)
            )
        except BaseException:  # nothing half-written stays, whatever ended it
            if writer is not None:
                writer.discard()
            raise
        out.stat("rows", rows)
        for name, value in extends.get(INPUT, {}).items():
            out.stat(name, value)

    def _write(self, writer: ShardWriter, block: pl.DataFrame, out: Output, ctx: Context) -> int:
        """Write a block; how many of its rows are written."""
        if self.config.media != "embed":
            _write(writer, block)
            return block.height
        gone: dict[int, BadMedia] = {}
        for piece in with_bytes(block, ctx.media_folder, gone):
            _write(writer, piece)
        if gone:
            out.reject(block[list(gone)], pl.Series([e.reason for e in gone.values()]), pl.Series([e.detail for e in gone.values()]))
        return block.height - len(gone)

    def _old(self, inputs: Mapping[str, StepInput], ctx: Context) -> OldVersion:
        """The version that is extended."""
        return old_version(inputs[INPUT].artefact("shards") if INPUT in inputs else find_version(str(self.config.extends), ctx.roots))

    def _clashes(self, old: OldVersion, ctx: Context) -> Clashes:
        """What finds the rows that clash with those of a version, which is sound and fits."""
        verify(old.folder)
        self._fits(old, ctx)
        return Clashes(old, ctx.guard, leave_out=self.config.clashing == "leave_out", move=self.config.straddling == "move")

    def _writer(self, out: Output, old: OldVersion | None) -> ShardWriter:
        if old is None:
            return ShardWriter(out.folder("shards"), self._columns, self.config.rows_per_shard)
        writer = ShardWriter(out.folder("shards"), old.schema, self.config.rows_per_shard)
        writer.extend(old)
        return writer

    def _nothing(self, ctx: Context, clashes: Clashes | None) -> int:
        if not self.config.empty:
            if clashes is not None and (n := sum(clashes.stop(ctx.step)["left_out"].values())):
                raise InputError(
                    f"no rows to add: all {n:,} clash with the version extended", where=f"step {ctx.step}", hint="empty: true goes on without"
                )
            hint = "`guardkit rejects RUN` shows rows that the steps before did not keep; empty: true goes on without shards"
            raise InputError(with_losses("no rows to write", ctx), where=f"step {ctx.step}", hint=hint)
        return 0

    def _about(self, counts: Mapping[str, Mapping[str, int]], table: Licences, ctx: Context) -> dict[str, Any]:
        """What the manifest says beside the rows and files."""
        guard = {"guard": f"{ctx.guard.name} {ctx.guard.version}", "guard_fingerprint": ctx.guard.fingerprint}
        lineage = dict(ctx.lineage())
        return {
            **guard,
            "guard_input": input_fingerprint(ctx.guard),
            "step": ctx.step,
            "title": self.config.title,
            "licence": licence_section(counts["licence"], self.config.licence, table),
            "models": models_section(counts, table),
            **({"made_from": lineage} if lineage else {}),
            **{name: value for name in NAMED if (value := getattr(self.config, name))},
        }


def _write(writer: ShardWriter, block: pl.DataFrame) -> None:
    """Write a block, each row to its split, in order."""
    if "split" not in block.columns:
        writer.write(block, "train")
        return
    block = block.with_columns(pl.col("split").fill_null("train"))
    if block["split"].n_unique() == 1:
        writer.write(block, str(block["split"][0]))
        return
    for (name,), part in block.group_by("split", maintain_order=True):
        writer.write(part, str(name))


class _Refused:
    """The rows that may not go under the licence that was asked for: after the first one nothing more is written."""

    def __init__(self, target: str | None, table: Licences) -> None:
        self._target = target
        self._table = table
        self._rows: Counter[tuple[str, str]] = Counter()
        self._ids: dict[tuple[str, str], list[str]] = {}

    def look(self, block: pl.DataFrame) -> bool:
        """Whether a row so far is refused."""
        if self._target is None:
            return False
        given = [pl.col(n).cast(pl.String).fill_null("unknown") if n in block.columns else pl.lit("unknown").alias(n) for n in ("source", "licence")]
        rows = block.select("id", *given)
        bad = resolve(rows["licence"].unique(), self._target, self._table).refused
        for (source, licence), part in rows.filter(pl.col("licence").is_in(bad)).group_by("source", "licence", maintain_order=True):
            key = (str(source), str(licence))
            self._rows[key] += part.height
            ids = self._ids.setdefault(key, [])
            ids += map(str, part["id"].head(SHOWN - len(ids)))
        return bool(self._rows)

    def stop(self, step: str) -> None:
        """Refuse, where there is a reason (InputError)."""
        if not self._rows:
            return
        lines = [self._line(source, licence) for source, licence in sorted(self._rows)]
        hint = "leave these rows out, choose a licence that they may go into, or describe one that is not known in schemas/licences/mine.yaml"
        message = f"{self._rows.total():,} rows may not go into a set under {self._target}:\n  " + "\n  ".join(lines)
        raise InputError(message, where=f"step {step}", hint=hint)

    def _line(self, source: str, licence: str) -> str:
        n, ids = self._rows[source, licence], self._ids[source, licence]
        known = "" if self._table.find(licence) else " (not known)"
        return f"{n:,} {'row' if n == 1 else 'rows'} of {source} under {licence}{known}: {', '.join(ids)}{', …' if n > len(ids) else ''}"
