"""Operator `combine`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.mediafiles import measure_needs
from toolkit.common.mediatypes import BadMedia
from toolkit.common.paths import below_fault
from toolkit.guards import POLICY, Guard
from toolkit.operators._harm_tasks import harm_tasks
from toolkit.operators._words import check_words
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, Shape, StepInput
from toolkit.operators.change._combined import Algebra, agreed, joined, labels_of
from toolkit.operators.change._tiled import tiled
from toolkit.operators.choose._draw import keys
from toolkit.operators.choose._quota import check_classes
from toolkit.operators.figures import Figure, some
from toolkit.records import MEDIA, Column, child_id, content_id, has_media, hashes, load_record, to_polars
from toolkit.shards import licence_digests, load_licences, resolve

PIECE = 4096
"""Combined rows that are made at a time."""
PARTS = Column("parts", {"list": "string"}, doc="ids of the rows that it is combined of, in order; empty for a row that came in")


class CombineConfig(Config):
    """Options of `combine`."""

    size: int = Field(2, ge=2, le=16)
    """Rows that make a combined one."""
    share: float | None = Field(None, gt=0, lt=1)
    """Share of the rows that come out which are combined ones; default 0.2 where `total` is not given."""
    total: int | None = Field(None, ge=1)
    """Number of combined rows, instead of `share`."""
    separator: str = "\n\n"
    """What is between the texts of two parts."""
    form: str = "{text}"
    """How each text stands: `{text}` is the text, `{n}` its number among the parts: `"{n}. {text}"`."""
    rules: dict[str, Algebra] = Field(default_factory=dict)
    """By task what the label of a combined row is. `any`: the positive one if a part has it, else unknown if a part's is unknown, else the parts'
    (default for the tasks that say whether a row is harmful: `prompt` and `response`, or all of a guard that has neither). `all`: the positive one
    only if every part has it. `same`: that of all parts where they agree, else unknown (default for other tasks, `refusal` say). `none`: unknown."""
    within: list[str] = []
    """Columns whose values all parts of a row share: `[source]`, `[language]`. Parts share their `split` and their policies in any case, and have
    all a response or none."""
    images: Literal["beside", "tiled"] = "beside"
    """What becomes of the images of the parts: they come one after another, or are tiled into one, which is put below the dataset's folder."""
    place: str = "combined"
    """Where below that folder tiled images are put."""
    cell: int = Field(768, ge=16, le=4096)
    """Pixels of the longer side of each image in a tiled one, at most."""
    short: Literal["error", "fewer"] = "error"
    """Too few rows for what is asked for: stop, or make as many as there can be."""

    @field_validator("form")
    @classmethod
    def _shows_the_text(cls, value: str) -> str:
        if "{text}" not in value:
            raise ValueError("it must hold {text}, where the text goes")
        return value

    @field_validator("place")
    @classmethod
    def _lies_below(cls, value: str) -> str:
        if (fault := below_fault(value)) is not None:
            raise ValueError(f"it {fault}")
        return value

    @model_validator(mode="after")
    def _one(self) -> CombineConfig:
        if self.share is not None and self.total is not None:
            raise ValueError("give one of `share` and `total`")
        return self

    def wanted(self, rows: int) -> int:
        """Combined rows beside so many that came in."""
        if self.total is not None:
            return self.total
        share = Fraction(str(0.2 if self.share is None else self.share))
        return int(share / (1 - share) * rows + Fraction(1, 2))


