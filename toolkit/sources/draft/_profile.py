"""What the columns of a file hold, by its first rows: for drafting a source, never for reading one.

Nothing here decides what a column means (`_draft` does). Cells of CSV are text; a column of them counts as numbers, as true or false, or as lists
where every cell reads so, as `uncsv` will read it once the source says what it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from toolkit.common.errors import InputError
from toolkit.sources._faults import Fault
from toolkit.sources._formats import DELIMITED, delimiter_hint, format_of, known_suffix, probe, read_blocks
from toolkit.sources._json_lines import opened
from toolkit.sources._labels import denan, uncsv

LOOK = 1000
"""Rows that are looked at."""
_DISTINCT = 50
"""Different values of a column that are counted."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

Kind = Literal["text", "flag", "number", "list", "object", "empty", "mixed"]


@dataclass
class ColumnLook:
    """One column of the rows looked at.

    Attributes:
        name: as it is in the file.
        values: those that are not null; of CSV as `uncsv` would give them.
        rows: rows looked at.
        lacking: rows of JSON without this key.
    """

    name: str
    values: list[Any]
    rows: int
    lacking: int = 0

    @cached_property
    def kind(self) -> Kind:
        """``flag``: true or false, or 0 and 1 alone."""
        types = {type(v) for v in self.values}
        if not types:
            return "empty"
        if types == {bool} or (types <= {bool, int, float} and {float(v) for v in self.values} <= {0.0, 1.0}):
            return "flag"
        if types <= {int, float}:
            return "number"
        names: dict[type, Kind] = {str: "text", list: "list", dict: "object"}
        return names.get(next(iter(types)), "mixed") if len(types) == 1 else "mixed"

    @cached_property
    def counts(self) -> Counter[Any]:
        """How often each value is there, the most frequent first; empty where there are too many to be a vocabulary."""
        if self.kind not in ("text", "flag", "number"):
            return Counter()
        found = Counter(self.values)
        return Counter(dict(found.most_common())) if len(found) <= _DISTINCT else Counter()

    @property
    def vocabulary(self) -> bool:
        """Whether it holds a few values again and again, and no texts of its own."""
        return bool(self.counts) and (len(self.counts) * 3 <= len(self.values) or all(len(str(v)) <= 24 for v in self.counts))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of its name, in small letters."""
        return tuple(w.lower() for w in _WORDS.findall(self.name))

    @property
    def length(self) -> float:
        """Characters of a text, on average."""
        return sum(map(len, self.values)) / len(self.values) if self.kind == "text" else 0.0


@dataclass(frozen=True)
class Look:
    """What a look at a file says.

    Attributes:
        kind: format of the file.
        stated: the format, where its name does not tell it.
        delimiter: what parts the cells, where it is not what the format says.
        rows: the rows looked at, as they were read.
        faults: rows that could not be read.
        more: the file has more rows.
    """

    path: Path
    kind: str
    stated: str | None
    delimiter: str | None
    rows: list[dict[str, Any]]
    faults: int
    more: bool
    columns: dict[str, ColumnLook] = field(default_factory=dict)

    @property
    def csv(self) -> bool:
        """Whether all cells are text."""
        return self.kind in DELIMITED


def look_at(path: Path) -> Look:
    """Look at a file.

    Raises:
        InputError: it cannot be read, or no row of it can.
    """
    stated = None if known_suffix(path) else _sniffed(path)
    kind = format_of(path, stated or "auto")
    found = probe(path, kind)
    delimiter = _delimiter(path, kind, found.columns)
    rows, faults, more = _read(path, kind, sorted(found.columns or ()) if kind == "parquet" else [], delimiter)
    if kind == "json" and len(rows) == 1 and (inner := next((v for v in rows[0].values() if _is_table(v)), None)) is not None:
        rows, faults, more = _read(path, kind, list(inner[0]), delimiter)  # the rows are one level down, and are known by their columns
    if not rows:
        raise InputError(f"no row can be read as {kind}", where=str(path), hint="`guardkit init` needs a row to look at")
    look = Look(path, kind, stated, delimiter, rows, faults, more)
    look.columns.update((c.name, c) for c in _columns(rows, look.csv))
    return look


def _read(path: Path, kind: str, wanted: list[str], delimiter: str | None) -> tuple[list[dict[str, Any]], int, bool]:
    """The first rows, how many of them could not be read, and whether there are more."""
    every = (row for block in read_blocks(path, kind, wanted, LOOK, delimiter=delimiter) for row in block)
    some = list(islice(every, LOOK))
    rows = [row for row in some if not isinstance(row, Fault)]
    return rows, len(some) - len(rows), next(every, None) is not None


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and "role" not in v and "from" not in v for v in value)


def _sniffed(path: Path) -> str:
    """The format of a file whose name does not tell it."""
    with opened(path) as f:
        head = f.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return "json"
    first = head.partition(b"\n")[0]
    return "tsv" if first.count(b"\t") > first.count(b",") else "csv"


def _delimiter(path: Path, kind: str, columns: frozenset[str] | None) -> str | None:
    """Another delimiter than the format's, where the header is one cell without it and several with it."""
    if kind not in DELIMITED or not columns or delimiter_hint(columns) is None:
        return None
    (header,) = columns
    return max(";\t|,", key=header.count)


def _columns(rows: Sequence[dict[str, Any]], csv: bool) -> Iterator[ColumnLook]:
    for name in dict.fromkeys(k for row in rows for k in row):
        if not name.strip():  # the row numbers that pandas writes
            continue
        found = [denan(row[name]) for row in rows if name in row]
        values = [v for v in found if v is not None]
        yield ColumnLook(name, _uncsved(values) if csv else values, len(rows), len(rows) - len(found))


_KINDS = (frozenset({bool}), frozenset({int, float}), frozenset({list, dict}))


def _uncsved(cells: list[Any]) -> list[Any]:
    """Cells of CSV as what all of them read as; else as they are."""
    for kinds in _KINDS:
        found = [_cell(c, kinds) for c in cells]
        if cells and not any(type(v) is str for v in found):
            return found
    return cells


def _cell(cell: Any, kinds: frozenset[type]) -> Any:
    if kinds != frozenset({int, float}):
        found = uncsv(cell, kinds)
        return found if type(found) in kinds else cell
    whole = uncsv(cell, frozenset({int}))
    found = whole if type(whole) is int else uncsv(cell, frozenset({float}))
    return cell if isinstance(found, float) and found != found else found
