"""The layout of the released GuardReasonerTrain: columns ``instruction`` (one text throughout), ``input``, ``output``; a split for each
source (spec A.2; https://huggingface.co/datasets/yueliu1999/GuardReasonerTrain).

The layout has no place for train and test, so one split of the shards is exported. ``instruction + newline + input`` is what the guard
reads, letter for letter; `toolkit.sources` reads the files back through a source with ``exchange: {column: input, guard: …}``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from toolkit.common.errors import InputError
from toolkit.guards import Guard, input_fingerprint, load_guard, render_input
from toolkit.shards.exporters._shapes import Format, Made, ShardSet

if TYPE_CHECKING:
    import polars as pl

SPLITS = {
    "wildguard_train": "WildGuardTrainR",
    "aegis_train": "AegisTrainR",
    "beavertails_30k_train": "BeaverTailsTrainR",
    "toxicchat_train": "ToxicChatTrainR",
}
"""The released splits by guardkit's name of the source (spec A.2)."""


def split_of(source: str) -> str:
    """The split that holds the rows of a source."""
    return SPLITS.get(source) or "".join(word[:1].upper() + word[1:] for word in re.split(r"[\W_]+", source)) + "R"


def guard_of(shards: ShardSet, named: str | None) -> Guard:
    """The guard that the shards were rendered for.

    Args:
        shards: whose manifest names it.
        named: a guard's name or file, taken instead.

    Raises:
        InputError: none is named, there is no such guard, or its input is not the one that the shards were rendered with.
    """
    name = named or str(shards.manifest.get("guard", "")).rpartition(" ")[0]
    if not name:
        raise InputError("the shards' manifest names no guard", where=str(shards.folder), hint="name it: {--guard NAME|guard=NAME}")
    guard = load_guard(name)
    if input_fingerprint(guard) != shards.manifest.get("guard_input", input_fingerprint(guard)):
        raise InputError(
            f"the guard {guard.name!r} now renders its input otherwise than when the shards were made",
            where=str(shards.folder),
            hint="name the definition that they were made with: {--guard FILE|guard=FILE}",
        )
    return guard


class GuardReasoner(Format):
    """``data/<Source>R-00000-of-00001.parquet``."""

    name = "guardreasoner"
    doc = "https://huggingface.co/datasets/yueliu1999/GuardReasonerTrain"
    kinds = ("sft",)

    def __init__(self, shards: ShardSet, guard: Guard) -> None:
        super().__init__(shards)
        if len(shards.splits) > 1:
            raise InputError(
                f"the format {self.name!r} has a split for each source and so no place for {' and '.join(shards.splits)}",
                where=str(shards.folder),
                hint="choose one: {--split train|split='train'}",
            )
        if not guard.instruction:
            raise InputError(f"the guard {guard.name!r} has no instruction, and the format {self.name!r} wants one", where=str(shards.folder))
        self._guard = guard
        mark = "\ue000"
        # What an input begins with where there are no earlier messages.
        self._begins = render_input(guard, {"prompt": mark, "response": None, "policy": mark})[len(guard.instruction) + 1 :].partition(mark)[0]
        self._sources: dict[str, str] = {}
        self._unusual = 0

    @classmethod
    def opened(cls, shards: ShardSet, guard: str | None) -> Self:
        return cls(shards, guard_of(shards, guard))

    @classmethod
    def splits(cls, counts: Mapping[str, Mapping[str, int]], rows: int) -> Mapping[str, int]:
        """One for each source."""
        out: Counter[str] = Counter()
        for source, n in counts.get("source", {"unknown": rows}).items():
            out[split_of(source)] += n
        return out

    def convert(self, rows: pl.DataFrame, split: str, start: int) -> list[Made]:
        import polars as pl

        text = pl.col("prompt") if self.shards.form == "text" else pl.col("prompt").list.first().struct.field("content")
        single = pl.lit(value=True) if self.shards.form == "text" else pl.col("prompt").list.len() == 1
        head = self._guard.instruction + "\n"
        bad = rows.filter((single & text.str.starts_with(head)).not_())
        if bad.height:
            raise InputError(
                f"a prompt that does not begin with the instruction of the guard {self._guard.name!r} ({', '.join(map(str, bad['id'][:3]))})",
                where=str(self.shards.folder),
            )
        output = pl.col("completion") if self.shards.form == "text" else pl.col("completion").list.first().struct.field("content")
        made = rows.select(
            pl.col("source").cast(pl.String).fill_null("unknown"),
            instruction=pl.lit(self._guard.instruction),
            input=text.str.strip_prefix(head),
            output=output,
        )
        self._unusual += made.filter(pl.col("input").str.starts_with(self._begins).not_()).height
        parts = made.partition_by("source", maintain_order=True, include_key=False, as_dict=True)
        return [self._part(str(source), part) for (source,), part in parts.items()]

    def _part(self, source: str, rows: pl.DataFrame) -> Made:
        name = split_of(source)
        if self._sources.setdefault(name, source) != source:
            raise InputError(f"the sources {self._sources[name]!r} and {source!r} would both be the split {name}", where=str(self.shards.folder))
        return Made("default", name, f"data/{name}-00000-of-00001.parquet", rows)

    def carried(self) -> list[str]:
        return [*super().carried(), "source"]

    def notes(self) -> list[str]:
        made = ", ".join(f"{name} from {source}" for name, source in sorted(self._sources.items()) if SPLITS.get(source) != name)
        notes = [f"Splits that the released set does not have: {made}."] if made else []
        if self._unusual:
            notes.append(f"{self._unusual:,} inputs begin with earlier messages, which no released row has.")
        return notes
