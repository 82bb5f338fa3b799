"""Operator `shards`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError
from toolkit.guards import Guard, input_fingerprint
from toolkit.operators._losses import with_losses
from toolkit.operators._words import check_words
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.records import Column
from toolkit.shards import (
    CARD_SECTIONS,
    GUARD_FACETS,
    NAMED,
    SHARD_KINDS,
    Licences,
    ShardWriter,
    check_columns,
    kind_of,
    known,
    licence_digests,
    licence_section,
    load_licences,
    models_section,
    resolve,
    trained_on,
)

SHOWN = 5
"""Ids that a refusal names for each source and licence."""


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


class Shards(DatasetOperator):
    """Write rendered rows as parquet shards that TRL and `datasets` read as they are (artefact `shards`), with a data card (README.md) and a
    manifest: licences, labels by source and category, steps, models, and what became of every row on the way. Rows without a split go to
    `train`, rows without a licence count as `unknown`.
    """

    name = "shards"
    version = 2
    shape = "sink"
    passes = 1
    carries_media = True
    config_class = ShardsConfig
    example = {"title": "My guard's training data"}
    uses = frozenset({"recipe", *(f"guard.{facet}" for facet in GUARD_FACETS)})
    makes = ("shards",)
    config: ShardsConfig
    _columns: tuple[Column, ...] = ()

    def reads(self, guard: Guard) -> list[str]:
        return ["id"]

    def identity(self) -> dict[str, Any]:
        return {name: value for name, value in super().identity().items() if value or name not in NAMED}

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        self._columns = tuple(super().columns(inputs, guard).values())
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
        return licence_digests(ctx.roots)

    def counts_by(self, artefact: str, folder: Path, files: Mapping[str, str]) -> Any:
        return trained_on(folder, files)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        table = load_licences(ctx.roots)
        refused = _Refused(self.config.licence, table)
        kind = None if self.config.kind is None else SHARD_KINDS.get(self.config.kind)
        writer: ShardWriter | None = None
        done = 0
        try:
            for block in inputs["rows"].blocks():
                check_words(block, ctx.guard, f"step {ctx.step}")
                if kind is not None:
                    kind.check(block, f"step {ctx.step}")
                if block.height and not refused.look(block):
                    writer = writer or ShardWriter(out.folder("shards"), self._columns, self.config.rows_per_shard)
                    _write(writer, block)
                done += block.height
                out.use(block.height)
                ctx.progress(done, inputs["rows"].rows, "rows")
            refused.stop(ctx.step)
            rows = writer.finish(lambda counts: self._about(counts, table, ctx))["rows"] if writer is not None else self._nothing(ctx)
        except BaseException:  # nothing half-written stays, whatever ended it
            if writer is not None:
                writer.discard()
            raise
        out.stat("rows", rows)

    def _nothing(self, ctx: Context) -> int:
        if not self.config.empty:
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
