"""Operator `read`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, model_validator

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.reading import Files
from toolkit.guards import Guard
from toolkit.operators._words import closed, may_be_closed, strange, word_fault
from toolkit.operators.base import Columns, Config, Context, SourceOperator
from toolkit.operators.ingest._complete import check_record, complete
from toolkit.operators.ingest._intake import LOOK, OPTIONS, Intake, IntakeConfig
from toolkit.operators.ingest._row_ids import Ids
from toolkit.records import MEDIA, TYPE, Column, has_media, load_record, media_faults, name_fault
from toolkit.sources import Frame, count_rows, expand_files, file_columns, format_of, read_frames

Value = str | int | float | bool | None


class ReadColumn(Config):
    """One column of the rows."""

    name: str
    """Column of the files."""
    type: Literal["string", "int64", "float64", "bool", "messages", "media"] = "string"
    """What it holds there. `messages`: a list of {role, content}; `media`: of {kind, uri, sha256, mime}, for the column `media` (docs/media.md)."""
    nullable: bool = True
    """Whether a value may be missing; a row without one that may not is rejected."""
    none: list[str] = []
    """Words that stand for a missing value, as the released GuardReasoner files write `None`."""

    @model_validator(mode="after")
    def _words_are_text(self) -> ReadColumn:
        if self.none and self.type != "string":
            raise ValueError("`none` is for columns of text")
        return self


class ReadConfig(IntakeConfig):
    """Options of `read`."""

    files: list[str] = Field(min_length=1)
    """Files, folders or patterns: parquet, JSON Lines, one JSON document, CSV or TSV, also gzipped; a relative path starts in the recipe's folder
    or in the working folder."""
    format: Literal["auto", "parquet", "jsonl", "json", "csv", "tsv"] = "auto"
    """Format of the files; `auto`: by suffix."""
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """What parts the cells of CSV; default: a comma, in TSV a tab."""
    columns: dict[str, str | ReadColumn] = Field(min_length=1)
    """For each column of the rows the column of the files: its name (text that may be missing), or {name, type, nullable, none}. A row of JSON may
    lack it; that all lack it is an error."""
    constants: dict[str, Value] = {}
    """Columns that have one value in all rows: {source: mine, licence: MIT}."""
    record: Literal["none", "seed", "reasoned"] = "none"
    """Add what is missing of that record, so that every operator can follow: content ids and groups are computed, `context` and `categories` are
    empty, a label that is not there is `absent` (`not_applicable` where its task needs a response and there is none), `source` is the step's id,
    `licence` and `teacher` are `unknown`. Who gave the labels must be stated: a column or constant `label_<task>_source`."""

    @model_validator(mode="after")
    def _once(self) -> ReadConfig:
        if twice := sorted(set(self.columns) & set(self.constants)):
            raise ValueError(f"{twice[0]!r} is under columns and under constants")
        faults = [name_fault(n) for n in (*self.columns, *self.constants)] + [name_fault(c.name, own=False) for c in self.given.values()]
        if bad := [f for f in faults if f]:
            raise ValueError(f"no column may be called so: {bad[0]}")
        if "id" in self.constants:
            raise ValueError("the id is another one in each row: it is no constant")
        if big := [n for n, v in self.constants.items() if isinstance(v, int) and not -(2**63) <= v < 2**63]:
            raise ValueError(f"{big[0]!r} does not fit into 64 bits")
        return self

    @model_validator(mode="after")
    def _media_are_media(self) -> ReadConfig:
        if wrong := [n for n, c in self.given.items() if (c.type == "media") != (n == MEDIA) and (c.type == "media" or self.record != "none")]:
            raise ValueError(f"{wrong[0]!r}: the column `media` and none else holds media: {{media: {{name: COLUMN, type: media}}}}")
        return self

    @property
    def given(self) -> dict[str, ReadColumn]:
        """Columns whole."""
        return {n: ReadColumn(name=c) if isinstance(c, str) else c for n, c in self.columns.items()}


MESSAGES: Any = {"list": {"struct": {"role": "string", "content": "string"}}}


class Read(SourceOperator):
    """Read rows that are rows already (reasoning that another tool made, say) from files as they are, with their columns renamed.

    Values are taken as they stand; nothing is converted but `id`, which becomes text. Without an `id` column a row's id is the digest of its
    values. A row that cannot be read (a torn line, a value of another type, half a surrogate pair, a missing value) is rejected with its
    reason; a second row of one id as `id_repeated`; a row with a label or verdict that is none of its task's as `unknown_label`, and one with a
    source of a label that schemas/records/seed.yaml does not know as `unknown_label_source`; one whose media are no references as `bad_media`.
    Parquet and JSON Lines are read whole blocks at a time.
    Memory: one block, and 8 bytes a row for ids. Where one step alone reads it, it has no folder of its own: its rows stream into that step.
    """

    name = "read"
    config_class = ReadConfig
    example = {"files": ["rows.jsonl"], "columns": {"id": "id", "prompt": "prompt"}}
    uses = frozenset({"guard.tasks"})
    config: ReadConfig

    def __init__(self, config: ReadConfig) -> None:
        super().__init__(config)
        if any(may_be_closed(n) for n in config.columns):
            self.version = 2  # type: ignore[misc]  # of what becomes of labels

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        out = {"id": Column("id", "string")}
        for name, c in self.config.given.items():
            out[name] = Column(name, "string" if name == "id" else _kind(c), nullable=c.nullable and name != "id" and c.type != "media")
        for name, value in self.config.constants.items():
            out[name] = Column(name, _type(value), nullable=value is None)
            if name in closed(guard) and value is not None and str(value) not in closed(guard)[name][1]:
                raise InputError(f"read.constants: {word_fault(name, str(value), guard)}")
        if self.config.record == "none":
            return out
        record = {c.name: c for c in load_record(self.config.record, guard.task_names).columns}
        check_record(self.config.record, record, out, guard)
        return {**record, **{n: c for n, c in out.items() if n not in record}}

    def _paths(self, ctx: Context) -> list[Path]:
        return expand_files(self.config.files, ctx.roots)

    def expected_rows(self, ctx: Context) -> int:
        """Rows in the files."""
        return sum(count_rows(p, format_of(p, self.config.format), self.config.delimiter) for p in self._paths(ctx))

    def files(self, ctx: Context) -> dict[str, str]:
        paths = self._paths(ctx)
        for path in paths:
            format_of(path, self.config.format)
        return {f"{i:05d}/{p.name}": ctx.files.digest(p, "pieces") for i, p in enumerate(paths)}

    def identity(self) -> dict[str, Any]:
        out = self.config.model_dump(mode="json", exclude={"files", *OPTIONS})  # what is in them counts, not where they are
        return {n: v for n, v in out.items() if n != "delimiter" or v is not None}

    def look(self, ctx: Context) -> None:
        want, ids, intake, whole = self.columns({}, ctx.guard), Ids(), Intake("the files"), True
        for path in self._paths(ctx):
            frames = self._frames(path, want, small=True)
            if (frame := next(frames, None)) is not None:
                intake.add(*self._block(frame, ids, 0, want, ctx))
            if intake.kept + intake.rejected.total() >= LOOK:
                whole = False
                break
            whole = whole and next(frames, None) is None
        if (found := intake.fault(self.config, part=not whole)) is not None:
            raise found

    def _frames(self, path: Path, want: Columns, held: Files | None = None, *, small: bool = False) -> Iterator[Frame]:
        fields: dict[str, Column] = {}
        for name, c in self.config.given.items():
            before = fields.get(c.name)
            may = want[name].nullable or (c.type == "media" and c.nullable)
            fields[c.name] = Column(c.name, _kind(c), nullable=may and (before is None or before.nullable))
        return read_frames(path, format_of(path, self.config.format), tuple(fields.values()), held, self.config.delimiter, small=small)

    def stream(self, ctx: Context) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        want, intake = self.columns({}, ctx.guard), Intake("the files")
        seen: set[str] = set()
        ids, place, rows = Ids(), 0, 0
        for path in self._paths(ctx):
            for frame in self._frames(path, want, ctx.files):
                rows += frame.rows.height
                seen |= frame.seen
                sound, gone = self._block(frame, ids, place, want, ctx)
                intake.add(sound, gone)
                where = pl.format("{}, row {}: {}", pl.lit(path.name), "_number", "detail")
                yield sound, gone.select("raw", "reason", detail=where, outcome="outcome")
                place += frame.rows.height + len(frame.faults)
        if rows and (
            absent := [c.name for c in self.config.given.values() if c.name not in seen]
        ):  # a name that is mistaken would be a column of nothing
            paths = self._paths(ctx)
            hint = did_you_mean(absent[0], file_columns(paths[0], format_of(paths[0], self.config.format), self.config.delimiter) or ())
            raise InputError(f"no row has the column {absent[0]!r}", where=", ".join(map(str, paths))[:300], hint=hint)
        if place:
            intake.check(self.config, ctx.step)

    def _block(self, frame: Frame, ids: Ids, place: int, want: Columns, ctx: Context) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows of one block, and its rejects in the order of the file (`_number`: their rows)."""
        rows = frame.rows.select(_column(name, c) for name, c in self.config.given.items())
        rows = rows.with_columns(pl.lit(v).alias(n) for n, v in self.config.constants.items())
        rows = ids.named(rows) if "id" not in rows.columns else rows
        rows = rows.with_columns(frame.numbers.alias("_number"))
        unsound = None
        if has_media(want):
            rows = rows.with_columns(pl.col(MEDIA).fill_null([]))
            unsound = _no_references(rows[MEDIA])
        if self.config.record != "none":
            rows = complete(rows, want, ctx, place)
        missing = pl.coalesce(
            *(pl.when(pl.col(n).is_null()).then(pl.lit(n)) for n, c in want.items() if not c.nullable),
            *(pl.when(_torn(n)).then(pl.lit(f"a role or a content in {n}")) for n, c in self.config.given.items() if c.type == "messages"),
        )
        rows = rows.with_columns(missing.alias("_missing"), ids.repeated(rows["id"]).alias("_again"))
        words = strange(rows.select(n for n in self.config.given if n in closed(ctx.guard)), ctx.guard)  # constants are known to be sound
        sound, gone = rows, pl.DataFrame(schema=dict.fromkeys(("_number", "raw", "reason", "detail"), pl.String) | {"_number": pl.Int64})
        if words is not None or unsound is not None or rows["_missing"].null_count() < rows.height or rows["_again"].any():
            missing, again = pl.col("_missing"), pl.when("_again")
            reasons: list[pl.Expr | pl.Series] = [pl.when(missing.is_not_null()).then(pl.lit("missing_value")), again.then(pl.lit("id_repeated"))]
            details: list[pl.Expr | pl.Series] = [missing + " is missing", again.then(pl.lit("an earlier row has the id ") + pl.col("id"))]
            for more in filter(None, (words, unsound)):
                reasons, details = [*reasons, more[0]], [*details, more[1]]
            marked = rows.with_columns(pl.coalesce(reasons).alias("_reason"), pl.coalesce(details).alias("_detail"))
            sound = marked.filter(pl.col("_reason").is_null())
            raw = pl.struct(pl.exclude("_number", "_missing", "_again", "_reason", "_detail")).struct.json_encode()
            gone = marked.filter(pl.col("_reason").is_not_null()).select("_number", raw=raw, reason="_reason", detail="_detail")
        faulty = pl.DataFrame([(n, f.text, f.reason, f.detail) for n, f in frame.faults], schema=gone.schema, orient="row")
        gone = pl.concat([gone, faulty]).sort("_number").with_columns(outcome=pl.lit("rejected"))
        return sound.select(list(want)), gone


def _torn(name: str) -> pl.Expr:
    """Whether a message of a row lacks its role or its content."""
    message = pl.element().struct
    return pl.col(name).list.eval(message.field("role").is_null() | message.field("content").is_null()).list.any()


def _no_references(media: pl.Series) -> tuple[pl.Series, pl.Series] | None:
    """Reason and detail for each value of the column that is unsound, else null; None where all are sound."""
    faults = media_faults(media.to_list())
    if not any(faults):
        return None
    return pl.Series([fault and "bad_media" for fault in faults], dtype=pl.String), pl.Series(faults, dtype=pl.String)


def _kind(column: ReadColumn) -> Any:
    return {"messages": MESSAGES, "media": TYPE}.get(column.type, column.type)


def _column(name: str, c: ReadColumn) -> pl.Expr:
    column = pl.col(c.name)
    if c.none:
        column = pl.when(~column.is_in(c.none)).then(column)
    return (column.cast(pl.String) if name == "id" else column).alias(name)


def _type(value: Value) -> str:
    kinds: dict[type, str] = {bool: "bool", int: "int64", float: "float64"}
    return kinds.get(type(value), "string")
