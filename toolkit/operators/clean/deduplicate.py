"""Operator `deduplicate`.

What becomes of a row follows from the rows alone: their order plays no part but where `keep: first` names it, and the size of blocks none at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError
from toolkit.common.mediafiles import media_needs
from toolkit.common.reach import HubName
from toolkit.guards import Guard
from toolkit.operators import _embedding
from toolkit.operators._drawn import clustered
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, StepInput
from toolkit.operators.clean import _texts
from toolkit.operators.clean._conflicts import Policy
from toolkit.operators.clean._fates import Finder, alike, same_text
from toolkit.operators.clean._found import describe, fill, joined_groups, known_labels, leaving
from toolkit.operators.clean._minhash import Shape, Sketches, Unit, recall
from toolkit.operators.clean._pictures import Pictures
from toolkit.operators.clean._semantic import Embeddings
from toolkit.operators.figures import Figure, some
from toolkit.records import MEDIA, Column, has_media, load_record

Method = Literal["exact", "normalised", "near", "semantic", "pictures"]
METHODS: tuple[Method, ...] = ("exact", "normalised", "near", "semantic", "pictures")


class NearConfig(Config):
    """How near-duplicates are found. The defaults find a pair of similarity 0.7 with probability 0.85, 0.8 with 0.997, 0.9 with 1 - 10^-8."""

    threshold: float = Field(0.7, gt=0, le=1)
    """Least Jaccard similarity of two texts' sets of shingles."""
    unit: Unit = "auto"
    """What a shingle is a run of: words, and in scripts that put no spaces between them (Chinese, Japanese, Thai, …) characters; or `word` or
    `character` for all texts."""
    size: int = Field(5, ge=1)
    """Words or characters in a shingle. A shorter text is one shingle."""
    permutations: int = Field(256, ge=1)
    """MinHash values of a text."""
    bands: int = Field(32, ge=1)
    """Parts that they are cut into; texts are compared if they agree in one whole part. More parts find more and compare more."""

    @model_validator(mode="after")
    def _even(self) -> NearConfig:
        if self.permutations % self.bands:
            raise ValueError(f"{self.permutations} permutations cannot be cut into {self.bands} equal bands")
        return self


class SemanticConfig(Config):
    """How texts of like meaning are found."""

    model: Annotated[str | None, HubName("embedding model")] = None
    """An embedding model for sentence-transformers: a folder, or a name on the hub. Default: static word vectors that ship in the package `wordllama`
    (the extra of that name), for which no torch and no download is needed."""
    threshold: float | None = Field(None, gt=0, le=1)
    """Least cosine similarity of two texts' embeddings; what is alike enough differs from model to model. Default: 0.75, with a `model` of your own
    0.9. (IntentionReasoner takes 0.75 with BGE-M3.)"""
    device: str | None = None
    """Where the model runs: cpu, cuda; by default the best that is there."""
    batch: int = Field(64, ge=1)
    """Texts that the model sees at a time."""

    @property
    def least(self) -> float:
        """The threshold."""
        return self.threshold if self.threshold is not None else 0.75 if self.model is None else 0.9


class PicturesConfig(Config):
    """How pictures that look alike are found."""

    distance: int = Field(6, ge=0, le=16)
    """Bits of 64 in which the perceptual hashes (pHash) of two pictures may differ: copies that were scaled or compressed anew differ in few, other
    pictures in about half."""


