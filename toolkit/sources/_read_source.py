"""Reading a source: blocks of seeds, and of the rows that cannot be seeds, with the reason.

What is wrong with the source as a whole (a file or column that is missing, no row at all, labels that the guard does not know, a
gated set without access) is an error before the first block. What is wrong with a row costs that row alone. Rows in = seeds +
rejects, in the order of the source.

Memory: one block (see `_formats`), and 8 bytes a row to tell repeated texts apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.mediafiles import Limits
from toolkit.common.paths import Beside
from toolkit.common.reading import Files
from toolkit.guards import Guard
from toolkit.records import MEDIA, content_id, group_id, load_record, row_id, to_arrow, to_polars
from toolkit.sources._convert import Converter, Seed
from toolkit.sources._faults import Fault, RowError, shown
from toolkit.sources._files import SourceFile, missing_columns, source_files
from toolkit.sources._formats import DELIMITED, Probe, Raw, delimiter_hint, format_of, probe, read_blocks
from toolkit.sources._media_files import MediaReader
from toolkit.sources._members import COLUMNS, member_blocks
from toolkit.sources._occurrences import Occurrences
from toolkit.sources._source_definition import Source, VoteMethod
from toolkit.taxonomy import Taxonomy

if TYPE_CHECKING:
    import polars as pl

REJECT_COLUMNS = ("source", "source_row", "outcome", "reason", "detail", "row")
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Block:
    """Some rows of a source.

    `rows`: seeds, in the columns of the record ``seed`` for the guard. `rejects`: source (string), source_row (int64), outcome
    (``rejected``, or ``set_aside`` where the source's own filter left the row out), reason, detail, row (the raw row as JSON). `name` is what the
    rows have as their source, `part` the name of the part where the source has parts.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    name: str
    part: str | None = None
    more: bool = False
    """With `first`: the file has more rows."""


def read_source(
    source: Source,
    *,
    guard: Guard,
    taxonomy: Taxonomy,
    files: Sequence[str | Path] | None = None,
    parts: Sequence[str] | None = None,
    vote: VoteMethod | None = None,
    beside: Beside = None,
    block_rows: int = BLOCK_ROWS,
    held: Files | None = None,
    first: int | None = None,
    media: str | None = None,
    media_folder: Path | None = None,
) -> Iterator[Block]:
    """Read a source from the hub, from local files of the same columns, or from the files that ship with guardkit.

    Args:
        source: the source.
        guard: its tasks are the labels that are read.
        taxonomy: has a map for each scheme that the source names.
        files: files, folders or glob patterns; None: bundled files, else the hub.
        parts: names of the parts to read; None: all.
        vote: how several annotators make a label; None: safe against unsafe. ``reference``: as the released code does (see `Vote`).
        beside: folder that relative files are also looked up from.
        block_rows: most rows a block; the result is the same at any number.
        held: files of a step: what is read must be what the plan has digested.
        first: of each local file no more than so many of its first rows, for a look; a block for each, in which lists are null.
        media: None: rows without a column for media, which the source must not have. Else they have one, and this is put before every uri: the
            place below the dataset's folder that the source's own uris are relative to, empty for the folder itself. Files that rows
            hold as bytes, or as members of an archive, are put there.
        media_folder: the dataset's folder, for a source with columns of files.

    Raises:
        InputError: what is wrong with the source as a whole; raised here, not at the first block.
        Missing: the hub or its ``datasets`` package is out of reach, or the set is gated and this account has no access.
    """
    if block_rows < 1:
        raise InputError(f"block_rows must be at least 1 (got {block_rows})")
    check_media(source, media)
    local = source_files(source, files, parts=parts, beside=beside)
    make = partial(Converter, source, guard, taxonomy, vote=vote)
    files_in = None if media is None or media_folder is None else MediaReader(media_folder, media, look=first is not None)
    if local:
        checked = _checked(source, local, make(part=local[0].part))
        return _read_files(source, guard, make, checked, first or block_rows, held, first, media, files_in)
    from toolkit.sources._hub import hub_blocks

    converter = make(files=files_in)
    blocks = hub_blocks(source, converter.required, converter.wanted, block_rows)
    return _Maker(source, guard, None, media=media).blocks(blocks, converter)


def check_media(source: Source, media: str | None) -> None:
    """Refuse to read a source without its media; `media` as in `read_source`.

    Raises:
        InputError: it has some, and nobody says where.
    """
    if media is None and source.has_media:
        hint = "say where below the dataset's folder their files are, `media: .` say (docs/media.md)"
        raise InputError(f"source {source.name!r} has media, which would be left out", hint=hint)


def read_rows(source: Source, blocks: Iterable[list[Raw]], *, guard: Guard, taxonomy: Taxonomy, media: str | None = None) -> Iterator[Block]:
    """Rows that are already in memory, read as `read_source` reads those of a file.

    Args:
        source: what their columns mean; it has no parts.
        blocks: lists of rows; a row that has a key has it as a column.
        guard: its tasks are the labels that are read.
        taxonomy: has a map for each scheme that the source names.
        media: as in `read_source`.

    Raises:
        InputError: source, guard and taxonomy do not fit together; a column that the first row lacks.
    """
    check_media(source, media)
    converter = Converter(source, guard, taxonomy)
    maker = _Maker(source, guard, None, media=media)
    for block in blocks:
        first = next((row for row in block if isinstance(row, dict)), None) if maker.rows == 0 else None
        if first is not None and (lacking := missing_columns(source, converter.required, frozenset(first), "")):
            raise lacking[0] if len(lacking) == 1 else InputErrors(lacking)
        yield from maker.blocks(iter([block]), converter)


def _checked(source: Source, files: list[SourceFile], converter: Converter) -> list[tuple[SourceFile, str]]:
    """The files with their formats.

    Raises:
        InputError: one cannot be read, lacks a column, or all are empty; InputErrors for several.
    """
    out, errors, rows = [], [], False
    for file in files:
        try:
            kind = format_of(file.path, source.format)
            found = _members_there(file.path, source) if kind == "files" else probe(file.path, kind, converter.wanted, source.delimiter)
        except InputError as e:
            errors.append(e)
            continue
        if found.columns is not None and found.rows:
            hint = delimiter_hint(found.columns) if kind in DELIMITED else None
            required = [c for c in converter.required if c not in converter.sparse or kind not in ("json", "jsonl")]
            errors += missing_columns(source, required, found.columns, str(file.path), hint)
        rows = rows or found.rows
        out.append((file, kind))
    if not errors and not rows:
        errors.append(InputError(f"source {source.name!r} is empty: 0 rows", where=str(files[0].path)))
    if errors:
        raise errors[0] if len(errors) == 1 else InputErrors(errors)
    return out


def _members_there(path: Path, source: Source) -> Probe:
    block = next(member_blocks(path, source.files, 1), [])
    return Probe(frozenset(COLUMNS), bool(block))


def _read_files(
    source: Source,
    guard: Guard,
    make: partial[Converter],
    files: list[tuple[SourceFile, str]],
    block_rows: int,
    held: Files | None,
    first: int | None,
    media: str | None,
    files_in: MediaReader | None,
) -> Iterator[Block]:
    maker: _Maker | None = None
    unseen: set[str] | None = None
    for file, kind in files:
        if maker is None or maker.part != file.part:
            maker = _Maker(source, guard, file.part, small=first is not None, media=media)
        if files_in is not None:
            files_in = replace(files_in, beside=file.path if file.path.is_dir() else file.path.parent)
        converter = make(part=file.part, csv=kind in DELIMITED, files=files_in)
        unseen = set(converter.sparse) if unseen is None else unseen
        raw: Iterator[list[Raw]]
        if kind == "files":
            raw = member_blocks(file.path, source.files, block_rows, held, most=None if first else _most_bytes(source))
        else:
            raw = read_blocks(file.path, kind, converter.wanted, block_rows, held, source.delimiter)
        with closing(files_in) if files_in is not None else nullcontext():
            if first is None:
                yield from maker.blocks(_seeing(raw, unseen), converter)
                continue
            for block in maker.blocks(islice(raw, 1), converter):
                yield replace(block, more=next(raw, None) is not None)
    if first is None and unseen:  # a name that is mistaken would never be true
        raise InputError(f"source {source.name!r}: no row has the column {min(unseen)!r}", where=", ".join(str(f.path) for f, _ in files)[:300])


def _most_bytes(source: Source) -> int:
    return max(spec.most_bytes or Limits().bytes_of(spec.kind) for spec in source.media_files)


def _seeing(blocks: Iterator[list[Raw]], unseen: set[str]) -> Iterator[list[Raw]]:
    """The blocks; what they have of the columns `unseen` is taken out of it."""
    for block in blocks:
        for row in block if unseen else ():
            unseen.difference_update(() if isinstance(row, Fault) else row)
        yield block


class _Maker:
    """Makes the blocks of one source name; numbers its rows and counts its texts. `small`: there are few rows, and a look is to be quick."""

    def __init__(self, source: Source, guard: Guard, part: str | None, *, small: bool = False, media: str | None = None) -> None:
        self.part = part
        self._media = media
        self._files = bool(source.media_files)
        self._name = f"{source.name}-{part}" if part else source.name
        self._family = source.name
        self._licence = (source.parts[part].licence if part else None) or source.licence
        self._tasks = guard.task_names
        record = load_record("seed", guard.task_names).with_optional([] if media is None else [MEDIA])
        self._types = to_polars(record)
        self._schema = None if small else to_arrow(record)
        self._seen = Occurrences()
        self._next = 0

    @property
    def rows(self) -> int:
        """Rows read so far."""
        return self._next

    def blocks(self, raw: Iterator[list[Raw]], converter: Converter) -> Iterator[Block]:
        """A block for each list of raw rows."""
        for rows in raw:
            yield self._block(rows, converter)

    def _block(self, raw: list[Raw], converter: Converter) -> Block:
        seeds: list[tuple[int, Seed]] = []
        rejects: list[tuple[str, int, str, str, str, str]] = []
        if self._files:
            converter.read_ahead([row for row in raw if not isinstance(row, Fault)])
        for number, row in enumerate(raw, self._next):
            if isinstance(row, Fault):
                rejects.append((self._name, number, "rejected", row.reason, row.detail, row.text))
                continue
            for view in converter.views:
                try:
                    row = view.typed(row)
                    if view.keeps(row):
                        seeds.append((number, view.seed(row)))
                    else:
                        rejects.append((self._name, number, "set_aside", "filtered", "left out by the source's filter", shown(row)))
                except RowError as e:
                    rejects.append((self._name, number, "rejected", e.reason, e.detail, shown(row)))
        self._next += len(raw)
        return Block(self._frame(seeds), _reject_frame(rejects), self._name, self.part)

    def _frame(self, seeds: list[tuple[int, Seed]]) -> pl.DataFrame:
        import polars as pl

        contents = [
            content_id([(m["role"], m["content"]) for m in s.context], s.prompt, s.response, [m.sha256 for m in s.media] if s.media else ())
            for _, s in seeds
        ]
        counts = self._seen.number(contents)
        columns: dict[str, list[Any]] = {
            "id": [row_id(self._name, c, n) for c, n in zip(contents, counts, strict=True)],
            "content_id": contents,
            "context": [s.context for _, s in seeds],
            "prompt": [s.prompt for _, s in seeds],
            "response": [s.response for _, s in seeds],
            "categories": [s.categories for _, s in seeds],
            "votes": [s.votes for _, s in seeds],
            "source": [self._name] * len(seeds),
            "source_row": [n for n, _ in seeds],
            "licence": [self._licence] * len(seeds),
            "language": [s.language for _, s in seeds],
            "group": [self._group(s, c) for (_, s), c in zip(seeds, contents, strict=True)],
            "split": [s.split for _, s in seeds],
        }
        for i, task in enumerate(self._tasks):
            columns[f"label_{task}"] = [s.labels[i][0] for _, s in seeds]
            columns[f"label_{task}_source"] = [s.labels[i][1] for _, s in seeds]
        if self._media is not None:
            before = "" if self._files else self._media  # files have been given their places
            columns[MEDIA] = [[m._replace(uri=before + m.uri)._asdict() for m in s.media] for _, s in seeds]
        if self._schema is None:
            return pl.DataFrame({n: [None] * len(seeds) if t.is_nested() else columns[n] for n, t in self._types.items()}, schema=self._types)
        # Through Arrow: polars builds a list of structs row by row, which would take most of the time. Arrow, for its part, imports pandas where that
        # is installed, which takes longer than a look.
        import pyarrow as pa

        table = pa.table([pa.array(columns[f.name], f.type) for f in self._schema], schema=self._schema)
        return pl.DataFrame(table)

    def _group(self, seed: Seed, content: str) -> str:
        if seed.group is not None:
            return f"{self._family}:{seed.group}"
        if seed.media:
            return group_id(seed.prompt, [m.sha256 for m in seed.media])
        return content if seed.response is None and not seed.context else group_id(seed.prompt)


def _reject_frame(rejects: list[tuple[str, int, str, str, str, str]]) -> pl.DataFrame:
    import polars as pl

    types = {c: pl.Int64 if c == "source_row" else pl.String for c in REJECT_COLUMNS}
    return pl.DataFrame(rejects, schema=types, orient="row")