class Combine(DatasetOperator):
    """Combine several rows into one harder row, beside the rows themselves: texts joined, harmful if any part is ("safety-aware concatenation").

    GuardReasoner-VL makes 20 % of its RL data so. Every row that comes in goes on, and after them come the combined ones: prompts and responses
    joined, media one after another (or the images as one: `images`), labels by `rules`, categories of all parts, `parts` with their ids, `parent`
    with the first of these. A label that follows from several counts as given by the least sure of them. A combined row is under the licence that its
    parts' licences allow (schemas/licences), or under all of them, `A AND B`; its source is `a+b` where they are of two. Columns beyond the record
    `seed` are null in it. Where an image of a part is missing or has a fault, the row is not made, and counted (`not_combined`).

    A row is a part of one combined row at most, and of the rows of one group one takes part; the groups of the parts become one (the first by name),
    so that `split` never parts them. Rows with earlier turns, and combined ones, take no part. Which rows are combined depends on their ids and the
    recipe's seed, not on their order, and a larger share adds rows and drops none. To go on with the combined rows alone: `select` with
    `where: {parts: not_empty}`. Memory: about 150 bytes a row, and the texts of the rows that are combined.
    """

    name = "combine"
    shape: ClassVar[Shape] = "pick"
    carries_media = True
    config_class = CombineConfig
    example = {"share": 0.2, "rules": {"refusal": "same"}}
    uses = frozenset({"guard.tasks", "seed"})
    figures = (
        Figure("combined", "rows, combined rows, and how many of these there could be", some("combined")),
        Figure("not_combined", "rows that were not combined as an image of theirs is missing or has a fault", some("not_combined")),
        Figure("labels", "labels of the combined rows", some("labels")),
    )
    config: CombineConfig
    _columns: Columns
    _again = False
    """Whether rows come in that may be combined ones."""

    def reads(self, guard: Guard) -> list[str]:
        return list(dict.fromkeys([*load_record("seed", guard.task_names).names, *self.config.within]))

    def writes(self, guard: Guard) -> list[Column]:
        return [Column("parent", "string", doc="id of the row itself, or of the first row that it is combined of"), PARTS]

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        have = inputs.get("rows", {})
        self.rules(guard)
        if {"parent", "guard_model"} <= set(have):
            why = "`parent` says which row each generation is about, and would say what it is combined of"
            raise InputError(f"combine: {why}", hint="combine the rows before they are sampled")
        out = super().columns(inputs, guard)
        self._again = PARTS.name in have
        for name in self.config.within:
            check_classes(self.name, have[name])
        seed = load_record("seed", guard.task_names).every_name
        own = {"parent", PARTS.name, *seed}
        self._columns = {n: c if n in own else Column(n, c.type, True, c.doc) for n, c in out.items()}
        return self._columns

    def rules(self, guard: Guard) -> dict[str, Algebra]:
        """The rule of each task (InputError: one of the options is for no task)."""
        for task in self.config.rules:
            if task not in guard.task_names:
                raise InputError(f"the guard {guard.name!r} has no task {task!r}", hint=did_you_mean(task, guard.task_names))
        harm = harm_tasks(guard, None)
        usual: dict[str, Algebra] = {t: "any" if t in harm else "same" for t in guard.task_names}
        return {**usual, **self.config.rules}

    def words(self, ctx: Context) -> list[str]:
        says = {
            "any": "{p} if a part is, else unknown if a part is unknown",
            "all": "{p} if every part is",
            "same": "what all parts say, else unknown",
            "none": "unknown",
        }
        rules = self.rules(ctx.guard)
        lines = [f"{t.name}: {says[rules[t.name]].format(p=t.positive)}" for t in ctx.guard.tasks]
        return [f"Labels of {self.config.size} rows combined: {'; '.join(lines)}."]

    def needs(self, ctx: Context) -> list[str]:
        return measure_needs({"image"}) if self._tiles else []

    @property
    def _tiles(self) -> bool:
        return self.config.images == "tiled" and has_media(self._columns)

    def files(self, ctx: Context) -> dict[str, str]:
        return licence_digests(ctx.roots)

    def factor(self, inputs: Sequence[str]) -> float | None:
        return self.config.wanted(1000) / 1000 + 1 if self.config.total is None else None

    def rows_planned(self, came: int | None) -> int | None:
        """Rows that come out, of so many that come in; None where that is not known before the run."""
        return None if came is None or self.config.short == "fewer" else came + self.config.wanted(came)

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        source = inputs["rows"]
        self._bad: Counter[str] = Counter()
        ids, chosen, could = self._chosen(source, ctx)
        groups = chosen.select("group", pl.col("group").min().over("_combined").alias("_joined"))
        at = 0
        for block in source.blocks():
            group = pl.coalesce("group", "id")
            own = group.replace_strict(groups["group"], groups["_joined"], default=pl.col("group"), return_dtype=pl.String)
            parts = [] if self._again else [pl.lit([], pl.List(pl.String)).alias("parts")]
            out.keep(block.with_columns(own.alias("group"), pl.col("id").alias("parent"), *parts).select(list(self._columns)))
            at += block.height
            ctx.progress(at, source.rows, "rows")
        made = 0
        counts: Counter[tuple[str, str]] = Counter()
        for piece in self._parts(source, chosen).iter_slices(PIECE * self.config.size) if chosen.height else ():
            rows = self._combined(piece, ctx)
            if (again := rows["id"].filter(rows["id"].is_in(ids.implode()))).len():
                raise InputError(f"a row has the id of a combined one already: {again[0]!r}", where=f"step {ctx.step}", hint="rename the step")
            made += rows.height
            for task in ctx.guard.task_names:
                counts.update((task, label or "(unknown)") for label in rows[f"label_{task}"])
            out.keep(rows)
        out.stat("combined", {"rows": at, "combined": made, "possible": could})
        if self._bad:
            out.stat("not_combined", dict(sorted(self._bad.items())))
        out.stat("labels", [{"task": t, "label": label, "rows": n} for (t, label), n in sorted(counts.items())])

    def _chosen(self, source: StepInput, ctx: Context) -> tuple[pl.Series, pl.DataFrame, int]:
        """Ids of all rows; the parts: `_combined` (number), `_row` (place), `group`, in order; and how many combined rows there could be.

        Raises:
            InputError: fewer than are asked for.
        """
        c, salt = self.config, str(ctx.rng_seed(self.name, ctx.step))
        alike = list(dict.fromkeys(["split", *([POLICY] if POLICY in self._columns else []), *c.within]))
        found = [pl.DataFrame(schema={"id": pl.String})]
        for block in source.blocks(list(dict.fromkeys(["id", "group", "context", "response", *(["parts"] if self._again else []), *alike]))):
            free = pl.all_horizontal(pl.col(n).list.len().fill_null(0) == 0 for n in ("context", "parts") if n in block.columns)
            known = [pl.coalesce("group", "id").alias("group"), pl.col("response").is_null().alias("_alone"), free.alias("_free")]
            rows = block.with_columns(*known, pl.Series("_key", keys(salt, block["id"]), dtype=pl.UInt64))
            found.append(rows.select("id", "group", "_alone", "_free", "_key", *(n for n in alike if n != "group")))
        rows = pl.concat(found, how="diagonal_relaxed").with_row_index("_row")
        ids, wanted, could = rows["id"], c.wanted(rows.height), 0
        if rows.height:
            of = ["_alone", *alike]
            rows = rows.filter("_free").sort("_key", "id").unique("group", keep="first", maintain_order=True)
            rows = rows.with_columns((pl.int_range(pl.len()).over(of) // c.size).alias("_of")).filter(pl.len().over(*of, "_of") == c.size)
            rows = rows.with_columns(pl.col("_key").first().over(*of, "_of").rank("dense").cast(pl.Int64).alias("_combined") - 1)
            could = rows.height // c.size
        if could < wanted and c.short == "error":
            message = f"{wanted:,} combined rows of {c.size} are asked for, and {could:,} can be made of {ids.len():,} rows"
            hint = "short: fewer makes as many as there can be; a smaller share asks for less"
            raise InputError(f"combine: {message}", where=f"step {ctx.step}", hint=hint)
        if not could:
            return ids, pl.DataFrame(schema={"_combined": pl.Int64, "_row": pl.UInt32, "group": pl.String}), 0
        return ids, rows.filter(pl.col("_combined") < wanted).sort("_combined", "_key").select("_combined", "_row", "group"), could

    def _parts(self, source: StepInput, chosen: pl.DataFrame) -> pl.DataFrame:
        """The parts whole: a line for each, in the order of `chosen`."""
        rows = chosen["_row"].cast(pl.Int64).sort()
        if not rows.len():
            return pl.DataFrame()
        whole = pl.concat(list(source.take(rows, [n for n in self._columns if n not in ("parent", "parts", "group")])))
        placed = chosen.with_columns(pl.col("_row").cast(pl.Int64))
        return placed.join(whole.with_columns(rows.alias("_row")), on="_row", how="left", maintain_order="left")

    def _combined(self, parts: pl.DataFrame, ctx: Context) -> pl.DataFrame:
        """The combined rows of some parts."""
        guard, c = ctx.guard, self.config
        check_words(parts, guard, f"step {ctx.step}")
        several = ["categories", *([MEDIA] if has_media(self._columns) else [])]
        own = {"source", "source_row", "licence", "group", *(f"label_{t}{s}" for t in guard.task_names for s in ("", "_source"))}
        alike = dict.fromkeys(n for n in ("split", "language", POLICY, *c.within) if n in parts.columns and n not in own)
        rows = parts.group_by("_combined", maintain_order=True).agg(
            pl.col("id").alias("parts"),
            joined("prompt", c.form, c.separator).fill_null("").alias("prompt"),
            joined("response", c.form, c.separator).alias("response"),
            pl.col("group").min(),
            pl.col("source").unique().sort().str.join("+"),
            pl.col("source_row").first(),
            pl.col("licence").fill_null("unknown").unique().sort(),
            *(pl.col(n) for n in several),
            *agreed(list(alike)),
        )
        flat = [pl.Series(n, _flat(rows[n], once=n == "categories"), dtype=parts.schema[n]) for n in several]
        if self._tiles:
            flat[-1], sound = self._tiled(flat[-1], ctx)
            gone = pl.col("_combined").is_in(rows["_combined"].filter(~sound).implode())
            flat, rows, parts = [s.filter(sound) for s in flat], rows.filter(sound), parts.filter(~gone)
        rows = rows.hstack(labels_of(parts, guard, self.rules(guard))).with_columns(*flat, self._licences(rows["licence"], ctx))
        of = rows.select("prompt", "response", *several[1:]).iter_rows()
        contents = [content_id([], prompt, response, hashes(*media)) for prompt, response, *media in of]
        ids = [child_id(first, ctx.step, content) for (first, *_), content in zip(rows["parts"], contents, strict=True)]
        types = to_polars(tuple(self._columns.values()))
        rows = rows.with_columns(
            pl.Series("id", ids, dtype=pl.String),
            pl.Series("content_id", contents, dtype=pl.String),
            pl.col("parts").list.first().alias("parent"),
            *(pl.lit([], types[n]).alias(n) for n in ("context", "votes")),
        )
        return rows.select((pl.col(n) if n in rows.columns else pl.lit(None)).cast(t).alias(n) for n, t in types.items())

    def _tiled(self, media: pl.Series, ctx: Context) -> tuple[pl.Series, pl.Series]:
        """The media with their images as one, and whether that could be done; what went wrong is counted."""
        found: list[list[dict[str, Any]] | None] = []
        for value in media.to_list():
            try:
                found.append(tiled(value or [], ctx.media_folder, self.config.place, self.config.cell))
            except BadMedia as e:
                self._bad[e.reason] += 1
                found.append(None)
        names = [f.name for f in media.dtype.inner.fields]  # type: ignore[attr-defined]
        lean = [None if v is None else [{n: item.get(n) for n in names} for item in v] for v in found]
        return pl.Series(media.name, lean, dtype=media.dtype), pl.Series([v is not None for v in found], dtype=pl.Boolean)

    def _licences(self, words: pl.Series, ctx: Context) -> pl.Series:
        """The licence of each combined row, of those of its parts."""
        table = load_licences(ctx.roots)
        of = [tuple(w) for w in words]
        known = {w: w[0] if len(w) == 1 else resolve(w, None, table).licence or " AND ".join(w) for w in set(of)}
        return pl.Series(words.name, [known[w] for w in of], dtype=pl.String)


def _flat(lists: pl.Series, *, once: bool) -> list[list[Any]]:
    """Lists of lists as lists; `once`: each value where it is first."""
    flat = [[v for one in several if one is not None for v in one] for several in lists.to_list()]
    return [list(dict.fromkeys(values)) for values in flat] if once else flat