class DeduplicateConfig(Config):
    """Options of `deduplicate`."""

    on: Literal["interaction", "prompt"] = "interaction"
    """What is compared: all messages, or the prompt alone. For the prompt alone only labels of tasks that judge it can conflict."""
    methods: list[Method] = Field(["exact"], min_length=1)
    """What counts as a duplicate. `exact`: equal text; `normalised`: equal but for case and white space; `near`: MinHash, see `near`; `semantic`:
    embeddings, see `semantic`. These two take equal normalised texts along. `pictures`: equal text about images that look alike, see `pictures`; with
    `exact` or alone."""
    near: NearConfig = NearConfig()
    """Options of the method `near`."""
    semantic: SemanticConfig | None = None
    """Options of the method `semantic`."""
    pictures: PicturesConfig | None = None
    """Options of the method `pictures`."""
    keep: Literal["first", "longest", "most_labels"] = "first"
    """Which of several rows stands for the others: the first one, the one with most characters in what is compared, or with most labels. Ties go to
    the lower id."""
    conflicts: Policy = "reject"
    """Rows of equal text whose labels for a task differ: `reject` all; keep the `first` (see `keep`) and merge those that agree with it; keep what
    the `majority` of labels says on each task (a tie rejects all); or `keep` every such row, with the tasks in the column `conflict`. Rows against
    the first or the majority are rejected."""
    near_conflicts: Policy = "keep"
    """The same for texts that are near or alike in meaning, each text with one vote. A pair that differs in a word and in its label may be meant to
    (XSTest is made of them), so by default such a row is kept beside the one that it resembles, with `conflict`; rows that agree are merged. Whatever
    the policy, a row is merged only into one that it is like itself."""
    fill: bool = False
    """Give a survivor the labels that it lacks from rows of its own text merged into it, each with its source (human, vote, …)."""
    on_find: Literal["merge", "flag"] = "merge"
    """`flag` drops nothing and writes what was found: `cluster`, `cluster_size`, `duplicate_of` (id of the row that would stand for it),
    `similarity` (to that row; null where it would be kept) and `conflict`."""
    join_groups: bool = False
    """Give all rows of a cluster one `group` (the lowest of theirs), so that `split` keeps duplicates on one side."""

    @model_validator(mode="after")
    def _fits(self) -> DeduplicateConfig:
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("a method is named twice")
        if self.semantic is not None and "semantic" not in self.methods:
            raise ValueError("the option `semantic` is for the method of that name: methods: [semantic]")
        if self.pictures is not None and "pictures" not in self.methods:
            raise ValueError("the option `pictures` is for the method of that name: methods: [pictures]")
        if "pictures" in self.methods and (self.whole or self.on != "interaction"):
            raise ValueError("pictures: only `exact` goes with it, on the interaction: texts that are alike may be about other pictures")
        if self.fill and self.on_find == "flag":
            raise ValueError("fill: with on_find: flag nothing is merged, so there is nothing to fill from")
        return self

    @property
    def meaning(self) -> SemanticConfig | None:
        """How texts of like meaning are found, where they are."""
        return (self.semantic or SemanticConfig()) if "semantic" in self.methods else None

    @property
    def whole(self) -> bool:
        """Whether more than equality of the text as it stands is asked for."""
        return not {"exact", "pictures"}.issuperset(self.methods)


class Deduplicate(DatasetOperator):
    """Merge rows of equal text, or also of nearly equal text or meaning, into one of them, and find those whose labels conflict.

    Two labels conflict when both are there and differ; a missing one conflicts with nothing, and a label column that the rows do not have is no
    label. Every merged row names its survivor, and is alike to that row itself (`near`: Jaccard similarity of sets of shingles at least the
    threshold, compared exactly up to 256 shingles; the share of such pairs that is found is in the manifest as `near_recall`). A cluster is
    everything that a chain of such pairs links: its ends may be unlike each other, and it may have several survivors. An interaction with a
    response is never near one without.

    Artefacts, as parquet (cluster, id, method, similarity, fate, survivor, conflict, labels): `clusters`, all rows of clusters of two and more, and
    `conflicts`, those of them whose labels conflict with the like.

    Memory: about 150 bytes a row for ids, labels and hashes; `near` 4 bytes a band and a shingle (up to 256) more, 0.5 KB at 100 words and 1.2 KB
    at most; `semantic` 4 bytes a dimension; `pictures` about 250 bytes. It is linear in rows, and so is the time but for `semantic`, which compares
    every text with every other.
    """

    name = "deduplicate"
    version = 2
    shape = "merge"
    config_class = DeduplicateConfig
    example = {"methods": ["normalised", "near"], "conflicts": "majority"}
    uses = frozenset({"guard.tasks"})
    makes = ("clusters", "conflicts")
    passes = 2
    figures = (
        Figure("merged_by_method", "rows merged, by what made them alike", some("merged_by_method"), drawn=clustered),
        Figure("conflicting_rows", "rows alike whose labels conflict", some("conflicting_rows")),
    )
    config: DeduplicateConfig
    _given: frozenset[str] | None = None
    """Columns of the rows, once they are known (`columns`); labels and groups that are not there are done without."""

    def reads(self, guard: Guard) -> list[str]:
        c = self.config
        labels = [n for label in self._labels(guard) for n in (label, f"{label}_source")] if c.fill else []
        return ["id", *self._texts, *labels]

    @property
    def _texts(self) -> list[str]:
        c = self.config
        looks = [*_texts.columns(c.on, whole=True), MEDIA] if "pictures" in c.methods else []
        return list(dict.fromkeys([*_texts.columns(c.on, whole=c.whole), *looks]))

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        rows = inputs.get("rows", {})
        if "pictures" in self.config.methods and rows and not has_media(rows):
            raise InputError("deduplicate.methods: pictures, and the rows have no media")
        self._given = frozenset(rows)
        out = super().columns(inputs, guard)
        return {**out, **{n: c for n, c in rows.items() if n == "group" or n.startswith("label_")}}  # what is filled in keeps its type

    def writes(self, guard: Guard) -> list[Column]:
        c = self.config
        out = []
        if c.on_find == "flag":
            out += [Column("cluster", "string"), Column("cluster_size", "int64")]
            out += [Column("duplicate_of", "string", nullable=True), Column("similarity", "float64", nullable=True)]
        if c.on_find == "flag" or self._holds(guard):
            out.append(Column("conflict", {"list": "string"}, nullable=True))
        labels = self._labels(guard) if c.fill else []
        changed = {n for label in labels for n in (label, f"{label}_source")} | ({"group"} if c.join_groups else set())
        return out + [k for k in load_record("seed", guard.task_names).columns if k.name in changed]

    def media_fault(self, guard: Guard) -> str | None:
        if self.config.on == "interaction" and not self.config.whole:
            return None  # content ids cover the media
        return "texts that are alike may be about other pictures; `methods: [exact]` or `[exact, pictures]` on the interaction counts media, too"

    def needs(self, ctx: Context) -> list[str]:
        if "pictures" in self.config.methods:
            return media_needs(("PIL", "pillow"), ("imagehash", "imagehash"))
        return _embedding.needs(self.config.meaning.model) if self.config.meaning else []

    def files(self, ctx: Context) -> dict[str, str]:
        return {"embedding model": _embedding.digest(self.config.meaning.model, ctx)} if self.config.meaning else {}

    def identity(self) -> dict[str, Any]:
        out = super().identity()
        if "pictures" not in self.config.methods:
            del out["pictures"]
        if self.config.meaning:  # the model counts by its content, and where it runs not at all
            out["semantic"] = {"threshold": self.config.meaning.least}
        if "near" not in self.config.methods and self.config.near.unit == "auto":
            out["near"] |= {"unit": "word"}  # nothing is made of it: what was built while that was the default stays
        return out

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        source, c = inputs["rows"], self.config
        labels = self._labels(ctx.guard)
        table, finders = self._read(source, ctx)
        fates = same_text(table, labels, c.conflicts, (METHODS.index("exact"), METHODS.index("normalised")))
        filled = known_labels(table, fates, labels) if c.fill else None
        if finders:
            alike(fates, table, labels, c.near_conflicts, finders)
        found = describe(table, fates, METHODS, labels)
        for _, finder in finders:
            if isinstance(finder, Pictures):
                out.stat("pictures_not_read", finder.unread)
        del table, finders, fates
        self._report(found.drop("place", "group", strict=False), out)
        if filled is not None:
            found = found.drop(labels).join(filled, on="place", how="left", maintain_order="left")
        self._write(source, found.sort("place"), out, ctx)

    def _labels(self, guard: Guard) -> list[str]:
        """Label columns that the rows have, of the tasks that judge what is compared."""
        tasks = [t.name for t in guard.tasks if self.config.on == "interaction" or t.applies == "always"]
        return [f"label_{t}" for t in tasks if self._given is None or f"label_{t}" in self._given]

    @property
    def _groups(self) -> bool:
        """Whether the rows come with groups that are to be joined."""
        return self.config.join_groups and (self._given is None or "group" in self._given)

    def _read(self, source: StepInput, ctx: Context) -> tuple[pl.DataFrame, list[tuple[int, Finder]]]:
        """First pass: a line for each row in the order of preference, and the texts as the finders hold them."""
        c = self.config
        labels = self._labels(ctx.guard)
        own = ["id", *labels, *([f"{n}_source" for n in labels] if c.fill else []), *(["group"] if self._groups else [])]
        finders = self._finders(ctx)
        parts, done = [pl.DataFrame(schema={**dict.fromkeys(own, pl.String), **_FOUND})], 0
        for block in source.blocks(list(dict.fromkeys([*own, *self._texts]))):
            texts = _texts.text(block, c.on, whole=c.whole)
            plain = _texts.fold(texts) if c.whole else texts
            size = texts.str.len_chars().fill_null(0).alias("size")
            parts.append(block.select(own).with_columns(*_texts.keys(plain, "key"), *_texts.keys(texts, "raw"), texts.is_null().alias("blank"), size))
            for _, finder in finders:
                if isinstance(finder, Pictures):
                    finder.look(block, _texts.text(block, c.on, whole=True))
                else:
                    finder.add(plain.fill_null(""), texts.fill_null(""), _texts.apart(block, c.on))
            done += block.height
            ctx.progress(done, source.rows, "rows read")
        return self._ranked(pl.concat(parts), labels), finders

    def _finders(self, ctx: Context) -> list[tuple[int, Finder]]:
        """The methods that look for more than equal text, by their numbers."""
        near, semantic = self.config.near, self.config.meaning
        found: dict[Method, Finder] = {}
        if "near" in self.config.methods:
            found["near"] = Sketches(Shape(near.unit, near.size, near.permutations, near.bands), near.threshold)
        if semantic is not None:
            found["semantic"] = Embeddings(_embedding.open_model(semantic.model, ctx.roots, semantic.device, semantic.batch), semantic.least)
        if "pictures" in self.config.methods:
            found["pictures"] = Pictures(ctx.media_folder, (self.config.pictures or PicturesConfig()).distance)
        return [(METHODS.index(name), finder) for name, finder in found.items()]

    def _ranked(self, table: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
        """The rows in the order of preference, with `place` (their number among all) and, for equal texts, the lowest rank as `text` and `raw`."""
        table = table.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
        if self.config.keep == "longest":
            table = table.sort("size", "id", "place", descending=[True, False, False])
        elif self.config.keep == "most_labels":
            known = pl.sum_horizontal(pl.lit(0), *(pl.col(c).is_not_null().cast(pl.Int32) for c in labels if not c.endswith("_source")))
            table = table.with_columns(known.alias("size")).sort("size", "id", "place", descending=[True, False, False])
        table = table.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("rank"))
        for name, keys in (("text", ("key1", "key2")), ("raw", ("raw1", "raw2"))):
            lowest = pl.col("rank").min().over(keys) if name == "text" or self.config.whole else pl.col("text")
            table = table.with_columns(pl.when("blank").then("rank").otherwise(lowest).alias(name))
        return table.drop("key1", "key2", "raw1", "raw2", "size", "rank")

    def _report(self, found: pl.DataFrame, out: Output) -> None:
        """The artefacts and the figures."""
        near, torn = self.config.near, found.filter(pl.col("conflict").is_not_null())
        for name, rows in (("clusters", found), ("conflicts", torn)):
            rows.drop("cluster_size").write_parquet(out.folder(name) / f"{name}.parquet", compression="zstd")
        out.stat("clusters", found["cluster"].n_unique())
        out.stat("clustered_rows", found.height)
        out.stat("conflicting_clusters", torn["cluster"].n_unique())
        out.stat("conflicting_rows", torn.height)
        out.stat("merged_by_method", dict(sorted(found.filter(pl.col("fate") == "merge")["method"].value_counts().iter_rows())))
        if "near" in self.config.methods:
            steps = [s / 20 for s in range(10, 20) if s / 20 >= near.threshold]
            out.stat("near_recall", {f"{s:.2f}": round(recall(s, near.permutations, near.bands), 4) for s in steps})

    def _write(self, source: StepInput, found: pl.DataFrame, out: Output, ctx: Context) -> None:
        """Second pass: every row is kept, with what is written on it, or leaves."""
        places, at = found["place"].to_numpy(), 0
        groups = joined_groups(found) if self._groups else None
        written = {c.name for c in self.writes(ctx.guard)}
        for block in source.blocks():
            low, high = places.searchsorted([at, at + block.height])
            mine = found[low:high].with_columns(pl.col("place") - at)
            at += block.height
            gone = mine.filter(pl.col("fate") != "keep") if self.config.on_find == "merge" else mine.clear()
            rows = self._marked(block, mine, groups, written) if written else block
            stays = pl.repeat(True, block.height, eager=True).scatter(gone["place"], False) if gone.height else None
            out.keep(rows if stays is None else rows.filter(stays))
            if gone.height:
                out.leave(block[gone["place"]], *leaving(gone))
            ctx.progress(at, source.rows, "rows")

    def _marked(self, block: pl.DataFrame, mine: pl.DataFrame, groups: pl.DataFrame | None, written: set[str]) -> pl.DataFrame:
        """A block with the columns that it gets."""
        c = self.config
        seen = pl.select(pl.int_range(block.height, dtype=pl.Int64).alias("place")).join(mine, on="place", how="left", maintain_order="left")
        ids, new = block["id"].alias("cluster"), []
        if c.on_find == "flag":
            gone = pl.col("fate") != "keep"
            new += [pl.coalesce("cluster", ids), pl.col("cluster_size").fill_null(1), pl.col("conflict")]
            new += [pl.when(gone).then("survivor").alias("duplicate_of"), pl.when(gone).then("similarity").alias("similarity")]
        elif "conflict" in written:
            new.append(pl.col("conflict"))
        if c.join_groups and groups is None:
            new.append(pl.coalesce("cluster", ids).alias("group"))
        rows = block.with_columns(seen.select(new))
        if groups is not None:
            own = rows.select(pl.coalesce("group", seen["cluster"]).alias("group"))["group"]
            rows = rows.with_columns(own.replace(groups["group"], groups["joined"]))
        if c.fill:
            rows = rows.with_columns(fill(rows, seen, [n for n in seen.columns if n.startswith("label_") and f"{n}_source" in seen.columns]))
        return rows

    def _holds(self, guard: Guard) -> bool:
        """Whether rows whose labels conflict may be kept."""
        c = self.config
        keeps = c.conflicts == "keep" or (c.near_conflicts == "keep" and not {"near", "semantic", "pictures"}.isdisjoint(c.methods))
        return keeps and bool(self._labels(guard))


_FOUND: dict[str, type[pl.DataType]] = {**dict.fromkeys(["key1", "key2", "raw1", "raw2"], pl.UInt64), "blank": pl.Boolean, "size": pl.UInt32}
